"""Data of ONNX tensors that lies not as a processor has it: in typed fields, packed in parts of bytes, sparse."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import TensorProto

from lepton_ir.ir.types import DType

DATA_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data", "raw_data")
_FIELDS = {
    DType.STR: "string_data", DType.F32: "float_data", DType.C64: "float_data", DType.F64: "double_data",
    DType.C128: "double_data", DType.I64: "int64_data", DType.U32: "uint64_data", DType.U64: "uint64_data",
}  # fmt: skip


def field_of(dtype: DType) -> str:
    """Return the field that has the data of tensors of this element type (``TensorProto`` in onnx.proto)."""
    return _FIELDS.get(dtype, "int32_data")


def typed(tensor: TensorProto, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    """Return the data of a tensor that holds it in the field of its element type.

    Raises:
        ValueError: its length does not fit the shape, or a number the element type.
    """
    data = getattr(tensor, field_of(dtype))
    count = _stored(dtype, prod(shape))
    if len(data) != count:
        raise ValueError(f"{len(data)} numbers in {field_of(dtype)} do not fill {list(shape)} of {dtype}")
    if dtype is DType.STR:
        strings = np.empty(len(data), dtype=object)
        strings[:] = [v.decode("utf-8", "replace") for v in data]
        return strings.reshape(shape)
    if dtype in (DType.F32, DType.C64):
        return np.array(data, np.float32).view(dtype.numpy).reshape(shape)
    if dtype in (DType.F64, DType.C128):
        return np.array(data, np.float64).view(dtype.numpy).reshape(shape)
    if dtype is DType.I64:
        return np.array(data, np.int64).reshape(shape)
    if dtype in (DType.U32, DType.U64):
        return _narrowed(np.array(data, np.uint64), dtype.numpy).reshape(shape)
    # All others are in int32_data: small integers by value, floats by their bits, 2 and 4 bits packed.
    numbers = np.array(data, np.int32)
    if dtype.bits == 6:
        return _narrowed(numbers, np.dtype(np.uint8)).view(dtype.numpy).reshape(shape)
    if dtype.bits < 8:
        return unpacked(_narrowed(numbers, np.dtype(np.uint8)).tobytes(), dtype, shape)
    if dtype.is_float:
        bits = _narrowed(numbers, np.dtype(np.uint8 if dtype.bits == 8 else np.uint16))
        return bits.view(dtype.numpy).reshape(shape)
    return _narrowed(numbers, dtype.numpy).reshape(shape)


def _stored(dtype: DType, count: int) -> int:
    """Return how many entries of a typed field ``count`` elements take."""
    if dtype in (DType.C64, DType.C128):
        return 2 * count
    return (count * dtype.bits + 7) // 8 if 0 < dtype.bits < 8 and dtype.bits != 6 else count


def _narrowed(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    narrow = numbers.astype(dtype)
    if not np.array_equal(narrow.astype(numbers.dtype), numbers):
        raise ValueError(f"a number of its data is out of the range of {dtype}")
    return narrow


def unpacked(data: bytes | memoryview, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers of 2, 4 or 6 bits that are packed into bytes, the first in the lowest bits.

    Raises:
        ValueError: there are more or fewer bytes than that takes.
    """
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


def dense(values: np.ndarray, indices: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a sparse tensor with its zeros (``SparseTensorProto`` in onnx.proto).

    Args:
        values: the entries that are not the default, [NNZ].
        indices: where they stand, in any order: [NNZ] counts elements, [NNZ, rank] gives coordinates.
        shape: the shape of the whole.

    Raises:
        ValueError: an index lies outside of the shape or comes twice, or the parts do not fit each other.
    """
    if values.ndim != 1 or indices.dtype != np.int64:
        raise ValueError("its values must have one dimension, and its indices must be int64")
    if indices.shape not in ((values.size,), (values.size, len(shape))):
        raise ValueError(f"{values.size} values have indices of shape {list(indices.shape)}")
    if values.dtype == object:
        raise ValueError("strings cannot be sparse")
    if indices.ndim == 2:
        if ((indices < 0) | (indices >= np.array(shape, np.int64))).any():
            raise ValueError(f"an index lies outside of the shape {list(shape)}")
        positions = np.zeros(values.size, np.int64)
        for axis, size in enumerate(shape):
            positions = positions * size + indices[:, axis]
    else:
        positions = indices
    if positions.size and not (positions.min() >= 0 and positions.max() < prod(shape)):
        raise ValueError(f"an index lies outside of the shape {list(shape)}")
    if np.unique(positions).size < positions.size:
        raise ValueError("an index comes twice")
    whole = np.zeros(prod(shape), values.dtype)
    whole[positions] = values
    return whole.reshape(shape)
