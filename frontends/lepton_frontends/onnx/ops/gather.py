"""Operators that read and write elements at indices."""

from __future__ import annotations

from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType


@onnx_op("Gather")
def gather(b: OnnxBuilder, x: Value, indices: Value, *, axis: int = 0) -> Value:
    return b.tensor_gather(x, indices, axis=b.axis(axis, x.rank))


@onnx_op("GatherElements", since=11)
def gather_elements(b: OnnxBuilder, x: Value, indices: Value, *, axis: int = 0) -> Value:
    return b.tensor_gather_elements(x, indices, axis=b.axis(axis, x.rank))


@onnx_op("GatherND", since=11)
def gather_nd(b: OnnxBuilder, x: Value, indices: Value, *, batch_dims: int = 0) -> Value:
    return b.tensor_gather_nd(x, indices, batch_dims=batch_dims)


@onnx_op("Scatter", since=9)
def scatter(b: OnnxBuilder, x: Value, indices: Value, updates: Value, *, axis: int = 0) -> Value:
    return b.tensor_scatter_elements(x, indices, updates, axis=b.axis(axis, x.rank))


@onnx_op("ScatterElements", since=11)
def scatter_elements(
    b: OnnxBuilder, x: Value, indices: Value, updates: Value, *, axis: int = 0, reduction: str = "none"
) -> Value:
    values = _countable(b, x, updates, reduction)
    y = b.tensor_scatter_elements(values[0], indices, values[1], axis=b.axis(axis, x.rank), reduction=reduction)
    return b.cast_to(y, x.tensor.dtype)


@onnx_op("ScatterND", since=11)
def scatter_nd(b: OnnxBuilder, x: Value, indices: Value, updates: Value, *, reduction: str = "none") -> Value:
    values = _countable(b, x, updates, reduction)
    return b.cast_to(b.tensor_scatter_nd(values[0], indices, values[1], reduction=reduction), x.tensor.dtype)


def _countable(b: OnnxBuilder, x: Value, updates: Value, reduction: str) -> tuple[Value, Value]:
    """Return truth values that are to be combined as integers: a sum of them is true where any is."""
    if reduction == "none" or x.tensor.dtype is not DType.BOOL:
        return x, updates
    return b.cast(x, to=DType.I32), b.cast(updates, to=DType.I32)


@onnx_op("ReverseSequence", since=10)
def reverse_sequence(b: OnnxBuilder, x: Value, lengths: Value, *, batch_axis: int = 1, time_axis: int = 0) -> Value:
    """Element t of a row of length n comes from n - 1 - t while t < n, else from t."""
    shape: list[Dim] = [1] * x.rank
    shape[time_axis] = x.shape[time_axis]
    t = b.tensor_iota(shape=tuple(shape), axis=time_axis, dtype=DType.I64)
    row: list[Dim] = [1] * x.rank
    row[batch_axis] = x.shape[batch_axis]
    n = b.reshaped(b.cast_to(lengths, DType.I64), row)
    source = b.where(b.lt(t, n), b.sub(b.sub(n, b.like(n, 1)), t), t)
    return b.tensor_gather_elements(x, b.tensor_expand(source, shape=tuple(x.shape)), axis=time_axis)


@onnx_op("TensorScatter", since=24)
def tensor_scatter(
    b: OnnxBuilder,
    cache: Value,
    update: Value,
    write_indices: Value | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> Value:
    """Write ``update`` into ``cache`` along ``axis``, from the position that each batch row names."""
    at = b.axis(axis, cache.rank)
    steps: list[Dim] = [1] * cache.rank
    steps[at] = update.shape[at]
    position = b.tensor_iota(shape=tuple(steps), axis=at, dtype=DType.I64)
    if write_indices is not None:
        rows = (update.shape[0], *[1] * (cache.rank - 1))
        position = b.add(position, b.reshaped(b.cast_to(write_indices, DType.I64), rows))
    if mode == "circular":
        position = b.mod(position, b.reshaped(b.tensor_dims(dims=(cache.shape[at],)), ()))
    return b.tensor_scatter_elements(cache, b.tensor_expand(position, shape=tuple(update.shape)), update, axis=at)
