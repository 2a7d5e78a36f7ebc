"""Writes small TorchScript archives without PyTorch, for tests of what reads them."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_STORAGES = {"f4": "FloatStorage", "f8": "DoubleStorage", "i8": "LongStorage", "i4": "IntStorage", "u1": "ByteStorage",
             "b1": "BoolStorage", "f2": "HalfStorage", "i1": "CharStorage", "i2": "ShortStorage"}  # fmt: skip


@dataclass
class Instance:
    """An object of a TorchScript class.

    Attributes:
        type: the class's qualified name, such as "__torch__.M".
        attributes: its attributes by name.
    """

    type: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """Opcodes that are put into the pickle as they are.

    Attributes:
        code: the opcodes.
    """

    code: bytes


class Pickle:
    """Makes the pickles of one archive, and gathers the storages of its tensors."""

    def __init__(self) -> None:
        self.storages: list[bytes] = []

    def dump(self, value: Any) -> bytes:
        """Return a whole pickle."""
        return b"\x80\x02" + self._code(value) + b"."

    def _code(self, value: Any) -> bytes:
        if isinstance(value, Raw):
            return value.code
        if value is None or isinstance(value, bool):
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        if isinstance(value, int):
            if -(1 << 31) <= value < 1 << 31:
                return b"J" + struct.pack("<i", value)
            data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
            return b"\x8a" + bytes([len(data)]) + data
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        if isinstance(value, str):
            data = value.encode()
            return b"X" + struct.pack("<I", len(data)) + data
        return self._container(value)

    def _container(self, value: Any) -> bytes:
        if isinstance(value, list):
            return b"](" + b"".join(map(self._code, value)) + b"e"
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self._code, value)) + b"t"
        if isinstance(value, Mapping):
            return b"}(" + b"".join(self._code(k) + self._code(v) for k, v in value.items()) + b"u"
        if isinstance(value, np.ndarray):
            return self._tensor(value)
        module, _, name = value.type.rpartition(".")
        head = f"c{module}\n{name}\n".encode() + b")\x81"
        return head + self._code(dict(value.attributes)) + b"b"

    def _tensor(self, array: np.ndarray) -> bytes:
        key = str(len(self.storages))
        self.storages.append(np.ascontiguousarray(array).tobytes())
        kind = f"ctorch\n{_STORAGES[array.dtype.str[1:]]}\n".encode()
        storage = b"(" + self._code("storage") + kind + b"".join(map(self._code, (key, "cpu", array.size))) + b"tQ"
        strides = tuple(s // array.itemsize for s in np.ascontiguousarray(array).strides)
        rest = b"".join(map(self._code, (0, tuple(array.shape), strides, False)))
        order = b"ccollections\nOrderedDict\n)R"
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + order + b"tR"


def write_archive(
    path: Path,
    root: Any,
    code: Mapping[str, str],
    constants: Sequence[Any] = (),
    records: Mapping[str, bytes] | None = None,
    stored: bool = True,
) -> Path:
    """Write a TorchScript archive.

    Args:
        path: the file.
        root: the module, an :class:`Instance`; or the bytes of ``data.pkl``.
        code: the files of code by their name, such as ``{"__torch__.py": "class M(Module): ..."}``.
        constants: what the code calls ``CONSTANTS.c0``, ...
        records: more records, or others in the place of those.
        stored: whether records are stored as they are, or compressed.

    Returns:
        The path.
    """
    pickles, constant_pickles = Pickle(), Pickle()
    found = {"data.pkl": root if isinstance(root, bytes) else pickles.dump(root)}
    found["constants.pkl"] = constant_pickles.dump(tuple(constants))
    found |= {f"code/{name}": text.encode() for name, text in code.items()}
    found |= {f"data/{i}": data for i, data in enumerate(pickles.storages)}
    found |= {f"constants/{i}": data for i, data in enumerate(constant_pickles.storages)}
    found |= {"version": b"3\n", "byteorder": b"little"} | dict(records or {})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, data in found.items():
            archive.writestr(f"model/{name}", data)
    return path
