"""Operators that turn tensors around and put them on diagonals."""

from __future__ import annotations

from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.nonzero import flat
from lepton_frontends.aten.ops.slices import cut
from lepton_frontends.aten.ops.strided import diagonal_of, line
from lepton_frontends.aten.ops.views import movedim, transpose
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axes_of, axis_of, dims_of, int_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, mod, product


@aten_op("flip")
def flip(b: AtenBuilder, self: Value, dims: Any) -> Value:
    axes = axes_of(dims, self.rank, empty_means_all=False)
    return b.tensor_reverse(self, axes=axes) if axes else self


@aten_op("fliplr", "flipud")
def flip_one(b: AtenBuilder, self: Value) -> Value:
    return b.tensor_reverse(self, axes=(1 if b.op == "fliplr" else 0,))


@aten_op("roll")
def roll(b: AtenBuilder, self: Value, shifts: Any, dims: Any = ()) -> Value:
    steps = dims_of(b, shifts, "shift")
    if not dims and dims != 0:
        flat = b.reshaped(self, (product(self.shape),))
        return b.reshaped(_rolled(b, flat, steps[0], 0), self.shape)
    axes = dims if isinstance(dims, (list, tuple)) else [dims]
    y = self
    for shift, axis in zip(steps, axes, strict=True):
        y = _rolled(b, y, shift, axis_of(axis, self.rank))
    return y


def _rolled(b: AtenBuilder, x: Value, shift: Dim, axis: int) -> Value:
    size = x.shape[axis] if x.rank else 1
    first = 0 if size == 0 else mod(-shift, size)
    if first == 0:
        return x
    return b.tensor_concat([cut(b, x, axis, first, size), cut(b, x, axis, 0, first)], axis=axis)


@aten_op("rot90")
def rot90(b: AtenBuilder, self: Value, k: Any = 1, dims: Any = (0, 1)) -> Value:
    turns = int_of(k, "number of turns") % 4
    first, second = (axis_of(d, self.rank) for d in dims)
    if turns in (0, 2):
        return b.tensor_reverse(self, axes=(first, second)) if turns else self
    swapped = transpose(b, self, first, second)
    return b.tensor_reverse(swapped, axes=(first if turns == 1 else second,))


@aten_op("tril", "triu")
def triangle(b: AtenBuilder, self: Value, diagonal: Any = 0) -> Value:
    return b.tensor_trilu(self, upper=b.op == "triu", k=int_of(diagonal, "diagonal"))


@aten_op("diag_embed")
def diag_embed(b: AtenBuilder, self: Value, offset: Any = 0, dim1: Any = -2, dim2: Any = -1) -> Value:
    """The last axis becomes a diagonal of two new ones, with zeros beside it."""
    shift, rank = int_of(offset, "offset"), self.rank + 1
    size = self.shape[-1] + abs(shift)
    # Where the diagonal is shifted down, an element's column is its place in x, else its row.
    kept, new = (rank - 1, rank - 2) if shift < 0 else (rank - 2, rank - 1)
    padded = b.tensor_pad(self, None, pads=(*[0] * (2 * self.rank - 1), abs(shift))) if shift else self
    shape: list[Dim] = [*self.shape[:-1], size, size]
    shape[new] = 1
    mask = b.eq(line(b, size, 2, 0, start=shift), line(b, size, 2, 1))
    y = b.where(mask, b.reshaped(padded, shape), b.like(self, 0))
    return movedim(b, y, [kept, new] if shift >= 0 else [new, kept], [axis_of(dim1, rank), axis_of(dim2, rank)])


@aten_op("diag")
def diag(b: AtenBuilder, self: Value, diagonal: Any = 0) -> Value:
    if self.rank not in (1, 2):
        raise UnsupportedError(f"it takes a vector or a matrix, and gets a tensor of rank {self.rank}")
    return diag_embed(b, self, diagonal) if self.rank == 1 else diagonal_of(b, self, diagonal, 0, 1)


@aten_op("diagflat")
def diagflat(b: AtenBuilder, self: Value, offset: Any = 0) -> Value:
    return diag_embed(b, flat(b, self), offset)
