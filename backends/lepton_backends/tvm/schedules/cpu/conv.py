"""Convolutions with packed weights on channels-last activations.

A 1x1 convolution is a matrix product over all positions. Any other reads from scratch lines: each task copies the
input lines that its output lines need, with the borders' zeros, so that every tap of a tile's columns lies at a
distance known at compile time. The same copy applies whatever was fused before the convolution, once per element.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cpu import tiling
from lepton_backends.tvm.schedules.cpu.depthwise import depthwise
from lepton_backends.tvm.schedules.cpu.gemm import PackedProduct, bias_vector, vector_lanes, vector_steps
from lepton_backends.tvm.schedules.cpu.microkernel import RegisterTile, read_flat, scratch
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt
from lepton_ir.target import Target

_SMALL_CHANNELS = 4
"""Up to this many channels lie in planes in the scratch lines, so that copying goes along the columns."""
_ALIASING_BYTES = 2048
_SYMBOLIC_LINES = 8


@template("nn.conv_packed")
def conv_packed(view: KernelView, target: Target) -> Stmt:
    """Convolve with a packed weight."""
    op: Any = view.anchor
    if op.is_depthwise:
        return depthwise(view, target)
    if op.group == 1 and prod(op.kernel_shape) == 1 and not any(op.pads):
        return _pointwise(view, target, op)
    return DirectConv(view, target).emit()


def _pointwise(view: KernelView, target: Target, op: Any) -> Stmt:
    """Return the product over all positions; where there are strides, rows are first copied together."""
    leading = view.shape(op.y)[:-1]
    statics = [tir.static(e) for e in leading]
    rows: Index = prod(s for s in statics if s is not None) if None not in statics else tir.product(leading)
    channels = op.w.shape[-2]
    strided = any(s != 1 for s in op.strides)

    def y_at(row: Index) -> list[Index]:
        return list(tir.split_index(tir.index(row), leading))

    def a_at(row: Index) -> list[Index]:
        first, *spatial = y_at(row)
        return [first, *(i * s for i, s in zip(spatial, op.strides, strict=True))]

    a_row = None if strided else channels
    return PackedProduct(
        view, target, op.x, op.w, op.bias, rows, channels, op.channels, op.panel, a_at, y_at, a_row
    ).emit()


@dataclass(frozen=True)
class Axis:
    """One spatial axis.

    Attributes:
        size: of the input.
        out: of the result.
        kernel: taps.
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

    @property
    def reach(self) -> int:
        """The distance of the first and the last tap."""
        return (self.kernel - 1) * self.dilation

    def span(self, out: Index) -> Index:
        """Return the number of input elements that ``out`` results in a row touch."""
        return (out - 1) * self.stride + self.reach + 1

    def taps(self, at: Index) -> tuple[Index, Index]:
        """Return the first tap inside the input and their number, for the result at ``at``."""
        first = at * self.stride - self.before
        low = tir.maximum(tir.floordiv(self.dilation - 1 - first, self.dilation), 0)
        high = tir.minimum(tir.floordiv(self.size - 1 - first, self.dilation) + 1, self.kernel)
        return low, tir.maximum(high - low, 0)


def spatial_axes(view: KernelView, op: Any) -> list[Axis]:
    """Return the spatial axes of a channels-last windowed operation; one-dimensional ones get a line of height 1."""
    rank = op.spatial_rank
    sizes, outs = view.shape(op.x)[1:-1], view.shape(op.y)[1:-1]
    axes = [
        Axis(sizes[i], outs[i], op.kernel_shape[i], op.strides[i], op.dilations[i], op.pads[i]) for i in range(rank)
    ]
    return [Axis(1, 1, 1, 1, 1, 0), *axes] if rank == 1 else axes


