"""Sorting, and searching in what is sorted."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.slices import cut
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axis_of, dim_of, int_of, number_of, result_type, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType


def extremes(b: AtenBuilder, x: Value, k: Dim, axis: int, largest: bool) -> tuple[Value, Value]:
    """Return the k largest or smallest elements in order and their indices; NaN is larger than all numbers."""
    if not x.rank:
        return (x, b.const(np.int64(0))) if k == 1 else _of_none(b, x, (k,))
    if x.tensor.size == 0 or k == 0:
        return _of_none(b, x, (*x.shape[:axis], k, *x.shape[axis + 1 :]))
    keys = b.cast(x, to=DType.U8) if x.tensor.dtype is DType.BOOL else x
    values, indices = b.tensor_topk(keys, k=k, axis=axis, largest=largest)
    return b.convert(values, x.tensor.dtype), indices


def _of_none(b: AtenBuilder, x: Value, shape: tuple[Dim, ...]) -> tuple[Value, Value]:
    return b.full(shape, 0, x.tensor.dtype), b.full(shape, 0, DType.I64)


@aten_op("sort")
def sort(
    b: AtenBuilder, self: Value, dim: Any = -1, descending: bool = False, *, stable: bool | None = None
) -> tuple[Value, Value]:
    axis = axis_of(dim, self.rank)
    return extremes(b, self, self.shape[axis] if self.rank else 1, axis, descending)


@aten_op("argsort")
def argsort(b: AtenBuilder, self: Value, dim: Any = -1, descending: bool = False, *, stable: bool = False) -> Value:
    return sort(b, self, dim, descending)[1]


@aten_op("msort")
def msort(b: AtenBuilder, self: Value) -> Value:
    return sort(b, self, 0)[0]


@aten_op("topk")
def topk(
    b: AtenBuilder, self: Value, k: Any, dim: Any = -1, largest: bool = True, sorted: bool = True
) -> tuple[Value, Value]:
    return extremes(b, self, dim_of(b, k, "number of elements"), axis_of(dim, self.rank), largest)


@aten_op("kthvalue")
def kthvalue(b: AtenBuilder, self: Value, k: Any, dim: Any = -1, keepdim: bool = False) -> tuple[Value, ...]:
    if not self.rank:
        return self, b.const(np.int64(0))
    axis, last = axis_of(dim, self.rank), dim_of(b, k, "number of elements")
    found = extremes(b, self, last, axis, largest=False)
    shape = (*self.shape[:axis], *([1] if keepdim else []), *self.shape[axis + 1 :])
    return tuple(b.reshaped(cut(b, v, axis, last - 1, last), shape) for v in found)


@aten_op("searchsorted")
def searchsorted(
    b: AtenBuilder, sorted_sequence: Value, self: Any, *, out_int32: bool = False, right: bool = False,
    side: str | None = None, sorter: Value | None = None,
) -> Value:  # fmt: skip
    """Count, for each value, the elements of the sorted line that come before it."""
    if side == "left" and right:
        raise UnsupportedError('it searches on the right and on the side "left"')
    line = sorted_sequence
    if sorter is not None:
        line = b.tensor_gather_elements(line, sorter, axis=line.rank - 1)
    dtype = result_type(line, self)
    values = tensor_of(b, self, dtype)
    line = b.convert(line, dtype)
    if line.rank > 1 and values.rank != line.rank:
        raise UnsupportedError(f"it searches for a tensor of rank {values.rank} in lines of rank {line.rank}")
    count = line.shape[-1]
    rows = b.reshaped(line, (count,) if line.rank == 1 else (*line.shape[:-1], 1, count))
    wanted = b.reshaped(values, (*values.shape, 1))
    # The opposite is asked, so that all elements come before NaN.
    later = b.gt(rows, wanted) if right or side == "right" else b.ge(rows, wanted)
    counts = b.cast(b.not_(later), to=DType.I64)
    found = b.reduce_sum(counts, axes=(counts.rank - 1,), keepdims=False)
    return b.cast(found, to=DType.I32) if out_int32 else found


@aten_op("bucketize")
def bucketize(b: AtenBuilder, self: Any, boundaries: Value, *, out_int32: bool = False, right: bool = False) -> Value:
    return searchsorted(b, boundaries, self, out_int32=out_int32, right=right)


@aten_op("histc")
def histc(b: AtenBuilder, self: Value, bins: Any = 100, min: Any = 0, max: Any = 0) -> Value:
    """Count the elements in bins of equal width; without bounds, between the smallest and the largest element."""
    dtype, count = self.tensor.dtype, int_of(bins, "number of bins")
    x = b.reshaped(self, (self.tensor.size,))
    if x.tensor.size == 0:
        return b.full((count,), 0, dtype)
    low, high = float(number_of(min, "lower bound")), float(number_of(max, "upper bound"))
    least, most = (b.const(v, dtype=dtype) for v in (low, high))
    if low == high:
        least, most = b.reduce_min(x, axes=(0,), keepdims=False), b.reduce_max(x, axes=(0,), keepdims=False)
    is_point = b.eq(least, most)
    one = b.const(1, dtype=dtype)
    least, most = b.where(is_point, b.sub(least, one), least), b.where(is_point, b.add(most, one), most)
    places = b.div(b.mul(b.sub(x, least), b.const(count, dtype=dtype)), b.sub(most, least))
    is_inside = b.and_(b.ge(x, least), b.le(x, most))
    last = b.const(np.int64(count - 1))
    within = b.minimum(b.cast(b.where(is_inside, places, b.const(0, dtype=dtype)), to=DType.I64), last)
    bin_ = b.where(is_inside, within, b.const(np.int64(count)))
    ones = b.full(x.shape, 1, DType.I64)
    found = b.tensor_scatter_elements(b.full((count + 1,), 0, DType.I64), bin_, ones, axis=0, reduction="add")
    return b.cast(cut(b, found, 0, 0, count), to=dtype)
