"""Depthwise convolutions on channels-last activations.

Vectors lie along the channels, tiles along the columns, so that neighbouring results share what they load. Nothing is
copied: such a convolution is bound by memory. Tiles at the borders leave out the taps that lie outside, at compile
time where the sizes are known.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, TypeAlias

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cpu import tiling
from lepton_backends.tvm.schedules.cpu.conv_lines import Axis, spatial_axes
from lepton_backends.tvm.schedules.cpu.gemm import bias_vector
from lepton_backends.tvm.schedules.cpu.microkernel import RegisterTile, has_long_epilogue
from lepton_backends.tvm.tir import Expr, Index, Stmt
from lepton_ir.target import Target

_COLUMNS = {16: 4, 32: 8}
"""Columns of a tile, by the number of vector registers."""

Taps: TypeAlias = "Callable[[int, int], bool | Expr]"
"""Whether a tap (column of the tile, tap along it) lies inside the input."""


def depthwise(view: KernelView, target: Target) -> Stmt:
    """Convolve every channel with its own kernel."""
    return _Depthwise(view, target).emit()


class _Depthwise:
    def __init__(self, view: KernelView, target: Target) -> None:
        op: Any = view.anchor
        self.view, self.target, self.op = view, target, op
        self.dtype = view.dtype(op.y)
        self.lanes = tiling.vector_lanes(target, self.dtype)
        self.axes = spatial_axes(view, op, op.kernel_shape)
        self.columns = self.axes[-1]
        self.around: list[Index] = [view.shape(op.x)[0], *(a.out for a in self.axes[:-1])]

    def emit(self) -> Stmt:
        """Return loops over lines and, where these do not share out evenly, groups of channels."""
        vectors = self.op.channels // self.lanes
        groups = self._groups(max(1, vectors))
        extents = [*self.around, groups]

        def task(p: Expr) -> Stmt:
            *at, group = tir.split_index(p, extents)
            first, count = tiling.part(group, vectors, groups)
            return self._line(at, first, count, group)

        # Loads and stores cost as much as four taps.
        multiplies = self.view.size_guess(self.op.y) * (prod(self.op.kernel_shape) + 4)
        return tiling.share_out(tir.product(extents), multiplies, self.lanes, self.target, task)

    def _groups(self, vectors: int) -> int:
        """Return into how many groups channels are split, so that all threads get the same number of tasks."""
        lines = tiling.total(self.around)
        threads = self.target.num_threads
        if not isinstance(lines, int) or lines >= 8 * threads or lines % threads == 0:
            return 1
        return min(threads, vectors)

    def _line(self, at: list[Index], first: Index, count: Index, group: Expr) -> Stmt:
        """Return the loops over one line of results, for ``count`` vectors of channels."""

        def channels(body: Callable[[Index, int], Stmt]) -> Stmt:
            whole = self.op.channels // self.lanes * self.lanes
            tails = tiling.column_vectors(self.op.channels - whole, self.lanes)
            main = tir.serial(count, lambda v: body((first + v) * self.lanes, self.lanes), "v") if whole else None
            rest = tir.seq(*(body(tir.index(whole + o), n) for o, n in tails)) if tails else None
            return tir.seq(main, tir.if_then(group.equal(0), rest) if rest is not None else None)

        def tile(start: Index, size: int, valid: Taps) -> Stmt:
            return channels(lambda c, lanes: self._tile(at, start, size, valid, c, lanes))

        return self._tiles(tile)

    def _tiles(self, tile: Callable[[Index, int, Taps], Stmt]) -> Stmt:
        """Cover the columns; ``valid(column of the tile, tap)`` says whether a tap lies inside."""
        axis, largest = self.columns, _COLUMNS[32 if self.target.registers >= 32 else 16]
        size, out = tir.static(axis.size), tir.static(axis.out)
        if size is None or out is None:
            return self._symbolic_tiles(tile, largest)
        tiles: list[tuple[int, int]] = []
        for count, width in tiling.balanced(out, largest):
            first = sum(t[1] for t in tiles)
            tiles += [(first + i * width, width) for i in range(count)]
        inside: Taps = lambda r, tap: True  # noqa: E731

        def run(start: int, width: int, count: int) -> Stmt:
            return tir.serial(count, lambda i: tile(i * width + start, width, inside), "tile")

        def border(start: int, width: int) -> Stmt:
            return tile(start, width, lambda r, tap: 0 <= int(_source(axis, start + r, tap)) < size)

        parts: list[Stmt] = []
        while tiles:
            start, width = tiles[0]
            many = 0
            while many < len(tiles) and tiles[many][1] == width and _is_interior(axis, size, *tiles[many]):
                many += 1
            parts.append(run(start, width, many) if many else border(start, width))
            del tiles[: max(1, many)]
        return tir.seq(*parts)

    def _symbolic_tiles(self, tile: Callable[[Index, int, Taps], Stmt], largest: int) -> Stmt:
        axis = self.columns
        reach = (axis.kernel - 1) * axis.dilation
        low = tir.minimum(-(-axis.before // axis.stride), axis.out)
        high = tir.floordiv(axis.size - 1 + axis.before - reach, axis.stride) + 1
        high = tir.maximum(tir.minimum(high, axis.out), low)

        def border(start: Index) -> Stmt:
            def valid(r: int, tap: int) -> Expr:
                place = tir.index(_source(axis, start + r, tap))
                return tirx.And(place >= 0, place < axis.size)

            return tile(start, 1, valid)

        return tir.seq(
            tir.serial(low, lambda i: border(i), "left"),
            tiling.row_tiles(high - low, largest, lambda start, size: tile(low + start, size, lambda r, t: True)),
            tir.serial(axis.out - high, lambda i: border(high + i), "right"),
        )

    def _tile(self, at: list[Index], start: Index, size: int, valid: Taps, c: Index, lanes: int) -> Stmt:
        op, view = self.op, self.view
        rank = op.spatial_rank

        def finish(r: Index, offset: int, n: int, value: Expr) -> Stmt:
            return view.store([at[0], *[*at[1:], start + r][-rank:], tir.ramp(c, n)], value)

        return RegisterTile(size, [(0, lanes)], self.dtype).emit(
            lambda r, o, n: bias_vector(view, op.bias, c, n, self.dtype),
            lambda t: self._reduce(t, at, start, valid, c),
            finish,
            has_long_epilogue(view),
        )

    def _reduce(self, t: RegisterTile, at: list[Index], start: Index, valid: Taps, c: Index) -> Stmt:
        op, view, columns = self.op, self.view, self.columns
        rank, outer = op.spatial_rank, self.axes[:-1]
        ranges = [axis.taps(place) for axis, place in zip(outer, at[1:], strict=True)]

        def line(*steps: Index) -> Stmt:
            taps = [low + step for (low, _), step in zip(ranges, steps, strict=True)]
            places = [_source(axis, o, tap) for axis, o, tap in zip(outer, at[1:], taps, strict=True)]

            def x(r: int, kw: int, n: int) -> Expr | None:
                inside = valid(r, kw)
                if inside is False:
                    return None
                indices = [at[0], *[*places, _source(columns, start + r, kw)][-rank:], tir.ramp(c, n)]
                if inside is True:
                    return view.load(op.x, indices)
                return view.guarded(inside, op.x, indices, tir.const(0, self.dtype, n))

            def w(kw: int, n: int) -> Expr:
                return view.load(op.w, [*[*taps, tir.index(kw)][-rank:], tir.ramp(c, n)])

            def tap(kw: int) -> Stmt:
                return t.multiply_add(lambda r, o, n: x(r, kw, n), lambda o, n: w(kw, n))

            return tir.seq(*(tap(kw) for kw in range(columns.kernel)))

        return tir.nest([count for _, count in ranges], line)


def _source(axis: Axis, out: Index, tap: Index) -> Index:
    """Return the input position that a tap of a result reads."""
    return out * axis.stride + tap * axis.dilation - axis.before


def _is_interior(axis: Axis, size: int, start: int, width: int) -> bool:
    return int(_source(axis, start, 0)) >= 0 and int(_source(axis, start + width - 1, axis.kernel - 1)) < size
