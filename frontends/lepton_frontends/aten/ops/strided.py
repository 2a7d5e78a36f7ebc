"""Views that pick elements at regular places: diagonals, windows, strides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.call import view_op
from lepton_frontends.aten.ops.views import expanded, to_back, transposed
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axis_of, dim_of, dims_of, int_of, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, dmax, dmin
from lepton_ir.ir.types import DType


def line(b: AtenBuilder, size: Dim, rank: int = 1, axis: int = 0, start: Dim = 0, step: Dim = 1) -> Value:
    """Return i64 numbers that count along an axis of a tensor whose other axes have size 1."""
    shape: list[Dim] = [1] * rank
    shape[axis] = size
    return b.tensor_iota(shape=tuple(shape), axis=axis, start=start, step=step)


def write_through(b: AtenBuilder, whole: Value, new: Value, look: Callable[[Value], Value]) -> Value:
    """Write what a view shows to where it looks, which the view of the elements' places tells."""
    size = whole.tensor.size
    places = look(b.reshaped(line(b, size), whole.shape))
    part = expanded(b, b.convert(new, whole.tensor.dtype), places.shape)
    count = part.tensor.size
    flat = b.tensor_scatter_elements(
        b.reshaped(whole, (size,)), b.reshaped(places, (count,)), b.reshaped(part, (count,)), axis=0
    )
    return b.reshaped(flat, whole.shape)


@aten_op("diagonal", "diagonal_copy", "linalg_diagonal")
def diagonal(b: AtenBuilder, self: Value, offset: Any = 0, dim1: Any = None, dim2: Any = None) -> Value:
    usual = (-2, -1) if b.op == "linalg_diagonal" else (0, 1)
    return diagonal_of(b, self, offset, usual[0] if dim1 is None else dim1, usual[1] if dim2 is None else dim2)


def diagonal_of(b: AtenBuilder, x: Value, offset: Any, dim1: Any, dim2: Any) -> Value:
    """Return the elements whose indices along two axes differ by the offset, along a new last axis."""
    i, j = axis_of(dim1, x.rank), axis_of(dim2, x.rank)
    if i == j:
        raise UnsupportedError(f"it takes the diagonal of axis {i} with itself")
    shift = int_of(offset, "offset")
    moved = transposed(b, x, to_back(x.rank, i, j))
    *lead, rows, columns = moved.shape
    count = dmax(0, dmin(rows, columns - shift) if shift >= 0 else dmin(rows + shift, columns))
    flat = b.reshaped(moved, (*lead, rows * columns))
    if count == 0:
        return b.tensor_slice(flat, starts=(0,), ends=(0,), axes=(flat.rank - 1,), steps=(1,))
    start: Dim = shift if shift >= 0 else columns * -shift
    if isinstance(columns, int) and isinstance(count, int):
        end = start + (count - 1) * (columns + 1) + 1
        return b.tensor_slice(flat, starts=(start,), ends=(end,), axes=(flat.rank - 1,), steps=(columns + 1,))
    places = b.tensor_iota(shape=(count,), start=start, step=columns + 1)
    return b.tensor_gather(flat, places, axis=flat.rank - 1)


@aten_op("diagonal_scatter")
@view_op("diagonal")
def write_diagonal(b: AtenBuilder, whole: Value, new: Value, offset: Any = 0, dim1: Any = 0, dim2: Any = 1) -> Value:
    return write_through(b, whole, new, lambda places: diagonal_of(b, places, offset, dim1, dim2))


@view_op("linalg_diagonal")
def write_linalg_diagonal(
    b: AtenBuilder, whole: Value, new: Value, *, offset: Any = 0, dim1: Any = -2, dim2: Any = -1
) -> Value:
    return write_diagonal(b, whole, new, offset, dim1, dim2)


@aten_op("unfold", "unfold_copy")
def unfold(b: AtenBuilder, self: Value, dimension: Any, size: Any, step: Any) -> Value:
    """Windows along an axis; their elements lie along a new last axis."""
    axis = axis_of(dimension, self.rank)
    x = self if self.rank else b.reshaped(self, (1,))
    width, by = int_of(size, "size of the windows"), int_of(step, "step")
    count = (x.shape[axis] - width) // by + 1
    if isinstance(count, int) and count < 1:
        raise UnsupportedError(f"windows of {width} elements do not fit an axis of {x.shape[axis]}")
    places = b.add(line(b, count, 2, 0, step=by), line(b, width, 2, 1))
    windows = b.tensor_gather(x, places, axis=axis)
    windows = transposed(b, windows, to_back(windows.rank, axis + 1))
    return windows if self.rank else b.reshaped(windows, (width,))


@view_op("unfold")
def write_unfold(b: AtenBuilder, whole: Value, new: Value, dimension: Any, size: Any, step: Any) -> Value:
    return write_through(b, whole, new, lambda places: unfold(b, places, dimension, size, step))


@aten_op("as_strided", "as_strided_copy")
def as_strided(b: AtenBuilder, self: Value, size: Any, stride: Any, storage_offset: Any = None) -> Value:
    """Elements at steps through the memory."""
    shape, steps = dims_of(b, size), dims_of(b, stride)
    places = tensor_of(b, 0 if storage_offset is None else dim_of(b, storage_offset), DType.I64)
    for axis, (d, step) in enumerate(zip(shape, steps, strict=True)):
        places = b.add(places, line(b, d, len(shape), axis, step=step))
    return b.tensor_gather(b.reshaped(self, (self.tensor.size,)), expanded(b, places, shape), axis=0)


@aten_op("as_strided_scatter")
@view_op("as_strided")
def write_as_strided(
    b: AtenBuilder, whole: Value, new: Value, size: Any, stride: Any, storage_offset: Any = None
) -> Value:
    return write_through(b, whole, new, lambda places: as_strided(b, places, size, stride, storage_offset))
