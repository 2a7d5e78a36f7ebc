"""Convolutions with packed weights on channels-last activations.

A 1x1 convolution is a matrix product over all positions. Any other reads from scratch lines: each task copies the
input lines that its output lines need (see :mod:`conv_lines`), which also applies whatever was fused before the
convolution once per element instead of once per use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cpu import tiling
from lepton_backends.tvm.schedules.cpu.conv_lines import ScratchLines, spatial_axes
from lepton_backends.tvm.schedules.cpu.depthwise import depthwise
from lepton_backends.tvm.schedules.cpu.gemm import PackedProduct, bias_vector
from lepton_backends.tvm.schedules.cpu.microkernel import RegisterTile, has_long_epilogue, read_flat, scratch
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt
from lepton_ir.target import Target

_SYMBOLIC_LINES = 8
"""Output lines in one task where their number is not known."""


@dataclass(frozen=True)
class PackedWeight:
    """A weight as the loops read it, ``[panels, *kernel, inputs, panel]``.

    Attributes:
        memory: its elements, as a one-dimensional buffer.
        kernel: the number of taps along each spatial axis.
        inputs: input channels of a group.
        outputs: output channels of all groups.
        panel: output channels in one panel.
    """

    memory: Buffer
    kernel: tuple[int, ...]
    inputs: int
    outputs: int
    panel: int

    @property
    def panels(self) -> int:
        """The number of panels."""
        return -(-self.outputs // self.panel)


@template("nn.conv_packed")
def conv_packed(view: KernelView, target: Target) -> Stmt:
    """Convolve with a packed weight."""
    op: Any = view.anchor
    if op.is_depthwise:
        return depthwise(view, target)
    if op.group == 1 and prod(op.kernel_shape) == 1 and not any(op.pads):
        return _pointwise(view, target, op)
    buffer = view.buffer_of(op.w)
    assert buffer is not None
    weight = PackedWeight(view.flat(buffer), op.kernel_shape, op.w.shape[-2], op.channels, op.panel)
    return DirectConv(view, target, weight).emit()


@template("nn.conv")
def conv(view: KernelView, target: Target) -> Stmt:
    """Convolve with a weight that is only known at run time, packing it first; in either layout."""
    op: Any = view.anchor
    outputs, inputs, *kernel = (int(d) for d in op.w.shape)
    dtype = view.dtype(op.y)
    per_group = outputs // op.group
    panel = min(2 * tiling.vector_lanes(target, dtype), per_group)
    if op.group > 1:
        panel = max(width for width in range(1, panel + 1) if per_group % width == 0)
    taps = prod(kernel)
    panels = -(-outputs // panel)
    memory, allocate = scratch("packed", panels * taps * inputs * panel, dtype)

    def pack(p: Expr) -> Stmt:
        def element(*at: Expr) -> Stmt:
            *tap, c, column = at
            output = p * panel + column
            place = tir.flat_index([p, *tap, c, column], [panels, *kernel, inputs, panel])
            value = tir.store(memory, [place], view.load(op.w, [output, c, *tap]))
            return tir.if_then(output < outputs, value, tir.store(memory, [place], tir.const(0, dtype)))

        return tir.nest([*kernel, inputs, panel], element)

    weight = PackedWeight(memory, tuple(kernel), inputs, outputs, panel)
    packing = tiling.share_out(panels, panels * panel * taps * inputs, 1, target, pack)
    return tir.seq(allocate, packing, DirectConv(view, target, weight).emit())


def _pointwise(view: KernelView, target: Target, op: Any) -> Stmt:
    """Return the product over all positions; where there are strides, rows are first copied together."""
    leading = view.shape(op.y)[:-1]
    channels = op.w.shape[-2]

    def y_at(row: Index) -> list[Index]:
        return tir.split_index(tir.index(row), leading)

    def a_at(row: Index) -> list[Index]:
        image, *spatial = y_at(row)
        return [image, *(i * s for i, s in zip(spatial, op.strides, strict=True))]

    a_row = channels if all(s == 1 for s in op.strides) else None
    return PackedProduct(
        view, target, op.x, op.w, op.bias, leading, channels, op.channels, op.panel, a_at, y_at, a_row
    ).emit()


class DirectConv:
    """Everything that the loops of one direct convolution need to know."""

    def __init__(self, view: KernelView, target: Target, weight: PackedWeight) -> None:
        op: Any = view.anchor
        self.view, self.target, self.op, self.weight = view, target, op, weight
        self.dtype = view.dtype(op.y)
        self.lanes = tiling.vector_lanes(target, self.dtype)
        self.axes = spatial_axes(view, op, weight.kernel)
        *self.outer, self.lines, self.columns = self.axes
        self.batch = view.shape(op.x)[0]
        self.channels = weight.inputs * op.group

    def emit(self) -> Stmt:
        """Return the statement of the whole convolution."""
        around = [self.batch, *(a.out for a in self.outer)]
        lines = tir.static(self.lines.out)
        split = self._split(lines or 4 * _SYMBOLIC_LINES, around)
        blocks: Index = split.blocks if lines is not None else tir.ceildiv(self.lines.out, _SYMBOLIC_LINES)
        longest = -(-lines // split.blocks) if lines is not None else _SYMBOLIC_LINES
        extents = [split.groups, *around, blocks]

        def task(p: Expr) -> Stmt:
            group, *at, block = tir.split_index(p, extents)
            if lines is None:
                start: Index = block * longest
                count: Index = tir.minimum(self.lines.out - start, longest)
            else:
                start, count = tiling.part(block, lines, split.blocks)
            lines_read = ScratchLines(self.view, self.op, self.axes, self.channels, longest, self.lanes)
            panels = tiling.part(group, self.weight.panels, split.groups)
            body = _Block(self, lines_read, at, start, count).emit(*panels)
            return tir.seq(lines_read.allocate, lines_read.fill(at, start, count), body)

        multiplies = self.view.size_guess(self.op.y) * prod(self.weight.kernel) * self.weight.inputs
        return tiling.share_out(tir.product(extents), multiplies, self.lanes, self.target, task)

    def _split(self, lines: int, around: list[Index]) -> tiling.Split:
        panel_elements = prod(self.weight.kernel) * self.weight.inputs * self.weight.panel
        width = tir.static(self.columns.size) or 32
        line_elements = width * self.channels * self.lines.stride
        return tiling.split_work(
            lines,
            self.weight.panels,
            target=self.target,
            row_cycles=(tir.static(self.columns.out) or 32) * panel_elements / self.lanes,
            row_bytes=line_elements * 4,
            panel_bytes=panel_elements * 4,
            block_cycles=2 * line_elements / self.lanes,
            batch=prod(tir.static(e) or 1 for e in around),
        )


class _Block:
    """The loops of one task: a block of output lines times a group of panels."""

    def __init__(self, conv: DirectConv, lines: ScratchLines, at: list[Index], start: Index, count: Index) -> None:
        self.conv, self.op, self.view, self.weight = conv, conv.op, conv.view, conv.weight
        self.lines, self.at, self.start, self.count = lines, at, start, count

    def emit(self, first: Index, panels: Index) -> Stmt:
        """Return the loops over ``panels`` panels from ``first``."""
        full, rest = divmod(self.weight.outputs, self.weight.panel)

        def columns(panel: Index, width: int) -> Stmt:
            return tir.serial(self.count, lambda line: self._line(line, panel, width), "line")

        def body(j: Expr) -> Stmt:
            if not rest:
                return columns(first + j, self.weight.panel)
            tail = columns(tir.index(full), rest)
            return tir.if_then(first + j < full, columns(first + j, self.weight.panel), tail) if full else tail

        return tir.serial(panels, body, "panel")

    def _line(self, line: Expr, panel: Index, width: int) -> Stmt:
        dtype, bias = self.conv.dtype, self.op.bias
        vectors = tiling.column_vectors(width, self.conv.lanes)

        def tile(column: Index, size: int) -> Stmt:
            def finish(r: Index, offset: int, lanes: int, value: Expr) -> Stmt:
                spatial = [*self.at[1:], self.start + line, column + r][-self.op.spatial_rank :]
                channels = tir.ramp(panel * self.weight.panel + offset, lanes)
                image, last = self.at[0], self.op.channels_last
                return self.view.store([image, *spatial, channels] if last else [image, channels, *spatial], value)

            return RegisterTile(size, vectors, dtype).emit(
                lambda r, o, n: bias_vector(self.view, bias, panel * self.weight.panel + o, n, dtype),
                lambda t: self._reduce(t, line, column, panel),
                finish,
                has_long_epilogue(self.view),
            )

        return tiling.row_tiles(self.conv.columns.out, tiling.max_rows(self.conv.target, len(vectors)), tile)

    def _reduce(self, t: RegisterTile, line: Expr, column: Index, panel: Index) -> Stmt:
        """Return the loops over taps and input channels."""
        lines, axis, inputs = self.lines, self.conv.columns, self.weight.inputs
        low, taps = self.conv.lines.taps(self.start + line)
        step = self._step(t, panel)

        def along(plane: Index, kh: Index) -> Stmt:
            bound, origin, weight = self._origins(line, column, panel, plane, 0, kh)
            if lines.pixel == inputs and axis.dilation == 1:
                # Neighbouring taps' channels follow each other in the lines and in the weight: one long loop.
                inner = tir.serial(axis.kernel * inputs, lambda k: step(origin, weight, 0, k), "k")
            else:
                inner = tir.nest([axis.kernel, inputs], lambda kw, c: step(origin, weight, kw, c))
            return tir.seq(*bound, inner)

        def down(plane: Index, c: Index, kw: Index, kh: Index) -> Stmt:
            bound, origin, weight = self._origins(line, column, panel, plane, c, kh)
            return tir.seq(*bound, step(origin, weight, kw, 0))

        if lines.planar and axis.stride < axis.kernel * axis.dilation:
            # The taps of a column are the innermost loop, since those of a line overlap from row to row of the tile:
            # LLVM would unroll them and keep every element that it has loaded, for want of registers in memory.
            extents = [lines.planes, inputs, axis.kernel, taps]
            return tir.nest(extents, lambda plane, c, kw, kh: down(plane, c, kw, kh + low))
        if lines.planar:
            extents = [lines.planes, inputs, taps, axis.kernel]
            return tir.nest(extents, lambda plane, c, kh, kw: down(plane, c, kw, kh + low))
        return tir.nest([lines.planes, taps], lambda plane, kh: along(plane, kh + low))

    def _origins(
        self, line: Expr, column: Index, panel: Index, plane: Index, c: Index, kh: Index
    ) -> tuple[list[Stmt], Expr, Expr]:
        """Return bindings of, and variables for, where the tile's first element and its weights begin."""
        conv, lines, weight = self.conv, self.lines, self.weight
        y = line * conv.lines.stride + kh * conv.lines.dilation
        place = lines.address(plane, y, column * conv.columns.stride, c)
        tap = ((panel * lines.planes + plane) * conv.lines.kernel + kh) * conv.columns.kernel * weight.inputs + c
        origin, taps = tir.var("origin"), tir.var("taps")
        return tir.let_stmts([(origin, tir.index(place)), (taps, tir.index(tap * weight.panel))]), origin, taps

    def _step(self, t: RegisterTile, panel: Index) -> Callable[[Expr, Expr, Index, Index], Stmt]:
        """Return the function that emits one multiply-add of the tile, for a column tap and an input channel."""
        lines, axis, weight = self.lines, self.conv.columns, self.weight
        first = panel * weight.panel
        shared = (weight.outputs // self.op.group) % weight.panel == 0

        def step(origin: Expr, taps: Expr, kw: Index, c: Index) -> Stmt:
            def a(r: int, offset: int, lanes: int) -> Expr:
                place = origin + (kw * axis.dilation + r * axis.stride) * lines.pixel + c
                if shared:
                    return lines.load(place + self._group_offset(first))
                # The panel has columns of several groups, each of which reads other channels.
                elements = [lines.load(place + self._group_offset(first + offset + i)) for i in range(lanes)]
                return tirx.Shuffle(elements, list(range(lanes))) if lanes > 1 else elements[0]

            base = taps + (kw * weight.inputs + c) * weight.panel
            return t.multiply_add(a, lambda o, n: read_flat(self.weight.memory, base + o, n, self.conv.dtype))

        return step

    def _group_offset(self, column: Index) -> Index:
        """Return the distance from the first input channel to the first that an output channel reads."""
        if self.op.group == 1:
            return 0
        group = tir.floordiv(column, self.weight.outputs // self.op.group)
        return group * (self.weight.inputs * self.lines.channel)
