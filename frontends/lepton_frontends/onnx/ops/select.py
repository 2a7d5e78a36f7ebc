"""Operators whose results are as long as the data says: NonZero, Compress, Unique, NonMaxSuppression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_frontends.common.runtime_dims import bound_dims
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.loops import Trip, runtime_loop
from lepton_frontends.onnx.rules import onnx_op
from lepton_frontends.onnx.runtime_shapes import number, sizes
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.types import DType


def _flat(b: OnnxBuilder, x: Value) -> Value:
    return b.reshaped(x, (x.tensor.size,))


def _places(b: OnnxBuilder, flags: Value, what: str) -> Value:
    """Return the places of the true elements of a line, in order.

    Each goes to where the number of true elements before it says; the others go to a place behind all.
    """
    size = flags.shape[0]
    ones = b.cast(flags, to=DType.I64)
    target = b.where(flags, b.tensor_cumsum(ones, axis=0, exclusive=True), b.reshaped(sizes(b, [size]), ()))
    line = b.tensor_iota(shape=(size,), axis=0, dtype=DType.I64)
    room = b.tensor_full(number(b, 0), shape=(size + 1,))
    packed = b.tensor_scatter_elements(room, target, line, axis=0)
    (count,) = bound_dims(b, b.reduce_sum(ones, axes=(0,), keepdims=True), [None], what)
    return b.tensor_slice(packed, starts=(0,), ends=(count,), axes=(0,), steps=(1,))


@onnx_op("NonZero", since=9)
def non_zero(b: OnnxBuilder, x: Value) -> Value:
    array = b.array(x)
    if array is not None:
        return b.const(np.array(np.nonzero(array), np.int64).reshape(array.ndim, -1))
    if not x.rank:
        # As numpy.nonzero of a scalar: one column where it is not zero, and no row.
        places = _places(b, _flat(b, _is_set(b, x)), "number of elements that are not zero")
        return b.reshaped(b.tensor_slice(places, starts=(0,), ends=(0,), axes=(0,), steps=(1,)), (0, places.shape[0]))
    places = _places(b, _flat(b, _is_set(b, x)), "number of elements that are not zero")
    return b.tensor_concat([b.reshaped(i, (1, i.shape[0])) for i in _unraveled(b, places, x.shape)], axis=0)


def _is_set(b: OnnxBuilder, x: Value) -> Value:
    if x.tensor.dtype is DType.BOOL:
        return x
    return b.ne(x, b.const(np.asarray("", object)) if x.tensor.dtype is DType.STR else b.like(x, 0))


def _unraveled(b: OnnxBuilder, places: Value, shape: Sequence[Dim]) -> list[Value]:
    """Return the indices along each axis of elements whose places in memory order are given."""
    found = []
    for axis, size in enumerate(shape):
        step, extent = (b.reshaped(sizes(b, [d]), ()) for d in (product(shape[axis + 1 :]), size))
        found.append(b.mod(b.floordiv(places, step), extent))
    return found


@onnx_op("Compress", since=9)
def compress(b: OnnxBuilder, x: Value, condition: Value, *, axis: int | None = None) -> Value:
    mask = b.array(condition)
    if mask is not None:
        kept = b.const(np.flatnonzero(mask).astype(np.int64))
    else:
        kept = _places(b, _flat(b, condition), "number of elements that are kept")
    if axis is None:
        return b.tensor_gather(_flat(b, x), kept, axis=0)
    return b.tensor_gather(x, kept, axis=b.axis(axis, x.rank))


@onnx_op("Unique", since=11)
def unique(b: OnnxBuilder, x: Value, *, axis: int | None = None, sorted: int = 1) -> tuple[Value, Value, Value, Value]:
    """Sort, mark where a new value begins, and count from mark to mark."""
    along = 0 if axis is None else b.axis(axis, x.rank)
    source = _flat(b, x) if axis is None else x
    n = source.shape[along]
    rows = b.reshaped(_first(b, source, along), (n, product(d for i, d in enumerate(source.shape) if i != along)))
    order = _sorted_rows(b, rows)
    begins = _begins(b, b.tensor_gather(rows, order, axis=0))
    starts = _places(b, begins, "number of unique elements")
    group = b.sub(b.tensor_cumsum(b.cast(begins, to=DType.I64), axis=0), number(b, 1))
    inverse = b.tensor_scatter_elements(b.tensor_full(number(b, 0), shape=(n,)), order, group, axis=0)
    ends = b.tensor_concat([b.tensor_slice(starts, starts=(1,), ends=(starts.shape[0],), axes=(0,), steps=(1,)),
                            sizes(b, [n])], axis=0) if n != 0 else starts  # fmt: skip
    counts = b.sub(b.tensor_slice(ends, starts=(0,), ends=(starts.shape[0],), axes=(0,), steps=(1,)), starts)
    first = b.tensor_gather(order, starts, axis=0)
    if not sorted:
        count = starts.shape[0]
        first, turn = b.tensor_topk(first, k=count, axis=0, largest=False, sorted=True)
        counts = b.tensor_gather(counts, turn, axis=0)
        line = b.tensor_iota(shape=(count,), axis=0, dtype=DType.I64)
        place = b.tensor_scatter_elements(b.tensor_full(number(b, 0), shape=(count,)), turn, line, axis=0)
        inverse = b.tensor_gather(place, inverse, axis=0)
    return b.tensor_gather(source, first, axis=along), first, inverse, counts


def _first(b: OnnxBuilder, x: Value, axis: int) -> Value:
    """Return x with ``axis`` in front."""
    order = (axis, *(i for i in range(x.rank) if i != axis))
    return b.tensor_transpose(x, perm=order) if axis else x


def _sorted_rows(b: OnnxBuilder, rows: Value) -> Value:
    """Return the order that sorts rows by their first elements, equal ones by the next; equal rows keep theirs.

    A stable sort by the last column, then by the one before it, and so on.
    """
    n, columns = rows.shape
    keys = b.cast(rows, to=DType.U8) if rows.tensor.dtype is DType.BOOL else rows
    start = b.tensor_iota(shape=(n,), axis=0, dtype=DType.I64)

    def by_column(inner: OnnxBuilder, column: Value, order: Value) -> Value:
        key = inner.tensor_gather(inner.tensor_gather(keys, column, axis=1), order, axis=0)
        return inner.tensor_gather(order, inner.tensor_topk(key, k=n, axis=0, largest=False, sorted=True)[1], axis=0)

    if columns == 1:
        return by_column(b, number(b, 0), start)
    last = b.sub(b.reshaped(sizes(b, [columns]), ()), number(b, 1))

    def one_trip(inner: OnnxBuilder, trip: Value, carried: Sequence[Value]) -> Trip:
        order = by_column(inner, inner.sub(last, trip), carried[0])
        return Trip(inner.const(np.True_), [order], [])

    return runtime_loop(b, b.add(last, number(b, 1)), None, [start], one_trip)[0]


def _begins(b: OnnxBuilder, rows: Value) -> Value:
    """Return whether each row differs from the one before it; NaN equals NaN, as in numpy.unique."""
    n = rows.shape[0]
    line = b.tensor_iota(shape=(n,), axis=0, dtype=DType.I64)
    before = b.tensor_gather(rows, b.maximum(b.sub(line, number(b, 1)), number(b, 0)), axis=0)
    differ = b.ne(rows, before)
    if rows.tensor.dtype.is_float:
        differ = b.and_(differ, b.or_(b.eq(rows, rows), b.eq(before, before)))
    anywhere = b.reduce_any(differ, axes=(1,), keepdims=False)
    return b.or_(anywhere, b.eq(line, number(b, 0)))


@onnx_op("NonMaxSuppression", since=10)
def non_max_suppression(
    b: OnnxBuilder,
    boxes: Value,
    scores: Value,
    max_output_boxes_per_class: Value | None = None,
    iou_threshold: Value | None = None,
    score_threshold: Value | None = None,
    *,
    center_point_box: int = 0,
) -> Value:
    """Sort the boxes of every class of every batch, drop those that overlap with better ones, and pack the rest."""
    batch, classes, count = scores.shape
    most = max_output_boxes_per_class
    limit = number(b, 0) if most is None else _flat_scalar(b, most, DType.I64)
    overlap = b.like(scores, 0) if iou_threshold is None else _flat_scalar(b, iou_threshold, DType.F32)
    least = b.like(scores, float("-inf")) if score_threshold is None else _flat_scalar(b, score_threshold, DType.F32)
    best, order = b.tensor_topk(scores, k=count, axis=2, largest=True, sorted=True)
    corners = b.tensor_expand(_corners(b, boxes, center_point_box), shape=(batch, classes, 4, count))
    places = b.tensor_expand(b.reshaped(order, (batch, classes, 1, count)), shape=(batch, classes, 4, count))
    sorted_corners = b.tensor_gather_elements(corners, places, axis=3)
    taken = b.nn_suppress_overlaps(sorted_corners, b.gt(best, least), overlap, limit)
    found = _places(b, _flat(b, taken), "number of selected boxes")
    ids = [*_unraveled(b, found, taken.shape)[:2], b.tensor_gather(_flat(b, order), found, axis=0)]
    return b.tensor_concat([b.reshaped(i, (i.shape[0], 1)) for i in ids], axis=1)


def _flat_scalar(b: OnnxBuilder, value: Value, dtype: DType) -> Value:
    return b.cast_to(b.reshaped(value, ()), dtype)


def _corners(b: OnnxBuilder, boxes: Value, center_point_box: int) -> Value:
    """Return the least and largest coordinates of boxes, y1, x1, y2, x2, as [batch, 1, 4, boxes]."""
    batch, count = boxes.shape[0], boxes.shape[1]
    pieces = b.tensor_split(boxes, axis=2, sizes=(1, 1, 1, 1))
    a, c, d, e = (b.reshaped(p, (batch, 1, 1, count)) for p in pieces)
    if not center_point_box:
        return b.tensor_concat([b.minimum(a, d), b.minimum(c, e), b.maximum(a, d), b.maximum(c, e)], axis=2)
    half = b.like(boxes, 0.5)
    x, y, w, h = a, c, b.mul(d, half), b.mul(e, half)
    return b.tensor_concat([b.sub(y, h), b.sub(x, w), b.add(y, h), b.add(x, w)], axis=2)
