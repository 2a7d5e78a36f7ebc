"""Views of a part of a tensor, and writing such parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.call import view_op
from lepton_frontends.aten.ops.views import expanded
from lepton_frontends.aten.rules import Scalar, aten_op
from lepton_frontends.aten.types import axis_of, dim_of, int_of, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType
from lepton_ir.ops.slicing import resolve_bounds

Part = tuple[Dim, Dim]
"""Where a part along an axis begins and ends."""


def cut(b: AtenBuilder, x: Value, axis: int, start: Dim, end: Dim, step: int = 1) -> Value:
    """Return the elements of x between two places of an axis, by numpy's rules."""
    return b.tensor_slice(x, starts=(start,), ends=(end,), axes=(axis,), steps=(step,))


@aten_op("slice", "slice_copy")
def slice_(b: AtenBuilder, self: Value, dim: Any = 0, start: Any = None, end: Any = None, step: Any = 1) -> Value:
    axis = axis_of(dim, self.rank)
    first, last = bounds_of(b, self.shape[axis], start, end)
    if (first, last) == (0, self.shape[axis]) and step == 1:
        return self
    return cut(b, self, axis, first, last, int_of(step, "step"))


@aten_op("slice_scatter")
@view_op("slice")
def write_slice(
    b: AtenBuilder, whole: Value, new: Value, dim: Any = 0, start: Any = None, end: Any = None, step: Any = 1
) -> Value:
    axis, by = axis_of(dim, whole.rank), int_of(step, "step")
    size = whole.shape[axis]
    first, last, count = resolve_bounds(size, *bounds_of(b, size, start, end), by)
    part = expanded(b, b.convert(new, whole.tensor.dtype), (*whole.shape[:axis], count, *whole.shape[axis + 1 :]))
    if count in (0, size):
        return whole if count == 0 else part
    if by == 1:
        return _replaced(b, whole, part, axis, first, last)
    line: list[Dim] = [1] * whole.rank
    line[axis] = count
    places = b.tensor_iota(shape=tuple(line), axis=axis, start=first, step=by)
    return b.tensor_scatter_elements(whole, expanded(b, places, part.shape), part, axis=axis)


def _replaced(b: AtenBuilder, whole: Value, part: Value, axis: int, first: Dim, last: Dim) -> Value:
    size = whole.shape[axis]
    pieces = [part]
    if first != 0:
        pieces.insert(0, cut(b, whole, axis, 0, first))
    if last != size:
        pieces.append(cut(b, whole, axis, last, size))
    return pieces[0] if len(pieces) == 1 else b.tensor_concat(pieces, axis=axis)


def bounds_of(b: AtenBuilder, size: Dim, start: Any, end: Any) -> Part:
    """Return the bounds of a slice; those that only the running program knows are clamped by it."""
    if not isinstance(start, (Scalar, Value)) and not isinstance(end, (Scalar, Value)):
        return 0 if start is None else start, size if end is None else end
    length = tensor_of(b, size, DType.I64)
    first = _clamped(b, 0 if start is None else start, length)
    last = b.maximum(_clamped(b, size if end is None else end, length), first)
    return dim_of(b, Scalar(first), "start of a slice"), dim_of(b, Scalar(last), "end of a slice")


def _clamped(b: AtenBuilder, bound: Any, length: Value) -> Value:
    zero = b.const(np.int64(0))
    place = tensor_of(b, bound, DType.I64)
    from_start = b.where(b.lt(place, zero), b.add(place, length), place)
    return b.minimum(b.maximum(b.reshaped(from_start, ()), zero), length)


@aten_op("select", "select_copy")
def select(b: AtenBuilder, self: Value, dim: Any, index: Any) -> Value:
    axis = axis_of(dim, self.rank)
    place = _place(self.shape[axis], index)
    if not isinstance(place, int) or place < 0:
        return b.tensor_gather(self, b.reshaped(tensor_of(b, place, DType.I64), ()), axis=axis)
    picked = cut(b, self, axis, place, place + 1)
    return b.reshaped(picked, (*self.shape[:axis], *self.shape[axis + 1 :]))


def _place(size: Dim, index: Any) -> Any:
    """Return an index counted from the start where that is known."""
    if not isinstance(index, int) or not isinstance(size, int):
        return index
    if not -size <= index < size:
        raise UnsupportedError(f"the index {index} lies outside of an axis of {size} elements")
    return index % size


@aten_op("select_scatter")
@view_op("select")
def write_select(b: AtenBuilder, whole: Value, new: Value, dim: Any, index: Any) -> Value:
    axis = axis_of(dim, whole.rank)
    shape = (*whole.shape[:axis], 1, *whole.shape[axis + 1 :])
    rest = (*whole.shape[:axis], *whole.shape[axis + 1 :])
    row = b.reshaped(expanded(b, b.convert(new, whole.tensor.dtype), rest), shape)
    place = _place(whole.shape[axis], index)
    if isinstance(place, int) and place >= 0:
        return _replaced(b, whole, row, axis, place, place + 1)
    places = b.reshaped(tensor_of(b, place, DType.I64), (1,) * whole.rank)
    return b.tensor_scatter_elements(whole, expanded(b, places, shape), row, axis=axis)


@aten_op("narrow", "narrow_copy")
def narrow(b: AtenBuilder, self: Value, dim: Any, start: Any, length: Any) -> Value:
    axis = axis_of(dim, self.rank)
    return cut(b, self, axis, *_narrowed(b, self.shape[axis], start, length))


@view_op("narrow")
def write_narrow(b: AtenBuilder, whole: Value, new: Value, dim: Any, start: Any, length: Any) -> Value:
    axis = axis_of(dim, whole.rank)
    return _replaced(b, whole, new, axis, *_narrowed(b, whole.shape[axis], start, length))


def _narrowed(b: AtenBuilder, size: Dim, start: Any, length: Any) -> Part:
    first = dim_of(b, start, "start of a slice")
    if isinstance(first, int) and first < 0:
        first = size + first
    return first, first + dim_of(b, length)
