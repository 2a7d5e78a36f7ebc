"""Loops for kernels that read and write along different axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tvm
import tvm_ffi

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cpu.register_transpose import transpose_tile
from lepton_backends.tvm.tir import Expr, Index, Stmt
from lepton_ir.ir import Value

_TILE = 16


@dataclass(frozen=True)
class Move:
    """What a kernel that moves elements does at one place.

    Attributes:
        load: computes the elements at an index, which may hold a ramp.
        store: stores them.
    """

    load: Callable[[Sequence[Expr]], Expr]
    store: Callable[[Sequence[Expr], Expr], Stmt]

    def element(self, indices: Sequence[Expr]) -> Stmt:
        """Return the statement that moves the elements at an index."""
        return tir.scoped(lambda: self.store(indices, self.load(indices)))


def strided_axis(view: KernelView, value: Value, extents: Sequence[Index]) -> int | None:
    """Return the axis along which the kernel reads contiguously, where that is not the last one.

    None means that the last axis is as good as any: it is contiguous, or no axis is.
    """
    if len(extents) < 2:
        return None
    indices = [tir.var(f"a{i}") for i in range(len(extents))]
    strides = [_strides(load, indices) for load in loads(view.load(value, indices))]
    known = [s for s in strides if s is not None]
    if not known or all(s[-1] in (0, 1) for s in known):
        return None
    for axis in range(len(extents) - 2, -1, -1):
        if any(s[axis] == 1 and s[-1] != 1 for s in known) and tir.static(extents[axis]) != 1:
            return axis
    return None


def loads(expr: Expr) -> list[Expr]:
    """Return all loads in an expression."""
    found: list[Expr] = []

    tvm_ffi.structural_walk(expr, (tvm.ir.expr.TensorLoad, found.append))
    return found


def _strides(load: Expr, indices: Sequence[Expr]) -> list[int | None] | None:
    """Return the stride of a load along each index, None where it is not linear in them."""
    shape = list(load.source.ty.shape)
    flat = tir.simplify(tir.flat_index(list(load.indices), shape))
    coefficients = tvm.sym.detect_linear_equation(flat, list(indices))
    if not coefficients:
        return None
    return [tir.static(tir.simplify(c)) for c in list(coefficients)[: len(indices)]]


def tiled_nest(extents: Sequence[Index], axis: int, lanes: int, work: float, move: Move, threads: int) -> Stmt:
    """Return loops over ``extents`` in square tiles of ``axis`` and the last axis.

    Whole tiles are read in vectors along ``axis``, transposed in registers and written in vectors along the last;
    the elements of others are moved one by one.
    """
    last = len(extents) - 1
    side = min(lanes, _TILE)
    rows, columns = extents[axis], extents[last]
    others = [e for a, e in enumerate(extents) if a not in (axis, last)]

    def tile(*outer: Expr) -> Stmt:
        *rest, row_tile, column_tile = outer
        row0, column0 = row_tile * side, column_tile * side

        def place(row: Expr, column: Expr) -> list[Expr]:
            at = list(rest)
            at.insert(axis, row)
            return [*at, column]

        whole = transpose_tile(
            side,
            lambda c: move.load(place(tir.ramp(row0, side), column0 + c)),
            lambda r, value: move.store(place(row0 + r, tir.ramp(column0, side)), value),
        )
        if not any((tir.static(e) or 1) % side for e in (rows, columns)):
            return whole
        height, width = tir.minimum(side, rows - row0), tir.minimum(side, columns - column0)
        part = tir.nest([height, width], lambda r, c: move.element(place(row0 + r, column0 + c)))
        full = tir.both(tir.index(height).equal(tir.index(side)), tir.index(width).equal(tir.index(side)))
        return tir.if_then(full, whole, part)

    tiles = [*others, tir.ceildiv(rows, side), tir.ceildiv(columns, side)]
    return tir.parallel_nest(tiles, work, tile, threads)