class DirectConv:
    """Everything that the loops of one direct convolution need to know."""

    def __init__(self, view: KernelView, target: Target) -> None:
        op: Any = view.anchor
        self.view, self.target, self.op = view, target, op
        self.dtype = view.dtype(op.y)
        self.lanes = vector_lanes(target, self.dtype)
        *self.outer, self.lines, self.columns = spatial_axes(view, op)
        self.batch = view.shape(op.x)[0]
        self.inputs: int = op.w.shape[-2]
        self.channels = self.inputs * op.group
        self.panels = -(-op.channels // op.panel)

    # Scratch lines -----------------------------------------------------------------------------------------------

    @cached_property
    def planar(self) -> bool:
        """Whether channels are planes of the scratch lines."""
        return self.channels <= _SMALL_CHANNELS

    @cached_property
    def width(self) -> Index:
        """Columns of a scratch line."""
        return self.columns.span(self.columns.out)

    @cached_property
    def pixel(self) -> int:
        """Elements from one scratch column to the next."""
        if self.planar:
            return 1
        aliasing = self.channels * self.columns.stride * 4 % _ALIASING_BYTES == 0
        return self.channels + 16 if aliasing else self.channels

    def scratch_lines(self, longest: Index) -> Index:
        """Return the scratch lines of one plane (of the outer taps) for ``longest`` output lines."""
        return self.lines.span(longest)

    def address(self, plane: Index, line: Index, column: Index, channel: Index, height: Index) -> Index:
        """Return where an element lies in the scratch lines."""
        if self.planar:
            return (((plane * self.channels + channel) * height) + line) * self.width + column
        return ((plane * height + line) * self.width + column) * self.pixel + channel

    def _copy_lines(self, lines: Buffer, at: list[Index], start: Index, count: Index, height: Index) -> Stmt:
        """Copy the input lines of ``count`` output lines from ``start``, in every plane."""
        n, *outer = at

        def line(plane: Expr, y: Expr) -> Stmt:
            taps = tir.split_index(plane, [a.kernel for a in self.outer]) if self.outer else []
            places = [
                o * a.stride + t * a.dilation - a.before for o, t, a in zip(outer, taps, self.outer, strict=True)
            ]
            places.append(start * self.lines.stride + y - self.lines.before)
            inside: Expr | bool = True
            for place, axis in zip(places, [*self.outer, self.lines], strict=True):
                if axis.before or tir.static(axis.size) is None or axis.span(axis.out) is not axis.size:
                    here = tir.tirx.And(tir.index(place) >= 0, tir.index(place) < axis.size)
                    inside = here if inside is True else tir.tirx.And(inside, here)
            zero = self._zero(lines, plane, y, 0, self.width, height) if self._reads_zero_planes else None
            copied = self._copy_line(lines, plane, y, [n, *places], height)
            return tir.if_then(inside, copied, zero)

        planes = prod(a.kernel for a in self.outer)
        return tir.nest([planes, self.lines.span(count)], line)

    @property
    def _reads_zero_planes(self) -> bool:
        """Whether taps of the outer axes may lie in the padding; lines that do are skipped by the reduction."""
        return bool(self.outer)

    def _copy_line(self, lines: Buffer, plane: Expr, y: Expr, at: list[Index], height: Index) -> Stmt:
        before = self.columns.before
        copied = tir.minimum(self.columns.size, self.width - before)
        parts: list[Stmt] = []
        if before:
            parts.append(self._zero(lines, plane, y, 0, before, height))
        parts.append(self._copy_columns(lines, plane, y, at, copied, height))
        rest = tir.simplify(self.width - before - copied) if tir.static(copied) is None else self.width - before - copied
        if tir.static(rest) != 0:
            parts.append(self._zero(lines, plane, y, copied + before, rest, height))
        return tir.seq(*parts)

    def _copy_columns(
        self, lines: Buffer, plane: Expr, y: Expr, at: list[Index], count: Index, height: Index
    ) -> Stmt:
        n, *places = at
        before = self.columns.before
        source = places if len(self.op.kernel_shape) > 1 else []

        def put(x: Expr, c: Expr, lanes: int, along_columns: bool) -> Stmt:
            xs, cs = (tir.ramp(x, lanes), c) if along_columns else (x, tir.ramp(c, lanes))
            value = self.view.load(self.op.x, [n, *source, xs, cs])
            return tir.store(lines, [tir.ramp(self.address(plane, y, x + before, c, height), lanes)], value)

        if not self.planar:
            return tir.serial(
                count, lambda x: vector_steps(self.channels, self.lanes, lambda c, n: put(x, c, n, False)), "x"
            )
        known = tir.static(count)
        if known is None:
            return tir.nest([self.channels, count], lambda c, x: put(x, c, 1, True))
        return tir.serial(
            self.channels, lambda c: vector_steps(known, self.lanes, lambda x, n: put(x, c, n, True)), "c"
        )

    def _zero(self, lines: Buffer, plane: Expr, y: Expr, x: Index, count: Index, height: Index) -> Stmt:
        zero = tir.const(0, self.dtype)
        if self.planar:
            return tir.nest(
                [self.channels, count],
                lambda c, i: tir.store(lines, [tir.index(self.address(plane, y, x + i, c, height))], zero),
            )

        def put(i: Expr, c: Expr, lanes: int) -> Stmt:
            return tir.store(lines, [tir.ramp(self.address(plane, y, x + i, c, height), lanes)], zero)

        return tir.serial(count, lambda i: vector_steps(self.channels, self.lanes, lambda c, n: put(i, c, n)), "x")

    # Loops ----------------------------------------------------------------------------------------------------------

    def emit(self) -> Stmt:
        """Return the statement of the whole convolution."""
        parallel_axes = [self.batch, *(a.out for a in self.outer)]
        lines = tir.static(self.lines.out)
        split = self._split(lines or 4 * _SYMBOLIC_LINES, parallel_axes)
        if lines is None:
            blocks: Index = tir.ceildiv(self.lines.out, _SYMBOLIC_LINES)
            longest = _SYMBOLIC_LINES
        else:
            blocks, longest = split.blocks, -(-lines // split.blocks)

        def task(p: Expr) -> Stmt:
            group, *at, block = tir.split_index(p, [split.groups, *parallel_axes, blocks])
            if lines is None:
                start: Index = block * longest
                count: Index = tir.minimum(self.lines.out - start, longest)
            else:
                start, count = tiling.part(block, lines, split.blocks)
            return self._block(at, start, count, longest, *tiling.part(group, self.panels, split.groups))

        return tir.parallel(tir.product([split.groups, *parallel_axes, blocks]), task)

    def _split(self, lines: int, parallel_axes: list[Index]) -> tiling.Split:
        taps = prod(self.op.kernel_shape)
        out = tir.static(self.columns.out) or 32
        width = tir.static(self.width) or 32
        line_elements = width * self.channels * self.lines.stride
        return tiling.split_work(
            lines,
            self.panels,
            target=self.target,
            row_cycles=out * taps * self.inputs * self.op.panel / self.lanes,
            row_bytes=line_elements * 4,
            panel_bytes=taps * self.inputs * self.op.panel * 4,
            block_cycles=2 * line_elements / (1 if self.planar else self.lanes),
            batch=prod(tir.static(e) or 1 for e in parallel_axes),
        )

    def _block(
        self, at: list[Index], start: Index, count: Index, longest: int, first: Index, panels: Index
    ) -> Stmt:
        height = self.scratch_lines(longest)
        planes = prod(a.kernel for a in self.outer)
        size = tir.product([planes, height, self.width, self.pixel * (self.channels if self.planar else 1)])
        lines, allocate = scratch("lines", size, self.dtype)
        full, rest = divmod(self.op.channels, self.op.panel)

        def panel(j: Expr) -> Stmt:
            def whole(index: Index, width: int) -> Stmt:
                return tir.serial(
                    count, lambda line: self._line(lines, height, at, start, line, index, width), "line"
                )

            if not rest:
                return whole(first + j, self.op.panel)
            tail = whole(tir.index(full), rest)
            return tir.if_then(first + j < full, whole(first + j, self.op.panel), tail) if full else tail

        copy = self._copy_lines(lines, at, start, count, height)
        return tir.seq(allocate, copy, tir.serial(panels, panel, "panel"))

    def _line(
        self, lines: Buffer, height: Index, at: list[Index], start: Index, line: Expr, panel: Index, width: int
    ) -> Stmt:
        vectors = tiling.column_vectors(width, self.lanes)
        bias = self.op.bias

        def tile(column: Index, size: int) -> Stmt:
            def finish(r: int, offset: int, lanes: int, value: Expr) -> Stmt:
                place = [*at, start + line, column + r] if len(self.op.kernel_shape) > 1 else [at[0], column + r]
                return self.view.store([*place, tir.ramp(panel * self.op.panel + offset, lanes)], value)

            return RegisterTile(size, vectors, self.dtype).emit(
                lambda r, o, lanes: bias_vector(self.view, bias, panel * self.op.panel + o, lanes, self.dtype),
                lambda t: self._reduce(t, lines, height, start, line, column, panel),
                finish,
            )

        return tiling.row_tiles(self.columns.out, tiling.max_rows(self.target, len(vectors)), tile)

    # The reduction --------------------------------------------------------------------------------------------------

    def _reduce(
        self, t: RegisterTile, lines: Buffer, height: Index, start: Index, line: Expr, column: Index, panel: Index
    ) -> Stmt:
        low, taps = self.lines.taps(start + line)
        kernel, inputs = self.columns.kernel, self.inputs
        step = self._step(t, lines, panel)

        def origin(plane: Index, c: Index, kh: Index) -> list[tuple[Expr, Expr]]:
            y = line * self.lines.stride + kh * self.lines.dilation
            place = self.address(plane, y, column * self.columns.stride, c, height)
            tap = ((panel * self._planes + plane) * self.lines.kernel + kh) * kernel * inputs + c
            return [(tir.var("origin"), tir.index(place)), (tir.var("weight"), tir.index(tap * self.op.panel))]

        def in_line(plane: Index, kh: Index) -> Stmt:
            bound = origin(plane, 0, kh)
            if self.pixel == inputs and self.columns.dilation == 1:
                # Neighbouring taps' channels follow each other in the lines and in the weight: one long loop.
                inner = tir.serial(kernel * inputs, lambda k: step(bound, 0, k), "k")
            else:
                inner = tir.nest([kernel, inputs], lambda kw, c: step(bound, kw, c))
            return tir.seq(*tir.let_stmts(bound), inner)

        def in_plane(plane: Index, c: Index, kh: Index) -> Stmt:
            bound = origin(plane, c, kh)
            return tir.seq(*tir.let_stmts(bound), tir.nest([kernel], lambda kw: step(bound, kw, 0)))

        if self.planar:
            return tir.nest([self._planes, inputs, taps], lambda plane, c, kh: in_plane(plane, c, kh + low))
        return tir.nest([self._planes, taps], lambda plane, kh: in_line(plane, kh + low))

    def _step(
        self, t: RegisterTile, lines: Buffer, panel: Index
    ) -> Callable[[list[tuple[Expr, Expr]], Index, Index], Stmt]:
        """Return the function that emits one multiply-add of the tile, for a column tap and an input channel."""
        weights = self.view.buffer_of(self.op.w)
        assert weights is not None
        packed = self.view.flat(weights)
        first = panel * self.op.panel
        shared = (self.op.channels // self.op.group) % self.op.panel == 0
        between = self.height_step if self.planar else 1

        def step(bound: list[tuple[Expr, Expr]], kw: Index, c: Index) -> Stmt:
            (origin, _), (weight, _) = bound

            def a(r: int, offset: int, lanes: int) -> Expr:
                place = origin + (kw * self.columns.dilation + r * self.columns.stride) * self.pixel + c
                if shared:
                    return lines[place + self._first_channel(first) * between]
                # The panel has columns of several groups, each of which reads other channels.
                elements = [lines[place + self._first_channel(first + offset + i) * between] for i in range(lanes)]
                return tir.tirx.Shuffle(elements, list(range(lanes))) if lanes > 1 else elements[0]

            base = weight + (kw * self.inputs + c) * self.op.panel
            return t.multiply_add(a, lambda o, n: read_flat(packed, base + o, n, self.dtype))

        return step

    @property
    def _planes(self) -> int:
        return prod(a.kernel for a in self.outer)

    def _first_channel(self, column: Index) -> Index:
        """Return the first input channel that the output channel ``column`` reads."""
        if self.op.group == 1:
            return 0
        return tir.floordiv(column, self.op.channels // self.op.group) * self.inputs
