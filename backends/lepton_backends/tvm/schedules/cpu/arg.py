"""argmax and argmin: the best element so far and its index, one pair per lane."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cost import NS_PER_FUNCTION, work_ns
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.cpu.order import before
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Expr, Index, Stmt
from lepton_ir.ir import DType
from lepton_ir.target import Target


@template("reduce.argmax", "reduce.argmin")
def arg_reduce(view: KernelView, target: Target) -> Stmt:
    """Loops over the elements that stay, shared by the threads."""
    return _ArgReduce(view, target).emit()


class _Best:
    """The best element so far in each lane, and its index (-1 before the first)."""

    def __init__(self, op: Any, dtype: str, lanes: int) -> None:
        self.op, self.lanes = op, lanes
        self.values = rows.register("best", lanes, dtype)
        self.places = rows.register("place", lanes, tir.INDEX)
        self.dtype = dtype

    def begin(self) -> Stmt:
        lanes = tir.ramp(0, self.lanes)
        return tir.seq(
            tirx.AllocBuffer(self.values),
            tirx.AllocBuffer(self.places),
            tir.store(self.values, [lanes], tir.const(0, self.dtype, self.lanes)),
            tir.store(self.places, [lanes], tir.const(-1, tir.INDEX, self.lanes)),
        )

    def add(self, lanes: Expr, value: Expr, place: Expr) -> Stmt:
        """Offer elements and their indices to the given lanes."""

        def make() -> Stmt:
            seen, at = tir.bind(value), tir.bind(tir.broadcast(place, tir.lanes_of(lanes)))
            old, old_at = tir.bind(self.values[lanes]), tir.bind(self.places[lanes])
            better = before(
                seen, at, old, old_at, largest=self.op.name == "reduce.argmax", last=self.op.select_last_index
            )
            better = tir.both(at >= 0, tir.either(old_at < 0, better))
            return tir.seq(
                tir.store(self.values, [lanes], tir.select(better, seen, old)),
                tir.store(self.places, [lanes], tir.select(better, at, old_at)),
            )

        return tir.scoped(make)

    def finish(self) -> Stmt:
        """Combine all lanes into the first."""
        first = tir.index(0)
        return tir.seq(
            *(self.add(first, self.values[tir.index(i)], self.places[tir.index(i)]) for i in range(1, self.lanes))
        )


class _ArgReduce:
    def __init__(self, view: KernelView, target: Target) -> None:
        self.view, self.target = view, target
        self.op: Any = view.anchor
        self.extents = view.shape(self.op.x)
        self.axis = self.op.axis % self.op.x.rank
        self.dtype = view.dtype(self.op.x)
        self.lanes = target.lanes(DType.F32)

    def emit(self) -> Stmt:
        work = work_ns(self.view) + self.view.size_guess(self.op.x) * NS_PER_FUNCTION
        along_last = self.axis == len(self.extents) - 1
        outer = [e for a, e in enumerate(self.extents[: None if along_last else -1]) if a != self.axis]
        body = self._row if along_last else self._columns
        return tir.parallel_nest(outer, work, body, self.target.num_threads)

    def _row(self, *outer: Expr) -> Stmt:
        best = _Best(self.op, self.dtype, self.lanes)

        def chunk(first: Index, width: int) -> Stmt:
            at = tir.ramp(first, width)
            return best.add(tir.ramp(0, width), self.view.load(self.op.x, [*outer, at]), at)

        loops = rows.chunks(self.extents[-1], self.lanes, chunk)
        return tir.seq(best.begin(), loops, best.finish(), self._store(outer, [], best.places[tir.index(0)]))

    def _columns(self, *outer: Expr) -> Stmt:
        def chunk(first: Index, width: int) -> Stmt:
            best, lanes, column = _Best(self.op, self.dtype, width), tir.ramp(0, width), tir.ramp(first, width)

            def step(i: Expr) -> Stmt:
                place = [*outer[: self.axis], i, *outer[self.axis :], column]
                return best.add(lanes, self.view.load(self.op.x, place), i)

            loop = tir.serial(self.extents[self.axis], step)
            return tir.seq(best.begin(), loop, self._store(outer, [column], best.places[lanes]))

        return rows.chunks(self.extents[-1], self.lanes, chunk)

    def _store(self, outer: tuple[Expr, ...], last: list[Expr], value: Expr) -> Stmt:
        kept = [tir.index(0)] if self.op.keepdims else []
        return self.view.store([*outer[: self.axis], *kept, *outer[self.axis :], *last], value)
