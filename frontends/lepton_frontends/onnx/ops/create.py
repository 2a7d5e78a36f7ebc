"""Operators that make tensors: constants, ranges, shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import SparseTensorProto, TensorProto

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.runtime_dims import partial_dims
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_frontends.onnx.runtime_shapes import range_at_run_time
from lepton_frontends.onnx.tensors import dtype_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, ceildiv
from lepton_ir.ir.types import DType

_LONGEST = 1 << 24


@onnx_op("Constant")
def constant(
    b: OnnxBuilder,
    *,
    value: TensorProto | None = None,
    value_float: float | None = None,
    value_floats: Sequence[float] | None = None,
    value_int: int | None = None,
    value_ints: Sequence[int] | None = None,
    value_string: str | None = None,
    value_strings: Sequence[str] | None = None,
    sparse_value: SparseTensorProto | None = None,
) -> Value:
    given = (value, value_float, value_floats, value_int, value_ints, value_string, value_strings, sparse_value)
    if sum(v is not None for v in given) != 1:
        raise UnsupportedError("it must have one value", "the model is not valid ONNX")
    if sparse_value is not None:
        return b.const(b.importer.reader.read_sparse(sparse_value))
    if value is not None:
        return b.const(b.importer.reader.read(value))
    if value_float is not None or value_floats is not None:
        return b.const(np.asarray(value_floats if value_float is None else value_float, np.float32))
    if value_int is not None or value_ints is not None:
        return b.const(np.asarray(value_ints if value_int is None else value_int, np.int64))
    return b.const(np.asarray(value_strings if value_string is None else value_string, object))


@onnx_op("ConstantOfShape", since=9)
def constant_of_shape(b: OnnxBuilder, shape: Value, *, value: TensorProto | None = None) -> Value:
    dims = b.dims(shape, "shape")
    scalar = np.zeros(1, np.float32) if value is None else b.importer.reader.read(value).array
    return b.tensor_full(b.const(scalar.reshape(())), shape=dims)


@onnx_op("Shape")
def shape_of(b: OnnxBuilder, x: Value, *, start: int = 0, end: int | None = None) -> Value:
    return b.tensor_dims(dims=tuple(x.shape[start:end]))


@onnx_op("Size")
def size_of(b: OnnxBuilder, x: Value) -> Value:
    return b.reshaped(b.tensor_dims(dims=(x.tensor.size,)), ())


@onnx_op("Range", since=11)
def range_(b: OnnxBuilder, start: Value, limit: Value, delta: Value) -> Value:
    dtype = start.tensor.dtype
    known = [b.array(v) is not None for v in (start, limit, delta)]
    if not all(known) and (dtype.is_float or not all(None not in partial_dims(b, v) for v in (start, limit, delta))):
        return range_at_run_time(b, start, limit, delta)
    if dtype.is_float:
        numbers = [b.floats(v, "range")[0] for v in (start, limit, delta)]
        count = _count(*numbers)
        # In one expression per element, as ONNX defines it, so that rounding does not add up.
        return b.const((numbers[0] + np.arange(count) * numbers[2]).astype(dtype.numpy))
    first, last = (b.dims(v, "range")[0] for v in (start, limit))
    step = b.ints(delta, "step of the range")[0]
    if step == 0:
        raise UnsupportedError("the step of the range is 0", "the model is not valid ONNX")
    length = ceildiv(last - first if step > 0 else first - last, abs(step))
    size: Dim = max(length, 0) if isinstance(length, int) else length
    return b.tensor_iota(shape=(size,), axis=0, dtype=dtype, start=first, step=step)


def _count(start: float, limit: float, delta: float) -> int:
    count = np.ceil((limit - start) / delta) if delta else np.inf
    if not count <= _LONGEST:
        raise UnsupportedError(f"the range from {start} to {limit} in steps of {delta} has too many elements")
    return max(0, int(count))


@onnx_op("EyeLike", since=9)
def eye_like(b: OnnxBuilder, x: Value, *, dtype: int | None = None, k: int = 0) -> Value:
    kind = x.tensor.dtype if dtype is None else dtype_of(dtype)
    if x.rank != 2:
        raise UnsupportedError(f"it takes a matrix, and gets a tensor of rank {x.rank}", "the model is not valid ONNX")
    rows = b.tensor_iota(shape=tuple(x.shape), axis=0, dtype=DType.I64)
    columns = b.tensor_iota(shape=tuple(x.shape), axis=1, dtype=DType.I64, start=-k)
    return b.cast(b.eq(rows, columns), to=kind)


@onnx_op("OneHot", since=9)
def one_hot(b: OnnxBuilder, indices: Value, depth: Value, values: Value, *, axis: int = -1) -> Value:
    count = b.dims(depth, "depth")[0]
    numbers = indices if indices.tensor.dtype.is_integer else b.cast(indices, to=DType.I64)
    return b.tensor_one_hot(numbers, values, depth=count, axis=b.axis(axis, indices.rank + 1))
