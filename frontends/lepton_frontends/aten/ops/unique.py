"""Distinct elements, rows, and runs: as many as the data says."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.nonzero import flat, places, whole
from lepton_frontends.aten.ops.slices import cut
from lepton_frontends.aten.ops.strided import line
from lepton_frontends.aten.ops.views import to_front, transposed
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axis_of
from lepton_ir.ir.core import Block, Region, Value
from lepton_ir.ir.dim import product
from lepton_ir.ir.types import DType
from lepton_ir.ops.control import Loop

Found = tuple[Value, Value, Value]
"""The distinct elements, the place among them of each element, and how often each occurs."""


@aten_op("_unique2")
def unique2(
    b: AtenBuilder, self: Value, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> Found:
    line_ = flat(b, self)
    found, inverse, counts = _runs(b, line_, 0, _sorted_rows(b, _rows(b, line_, 0)))
    return found, b.reshaped(inverse, self.shape), counts


@aten_op("_unique")
def unique(b: AtenBuilder, self: Value, sorted: bool = True, return_inverse: bool = False) -> tuple[Value, Value]:
    return unique2(b, self)[:2]


@aten_op("unique_dim")
def unique_dim(
    b: AtenBuilder, self: Value, dim: Any, sorted: bool = True, return_inverse: bool = False,
    return_counts: bool = False,
) -> Found:  # fmt: skip
    axis = axis_of(dim, self.rank)
    return _runs(b, self, axis, _sorted_rows(b, _rows(b, self, axis)))


@aten_op("unique_consecutive")
def unique_consecutive(
    b: AtenBuilder, self: Value, return_inverse: bool = False, return_counts: bool = False, dim: Any = None
) -> Found:
    if dim is not None and self.rank:
        axis = axis_of(dim, self.rank)
        return _runs(b, self, axis, None)
    found, inverse, counts = _runs(b, flat(b, self), 0, None)
    return found, b.reshaped(inverse, self.shape), counts


@aten_op("unique_dim_consecutive")
def unique_dim_consecutive(
    b: AtenBuilder, self: Value, dim: Any, return_inverse: bool = False, return_counts: bool = False
) -> Found:
    return unique_consecutive(b, self, return_inverse, return_counts, dim)


def _rows(b: AtenBuilder, x: Value, axis: int) -> Value:
    """Return the slices of x along an axis as the rows of a matrix."""
    n = x.shape[axis]
    columns = product(d for i, d in enumerate(x.shape) if i != axis)
    return b.reshaped(transposed(b, x, to_front(x.rank, axis)), (n, columns))


def _runs(b: AtenBuilder, x: Value, axis: int, order: Value | None) -> Found:
    """Return the first slice of each run of equal ones, in an order that is given or in that of x."""
    n = x.shape[axis]
    rows = _rows(b, x, axis)
    begins = _begins(b, rows if order is None else b.tensor_gather(rows, order, axis=0))
    starts = places(b, begins, "number of distinct elements")
    count = starts.shape[0]
    group = b.sub(b.tensor_cumsum(b.cast(begins, to=DType.I64), axis=0), whole(b, 1))
    ends = cut(b, b.tensor_concat([starts, b.reshaped(whole(b, n), (1,))], axis=0), 0, 1, count + 1)
    if order is not None:
        group = b.tensor_scatter_elements(b.full((n,), 0, DType.I64), order, group, axis=0)
        first = b.tensor_gather(order, starts, axis=0)
    else:
        first = starts
    return b.tensor_gather(x, first, axis=axis), group, b.sub(ends, starts)


def _begins(b: AtenBuilder, rows: Value) -> Value:
    """Return whether each row differs from the one before it; NaN differs from everything."""
    n = rows.shape[0]
    at = line(b, n)
    before = b.tensor_gather(rows, b.maximum(b.sub(at, whole(b, 1)), whole(b, 0)), axis=0)
    differs = b.reduce_any(b.ne(rows, before), axes=(1,), keepdims=False)
    return b.or_(differs, b.eq(at, whole(b, 0)))


def _sorted_rows(b: AtenBuilder, rows: Value) -> Value:
    """Return the order that sorts rows by their first elements, equal ones by the next.

    A stable sort by the last column, then by the one before it, and so on.
    """
    n, columns = rows.shape
    keys = b.cast(rows, to=DType.U8) if rows.tensor.dtype is DType.BOOL else rows
    start = line(b, n)
    if n == 0 or columns == 0:
        return start
    if columns == 1:
        return b.tensor_topk(b.reshaped(keys, (n,)), k=n, axis=0, largest=False)[1]
    block = Block()
    trip = block.add_argument(start.tensor.with_shape(()))
    order = block.add_argument(start.tensor)
    inner = b.inner(block)
    column = inner.sub(whole(inner, columns - 1), trip)
    key = inner.tensor_gather(inner.tensor_gather(keys, column, axis=1), order, axis=0)
    better = inner.tensor_gather(order, inner.tensor_topk(key, k=n, axis=0, largest=False)[1], axis=0)
    inner.yield_([inner.const(np.True_), better])
    loop = Loop.build(
        whole(b, columns), None, [start], result_types=[start.tensor], regions=[Region(block)], location=b.location
    )
    b.insert(loop)
    return loop.results[0]
