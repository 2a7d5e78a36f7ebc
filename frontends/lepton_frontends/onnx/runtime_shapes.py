"""Operators that move elements, with sizes and positions that only the running program knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lepton_frontends.common.runtime_dims import bound_dims, flat_ints
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType

if TYPE_CHECKING:
    from lepton_frontends.onnx.builder import OnnxBuilder

_FAR = 2**62
"""Bounds of slices are clamped to this before sizes are added, so that nothing overflows."""


def number(b: OnnxBuilder, value: int) -> Value:
    """Return an i64 constant of rank 0."""
    return b.const(np.int64(value))


def sizes(b: OnnxBuilder, dims: Sequence[Dim]) -> Value:
    """Return dimensions as i64 of rank 1."""
    return b.tensor_dims(dims=tuple(dims))


def reshape_target(b: OnnxBuilder, x: Value, shape: Value, known: Sequence[Dim | None], allowzero: bool) -> list[Dim]:
    """Return the shape that a target means, of which more than one element depends on data (ONNX Reshape)."""
    target = flat_ints(b, shape)
    if not allowzero:
        own = [x.shape[i] if i < x.rank else 0 for i in range(len(known))]
        target = b.where(b.eq(target, number(b, 0)), sizes(b, own), target)
    is_open = b.eq(target, number(b, -1))
    others = b.reduce_prod(b.where(is_open, number(b, 1), target), axes=(0,), keepdims=False)
    rest = b.floordiv(b.reshaped(sizes(b, [x.tensor.size]), ()), b.maximum(others, number(b, 1)))
    target = b.where(is_open, rest, target)
    fixed = [d if (isinstance(d, int) and d > 0) or (d is not None and not isinstance(d, int)) else None for d in known]
    return list(bound_dims(b, target, fixed, "size in the target shape"))


def unsqueezed_shape(b: OnnxBuilder, x: Value, axes: Value, count: int) -> Sequence[Dim]:
    """Return the shape of x with new axes of size 1, where these are too many to choose between."""
    rank = x.rank + count
    if not x.rank:
        return [1] * rank
    given = flat_ints(b, axes)
    places = b.where(b.lt(given, number(b, 0)), b.add(given, number(b, rank)), given)
    ones = b.const(np.ones(count, np.int64))
    new = b.tensor_scatter_elements(b.const(np.zeros(rank, np.int64)), places, ones, axis=0, reduction="add")
    once = b.reduce_all(b.le(new, number(b, 1)), axes=(0,), keepdims=False)
    b.control_require(once, message="the list of axes of Unsqueeze names one twice")
    old = b.sub(b.tensor_cumsum(b.sub(number(b, 1), new), axis=0), number(b, 1))
    own = b.tensor_gather(sizes(b, x.shape), b.minimum(b.maximum(old, number(b, 0)), number(b, x.rank - 1)), axis=0)
    return bound_dims(b, b.where(b.eq(new, number(b, 0)), own, number(b, 1)), [None] * rank, "size")


def full_length(b: OnnxBuilder, values: Value, axes: Value | None, rank: int, fill: Value) -> Value:
    """Return ``values``, one for each of some axes, as one for every axis, ``fill`` where there is none."""
    flat = flat_ints(b, values)
    if axes is None:
        count = int(flat.shape[0])
        tail = b.tensor_slice(fill, starts=(count,), ends=(rank,), axes=(0,), steps=(1,))
        return flat if count == rank else b.tensor_concat([flat, tail], axis=0)
    return b.tensor_scatter_elements(fill, flat_ints(b, axes), flat, axis=0)


def slice_at_run_time(
    b: OnnxBuilder, x: Value, starts: Value, ends: Value, axes: Value | None, steps: Value | None
) -> Value:
    """Slice by bounds of which some depend on data: gather the elements of each axis that may be cut."""
    own = sizes(b, x.shape)
    step = full_length(b, b.const(np.ones(starts.tensor.size, np.int64)) if steps is None else steps, axes, x.rank,
                       b.const(np.ones(x.rank, np.int64)))  # fmt: skip
    first = full_length(b, starts, axes, x.rank, b.const(np.zeros(x.rank, np.int64)))
    last = full_length(b, ends, axes, x.rank, own)
    backwards = b.lt(step, number(b, 0))
    low = b.where(backwards, number(b, -1), number(b, 0))
    high = b.where(backwards, b.sub(own, number(b, 1)), own)
    first, last = (_clamped(b, bound, own, low, high) for bound in (first, last))
    distance = b.where(backwards, b.sub(first, last), b.sub(last, first))
    stride = b.abs(step)
    b.control_require(
        b.reduce_all(b.gt(stride, number(b, 0)), axes=(0,), keepdims=False), message="the step of a slice is 0"
    )
    safe = b.maximum(stride, number(b, 1))
    count = b.maximum(b.floordiv(b.add(distance, b.sub(safe, number(b, 1))), safe), number(b, 0))
    counts = bound_dims(b, count, [None] * x.rank, "size of a slice")
    for axis in _axes_cut(b, axes, x.rank, int(starts.tensor.size)):  # type: ignore[arg-type]
        place = b.tensor_iota(shape=(counts[axis],), axis=0, dtype=DType.I64)
        places = b.add(_element(b, first, axis), b.mul(place, _element(b, step, axis)))
        x = b.tensor_gather(x, places, axis=axis)
    return x


def _axes_cut(b: OnnxBuilder, axes: Value | None, rank: int, count: int) -> Sequence[int]:
    if axes is None:
        return range(count)
    known = b.array(axes)
    return range(rank) if known is None else sorted({int(a) % rank for a in known.reshape(-1)})


def _clamped(b: OnnxBuilder, bound: Value, size: Value, low: Value, high: Value) -> Value:
    near = b.minimum(b.maximum(bound, number(b, -_FAR)), number(b, _FAR))
    from_start = b.where(b.lt(near, number(b, 0)), b.add(near, size), near)
    return b.minimum(b.maximum(from_start, low), high)


def _element(b: OnnxBuilder, vector: Value, at: int) -> Value:
    return b.reshaped(b.tensor_slice(vector, starts=(at,), ends=(at + 1,), axes=(0,), steps=(1,)), ())


def pad_at_run_time(b: OnnxBuilder, x: Value, pads: Value, axes: Value | None, fill: Value | None, mode: str) -> Value:
    """Pad by amounts that depend on data; negative ones cut."""
    flat = flat_ints(b, pads)
    half = int(flat.shape[0]) // 2
    zeros = b.const(np.zeros(x.rank, np.int64))
    before, after = (
        full_length(
            b, b.tensor_slice(flat, starts=(i * half,), ends=(i * half + half,), axes=(0,), steps=(1,)),
            axes, x.rank, zeros,
        )
        for i in (0, 1)
    )  # fmt: skip
    amounts = b.tensor_concat([before, after], axis=0)
    more = bound_dims(b, b.maximum(amounts, number(b, 0)), [None] * (2 * x.rank), "padding")
    padded = b.tensor_pad(x, fill, pads=more, mode=mode)
    start = b.maximum(b.neg(before), number(b, 0))
    end = b.sub(sizes(b, padded.shape), b.maximum(b.neg(after), number(b, 0)))
    return slice_at_run_time(b, padded, start, end, None, None)


def range_at_run_time(b: OnnxBuilder, start: Value, limit: Value, delta: Value) -> Value:
    """Return ``start + i * delta`` for the i below ``ceil((limit - start) / delta)`` (ONNX Range)."""
    first, last, step = (b.reshaped(v, ()) for v in (start, limit, delta))
    wide = DType.F64 if first.tensor.dtype.is_float else DType.I64
    distance, stride = b.cast_to(b.sub(b.cast_to(last, wide), b.cast_to(first, wide)), wide), b.cast_to(step, wide)
    b.control_require(b.ne(stride, b.like(stride, 0)), message="the step of a range is 0")
    if wide is DType.F64:
        length = b.cast(b.ceil(b.div(distance, stride)), to=DType.I64)
    else:
        safe = b.where(b.eq(stride, number(b, 0)), number(b, 1), stride)
        length = b.neg(b.floordiv(b.neg(distance), safe))
    count = bound_dims(b, b.reshaped(b.maximum(length, number(b, 0)), (1,)), [None], "length of a range")
    place = b.tensor_iota(shape=count, axis=0, dtype=DType.I64)
    return b.add(first, b.mul(b.cast_to(place, first.tensor.dtype), step))
