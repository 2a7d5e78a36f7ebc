"""Pooling: a reduction over each window, in vectors along the channels (channels-last) or element by element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cost import NS_PER_BYTE, work_ns
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Expr, Index, Stmt
from lepton_ir.ir import DType
from lepton_ir.target import Target


@template("nn.max_pool", "nn.avg_pool")
def pool(view: KernelView, target: Target) -> Stmt:
    """Loops over output positions, shared by the threads; the window is clipped to the image, so nothing is padded."""
    op: Any = view.anchor
    window = _Window(view, op)
    channels_last = op.layout == "NHWC"
    extents = view.shape(op.result)
    if channels_last:
        batch, *spatial, channels = extents
    else:
        batch, channels, *spatial = extents
    lanes = target.lanes(DType.F32) if channels_last else 1
    work = work_ns(view) + view.size_guess(op.result) * window.taps * NS_PER_BYTE

    def position(n: Expr, *rest: Expr) -> Stmt:
        if not channels_last:
            return window.emit(n, rest[1:], rest[0], 1)
        return _channel_blocks(channels, lanes, lambda c, width: window.emit(n, rest, c, width))

    outer = [batch, *spatial] if channels_last else [batch, channels, *spatial]
    return tir.parallel_nest(outer, work, position, target.num_threads)


def _channel_blocks(channels: Index, lanes: int, body: Any) -> Stmt:
    """Return ``body(first channel, lanes)`` over all channels, with exact remainders."""
    known = tir.static(channels)
    if known is None:
        return tir.serial(channels, lambda c: body(c, 1))
    whole = known // lanes
    parts = [tir.serial(whole, lambda b: body(b * lanes, lanes))] if whole else []
    at = whole * lanes
    for width in tir.tail_lanes(known - at, lanes):
        parts.append(body(tir.index(at), width))
        at += width
    return tir.seq(*parts)


class _Window:
    """The window of one output position, clipped to the image."""

    def __init__(self, view: KernelView, op: Any) -> None:
        self.view, self.op = view, op
        self.is_max = op.name == "nn.max_pool"
        self.dtype = view.dtype(op.result)
        rank = len(op.kernel_shape)
        self.kernel: tuple[int, ...] = op.kernel_shape
        self.strides: tuple[int, ...] = op.strides or (1,) * rank
        self.dilations: tuple[int, ...] = op.dilations or (1,) * rank
        pads = op.pads or (0,) * (2 * rank)
        self.before, self.after = pads[:rank], pads[rank:]
        self.taps = 1
        for size in self.kernel:
            self.taps *= size
        shape = view.shape(op.x)
        self.sizes = shape[1:-1] if op.layout == "NHWC" else shape[2:]

    def emit(self, n: Expr, position: Sequence[Expr], channel: Expr, width: int) -> Stmt:
        """Return the statements for one output position and ``width`` channels."""
        corner = [p * s - b for p, s, b in zip(position, self.strides, self.before, strict=True)]
        ranges = [self._range(axis, start, self.sizes[axis]) for axis, start in enumerate(corner)]
        accumulator = tirx.decl_buffer([tir.index(width)], self.dtype, "acc", scope="global")
        lanes = tir.ramp(0, width)
        start = self._lowest() if self.is_max else tir.const(0, self.dtype)

        def visit(*tap: Expr) -> Stmt:
            at = [c + (first + t) * d for c, (first, _), t, d in zip(corner, ranges, tap, self.dilations, strict=True)]
            seen = self.view.load(self.op.x, self._index(n, at, tir.ramp(channel, width)))
            old = accumulator[lanes]
            # NaN is no larger than what was seen before.
            return tir.store(accumulator, [lanes], tir.select(seen > old, seen, old) if self.is_max else old + seen)

        loops = tir.nest([tir.maximum(0, last - first) for first, last in ranges], visit)
        value = accumulator[lanes]
        if not self.is_max:
            value = value * tir.broadcast(tir.const(1.0, self.dtype) / self._count(corner, ranges), width)
        stored = self.view.store(self._index(n, list(position), tir.ramp(channel, width)), value)
        return tir.seq(
            tirx.AllocBuffer(accumulator), tir.store(accumulator, [lanes], tir.broadcast(start, width)), loops, stored
        )

    def _index(self, n: Expr, spatial: Sequence[Expr], channel: Expr) -> list[Expr]:
        return [n, *spatial, channel] if self.op.layout == "NHWC" else [n, channel, *spatial]

    def _range(self, axis: int, start: Expr, size: Index) -> tuple[Expr, Expr]:
        """Return the first and one past the last tap along an axis that lie inside the image."""
        d = self.dilations[axis]
        first = tir.maximum(0, tirx.floordiv(d - 1 - start, tir.index(d)))
        last = tir.minimum(self.kernel[axis], tirx.floordiv(size - start + (d - 1), tir.index(d)))
        return tir.simplify(tir.index(first)), tir.simplify(tir.index(last))

    def _count(self, corner: Sequence[Expr], ranges: Sequence[tuple[Expr, Expr]]) -> Expr:
        count: Index = 1
        for axis, (first, last) in enumerate(ranges):
            taps = last - first
            if self.op.count_include_pad:
                # Taps in the padding count, those that ceil_mode puts beyond it do not.
                d = self.dilations[axis]
                reach = self.sizes[axis] + self.after[axis] - corner[axis] + (d - 1)
                taps = tir.minimum(self.kernel[axis], tirx.floordiv(reach, tir.index(d)))
            count = taps if tir.static(count) == 1 else count * taps
        return tir.cast(tir.maximum(1, count), self.dtype)

    def _lowest(self) -> Expr:
        if self.dtype.startswith("float"):
            return tir.const(float("-inf"), self.dtype)
        return tirx.min_value(self.dtype)
