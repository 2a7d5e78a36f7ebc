"""Loops for kernels that read and write along different axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tvm
import tvm_ffi
from tvm.ir import TensorLoad

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.tir import Expr, Index, Stmt
from lepton_ir.ir import Value

_TILE = 16


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


def tiled_nest(
    extents: Sequence[Index], axis: int, lanes: int, work: float, element: Callable[..., Stmt], threads: int
) -> Stmt:
    """Return loops over ``extents`` in tiles of ``axis`` and the last axis.

    Reads run along ``axis`` and writes along the last: within a tile both stay in the first-level cache.
    """
    last = len(extents) - 1
    lanes = min(lanes, _TILE)
    rows, columns = extents[axis], extents[last]
    others = [e for a, e in enumerate(extents) if a not in (axis, last)]

    def tile(*outer: Expr) -> Stmt:
        *rest, row_tile, column_tile = outer
        row0, column0 = row_tile * _TILE, column_tile * _TILE
        row_count = tir.minimum(_TILE, rows - row0) if _ragged(rows) else _TILE
        column_count = tir.minimum(_TILE, columns - column0) if _ragged(columns) else _TILE

        def at(r: Expr, c: Expr) -> Stmt:
            place = list(rest)
            place.insert(axis, row0 + r)
            return element(*place, column0 + c)

        def body(height: Index, width: Index) -> Stmt:
            return tir.serial(height, lambda r: tir.vector_loop(width, lanes, lambda c: at(r, c)))

        full = body(_TILE, _TILE)
        if not _ragged(rows) and not _ragged(columns):
            return full
        whole = tir.both(tir.index(row_count).equal(_TILE), tir.index(column_count).equal(_TILE))
        return tir.if_then(whole, full, body(row_count, column_count))

    tiles = [*others, tir.ceildiv(rows, _TILE), tir.ceildiv(columns, _TILE)]
    return tir.parallel_nest(tiles, work, tile, threads)


def _ragged(extent: Index) -> bool:
    known = tir.static(extent)
    return known is None or known % _TILE != 0
