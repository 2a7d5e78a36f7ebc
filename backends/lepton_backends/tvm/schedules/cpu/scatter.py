"""Scatters: a copy of x, then the updates in their order, so that the last of several to one place wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import scalars
from lepton_backends.tvm.emit.elements import wrapped
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cost import work_ns
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Expr, Index, Stmt
from lepton_ir.ir import DType
from lepton_ir.target import Target

_COMBINE = {
    "add": scalars.add,
    "mul": scalars.mul,
    "min": scalars.minimum,
    "max": scalars.maximum,
}


def _combined(view: KernelView, place: Sequence[Index], update: Expr) -> Stmt:
    """Return the statement that puts an update (or a vector of them) into its place."""
    op: Any = view.anchor
    target = view.targets[op.y]
    if op.reduction == "none":
        return view.write(target, place, update)
    return view.write(target, place, _COMBINE[op.reduction](view.read(target, place), update))


def _copy(view: KernelView, target: Target) -> Stmt:
    op: Any = view.anchor
    *outer, last = view.shape(op.x) or [1]

    def row(*at: Expr) -> Stmt:
        def chunk(first: Index, width: int) -> Stmt:
            place = [*at, tir.ramp(first, width)][: op.x.rank]
            return tir.scoped(lambda: view.write(view.targets[op.y], place, view.load(op.x, place)))

        return rows.chunks(last, target.lanes(DType.F32), chunk)

    return tir.parallel_nest(outer, work_ns(view), row, target.num_threads)


@template("tensor.scatter_elements", epilogue=False)
def scatter_elements(view: KernelView, target: Target) -> Stmt:
    """Updates that differ in an axis before the scattered one never meet: the threads share those axes."""
    op: Any = view.anchor
    axis = op.axis % op.x.rank
    extents = view.shape(op.indices)
    limit = view.dim(op.x.shape[axis])

    def update(*at: Expr) -> Stmt:
        def make() -> Stmt:
            place = [*at]
            place[axis] = wrapped(view, op.indices, at, limit)
            return _combined(view, place, view.load(op.updates, at))

        return tir.scoped(make)

    def body(*outer: Expr) -> Stmt:
        return tir.nest(extents[axis:], lambda *inner: update(*outer, *inner))

    scattered = tir.parallel_nest(extents[:axis], work_ns(view), body, target.num_threads)
    return tir.seq(_copy(view, target), scattered)


@template("tensor.scatter_nd", epilogue=False)
def scatter_nd(view: KernelView, target: Target) -> Stmt:
    """One update after the other; each slice in vectors."""
    op: Any = view.anchor
    *outer, depth = view.shape(op.indices)
    inner = view.shape(op.updates)[len(outer) :]
    *middle, last = inner or [1]
    limits = view.shape(op.x)

    def update(*at: Expr) -> Stmt:
        def row(*within: Expr) -> Stmt:
            def chunk(first: Index, width: int) -> Stmt:
                def make() -> Stmt:
                    place = [
                        wrapped(view, op.indices, [*at, tir.index(d)], limits[d]) for d in range(tir.static(depth) or 0)
                    ]
                    own = [*within, tir.ramp(first, width)][: len(inner)]
                    return _combined(view, [*place, *own], view.load(op.updates, [*at, *own]))

                return tir.scoped(make)

            return rows.chunks(last, target.lanes(DType.F32), chunk)

        return tir.nest(middle, row)

    return tir.seq(_copy(view, target), tir.nest(outer, update))
