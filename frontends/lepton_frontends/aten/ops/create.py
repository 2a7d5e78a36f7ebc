"""Operators that make tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import (
    Number,
    dims_of,
    dtype_of,
    int_of,
    number_type,
    result_type,
    tensor_of,
)  # fmt: skip
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType


@aten_op("zeros", "ones", "empty", "empty_permuted")
def constant(b: AtenBuilder, size: Any, *_: Any, dtype: Any = None, names: Any = None) -> Value:
    """What an empty tensor holds nobody may ask; here it is zeros."""
    return b.full(dims_of(b, size), 1 if b.op == "ones" else 0, dtype_of(dtype, DType.F32))


@aten_op("empty_strided")
def empty_strided(b: AtenBuilder, size: Any, stride: Any, *, dtype: Any = None) -> Value:
    return b.full(dims_of(b, size), 0, dtype_of(dtype, DType.F32))


@aten_op("full")
def full(b: AtenBuilder, size: Any, fill_value: Number, *, dtype: Any = None, names: Any = None) -> Value:
    kind = dtype_of(dtype, number_type(fill_value))
    return b.tensor_full(tensor_of(b, fill_value, kind), shape=dims_of(b, size))


@aten_op("zeros_like", "ones_like", "empty_like")
def constant_like(b: AtenBuilder, self: Value, *, dtype: Any = None) -> Value:
    return b.full(self.shape, 1 if b.op == "ones_like" else 0, dtype_of(dtype, self.tensor.dtype))


@aten_op("full_like")
def full_like(b: AtenBuilder, self: Value, fill_value: Number, *, dtype: Any = None) -> Value:
    kind = dtype_of(dtype, self.tensor.dtype)
    return b.tensor_full(tensor_of(b, fill_value, kind), shape=tuple(self.shape))


@aten_op("new_zeros", "new_ones", "new_empty")
def new_constant(b: AtenBuilder, self: Value, size: Any, *, dtype: Any = None) -> Value:
    return b.full(dims_of(b, size), 1 if b.op == "new_ones" else 0, dtype_of(dtype, self.tensor.dtype))


@aten_op("new_empty_strided")
def new_empty_strided(b: AtenBuilder, self: Value, size: Any, stride: Any, *, dtype: Any = None) -> Value:
    return b.full(dims_of(b, size), 0, dtype_of(dtype, self.tensor.dtype))


@aten_op("new_full")
def new_full(b: AtenBuilder, self: Value, size: Any, fill_value: Number, *, dtype: Any = None) -> Value:
    kind = dtype_of(dtype, self.tensor.dtype)
    return b.tensor_full(tensor_of(b, fill_value, kind), shape=dims_of(b, size))


@aten_op("fill")
def fill(b: AtenBuilder, self: Value, value: Value | Number) -> Value:
    return b.tensor_full(b.reshaped(tensor_of(b, value, self.tensor.dtype), ()), shape=tuple(self.shape))


@aten_op("zero")
def zero(b: AtenBuilder, self: Value) -> Value:
    return b.full(self.shape, 0, self.tensor.dtype)


@aten_op("scalar_tensor")
def scalar_tensor(b: AtenBuilder, s: Number, *, dtype: Any = None) -> Value:
    return tensor_of(b, s, dtype_of(dtype, DType.F32))


@aten_op("tensor")
def tensor(b: AtenBuilder, data: Any, *, dtype: Any = None) -> Value:
    """Numbers in nested lists; some may be known only at run time."""
    numbers, shape = _flat(data)
    kind = dtype_of(dtype, result_type(*numbers) if numbers else DType.F32)
    if all(isinstance(n, (bool, int, float, complex)) for n in numbers):
        return (
            b.convert(b.const(data, dtype=DType.I64 if kind.is_integer else None), kind)
            if numbers
            else b.full(shape, 0, kind)
        )
    parts = [b.reshaped(tensor_of(b, n, kind), (1,)) for n in numbers]
    return b.reshaped(parts[0] if len(parts) == 1 else b.tensor_concat(parts, axis=0), shape)


def _flat(data: Any) -> tuple[list[Any], tuple[int, ...]]:
    if not isinstance(data, (list, tuple)):
        return [data], ()
    parts = [_flat(d) for d in data]
    return [n for numbers, _ in parts for n in numbers], (len(data), *(parts[0][1] if parts else ()))


@aten_op("eye")
def eye(b: AtenBuilder, n: Any, m: Any = None, *, dtype: Any = None) -> Value:
    rows, columns = dims_of(b, [n, n if m is None else m])
    row, column = b.tensor_iota(shape=(rows, 1), axis=0), b.tensor_iota(shape=(1, columns), axis=1)
    return b.convert(b.eq(row, column), dtype_of(dtype, DType.F32))


@aten_op("tril_indices", "triu_indices")
def triangle_indices(b: AtenBuilder, row: Any, col: Any, offset: Any = 0, *, dtype: Any = None) -> Value:
    rows, columns, shift = int_of(row), int_of(col), int_of(offset)
    lower = b.op == "tril_indices"
    pairs = [(i, j) for i in range(rows) for j in range(columns) if (j - i <= shift if lower else j - i >= shift)]
    table: Sequence[Any] = [[p[0] for p in pairs], [p[1] for p in pairs]]
    return b.convert(b.const(table, dtype=DType.I64), dtype_of(dtype, DType.I64))
