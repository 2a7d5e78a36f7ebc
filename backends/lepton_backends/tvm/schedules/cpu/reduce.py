"""Reductions: along the last axis in vector accumulators, else in vectors along the last axis that stays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import scalars
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cost import work_ns
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt
from lepton_ir.ir import DType, Value
from lepton_ir.target import Target

_COMBINE: dict[str, Callable[[Expr, Expr], Expr]] = {
    "reduce.sum": scalars.add,
    "reduce.mean": scalars.add,
    "reduce.prod": scalars.mul,
    "reduce.max": scalars.maximum,
    "reduce.min": scalars.minimum,
    "reduce.any": tirx.Or,
    "reduce.all": tirx.And,
}


def neutral(name: str, dtype: str) -> Expr:
    """Return the value that a reduction starts with."""
    if name in ("reduce.max", "reduce.min"):
        largest = name == "reduce.max"
        if dtype.startswith("float"):
            return tir.const(float("-inf") if largest else float("inf"), dtype)
        return tirx.min_value(dtype) if largest else tirx.max_value(dtype)
    return tir.const({"reduce.prod": 1, "reduce.all": True, "reduce.any": False}.get(name, 0), dtype)


@template(*_COMBINE)
def reduce(view: KernelView, target: Target) -> Stmt:
    """Loops over the elements that stay, shared by the threads, around the loops over those that vanish."""
    return _Reduction(view, target).emit()


class _Reduction:
    def __init__(self, view: KernelView, target: Target) -> None:
        self.view, self.target = view, target
        self.op: Any = view.anchor
        self.x: Value = self.op.x
        self.extents = view.shape(self.x)
        self.axes = sorted(a % self.x.rank for a in self.op.axes)
        self.kept = [a for a in range(self.x.rank) if a not in self.axes]
        self.dtype = view.dtype(self.x)
        if self.op.name == "reduce.mean" and not self.x.tensor.dtype.is_float:
            # The sum need not fit the type that the mean fits.
            self.dtype = "int64"
        self.lanes = target.lanes(DType.F32) if self.dtype != "bool" else 1
        self.start = neutral(self.op.name, self.dtype)
        self.combine = _COMBINE[self.op.name]
        self.work = work_ns(view)

    def emit(self) -> Stmt:
        if not self.axes:
            return self._nest(self.extents, self._copy)
        if self.x.rank - 1 in self.axes:
            return self._nest([self.extents[a] for a in self.kept], self._last_axis)
        *outer, _ = [self.extents[a] for a in self.kept]
        return self._nest(outer, self._outer_axes)

    def _copy(self, *at: Expr) -> Stmt:
        return tir.scoped(lambda: self.store(list(at), self._load(at)))

    def _load(self, at: Sequence[Index]) -> Expr:
        return tir.cast(self.view.load(self.x, at), self.dtype)

    def _nest(self, extents: Sequence[Index], body: Callable[..., Stmt]) -> Stmt:
        return tir.parallel_nest(extents, self.work, body, self.target.num_threads)

    def _last_axis(self, *kept: Expr) -> Stmt:
        accumulator = rows.Accumulator("acc", self.lanes, self.dtype, self.start, self.combine)
        inner = self.axes[:-1]

        def row(*reduced: Expr) -> Stmt:
            def chunk(at: Index, width: int) -> Stmt:
                place = self._place(kept, [*reduced, tir.ramp(at, width)])
                return tir.scoped(lambda: accumulator.add(self._load(place)))

            return rows.chunks(self.extents[-1], self.lanes, chunk, rows.CHAINS)

        loops = tir.nest([self.extents[a] for a in inner], row)
        return tir.seq(accumulator.begin(), loops, accumulator.finish(), self.store(list(kept), accumulator.value))

    def _outer_axes(self, *outer: Expr) -> Stmt:
        def block(first: Index, vectors: Sequence[tuple[int, int]]) -> Stmt:
            buffers = [rows.register(f"acc{o}", w, self.dtype) for o, w in vectors]

            def step(buffer: Buffer, offset: int, width: int, reduced: Sequence[Expr]) -> Stmt:
                at = tir.ramp(0, width)
                place = self._place([*outer, tir.ramp(first + offset, width)], reduced)
                return tir.scoped(lambda: tir.store(buffer, [at], self.combine(buffer[at], self._load(place))))

            def visit(*reduced: Expr) -> Stmt:
                return tir.seq(*(step(b, o, w, reduced) for b, (o, w) in zip(buffers, vectors, strict=True)))

            begin: list[Stmt] = [tirx.AllocBuffer(b) for b in buffers]
            end = []
            for buffer, (offset, width) in zip(buffers, vectors, strict=True):
                at = tir.ramp(0, width)
                begin.append(tir.store(buffer, [at], tir.broadcast(self.start, width)))
                end.append(self.store([*outer, tir.ramp(first + offset, width)], buffer[at]))
            return tir.seq(*begin, tir.nest([self.extents[a] for a in self.axes], visit), *end)

        return rows.column_blocks(self.extents[self.kept[-1]], self.lanes, block)

    def _place(self, kept: Sequence[Expr], reduced: Sequence[Expr]) -> list[Expr]:
        place: dict[int, Expr] = dict(zip(self.kept, kept, strict=True)) | dict(zip(self.axes, reduced, strict=True))
        return [place[a] for a in range(self.x.rank)]

    def _mean(self, total: Expr) -> Expr:
        """Return the mean; that of no elements is NaN, or 0 of integers."""
        extent = tir.product([self.extents[a] for a in self.axes])
        is_float = self.dtype.startswith("float")
        if tir.static(extent) == 0:
            return tir.const(math.nan if is_float else 0, self.dtype, tir.lanes_of(total))
        count = tir.cast(tir.index(extent), self.dtype)
        if not is_float:
            return tirx.truncdiv(total, tirx.max(count, tir.const(1, self.dtype)))
        return total * tir.broadcast(tir.const(1.0, self.dtype) / count, tir.lanes_of(total))

    def store(self, kept: list[Expr], value: Expr) -> Stmt:
        """Store one element of the result (or a vector of them)."""
        if self.op.name == "reduce.mean":
            value = self._mean(value)
        if self.op.keepdims:
            place = dict(zip(self.kept, kept, strict=True))
            kept = [place.get(a, tir.index(0)) for a in range(self.x.rank)]
        return self.view.store(kept, value)
