"""Determinants: each matrix is copied and eliminated in place, with the largest element of a column as the pivot."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cost import NS_PER_OPERATION, work_ns
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Stmt
from lepton_ir.target import Target


@template("linalg.det")
def det(view: KernelView, target: Target) -> Stmt:
    """The matrices are shared by the threads."""
    op: Any = view.anchor
    *outer, size = view.shape(op.x)[:-1]
    dtype = view.dtype(op.x)
    work = work_ns(view) + view.size_guess(op.x) * view.guess(op.x.shape[-1]) * NS_PER_OPERATION * 20

    def matrix(*at: Expr) -> Stmt:
        def make(a: Buffer) -> Stmt:
            def copied(i: Expr, j: Expr) -> Stmt:
                return tir.scoped(lambda: tir.store(a, [i, j], view.load(op.x, [*at, i, j])))

            result = rows.register("result", 1, dtype)
            return tir.seq(
                tirx.AllocBuffer(result),
                tir.store(result, [0], tir.const(1, dtype)),
                tir.nest([size, size], copied),
                tir.serial(size, lambda k: _step(a, result, k, tir.index(size), dtype), "k"),
                view.store(list(at), result[tir.index(0)]),
            )

        return tir.alloc([size, size], dtype, make, "matrix")

    return tir.parallel_nest(outer, work, matrix, target.num_threads)


def _step(a: Buffer, result: Buffer, k: Expr, size: Expr, dtype: str) -> Stmt:
    """Eliminate column ``k`` below the diagonal."""
    zero, origin = tir.const(0, dtype), tir.index(0)
    pivot, value = rows.register("pivot", 1, tir.INDEX), rows.register("value", 1, dtype)

    def search(i: Expr) -> Stmt:
        candidate = a[k + i, k]
        return tir.if_then(tirx.abs(candidate) > tirx.abs(a[pivot[origin], k]), tir.store(pivot, [origin], k + i))

    def swap(j: Expr) -> Stmt:
        upper, lower = [k, k + j], [pivot[origin], k + j]
        return tir.seq(
            tir.store(value, [origin], a[tuple(upper)]),
            tir.store(a, upper, a[tuple(lower)]),
            tir.store(a, lower, value[origin]),
        )

    def eliminate(i: Expr) -> Stmt:
        row = k + 1 + i
        factor = tir.store(value, [origin], a[row, k] / a[k, k])
        subtract = tir.serial(
            size - k - 1,
            lambda j: tir.store(a, [row, k + 1 + j], a[row, k + 1 + j] - value[origin] * a[k, k + 1 + j]),
            "j",
        )
        return tir.seq(factor, subtract)

    exchange = tir.seq(tir.serial(size - k, swap, "j"), tir.store(result, [origin], zero - result[origin]))
    return tir.seq(
        tirx.AllocBuffer(pivot),
        tirx.AllocBuffer(value),
        tir.store(pivot, [origin], k),
        tir.serial(size - k, search, "i"),
        tir.if_then(tirx.NE(pivot[origin], k), exchange),
        tir.store(result, [origin], result[origin] * a[k, k]),
        tir.if_then(tirx.NE(a[k, k], zero), tir.serial(size - k - 1, eliminate, "i")),
    )
