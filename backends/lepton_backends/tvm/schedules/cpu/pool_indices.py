"""Max pooling that also says where each element came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.elements import clamp, inside
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cost import NS_PER_BYTE, work_ns
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Expr, Index, Stmt
from lepton_ir.ir import DType
from lepton_ir.target import Target


@template("nn.max_pool_indices")
def max_pool_indices(view: KernelView, target: Target) -> Stmt:
    """Vectors along the last spatial axis; the largest element and its place are kept side by side."""
    emit = _Windows(view)
    op: Any = view.anchor
    taps = 1
    for size in op.kernel_shape:
        taps *= size
    *outer, last = view.shape(op.y)
    lanes = target.lanes(DType.F32)
    work = work_ns(view) + view.size_guess(op.y) * taps * 10 * NS_PER_BYTE

    def body(*at: Expr) -> Stmt:
        return rows.chunks(last, lanes, lambda first, width: emit.windows(at, first, width))

    return tir.parallel_nest(outer, work, body, target.num_threads)


class _Windows:
    def __init__(self, view: KernelView) -> None:
        op: Any = view.anchor
        self.view, self.op = view, op
        self.dtype = view.dtype(op.x)
        self.sizes = view.shape(op.x)[2:]

    def windows(self, outer: Sequence[Expr], first: Index, width: int) -> Stmt:
        """Return the statements for ``width`` windows side by side."""
        best, places = rows.register("best", width, self.dtype), rows.register("place", width, tir.INDEX)
        lanes, column = tir.ramp(0, width), tir.ramp(first, width)

        def tap(*taps: Expr) -> Stmt:
            def make() -> Stmt:
                spatial, valid = self._position([*outer[2:], column], taps)
                at = [clamp(i, e) for i, e in zip(spatial, self.sizes, strict=True)]
                seen = tir.bind(self.view.load(self.op.x, [*outer[:2], *at]))
                old, old_place = tir.bind(best[lanes]), tir.bind(places[lanes])
                better = tir.either(old_place < 0, seen > old)
                if self.dtype.startswith("float"):
                    better = tir.either(better, tir.both(tir.is_nan(old), tir.negated(tir.is_nan(seen))))
                better = tir.both(valid, better)
                return tir.seq(
                    tir.store(best, [lanes], tir.select(better, seen, old)),
                    tir.store(places, [lanes], tir.select(better, self._place(outer[:2], at), old_place)),
                )

            return tir.scoped(make)

        return tir.seq(
            tirx.AllocBuffer(best),
            tirx.AllocBuffer(places),
            tir.store(best, [lanes], tir.const(0, self.dtype, width)),
            tir.store(places, [lanes], tir.const(-1, tir.INDEX, width)),
            tir.nest(self.op.kernel_shape, tap),
            self.view.store([*outer, column], [best[lanes], places[lanes]], [self.op.y, self.op.indices]),
        )

    def _position(self, at: Sequence[Expr], taps: Sequence[Expr]) -> tuple[list[Expr], Expr]:
        """Return where a tap of the window lies in x, and whether that is inside."""
        rank = len(self.sizes)
        strides, dilations = self.op.strides or (1,) * rank, self.op.dilations or (1,) * rank
        pads = self.op.pads or (0,) * rank
        spatial = [i * s + t * d - p for i, s, t, d, p in zip(at, strides, taps, dilations, pads[:rank], strict=True)]
        valid = inside(spatial[-1], self.sizes[-1])
        for i, extent in zip(spatial[:-1], self.sizes[:-1], strict=True):
            valid = tir.both(valid, inside(i, extent))
        return spatial, valid

    def _place(self, outer: Sequence[Expr], spatial: Sequence[Expr]) -> Expr:
        """Return the index in the flattened x, whose spatial axes count in the order that ``storage_order`` says."""
        order = -1 if self.op.storage_order else 1
        extents = [*self.view.shape(self.op.x)[:2], *self.sizes[::order]]
        return tir.flat_index([*outer, *spatial[::order]], extents)
