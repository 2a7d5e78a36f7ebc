"""The side file of large constants: safetensors, memory-mapped when read.

Element types that safetensors lacks are stored as bytes; the metadata says what they are. Tensors with equal
content are stored once, the metadata lists the other names.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lepton_ir.diagnostics import LeptonError
from lepton_ir.files import written_aside
from lepton_ir.ir.constant import Constant
from lepton_ir.ir.types import SAFETENSORS, DType

_FROM_STANDARD = {name: dtype for dtype, name in SAFETENSORS.items()}
_TYPES_KEY = "lepton.types"
_ALIASES_KEY = "lepton.aliases"


def save_weights(path: str | os.PathLike[str], constants: Mapping[str, Constant]) -> None:
    """Write the constants to a safetensors file, equal ones once; the file appears whole or not at all."""
    first: dict[Constant, str] = {}
    aliases = {name: first.setdefault(constant, name) for name, constant in constants.items()}
    # Large elements first: then every tensor is aligned to its element, with no holes, as the format demands.
    order = sorted(first.items(), key=lambda item: (-item[0].array.dtype.itemsize, item[1]))
    header: dict[str, Any] = {}
    types: dict[str, list[Any]] = {}
    blobs: list[np.ndarray] = []
    offset = 0
    for constant, name in order:
        stored, entry = _encode(constant, name, types)
        header[name] = {**entry, "data_offsets": [offset, offset + stored.nbytes]}
        offset += stored.nbytes
        blobs.append(stored)
    metadata = {
        _TYPES_KEY: json.dumps(types),
        _ALIASES_KEY: json.dumps({name: target for name, target in aliases.items() if name != target}),
    }
    text = json.dumps({"__metadata__": metadata, **header}).encode()
    text += b" " * (-(len(text) + 8) % 64)
    with written_aside(Path(path)) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for blob in blobs:
            file.write(blob.data)


def _encode(constant: Constant, name: str, types: dict[str, list[Any]]) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the bytes to store and the header's entry; note the type in ``types`` where safetensors lacks it."""
    dtype = constant.type.dtype
    shape = list(constant.array.shape)
    if dtype is DType.STR:
        strings = [x.decode() if isinstance(x, bytes) else str(x) for x in constant.array.reshape(-1)]
        data = np.frombuffer(json.dumps(strings).encode(), np.uint8)
    else:
        data = np.ascontiguousarray(constant.array).reshape(-1).view(np.uint8)
    if dtype in SAFETENSORS:
        return data, {"dtype": SAFETENSORS[dtype], "shape": shape}
    types[name] = [dtype.value, shape]
    return data, {"dtype": "U8", "shape": [data.nbytes]}


def load_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Map a safetensors file into memory and return its tensors by name.

    Raises:
        LeptonError: the file cannot be read or is no safetensors file.
    """
    try:
        with Path(path).open("rb") as file:
            buffer = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return _decode(buffer)
    except OSError as e:
        raise LeptonError(f"cannot read the weights file {os.fspath(path)}", why=str(e)) from e
    except (ValueError, KeyError, TypeError) as e:
        raise LeptonError(f"{os.fspath(path)} is not a whole safetensors file", why=f"{type(e).__name__}: {e}") from e


def _decode(buffer: memoryview) -> dict[str, np.ndarray]:
    length = int.from_bytes(buffer[:8], "little")
    header = json.loads(bytes(buffer[8 : 8 + length]))
    metadata = header.pop("__metadata__", {})
    types = json.loads(metadata.get(_TYPES_KEY, "{}"))
    data = buffer[8 + length :]
    arrays: dict[str, np.ndarray] = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        if end > len(data):
            raise ValueError(f"{name} ends at byte {end} of {len(data)}")
        dtype, shape = _FROM_STANDARD[entry["dtype"]], entry["shape"]
        if name in types:
            dtype, shape = DType(types[name][0]), types[name][1]
        if dtype is DType.STR:
            array = np.array(json.loads(bytes(data[begin:end])), np.object_)
        else:
            array = np.frombuffer(data[begin:end], dtype.numpy)
        arrays[name] = array.reshape(shape)
    for name, target in json.loads(metadata.get(_ALIASES_KEY, "{}")).items():
        arrays[name] = arrays[target]
    return arrays
