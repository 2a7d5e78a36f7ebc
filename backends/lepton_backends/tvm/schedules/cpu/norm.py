"""Layer and RMS normalization: a row is read once into scratch memory, the variance is taken from there."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cost import NS_PER_BYTE, work_ns
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt
from lepton_ir.ir import DType, Value
from lepton_ir.target import Target


@template("nn.layer_norm", "nn.rms_norm")
def norm(view: KernelView, target: Target) -> Stmt:
    """Rows shared by the threads."""
    op: Any = view.anchor
    extents = view.shape(op.x)
    axis = op.axis % op.x.rank
    work = work_ns(view) + 4 * view.size_guess(op.result) * NS_PER_BYTE
    emit = _Row(view, op, axis, target.lanes(DType.F32))
    return tir.parallel_nest(extents[:axis], work, lambda *at: emit.row(list(at)), target.num_threads)


class _Row:
    def __init__(self, view: KernelView, op: Any, axis: int, lanes: int) -> None:
        self.view, self.op, self.axis, self.lanes = view, op, axis, lanes
        self.dtype = view.dtype(op.x)
        self.extents = view.shape(op.x)[axis:]
        self.size: Index = tir.product(self.extents)
        self.centered = op.name == "nn.layer_norm"

    def row(self, at: list[Expr]) -> Stmt:
        """Return the statements for the row at these outer indices."""
        return tir.alloc(self.extents, self.dtype, lambda scratch: self._passes(at, scratch), "row")

    def _each(self, body: Any, unroll: int = 1) -> Stmt:
        *outer, last = self.extents

        def line(*indices: Expr) -> Stmt:
            return rows.chunks(
                last, self.lanes, lambda first, width: body([*indices, tir.ramp(first, width)], width), unroll
            )

        return tir.nest(outer, line)

    def _passes(self, at: list[Expr], scratch: Buffer) -> Stmt:
        zero = tir.const(0.0, self.dtype)
        total = rows.Accumulator("sum", self.lanes, self.dtype, zero, lambda a, b: a + b)
        square = rows.Accumulator("square", self.lanes, self.dtype, zero, lambda a, b: a + b)
        mean, scale = (rows.register(name, 1, self.dtype) for name in ("mean", "scale"))
        origin = tir.index(0)
        count = tir.cast(tir.index(self.size), self.dtype)

        def read(inner: list[Expr], width: int) -> Stmt:
            kept = tir.scoped(lambda: tir.store(scratch, inner, self.view.load(self.op.x, [*at, *inner])))
            return tir.seq(kept, total.add(tirx.BufferLoad(scratch, inner))) if self.centered else kept

        def deviation(inner: list[Expr], width: int) -> Stmt:
            difference = tirx.BufferLoad(scratch, inner) - tir.broadcast(mean[origin], width)
            return square.add(difference * difference)

        def write(inner: list[Expr], width: int) -> Stmt:
            value = (tirx.BufferLoad(scratch, inner) - tir.broadcast(mean[origin], width)) * tir.broadcast(
                scale[origin], width
            )
            return tir.scoped(lambda: self.view.store([*at, *inner], self._affine(value, inner, width)))

        first = [total.begin(), self._each(read, rows.CHAINS), total.finish()]
        average = total.value / count if self.centered else zero
        inverse = tir.const(1.0, self.dtype) / tirx.sqrt(square.value / count + tir.const(self.op.epsilon, self.dtype))
        return tir.seq(
            *first,
            tirx.AllocBuffer(mean), tir.store(mean, [origin], average),
            square.begin(), self._each(deviation, rows.CHAINS), square.finish(),
            tirx.AllocBuffer(scale), tir.store(scale, [origin], inverse),
            self._each(write),
        )  # fmt: skip

    def _affine(self, value: Expr, inner: list[Expr], width: int) -> Expr:
        scale: Value | None = self.op.scale
        bias: Value | None = getattr(self.op, "bias", None)
        if scale is not None:
            value = value * tir.broadcast(self._parameter(scale, inner), width)
        return value if bias is None else value + tir.broadcast(self._parameter(bias, inner), width)

    def _parameter(self, value: Value, inner: list[Expr]) -> Expr:
        return self.view.load(value, self.view.broadcast_index(value, inner))
