"""Places of true elements, and other results that are as long as the data says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.slices import cut
from lepton_frontends.aten.ops.strided import line
from lepton_frontends.aten.ops.views import expanded
from lepton_frontends.aten.rules import Scalar, aten_op
from lepton_frontends.aten.types import dim_of, int_of, tensor_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.types import DType, broadcast_shapes


def flat(b: AtenBuilder, x: Value) -> Value:
    """Return the elements of x in one line."""
    return b.reshaped(x, (x.tensor.size,))


def whole(b: AtenBuilder, number: Dim) -> Value:
    """Return a whole number as i64 of rank 0."""
    return tensor_of(b, number, DType.I64)


def packed(b: AtenBuilder, flags: Value, room: Dim, fill: int) -> Value:
    """Return the places of the first true elements of a line in ``room`` elements, the others hold ``fill``.

    Each goes to where the number of true elements before it says; what is not wanted goes to a place behind all.
    """
    size = flags.shape[0]
    target = b.tensor_cumsum(b.cast(flags, to=DType.I64), axis=0, exclusive=True)
    behind = whole(b, room)
    target = b.where(flags, b.minimum(target, behind), behind)
    start = b.full((room + 1,), fill, DType.I64)
    return cut(b, b.tensor_scatter_elements(start, target, line(b, size), axis=0), 0, 0, room)


def places(b: AtenBuilder, flags: Value, what: str) -> Value:
    """Return the places of the true elements of a line, in order; ``what`` names their number in errors."""
    known = b.array(flags)
    if known is not None:
        return b.const(np.flatnonzero(known).astype(np.int64))
    size = flags.shape[0]
    total = b.reduce_sum(b.cast(flags, to=DType.I64), axes=(0,), keepdims=False)
    count = dim_of(b, Scalar(total), what)
    return cut(b, packed(b, flags, size, 0), 0, 0, count)


def unraveled(b: AtenBuilder, found: Value, shape: Sequence[Dim]) -> list[Value]:
    """Return the indices along each axis of elements whose places in memory order are given."""
    if any(d == 0 for d in shape):
        return [found for _ in shape]
    indices = []
    for axis, size in enumerate(shape):
        step = product(shape[axis + 1 :])
        along = found if step == 1 else b.floordiv(found, whole(b, step))
        indices.append(along if axis == 0 else b.mod(along, whole(b, size)))
    return indices


@aten_op("nonzero", "argwhere")
def nonzero(b: AtenBuilder, self: Value) -> Value:
    found = places(b, flat(b, b.convert(self, DType.BOOL)), "number of elements that are not zero")
    if not self.rank:
        return b.reshaped(cut(b, found, 0, 0, 0), (found.shape[0], 0))
    columns = [b.reshaped(i, (i.shape[0], 1)) for i in unraveled(b, found, self.shape)]
    return columns[0] if len(columns) == 1 else b.tensor_concat(columns, axis=1)


@aten_op("nonzero_numpy")
def nonzero_numpy(b: AtenBuilder, self: Value) -> list[Value]:
    x = self if self.rank else b.reshaped(self, (1,))
    found = places(b, flat(b, b.convert(x, DType.BOOL)), "number of elements that are not zero")
    return unraveled(b, found, x.shape)


@aten_op("nonzero_static")
def nonzero_static(b: AtenBuilder, self: Value, *, size: Any, fill_value: Any = -1) -> Value:
    room = dim_of(b, size)
    if not self.rank or self.tensor.size == 0:
        return b.full((room, self.rank), int_of(fill_value), DType.I64)
    found = packed(b, flat(b, b.convert(self, DType.BOOL)), room, -1)
    is_set = b.ge(found, b.const(np.int64(0)))
    fill = b.const(np.int64(int_of(fill_value)))
    columns = [b.reshaped(b.where(is_set, i, fill), (room, 1)) for i in unraveled(b, found, self.shape)]
    return columns[0] if len(columns) == 1 else b.tensor_concat(columns, axis=1)


@aten_op("masked_select")
def masked_select(b: AtenBuilder, self: Value, mask: Value) -> Value:
    shape = broadcast_shapes(self.shape, mask.shape)
    flags = flat(b, expanded(b, b.convert(mask, DType.BOOL), shape))
    return b.tensor_gather(flat(b, expanded(b, self, shape)), places(b, flags, "number of selected elements"), axis=0)


@aten_op("masked_fill")
def masked_fill(b: AtenBuilder, self: Value, mask: Value, value: Any) -> Value:
    number = tensor_of(b, value, self.tensor.dtype)
    return b.where(b.convert(mask, DType.BOOL), b.reshaped(number, ()), self)


@aten_op("masked_scatter")
def masked_scatter(b: AtenBuilder, self: Value, mask: Value, source: Value) -> Value:
    """The true elements take those of the source one after the other."""
    shape = broadcast_shapes(self.shape, mask.shape)
    x, flags = expanded(b, self, shape), flat(b, expanded(b, b.convert(mask, DType.BOOL), shape))
    # An element behind the source stands where nothing is taken, so that the source may be empty.
    line_ = b.tensor_concat([flat(b, source), b.full((1,), 0, source.tensor.dtype)], axis=0)
    turn = b.tensor_cumsum(b.cast(flags, to=DType.I64), axis=0, exclusive=True)
    taken = b.tensor_gather(line_, b.where(flags, turn, whole(b, source.tensor.size)), axis=0)
    return b.reshaped(b.where(flags, taken, flat(b, x)), shape)


@aten_op("bincount")
def bincount(b: AtenBuilder, self: Value, weights: Value | None = None, minlength: Any = 0) -> Value:
    least = dim_of(b, minlength)
    dtype = DType.I64 if weights is None else DType.F32 if weights.tensor.dtype is DType.F32 else DType.F64
    if self.tensor.size == 0:
        return b.full((least,), 0, dtype)
    found = b.cast_to(self, DType.I64)
    top = b.add(b.reduce_max(found, axes=(0,), keepdims=False), whole(b, 1))
    size = dim_of(b, Scalar(b.maximum(top, whole(b, least))), "number of bins")
    each = b.full(self.shape, 1, dtype) if weights is None else b.convert(weights, dtype)
    return b.tensor_scatter_elements(b.full((size,), 0, dtype), found, each, axis=0, reduction="add")


@aten_op("one_hot")
def one_hot(b: AtenBuilder, self: Value, num_classes: Any = -1) -> Value:
    depth: Dim
    if num_classes == -1:
        top = b.reduce_max(flat(b, self), axes=(0,), keepdims=False)
        depth = dim_of(b, Scalar(b.add(top, b.like(top, 1))), "number of classes")
    else:
        depth = dim_of(b, num_classes)
    column = b.reshaped(self, (*self.shape, 1))
    classes = b.cast_to(line(b, depth, self.rank + 1, self.rank), self.tensor.dtype)
    return b.cast(b.eq(column, classes), to=DType.I64)
