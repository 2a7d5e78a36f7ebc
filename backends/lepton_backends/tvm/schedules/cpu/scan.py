"""Running sums: sequential along the axis, in vectors across it."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import scalars
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cost import work_ns
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Expr, Index, Stmt
from lepton_ir.ir import DType
from lepton_ir.target import Target


@template("tensor.cumsum")
def cumsum(view: KernelView, target: Target) -> Stmt:
    """The rows along the axis are shared by the threads."""
    op: Any = view.anchor
    extents = view.shape(op.x)
    axis, dtype = op.axis % op.x.rank, view.dtype(op.x)
    along_last = axis == len(extents) - 1
    outer = [e for a, e in enumerate(extents[: None if along_last else -1]) if a != axis]

    def lines(at: tuple[Expr, ...], column: Index | None, width: int) -> Stmt:
        total = rows.register("total", width, dtype)
        lanes = tir.ramp(0, width)

        def step(i: Expr) -> Stmt:
            position = extents[axis] - 1 - i if op.reverse else i
            place = [*at[:axis], position, *at[axis:]]
            if column is not None:
                place.append(tir.ramp(column, width))
            add = tir.scoped(lambda: tir.store(total, [lanes], scalars.add(total[lanes], view.load(op.x, place))))
            kept = view.store(place, total[lanes])
            return tir.seq(kept, add) if op.exclusive else tir.seq(add, kept)

        begin = tir.store(total, [lanes], tir.const(0, dtype, width))
        return tir.seq(tirx.AllocBuffer(total), begin, tir.serial(extents[axis], step))

    def body(*at: Expr) -> Stmt:
        if along_last:
            return lines(at, None, 1)
        return rows.chunks(extents[-1], target.lanes(DType.F32), lambda first, width: lines(at, first, width))

    return tir.parallel_nest(outer, work_ns(view), body, target.num_threads)
