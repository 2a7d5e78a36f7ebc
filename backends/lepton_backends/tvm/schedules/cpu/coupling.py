"""Pairwise coupling: the iteration of each row by itself."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Stmt
from lepton_ir.ops.coupling import MARGIN, ROUNDS
from lepton_ir.target import Target

_F32 = "float32"
_NS_PER_STEP = 3.0


@template("ml.pairwise_coupling")
def pairwise_coupling(view: KernelView, target: Target) -> Stmt:
    """Rows, shared by the threads."""
    op: Any = view.anchor
    work = view.guess(op.r.shape[0]) * op.classes**2 * 10 * _NS_PER_STEP
    return tir.parallel_nest([view.dim(op.r.shape[0])], work, lambda n: _Row(view, n).emit(), target.num_threads)


class _Row:
    """One row: its matrix Q [classes, classes], the vectors p and Qp, and the scalar p Qp."""

    def __init__(self, view: KernelView, row: Expr) -> None:
        self.view, self.row = view, row
        self.op: Any = view.anchor
        self.classes = self.op.classes
        self.pqp, self.step = rows.register("pqp", 1, _F32), rows.register("step", 1, _F32)
        self.error, self.count = rows.register("error", 1, _F32), rows.register("count", 1, tir.INDEX)

    def emit(self) -> Stmt:
        c = self.classes
        q, p, qp = (rows.register(name, size, _F32) for name, size in (("q", c * c), ("p", c), ("qp", c)))
        used = (q, p, qp, self.pqp, self.step, self.error, self.count)
        return tir.seq(*(tirx.AllocBuffer(b) for b in used), self._solve(q, p, qp))

    def _set(self, buffer: Buffer, value: Expr) -> Stmt:
        return tir.store(buffer, [tir.index(0)], value)

    def _get(self, buffer: Buffer) -> Expr:
        return buffer[tir.index(0)]

    def _solve(self, q: Buffer, p: Buffer, qp: Buffer) -> Stmt:
        c = self.classes
        goes_on = tir.both(self._get(self.count) < ROUNDS, self._get(self.error) >= tir.const(0.005 / c, _F32))
        one_round = tir.seq(
            tir.serial(c, lambda i: self._update(q, p, qp, i), "i"),
            self._residual(q, p, qp),
            self._set(self.count, self._get(self.count) + 1),
        )
        return tir.seq(
            self._matrix(q),
            tir.serial(c, lambda i: tir.store(p, [i], tir.const(1 / c, _F32))),
            self._set(self.count, tir.index(0)),
            self._residual(q, p, qp),
            tirx.While(goes_on, one_round),
            tir.serial(c, lambda i: self.view.store([self.row, i], p[i])),
        )

    def _matrix(self, q: Buffer) -> Stmt:
        """Q[i, i] = sum of r_ji^2 over j, Q[i, j] = -r_ij r_ji."""
        c = self.classes
        low, high = tir.const(MARGIN, _F32), tir.const(1 - MARGIN, _F32)

        def pair(number: int, i: int, j: int) -> Stmt:
            def make() -> Stmt:
                won = tir.bind(tirx.max(tirx.min(self.view.load(self.op.r, [self.row, number]), high), low), "won")
                lost = tir.bind(tir.const(1, _F32) - won, "lost")
                cells = ((i, i, q[i * c + i] + lost * lost), (j, j, q[j * c + j] + won * won))
                both = tir.const(0, _F32) - won * lost
                return tir.seq(*(tir.store(q, [a * c + b], v) for a, b, v in (*cells, (i, j, both), (j, i, both))))

            return tir.scoped(make)

        clear = tir.serial(c * c, lambda k: tir.store(q, [k], tir.const(0, _F32)))
        return tir.seq(clear, *(pair(n, i, j) for n, (i, j) in enumerate(combinations(range(c), 2))))

    def _residual(self, q: Buffer, p: Buffer, qp: Buffer) -> Stmt:
        """Compute Qp, p Qp and the largest |Qp - p Qp|."""
        c = self.classes

        def product(i: Expr) -> Stmt:
            add = tir.serial(c, lambda j: tir.store(qp, [i], qp[i] + q[i * c + j] * p[j]), "j")
            total = self._set(self.pqp, self._get(self.pqp) + p[i] * qp[i])
            return tir.seq(tir.store(qp, [i], tir.const(0, _F32)), add, total)

        def worst(i: Expr) -> Stmt:
            return self._set(self.error, tirx.max(self._get(self.error), tirx.abs(qp[i] - self._get(self.pqp))))

        return tir.seq(
            self._set(self.pqp, tir.const(0, _F32)),
            tir.serial(c, product, "i"),
            self._set(self.error, tir.const(0, _F32)),
            tir.serial(c, worst, "i"),
        )

    def _update(self, q: Buffer, p: Buffer, qp: Buffer, i: Expr) -> Stmt:
        """Move p[i] to where its condition holds, and divide p by its new sum."""
        c = self.classes
        own, step, pqp = q[i * c + i], self._get(self.step), self._get(self.pqp)
        grown = tir.const(1, _F32) + step

        def normalize(j: Expr) -> Stmt:
            return tir.seq(tir.store(qp, [j], (qp[j] + step * q[i * c + j]) / grown), tir.store(p, [j], p[j] / grown))

        return tir.seq(
            self._set(self.step, (pqp - qp[i]) / own),
            tir.store(p, [i], p[i] + step),
            self._set(self.pqp, (pqp + step * (step * own + tir.const(2, _F32) * qp[i])) / grown / grown),
            tir.serial(c, normalize, "j"),
        )
