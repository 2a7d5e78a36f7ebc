"""Attention without writing the score matrix: a tile of rows has its scores in scratch memory, from start to end.

A task does one batch entry (one head) and a block of its rows. It packs the keys in panels once; then, for a tile of
rows: scores = q k^T * scale + mask in register tiles, softmax in place, and scores v in register tiles, where the
division by the sum of the exponentials comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import vector_math
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cpu import rows, tiling
from lepton_backends.tvm.schedules.cpu.microkernel import RegisterTile, read_flat, scratch
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt
from lepton_ir.ir import Value
from lepton_ir.target import Target

_VECTORS = 2
"""Width of a panel of keys, in vectors."""


@template("nn.attention")
def attention(view: KernelView, target: Target) -> Stmt:
    """Loops over batch entries and blocks of rows, shared by the threads."""
    return _Attention(view, target).emit()


class _Attention:
    def __init__(self, view: KernelView, target: Target) -> None:
        op: Any = view.anchor
        self.view, self.target, self.op = view, target, op
        self.dtype = view.dtype(op.result)
        self.lanes = tiling.vector_lanes(target, self.dtype)
        *self.batch, self.m, self.depth = [*view.shape(op.result)[:-1], view.shape(op.q)[-1]]
        self.s: Index = view.shape(op.k)[-2]
        self.e: Index = view.shape(op.v)[-1]
        self.panel = _VECTORS * self.lanes
        self.panels = tir.ceildiv(self.s, self.panel)
        self.pitch: Index = self.panels * self.panel
        self.tile_rows = tiling.max_rows(target, _VECTORS)

    def emit(self) -> Stmt:
        """Return the whole kernel."""
        known_m, batch = tir.static(self.m), tir.static(tir.product(self.batch))
        blocks = 1
        if known_m is not None and batch is not None and batch < 4 * self.target.num_threads:
            blocks = min(-(-known_m // self.tile_rows), -(-4 * self.target.num_threads // batch))
        extents = [*self.batch, blocks]

        def task(*at: Expr) -> Stmt:
            if blocks == 1:
                return self._task(at[:-1], 0, self.m)
            assert known_m is not None
            return self._task(at[:-1], *tiling.part(at[-1], known_m, blocks))

        scores = self.view.size_guess(self.op.result) * self.view.guess(self.op.k.shape[-2])
        return tir.parallel_nest(extents, scores * 4 / self.lanes / 3, task, self.target.num_threads)

    def _task(self, at: Sequence[Expr], start: Index, count: Index) -> Stmt:
        keys, allocate_keys = scratch("keys", self.pitch * self.depth, self.dtype)
        scores, allocate_scores = scratch("scores", self.pitch * self.tile_rows, self.dtype)
        queries, allocate_queries = scratch("queries", tir.index(self.depth) * self.tile_rows, self.dtype)
        sums, allocate_sums = scratch("sums", self.tile_rows, self.dtype)
        tile = _Tile(self, at, keys, scores, queries, sums)
        loops = tiling.row_tiles(count, self.tile_rows, lambda row, size: tile.emit(start + row, size))
        return tir.seq(allocate_keys, allocate_scores, allocate_queries, allocate_sums, self._pack(at, keys), loops)

    def _pack(self, at: Sequence[Expr], keys: Buffer) -> Stmt:
        """Copy the keys to panels ``[panel, depth, column]``; columns that do not exist are 0."""

        def put(s: Expr, d: Index, width: int) -> Stmt:
            panel, column = tir.floordiv(s, self.panel), tir.floormod(s, self.panel)
            base = (panel * self.depth + d) * self.panel + column
            value = self.load(self.op.k, at, [s, tir.ramp(d, width)])
            return tir.store(keys, [tir.ramp(base, width, self.panel)], value)

        def clear(rest: Expr) -> Stmt:
            s = rest + self.s
            panel, column = tir.floordiv(s, self.panel), tir.floormod(s, self.panel)
            return tir.serial(
                self.depth,
                lambda d: tir.store(keys, [(panel * self.depth + d) * self.panel + column], tir.const(0, self.dtype)),
            )

        copy = tir.serial(self.s, lambda s: rows.chunks(self.depth, self.lanes, lambda d, n: put(s, d, n)), "s")
        return tir.seq(copy, tir.serial(self.pitch - self.s, clear, "rest"))

    def load(self, value: Value, at: Sequence[Expr], last: Sequence[Index]) -> Expr:
        """Return an element (or vector) of an operand, whose batch axes broadcast."""
        indices = [*at, *(tir.index(i) for i in last)]
        return self.view.load(value, self.view.broadcast_index(value, indices))


class _Tile:
    """A few rows: their scores, their softmax, their result."""

    def __init__(
        self, whole: _Attention, at: Sequence[Expr], keys: Buffer, scores: Buffer, queries: Buffer, sums: Buffer
    ) -> None:
        self.a, self.at = whole, at
        self.keys, self.scores, self.queries, self.sums = keys, scores, queries, sums

    def emit(self, row: Index, size: int) -> Stmt:
        """Return the statements of ``size`` rows from ``row`` on."""
        a = self.a
        panels = tir.serial(a.panels, lambda p: self._scores(p, size), "panel")
        softmax = tir.serial(size, lambda r: self._softmax(row, r), "row")
        return tir.seq(self._stage(row, size), panels, softmax, self._result(row, size))

    def _stage(self, row: Index, size: int) -> Stmt:
        a = self.a
        scale = tir.const(a.op.scale, a.dtype)

        def put(r: Expr, d: Index, width: int) -> Stmt:
            value = a.load(a.op.q, self.at, [row + r, tir.ramp(d, width)]) * tir.broadcast(scale, width)
            return tir.store(self.queries, [tir.ramp(r * a.depth + d, width)], value)

        return tir.serial(size, lambda r: rows.chunks(a.depth, a.lanes, lambda d, n: put(r, d, n)), "r")

    def _scores(self, panel: Expr, size: int) -> Stmt:
        a = self.a

        def step(t: RegisterTile, d: Expr) -> Stmt:
            return t.multiply_add(
                lambda r, o, n: read_flat(self.queries, r * a.depth + d, 1, a.dtype),
                lambda o, n: read_flat(self.keys, (panel * a.depth + d) * a.panel + o, n, a.dtype),
            )

        def keep(r: int, offset: int, n: int, value: Expr) -> Stmt:
            return tir.store(self.scores, [tir.ramp(r * a.pitch + panel * a.panel + offset, n)], value)

        return RegisterTile(size, tiling.column_vectors(a.panel, a.lanes), a.dtype).emit(
            lambda r, o, n: tir.const(0, a.dtype, n), lambda t: tir.serial(a.depth, lambda d: step(t, d), "d"), keep
        )

    def _softmax(self, row: Index, r: Expr) -> Stmt:
        """Replace a row of scores by the exponentials, and note their sum."""
        a = self.a
        low = tir.const(float("-inf"), a.dtype)
        largest = rows.Accumulator("max", a.lanes, a.dtype, low, tirx.max)
        total = rows.Accumulator("sum", a.lanes, a.dtype, tir.const(0.0, a.dtype), lambda x, y: x + y)
        base = r * a.pitch

        def masked(s: Index, width: int) -> Stmt:
            at = [tir.ramp(base + s, width)]
            if a.op.mask is None:
                return largest.add(tirx.BufferLoad(self.scores, at))
            bias = a.load(a.op.mask, self.at, [row + r, tir.ramp(s, width)])
            sum_ = tirx.BufferLoad(self.scores, at) + tir.broadcast(bias, width)
            return tir.seq(tir.store(self.scores, at, sum_), largest.add(tirx.BufferLoad(self.scores, at)))

        def exponential(s: Index, width: int) -> Stmt:
            at = [tir.ramp(base + s, width)]
            shifted = tirx.BufferLoad(self.scores, at) - tir.broadcast(largest.value, width)
            kept = tir.scoped(lambda: tir.store(self.scores, at, vector_math.exp_flushed(shifted)))
            return tir.seq(kept, total.add(tirx.BufferLoad(self.scores, at)))

        # What lies beyond the last key becomes exp(-inf) = 0, so that whole vectors can be computed.
        pad = tir.serial(a.pitch - a.s, lambda i: tir.store(self.scores, [base + a.s + i], low))
        return tir.seq(
            largest.begin(), rows.chunks(a.s, a.lanes, masked, rows.CHAINS), largest.finish(), pad,
            total.begin(), rows.chunks(a.pitch, a.lanes, exponential, _VECTORS) if tir.static(a.pitch) is not None
            else tir.serial(a.panels * _VECTORS, lambda v: exponential(v * a.lanes, a.lanes)), total.finish(),
            tir.store(self.sums, [r], tir.const(1.0, a.dtype) / total.value),
        )  # fmt: skip

    def _result(self, row: Index, size: int) -> Stmt:
        a = self.a
        known = tir.static(a.e)
        if known is None:
            return tir.serial(a.e, lambda e: self._columns(row, size, e, [(0, 1)]), "e")
        whole = known // a.panel
        parts = [tir.serial(whole, lambda p: self._columns(row, size, p * a.panel, self._vectors(a.panel)), "e")]
        rest = known - whole * a.panel
        if rest:
            parts.append(self._columns(row, size, tir.index(whole * a.panel), self._vectors(rest)))
        return tir.seq(*(parts if whole else parts[1:]))

    def _vectors(self, width: int) -> list[tuple[int, int]]:
        return tiling.column_vectors(width, self.a.lanes)

    def _columns(self, row: Index, size: int, first: Index, vectors: list[tuple[int, int]]) -> Stmt:
        a = self.a

        def step(t: RegisterTile, s: Expr) -> Stmt:
            return t.multiply_add(
                lambda r, o, n: read_flat(self.scores, r * a.pitch + s, 1, a.dtype),
                lambda o, n: a.load(a.op.v, self.at, [s, tir.ramp(first + o, n)]),
            )

        def finish(r: int, offset: int, n: int, value: Expr) -> Stmt:
            inverse = tir.broadcast(read_flat(self.sums, tir.index(r), 1, a.dtype), n)
            return a.view.store([*self.at, tir.index(row + r), tir.ramp(first + offset, n)], value * inverse)

        return RegisterTile(size, vectors, a.dtype).emit(
            lambda r, o, n: tir.const(0, a.dtype, n), lambda t: tir.serial(a.s, lambda s: step(t, s), "s"), finish
        )
