"""Images from overlapping blocks: each element of the image gathers what the blocks that cover it hold for it."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.elements import inside
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cost import NS_PER_OPERATION, work_ns
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Expr, Stmt
from lepton_ir.target import Target


@template("nn.col2im")
def col2im(view: KernelView, target: Target) -> Stmt:
    """Gathering rather than scattering lets the threads share the image, and stores each element once."""
    op: Any = view.anchor
    kernel = [view.dim(k) for k in op.kernel_shape]
    blocks = [view.dim(d) for d in op.blocks]
    dtype = view.dtype(op.x)
    work = work_ns(view) + view.size_guess(op.x) * NS_PER_OPERATION * 20

    def element(*at: Expr) -> Stmt:
        n, c, *place = at
        total, origin = rows.register("total", 1, dtype), tir.index(0)

        def tap(*position: Expr) -> Stmt:
            numbers, fits = [], tir.const(True, "bool")
            for axis, i in enumerate(place):
                start = i + op.pads[axis] - position[axis] * op.dilations[axis]
                block = tir.floordiv(start, op.strides[axis])
                meets = tir.equal(tir.floormod(start, op.strides[axis]), tir.index(0))
                fits = tir.both(fits, tir.both(meets, inside(block, blocks[axis])))
                numbers.append(block)
            row = c * tir.product(kernel) + tir.flat_index(position, kernel)
            read = [n, row, tir.flat_index(numbers, blocks)]
            add = tir.scoped(lambda: tir.store(total, [origin], total[origin] + view.load(op.x, read)))
            return tir.if_then(fits, add)

        return tir.seq(
            tirx.AllocBuffer(total),
            tir.store(total, [origin], tir.const(0, dtype)),
            tir.nest(kernel, tap),
            view.store(list(at), total[origin]),
        )

    return tir.parallel_nest(view.shape(op.y), work, element, target.num_threads)
