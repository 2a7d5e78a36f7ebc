"""Softmax along any axis; a row is computed once, kept in scratch memory, and normalized from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import vector_math
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cost import NS_PER_FUNCTION, work_ns
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt
from lepton_ir.ir import DType
from lepton_ir.target import Target


@template("nn.softmax")
def softmax(view: KernelView, target: Target) -> Stmt:
    """exp(x - max) / sum(exp(x - max)), rows shared by the threads."""
    op: Any = view.anchor
    extents = view.shape(op.x)
    axis = op.axis % op.x.rank
    work = work_ns(view) + view.size_guess(op.result) * NS_PER_FUNCTION
    lanes = target.lanes(DType.F32)
    if axis == op.x.rank - 1:
        emit = _Row(view, op, extents[-1], lanes)
        return tir.parallel_nest(extents[:-1], work, lambda *at: emit.row(list(at)), target.num_threads)
    outer = [e for a, e in enumerate(extents[:-1]) if a != axis]
    columns = _Columns(view, op, axis, extents, lanes)
    return tir.parallel_nest(outer, work, columns.block, target.num_threads)


class _Row:
    """Along the last axis."""

    def __init__(self, view: KernelView, op: Any, extent: Index, lanes: int) -> None:
        self.view, self.op, self.extent, self.lanes = view, op, extent, lanes
        self.dtype = view.dtype(op.x)

    def row(self, at: list[Expr]) -> Stmt:
        """Return the statements for the row at these outer indices."""
        return tir.alloc([self.extent], self.dtype, lambda scratch: self._passes(at, scratch), "row")

    def _passes(self, at: list[Expr], scratch: Buffer) -> Stmt:
        largest = rows.Accumulator("max", self.lanes, self.dtype, tir.const(float("-inf"), self.dtype), tirx.max)
        total = rows.Accumulator("sum", self.lanes, self.dtype, tir.const(0.0, self.dtype), lambda a, b: a + b)

        def read(first: Index, width: int) -> Stmt:
            lanes = tir.ramp(first, width)
            kept = tir.scoped(lambda: tir.store(scratch, [lanes], self.view.load(self.op.x, [*at, lanes])))
            return tir.seq(kept, largest.add(scratch[lanes]))

        def exponential(first: Index, width: int) -> Stmt:
            lanes = tir.ramp(first, width)
            shifted = scratch[lanes] - tir.broadcast(largest.value, width)
            kept = tir.scoped(lambda: tir.store(scratch, [lanes], vector_math.exp_flushed(shifted)))
            return tir.seq(kept, total.add(scratch[lanes]))

        def write(first: Index, width: int) -> Stmt:
            lanes = tir.ramp(first, width)
            return self.view.store([*at, lanes], scratch[lanes] * tir.broadcast(scale[tir.index(0)], width))

        scale = rows.register("scale", 1, self.dtype)
        inverse = tir.store(scale, [tir.index(0)], tir.const(1.0, self.dtype) / total.value)
        return tir.seq(
            largest.begin(), rows.chunks(self.extent, self.lanes, read, rows.CHAINS), largest.finish(),
            total.begin(), rows.chunks(self.extent, self.lanes, exponential, rows.CHAINS), total.finish(),
            tirx.AllocBuffer(scale), inverse, rows.chunks(self.extent, self.lanes, write),
        )  # fmt: skip


class _Columns:
    """Along another axis: vectors along the last one, each lane a row of its own."""

    def __init__(self, view: KernelView, op: Any, axis: int, extents: Sequence[Index], lanes: int) -> None:
        self.view, self.op, self.axis, self.extents, self.lanes = view, op, axis, extents, lanes
        self.dtype = view.dtype(op.x)

    def block(self, *outer: Expr) -> Stmt:
        """Return the statements for all columns at these outer indices."""
        return rows.chunks(self.extents[-1], self.lanes, lambda c, width: self._column(outer, c, width))

    def _column(self, outer: Sequence[Expr], column: Index, width: int) -> Stmt:
        largest, total = (rows.register(name, width, self.dtype) for name in ("max", "sum"))
        lanes = tir.ramp(0, width)

        def place(step: Expr) -> list[Expr]:
            at = list(outer)
            at.insert(self.axis, step)
            return [*at, tir.ramp(column, width)]

        def exponential(step: Expr) -> Expr:
            return vector_math.exp_flushed(self.view.load(self.op.x, place(step)) - largest[lanes])

        extent = self.extents[self.axis]
        find = tir.serial(
            extent,
            lambda s: tir.scoped(
                lambda: tir.store(largest, [lanes], tirx.max(largest[lanes], self.view.load(self.op.x, place(s))))
            ),
        )
        add = tir.serial(extent, lambda s: tir.scoped(lambda: tir.store(total, [lanes], total[lanes] + exponential(s))))
        write = tir.serial(
            extent, lambda s: tir.scoped(lambda: self.view.store(place(s), exponential(s) / total[lanes]))
        )
        low = tir.broadcast(tir.const(float("-inf"), self.dtype), width)
        zero = tir.broadcast(tir.const(0.0, self.dtype), width)
        begin = [tirx.AllocBuffer(largest), tirx.AllocBuffer(total)]
        begin += [tir.store(largest, [lanes], low), tir.store(total, [lanes], zero)]
        return tir.seq(*begin, find, add, write)
