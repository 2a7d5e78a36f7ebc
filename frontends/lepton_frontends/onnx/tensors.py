"""Tensors of an ONNX file as constants: element types, weights by reference, external data."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from math import prod
from pathlib import Path, PurePosixPath

import numpy as np
from onnx import TensorProto

from lepton_frontends.onnx.wire import SELF
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.constant import Constant
from lepton_ir.ir.types import DType

_SPELLING = {
    "FLOAT": "f32", "DOUBLE": "f64", "FLOAT16": "f16", "BFLOAT16": "bf16", "BOOL": "bool", "STRING": "str",
    "INT8": "i8", "INT16": "i16", "INT32": "i32", "INT64": "i64", "INT4": "i4", "INT2": "i2",
    "UINT8": "u8", "UINT16": "u16", "UINT32": "u32", "UINT64": "u64", "UINT4": "u4", "UINT2": "u2",
    "COMPLEX64": "c64", "COMPLEX128": "c128", "FLOAT8E4M3FN": "f8e4m3fn", "FLOAT8E4M3FNUZ": "f8e4m3fnuz",
    "FLOAT8E5M2": "f8e5m2", "FLOAT8E5M2FNUZ": "f8e5m2fnuz", "FLOAT8E8M0": "f8e8m0fnu", "FLOAT4E2M1": "f4e2m1",
    "FLOAT6E2M3": "f6e2m3", "FLOAT6E3M2": "f6e3m2",
}  # fmt: skip
DTYPES: dict[int, DType] = {
    number: DType(_SPELLING[name]) for name, number in TensorProto.DataType.items() if name in _SPELLING
}
_FREE_STANDING = 1 << 16
"""Tensors smaller than this are read at once, so that a small model does not keep its file mapped."""


def dtype_of(number: int) -> DType:
    """Return the element type with ONNX's number.

    Raises:
        LeptonError: Lepton has no such element type.
    """
    found = DTYPES.get(number)
    if found is None:
        known = {v: k for k, v in TensorProto.DataType.items()}
        raise LeptonError(f"element type {known.get(number, number)} is not supported")
    return found


@dataclass
class TensorReader:
    """Turns TensorProtos into constants.

    Attributes:
        path: the model's file, None for a model that was never in one.
        file: the name to report it by.
    """

    path: Path | None = None
    file: str = ""
    _maps: dict[Path, mmap.mmap] = field(default_factory=dict)

    def read(self, tensor: TensorProto) -> Constant:
        """Return the tensor's data, by reference where the file allows.

        Raises:
            LeptonError: the data is missing, lies outside of its file or does not fit the shape.
        """
        dtype, shape = dtype_of(tensor.data_type), tuple(tensor.dims)
        if any(d < 0 for d in shape):
            raise self._error(tensor, f"the shape {list(shape)} has a negative dimension")
        if tensor.data_location == TensorProto.EXTERNAL:
            return Constant(self._external(tensor, dtype, shape), tensor.name)
        if tensor.HasField("raw_data") and dtype.bits >= 8:
            data = tensor.raw_data
            if len(data) != prod(shape) * dtype.numpy.itemsize:
                raise self._error(tensor, f"{len(data)} bytes of data do not fill {list(shape)} of {dtype}")
            return Constant(np.frombuffer(data, dtype.numpy).reshape(shape), tensor.name)
        try:
            array = (
                _unpacked(tensor.raw_data, dtype, shape)
                if tensor.HasField("raw_data")
                else _typed(tensor, dtype, shape)
            )
        except ValueError as error:
            raise self._error(tensor, str(error)) from None
        return Constant(array, tensor.name)

    def _external(self, tensor: TensorProto, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
        entries = {e.key: e.value for e in tensor.external_data}
        path = self._external_path(tensor, entries.get("location", ""))
        size = path.stat().st_size
        try:
            offset = int(entries.get("offset", 0))
            length = int(entries.get("length", size - offset))
        except ValueError:
            raise self._error(tensor, "offset or length of the external data is no number") from None
        if offset < 0 or length < 0 or offset + length > size:
            raise self._error(
                tensor,
                f"bytes {offset} to {offset + length} of {path.name}, which has {size}",
                "the data file is truncated or belongs to another version of the model",
            )
        count = prod(shape)
        needed = (count * dtype.bits + 7) // 8
        if dtype is DType.STR:
            raise self._error(tensor, "strings cannot be external data")
        if length < needed or (length != needed and "length" in entries):
            raise self._error(tensor, f"{length} bytes of external data do not fill {list(shape)} of {dtype}")
        if dtype.bits < 8:
            return _unpacked(self._mapped(path)[offset : offset + needed], dtype, shape)
        if count == 0:
            return np.empty(shape, dtype.numpy)
        if needed < _FREE_STANDING or offset % dtype.numpy.itemsize:
            # Misaligned data is read into memory of its own, once: kernels and DLPack want alignment.
            with path.open("rb") as f:
                f.seek(offset)
                return np.fromfile(f, dtype.numpy, count).reshape(shape)
        return np.frombuffer(self._mapped(path), dtype.numpy, count, offset).reshape(shape)

    def _mapped(self, path: Path) -> mmap.mmap:
        if path not in self._maps:
            with path.open("rb") as f:
                self._maps[path] = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[path]

    def _external_path(self, tensor: TensorProto, location: str) -> Path:
        if self.path is None:
            raise self._error(tensor, "its data is external, but the model was not read from a file")
        if location == SELF:
            return self.path
        folder = self.path.parent
        relative = PurePosixPath(location.replace("\\", "/"))
        inside = location and not relative.is_absolute() and ".." not in relative.parts and "\0" not in location
        if inside:
            allowed = {folder.resolve(), self.path.resolve().parent}
            inside = any((folder / relative).resolve().is_relative_to(a) for a in allowed)
        if not inside:
            raise self._error(
                tensor,
                f"its external data {location!r} does not lie in the model's folder",
                "data files stand beside the model or below it; save the model again",
            )
        path = folder / relative
        if not path.is_file():
            raise self._error(
                tensor,
                f"its data is in the file {location!r}, which is not in {folder or Path()}",
                "put the data file beside the model",
            )
        return path

    def _error(self, tensor: TensorProto, why: str, help: str = "the file is damaged; export it again") -> LeptonError:
        return LeptonError(f"tensor {tensor.name or '(unnamed)'} cannot be read", self.file, why, help)


def _typed(tensor: TensorProto, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    """Return the data of a tensor that holds it in a field of its type."""
    if dtype is DType.STR:
        strings = np.empty(len(tensor.string_data), dtype=object)
        strings[:] = [v.decode("utf-8", "replace") for v in tensor.string_data]
        return strings.reshape(shape)
    if dtype in (DType.F32, DType.C64):
        return np.array(tensor.float_data, np.float32).view(dtype.numpy).reshape(shape)
    if dtype in (DType.F64, DType.C128):
        return np.array(tensor.double_data, np.float64).view(dtype.numpy).reshape(shape)
    if dtype is DType.I64:
        return np.array(tensor.int64_data, np.int64).reshape(shape)
    if dtype in (DType.U32, DType.U64):
        return np.array(tensor.uint64_data, np.uint64).astype(dtype.numpy).reshape(shape)
    # All others are in int32_data: small integers by value, floats by their bits, those of 2 or 4 bits as packed bytes.
    numbers = np.array(tensor.int32_data, np.int32)
    if dtype.bits == 6:
        return numbers.astype(np.uint8).view(dtype.numpy).reshape(shape)
    if dtype.bits < 8:
        return _unpacked(numbers.astype(np.uint8).tobytes(), dtype, shape)
    if dtype.is_float:
        return numbers.astype(np.uint8 if dtype.bits == 8 else np.uint16).view(dtype.numpy).reshape(shape)
    return numbers.astype(dtype.numpy).reshape(shape)


def _unpacked(data: bytes, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers below a byte that are packed into bytes, the first in the lowest bits."""
    bits, count = dtype.bits, prod(shape)
    if len(data) != (count * bits + 7) // 8:
        raise ValueError(f"{len(data)} bytes of data do not fill {list(shape)} of {dtype}")
    packed = np.frombuffer(data, np.uint8)
    if bits == 6:
        stream = np.unpackbits(packed, count=count * bits, bitorder="little").reshape(count, bits)
        return np.packbits(stream, axis=1, bitorder="little").view(dtype.numpy).reshape(shape)
    codes = (packed[:, None] >> np.arange(0, 8, bits, dtype=np.uint8)) & ((1 << bits) - 1)
    codes = codes.reshape(-1)[:count]
    if dtype.is_float:
        return codes.astype(np.uint8).view(dtype.numpy).reshape(shape)
    numbers = codes.astype(np.int8)
    if dtype.is_signed:
        numbers = np.where(numbers >> (bits - 1), numbers - (1 << bits), numbers)
    return numbers.astype(dtype.numpy).reshape(shape)
