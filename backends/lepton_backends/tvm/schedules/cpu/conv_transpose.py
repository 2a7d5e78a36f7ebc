"""Transposed convolutions: every result gathers the taps that reach it.

The weight is packed into panels first, as those of convolutions are at compile time. A task then computes one line
of results: it copies the input lines that reach it to scratch memory, with zeros on both sides, and goes through the
columns by their remainder of the stride, since those with the same remainder use the same taps.
"""

from __future__ import annotations

from math import prod
from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cpu import tiling
from lepton_backends.tvm.schedules.cpu.gemm import bias_vector
from lepton_backends.tvm.schedules.cpu.microkernel import RegisterTile, has_long_epilogue, read_flat, scratch
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt
from lepton_ir.target import Target


@template("nn.conv_transpose")
def conv_transpose(view: KernelView, target: Target) -> Stmt:
    """Convolve with the transpose of a convolution's matrix."""
    return _Transposed(view, target).emit()


class _Transposed:
    """The sizes, the packed weight and the loops over lines."""

    def __init__(self, view: KernelView, target: Target) -> None:
        op: Any = view.anchor
        self.view, self.target, self.op = view, target, op
        self.dtype = view.dtype(op.y)
        self.lanes = tiling.vector_lanes(target, self.dtype)
        self.kernel = [int(d) for d in op.w.shape[2:]]
        self.inputs = op.w.shape[0] // op.group
        self.outputs = op.w.shape[1]
        axes = list(op.spatial_axes)
        self.sizes = [view.shape(op.x)[a] for a in axes]
        self.outs = [view.shape(op.y)[a] for a in axes]
        self.batch = view.shape(op.x)[0]
        self.panel = min(2 * self.lanes, self.outputs)
        self.panels = -(-self.outputs // self.panel)

    def emit(self) -> Stmt:
        """Return the packing of the weight and the loops over lines and panels."""
        taps = prod(self.kernel)
        size = self.op.group * self.panels * taps * self.inputs * self.panel
        packed, allocate = scratch("packed", size, self.dtype)
        lines = tiling.total([self.batch, *self.outs[:-1]])
        few = isinstance(lines, int) and lines < 4 * self.target.num_threads
        groups = self.op.group * self.panels if few else 1
        extents = [self.batch, *self.outs[:-1], groups]

        def task(p: Expr) -> Stmt:
            *at, group = tir.split_index(p, extents)
            line = _Line(self, packed, at)
            return line.emit(group, 1) if few else line.emit(0, every)

        every = self.op.group * self.panels
        pack = tiling.share_out(every, size, 1, self.target, lambda g: self._pack(packed, g))
        multiplies = self.view.size_guess(self.op.x) * taps * self.outputs
        return tir.seq(
            allocate, pack, tiling.share_out(tir.product(extents), multiplies, self.lanes, self.target, task)
        )

    def weight_at(self, panel: Index, taps: list[Index], channel: Index) -> Index:
        """Return where the columns of a panel (counted over all groups) lie in the packed weight."""
        at = tir.flat_index([panel, *taps, channel], [1, *self.kernel, self.inputs])
        return at * self.panel

    def _pack(self, packed: Buffer, g: Expr) -> Stmt:
        group, panel = tir.floordiv(g, self.panels), tir.floormod(g, self.panels)

        def element(*at: Expr) -> Stmt:
            *taps, channel, column = at
            output = panel * self.panel + column
            value = self.view.load(self.op.w, [group * self.inputs + channel, output, *taps])
            stored = tir.store(packed, [self.weight_at(g, taps, channel) + column], value)
            zero = tir.store(packed, [self.weight_at(g, taps, channel) + column], tir.const(0, self.dtype))
            return tir.if_then(output < self.outputs, stored, zero)

        return tir.nest([*self.kernel, self.inputs, self.panel], element)


class _Line:
    """One line of results."""

    def __init__(self, conv: _Transposed, packed: Buffer, at: list[Index]) -> None:
        self.c, self.op, self.packed, self.at = conv, conv.op, packed, at
        *self.outer_kernel, self.taps = conv.kernel
        self.stride, self.dilation = self.op.strides[-1], self.op.dilations[-1]
        self.before = self.op.pads[len(conv.kernel) - 1]
        self.channels = conv.inputs * self.op.group
        lowest = (self.before - (self.taps - 1) * self.dilation) // self.stride
        highest = (self.stride - 1 + self.before) // self.stride
        self.left = max(0, -lowest)
        needed = tir.ceildiv(conv.outs[-1], self.stride) + highest
        self.width = self.left + tir.maximum(conv.sizes[-1], needed)

    def emit(self, first: Index, panels: int) -> Stmt:
        """Return the copy of the input lines and the loops over ``panels`` panels from ``first``."""
        size = tir.product([*self.outer_kernel, self.width, self.channels])
        lines, allocate = scratch("lines", size, self.c.dtype)
        body = tir.serial(panels, lambda j: self._panel(lines, first + j), "panel")
        return tir.seq(allocate, self._copy(lines), body)

    def _reached(self, taps: list[Index]) -> tuple[list[Index], Expr | None]:
        """Return the input line that a tap reaches this line from, and whether there is one."""
        places: list[Index] = []
        conditions: list[Expr] = []
        for i, tap in enumerate(taps):
            distance = tir.index(self.at[1 + i] + self.op.pads[i] - tap * self.op.dilations[i])
            place = tir.floordiv(distance, self.op.strides[i])
            conditions += [tir.floormod(distance, self.op.strides[i]).equal(0), place >= 0, place < self.c.sizes[i]]
            places.append(place)
        inside: Expr | None = None
        for condition in conditions:
            inside = condition if inside is None else tirx.And(inside, condition)
        return places, inside

    def _copy(self, lines: Buffer) -> Stmt:
        def line(*taps: Expr) -> Stmt:
            places, inside = self._reached(list(taps))

            def column(x: Expr) -> Stmt:
                def put(c: Expr, lanes: int) -> Stmt:
                    place = tir.flat_index([*taps, x, c], [*self.outer_kernel, self.width, self.channels])
                    source = x - self.left
                    valid = tirx.And(source >= 0, source < self.c.sizes[-1])
                    value = self._load([*places, source], tir.ramp(c, lanes))
                    zero = tir.const(0, self.c.dtype, lanes)
                    at = [tir.ramp(place, lanes)]
                    return tir.if_then(valid, tir.store(lines, at, value), tir.store(lines, at, zero))

                return tiling.vector_steps(self.channels, self.c.lanes, put)

            copied = tir.serial(self.width, column, "x")
            return copied if inside is None else tir.if_then(inside, copied)

        return tir.nest(self.outer_kernel, line)

    def _load(self, spatial: list[Index], channels: Expr) -> Expr:
        image = self.at[0]
        order = [image, *spatial, channels] if self.op.channels_last else [image, channels, *spatial]
        return self.c.view.load(self.op.x, order)

    def _panel(self, lines: Buffer, panel: Index) -> Stmt:
        full, rest = divmod(self.c.outputs, self.c.panel)
        whole = self._columns(lines, panel, self.c.panel)
        if not rest:
            return whole
        is_full = tir.floormod(tir.index(panel), self.c.panels) < full
        return tir.if_then(is_full, whole, self._columns(lines, panel, rest))

    def _columns(self, lines: Buffer, panel: Index, width: int) -> Stmt:
        """Return the tiles of all columns: per remainder, those that all have, and one more for the first ones."""
        vectors = tiling.column_vectors(width, self.c.lanes)
        largest = tiling.max_rows(self.c.target, len(vectors))
        out = self.c.outs[-1]
        every, more = tir.floordiv(out, self.stride), tir.floormod(out, self.stride)

        def remainder(r: Expr) -> Stmt:
            tiles = tiling.row_tiles(every, largest, lambda q, size: self._tile(lines, panel, vectors, q, size, r))
            if tir.static(more) == 0:
                return tiles
            return tir.seq(tiles, tir.if_then(r < more, self._tile(lines, panel, vectors, every, 1, r)))

        return tir.serial(self.stride, remainder, "r")

    def _tile(self, lines: Buffer, panel: Index, vectors: list[tuple[int, int]], q: Index, size: int, r: Expr) -> Stmt:
        c = self.c
        group, first = tir.floordiv(panel, c.panels), tir.floormod(panel, c.panels) * c.panel
        channel = group * c.outputs + first

        def finish(row: Index, offset: int, lanes: int, value: Expr) -> Stmt:
            spatial = [*self.at[1:], (q + row) * self.stride + r]
            columns = tir.ramp(channel + offset, lanes)
            last = self.op.channels_last
            order = [self.at[0], *spatial, columns] if last else [self.at[0], columns, *spatial]
            return c.view.store(order, value)

        return RegisterTile(size, vectors, c.dtype).emit(
            lambda row, o, n: bias_vector(c.view, self.op.bias, channel + o, n, c.dtype),
            lambda t: self._reduce(t, lines, panel, group, q, r),
            finish,
            has_long_epilogue(c.view),
        )

    def _reduce(self, t: RegisterTile, lines: Buffer, panel: Index, group: Index, q: Index, r: Expr) -> Stmt:
        c = self.c

        def tap(*taps: Expr) -> Stmt:
            *outer, kw = taps
            _, inside = self._reached(list(outer))
            distance = r + self.before - kw * self.dilation
            reaches = tir.floormod(distance, self.stride).equal(0)
            column = q + tir.floordiv(distance, self.stride) + self.left
            extents = [*self.outer_kernel, self.width, self.channels]
            origin, weight = tir.var("origin"), tir.var("weight")
            bound = tir.let_stmts(
                [
                    (origin, tir.flat_index([*outer, column, group * c.inputs], extents)),
                    (weight, tir.index(c.weight_at(panel, list(taps), 0))),
                ]
            )
            loop = tir.serial(
                c.inputs,
                lambda k: t.multiply_add(
                    lambda row, o, n: lines[origin + row * self.channels + k],
                    lambda o, n: read_flat(self.packed, weight + k * c.panel + o, n, c.dtype),
                ),
                "k",
            )
            return tir.if_then(reaches if inside is None else tirx.And(inside, reaches), tir.seq(*bound, loop))

        return tir.nest([*self.outer_kernel, self.taps], tap)
