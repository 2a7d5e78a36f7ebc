"""Scratch copies of the input lines that a block of output lines of a convolution reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cpu import tiling
from lepton_backends.tvm.schedules.cpu.microkernel import scratch
from lepton_backends.tvm.tir import Expr, Index, Stmt

_SMALL_CHANNELS = 4
"""Up to this many channels lie in planes in the scratch lines, so that copying goes along the columns."""


@dataclass(frozen=True)
class Axis:
    """One spatial axis.

    Attributes:
        size: of the input.
        out: of the result.
        kernel: number of taps.
        stride: step of the window.
        dilation: distance of taps.
        before: padding in front.
    """

    size: Index
    out: Index
    kernel: int
    stride: int
    dilation: int
    before: int

    def span(self, out: Index) -> Index:
        """Return the number of input elements that ``out`` neighbouring results touch."""
        return (out - 1) * self.stride + (self.kernel - 1) * self.dilation + 1

    def taps(self, at: Index) -> tuple[Index, Index]:
        """Return the first tap inside the input and their number, for the result at ``at``."""
        first = at * self.stride - self.before
        low = tir.maximum(tir.floordiv(self.dilation - 1 - first, self.dilation), 0)
        high = tir.minimum(tir.floordiv(self.size - 1 - first, self.dilation) + 1, self.kernel)
        return low, tir.maximum(high - low, 0)


def spatial_axes(view: KernelView, op: Any, kernel: Sequence[int]) -> list[Axis]:
    """Return the spatial axes of a convolution; one-dimensional ones get a line of height 1."""
    x, y = view.shape(op.x), view.shape(op.y)
    axes = [
        Axis(x[at], y[at], kernel[i], op.strides[i], op.dilations[i], op.pads[i])
        for i, at in enumerate(op.spatial_axes)
    ]
    return [Axis(1, 1, 1, 1, 1, 0), *axes] if len(axes) == 1 else axes


class ScratchLines:
    """Input lines with the borders' zeros, so that every tap of a tile lies at a distance known at compile time.

    There is a plane of lines for each tap of the axes before the last two. Channels that are few, or that lie apart in
    x, are kept apart, as ``[plane, channel, line, column]``. Otherwise elements lie as
    ``[plane, line, column, channel]``, with some room between columns where these would evict each other from the
    first-level cache.

    Attributes:
        planes: number of planes.
        channels: number of channels.
        planar: whether channels are kept apart.
        pixel: elements from one column to the next.
        channel: elements from one channel to the next.
        allocate: the statement that allocates the memory.
    """

    def __init__(self, view: KernelView, op: Any, axes: list[Axis], channels: int, longest: int, lanes: int) -> None:
        *self._outer, self._lines, self._columns = axes
        self._view, self._op, self._lanes = view, op, lanes
        self.planes = prod(a.kernel for a in self._outer)
        self.channels = channels
        self.planar = channels <= _SMALL_CHANNELS or not op.channels_last
        aliasing = channels * self._columns.stride * 4 % tiling.ALIASING_BYTES == 0
        self.pixel = 1 if self.planar else channels + 16 if aliasing else channels
        self._height = self._lines.span(longest)
        self._width = self._columns.span(self._columns.out)
        self.channel = self._height * self._width if self.planar else 1
        size = tir.product([self.planes, self._height, self._width, channels if self.planar else self.pixel])
        self.dtype = view.dtype(op.x)
        self.buffer, self.allocate = scratch("lines", size, self.dtype)

    def address(self, plane: Index, line: Index, column: Index, channel: Index) -> Index:
        """Return where an element lies."""
        if self.planar:
            return ((plane * self.channels + channel) * self._height + line) * self._width + column
        return ((plane * self._height + line) * self._width + column) * self.pixel + channel

    def load(self, place: Index) -> Expr:
        """Load the element at an address."""
        return self.buffer[tir.index(place)]

    def fill(self, at: list[Index], start: Index, count: Index) -> Stmt:
        """Return the statement that copies the lines for ``count`` output lines.

        Args:
            at: the image and the output position along the axes before the last two.
            start: the first output line.
            count: the number of output lines.
        """
        image, *outer = at

        def line(plane: Expr, y: Expr) -> Stmt:
            taps = tir.split_index(plane, [a.kernel for a in self._outer]) if self._outer else []
            axes = zip(outer, taps, self._outer, strict=True)
            places = [o * a.stride + t * a.dilation - a.before for o, t, a in axes]
            places.append(start * self._lines.stride + y - self._lines.before)
            inside = self._inside(places)
            # Taps outside along the last but one axis are skipped by the reduction, those further out read zeros.
            zero = self._zero(plane, y, 0, self._width) if self._outer else None
            return tir.if_then(inside, self._copy_line(plane, y, [image, *places]), zero)

        return tir.nest([self.planes, self._lines.span(count)], line)

    def _inside(self, places: list[Index]) -> Expr:
        conditions = []
        for place, axis in zip(places, [*self._outer, self._lines], strict=True):
            conditions += [tir.index(place) >= 0, tir.index(place) < axis.size]
        inside = conditions[0]
        for condition in conditions[1:]:
            inside = tirx.And(inside, condition)
        return inside

    def _copy_line(self, plane: Expr, y: Expr, at: list[Index]) -> Stmt:
        before = self._columns.before
        copied = tir.minimum(self._columns.size, self._width - before)
        rest = tir.simplify(self._width - before - copied)
        return tir.seq(
            self._zero(plane, y, 0, before),
            self._copy_columns(plane, y, at, copied),
            self._zero(plane, y, copied + before, rest),
        )

    def _copy_columns(self, plane: Expr, y: Expr, at: list[Index], count: Index) -> Stmt:
        image, *places = at
        known = tir.static(count)

        def put(x: Expr, c: Expr, lanes: int) -> Stmt:
            xs, cs = (tir.ramp(x, lanes), c) if self.planar else (x, tir.ramp(c, lanes))
            spatial = [*places, xs][-self._op.spatial_rank :]
            order = [image, *spatial, cs] if self._op.channels_last else [image, cs, *spatial]
            value = self._view.load(self._op.x, order)
            return tir.store(self.buffer, [tir.ramp(self.address(plane, y, x + self._columns.before, c), lanes)], value)

        if self.planar and known is None:
            return tir.nest([self.channels, count], lambda c, x: put(x, c, 1))
        if self.planar:
            return tir.serial(
                self.channels, lambda c: tiling.vector_steps(known, self._lanes, lambda x, n: put(x, c, n)), "c"
            )
        return tir.serial(
            count, lambda x: tiling.vector_steps(self.channels, self._lanes, lambda c, n: put(x, c, n)), "x"
        )

    def _zero(self, plane: Expr, y: Expr, x: Index, count: Index) -> Stmt:
        zero = tir.const(0, self.dtype)

        def put(i: Expr, c: Expr, lanes: int) -> Stmt:
            return tir.store(self.buffer, [tir.ramp(self.address(plane, y, x + i, c), lanes)], zero)

        if self.planar:
            return tir.nest([self.channels, count], lambda c, i: put(i, c, 1))
        return tir.serial(
            count, lambda i: tiling.vector_steps(self.channels, self._lanes, lambda c, n: put(i, c, n)), "x"
        )
