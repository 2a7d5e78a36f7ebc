"""Reading bits as another element type: straight from memory to memory, since narrow floats are computed widened."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.casts import wrap
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.emit.rules import storage_dtype
from lepton_backends.tvm.schedules.cost import work_ns
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Expr, Index, Stmt
from lepton_ir.ir import DType
from lepton_ir.target import Target


@template("bitcast", epilogue=False)
def bitcast(view: KernelView, target: Target) -> Stmt:
    """Rows in vectors, shared by the threads."""
    op: Any = view.anchor
    source, result = view.buffers[op.x], view.targets[op.y]
    *outer, last = view.shape(op.x) or [1]

    def row(*at: Expr) -> Stmt:
        def chunk(first: Index, width: int) -> Stmt:
            place = [*at, tir.ramp(first, width)][: op.x.rank]
            return tir.store(result, place, _read_as(tirx.BufferLoad(source, place), op.x.tensor.dtype, op.to))

        return rows.chunks(last, target.lanes(DType.F32), chunk)

    return tir.parallel_nest(outer, work_ns(view), row, target.num_threads)


def _read_as(x: Expr, own: DType, to: DType) -> Expr:
    """Return bits in memory as they lie in memory in the other type."""
    name = storage_dtype(to)
    if own.bits < 8:
        return wrap(tir.cast(x, "int32"), to.bits, name)
    if own is DType.BOOL:
        x = tir.cast(x, "uint8")
    if to is DType.BOOL:
        bits = tir.bitcast(x, "uint8") if tir.dtype_of(x) != "uint8" else x
        return tirx.NE(*tir.match(bits, tir.const(0, "uint8")))
    return x if tir.dtype_of(x) == name else tir.bitcast(x, name)
