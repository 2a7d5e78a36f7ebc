"""Choosing among boxes that overlap: every box taken is compared with those after it, in vectors."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cost import NS_PER_FUNCTION, work_ns
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Stmt
from lepton_ir.ir import DType
from lepton_ir.target import Target

_PLANES = 5
"""The four corners, and the area."""


@template("nn.suppress_overlaps", epilogue=False)
def suppress_overlaps(view: KernelView, target: Target) -> Stmt:
    """The lists of boxes are shared by the threads."""
    op: Any = view.anchor
    emit = _Boxes(view, target.lanes(DType.F32))
    *lists, _ = view.shape(op.candidates)
    work = work_ns(view) + 100 * view.size_guess(op.candidates) * NS_PER_FUNCTION
    return tir.parallel_nest(lists, work, lambda *at: emit.list_of(list(at)), target.num_threads)


class _Boxes:
    def __init__(self, view: KernelView, lanes: int) -> None:
        self.view, self.lanes = view, lanes
        self.op: Any = view.anchor
        self.dtype = view.dtype(self.op.corners)
        self.count = tir.index(view.shape(self.op.candidates)[-1])
        self.vectors = tirx.floordiv(self.count + (lanes - 1), lanes)
        self.padded = self.vectors * lanes

    def list_of(self, at: list[Expr]) -> Stmt:
        """Return the statements for one list."""

        def with_planes(planes: Buffer) -> Stmt:
            return tir.alloc([self.padded], "int32", lambda alive: self._all(at, planes, alive), "alive")

        # Whole vectors, so that no remainder needs loops of its own.
        return tir.alloc([self.padded * _PLANES], self.dtype, with_planes, "planes")

    def _all(self, at: list[Expr], planes: Buffer, alive: Buffer) -> Stmt:
        taken, origin = rows.register("taken", 1, tir.INDEX), tir.index(0)

        def choose() -> Stmt:
            limit = tir.bind(self.view.load(self.op.limit, []), "limit")
            threshold = tir.bind(self.view.load(self.op.threshold, []), "threshold")

            def box(i: Expr) -> Stmt:
                chosen = tir.both(tir.negated(tir.equal(alive[i], tir.const(0, "int32"))), taken[origin] < limit)
                take = tir.seq(
                    tir.store(taken, [origin], taken[origin] + 1),
                    self._write(at, i, True),
                    tir.scoped(lambda: self._drop(planes, alive, i, threshold)),
                )
                return tir.if_then(chosen, take, self._write(at, i, False))

            return tir.serial(self.count, box)

        return tir.seq(
            tirx.AllocBuffer(taken),
            tir.store(taken, [origin], origin),
            tir.serial(self.count, lambda i: tir.scoped(lambda: self._fill(at, planes, alive, i))),
            tir.serial(self.padded - self.count, lambda i: self._pad(planes, alive, self.count + i)),
            tir.scoped(choose),
        )

    def _write(self, at: list[Expr], i: Expr, value: bool) -> Stmt:
        return self.view.write(self.view.targets[self.op.taken], [*at, i], tir.const(value, "bool"))

    def _plane(self, planes: Buffer, k: int, i: Expr) -> Expr:
        return planes[self.padded * k + i]

    def _fill(self, at: list[Expr], planes: Buffer, alive: Buffer, i: Expr) -> Stmt:
        top, left, bottom, right = (
            tir.bind(self.view.load(self.op.corners, [*at, tir.index(k), i])) for k in range(_PLANES - 1)
        )
        values = [top, left, bottom, right, (bottom - top) * (right - left)]
        flag = tir.select(self.view.load(self.op.candidates, [*at, i]), tir.const(1, "int32"), tir.const(0, "int32"))
        return tir.seq(
            *(tir.store(planes, [self.padded * k + i], v) for k, v in enumerate(values)), tir.store(alive, [i], flag)
        )

    def _pad(self, planes: Buffer, alive: Buffer, i: Expr) -> Stmt:
        zero = tir.const(0, self.dtype)
        stores = (tir.store(planes, [self.padded * k + i], zero) for k in range(_PLANES))
        return tir.seq(*stores, tir.store(alive, [i], tir.const(0, "int32")))

    def _drop(self, planes: Buffer, alive: Buffer, i: Expr, threshold: Expr) -> Stmt:
        """Drop what overlaps with box i, from the vector that holds it on."""
        own = [tir.broadcast(tir.bind(self._plane(planes, k, i)), self.lanes) for k in range(_PLANES)]
        first = tir.bind(tirx.floordiv(i, self.lanes), "first")
        zero = tir.const(0, self.dtype, self.lanes)

        def vector(o: Expr) -> Stmt:
            there = tir.ramp((first + o) * self.lanes, self.lanes)
            top, left, bottom, right, area = (self._plane(planes, k, there) for k in range(_PLANES))
            height = tirx.max(tirx.min(bottom, own[2]) - tirx.max(top, own[0]), zero)
            width = tirx.max(tirx.min(right, own[3]) - tirx.max(left, own[1]), zero)
            shared = tir.bind(height * width, "shared")
            gone = shared > tir.broadcast(threshold, self.lanes) * (area + own[4] - shared)
            return tir.store(alive, [there], tir.select(gone, tir.const(0, "int32", self.lanes), alive[there]))

        return tir.serial(self.vectors - first, lambda o: tir.scoped(lambda: vector(o)))
