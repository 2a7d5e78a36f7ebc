"""Attention: for a block of rows, the scores stay in scratch memory from their computation to the product with v."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import vector_math
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cpu import rows, tiling
from lepton_backends.tvm.schedules.cpu.microkernel import RegisterTile, read_flat, scratch
from lepton_backends.tvm.schedules.cpu.register_transpose import transpose_tile
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt
from lepton_ir.ir import Value
from lepton_ir.target import Target

_NS_PER_FLOP = 0.02
_TILE_VECTORS = 2


@template("nn.attention")
def attention(view: KernelView, target: Target) -> Stmt:
    """softmax(q k^T * scale + mask) v; the threads share the batch (heads included)."""
    emit = _Attention(view, target)
    op: Any = view.anchor
    flops = 4.0 * view.size_guess(op.y) * view.guess(op.k.shape[-2])
    return tir.parallel_nest(emit.batch, flops * _NS_PER_FLOP, emit.head, target.num_threads)


class _Attention:
    def __init__(self, view: KernelView, target: Target) -> None:
        op: Any = view.anchor
        self.view, self.op = view, op
        self.dtype = view.dtype(op.q)
        self.lanes = tiling.vector_lanes(target, self.dtype)
        self.width = self.lanes * _TILE_VECTORS
        self.rows = tiling.max_rows(target, _TILE_VECTORS)
        *self.batch, self.m, self.e = view.shape(op.y)
        self.s, self.d = view.shape(op.k)[-2:]
        self.panels = tir.ceildiv(self.s, self.width)
        self.padded = self.panels * self.width

    def head(self, *batch: Expr) -> Stmt:
        """Return the statements for one matrix of the batch."""
        keys, allocate_keys = scratch("keys", self.padded * self.d, self.dtype)
        values, allocate_values = scratch("values", self.s * self.e, self.dtype)
        scores, allocate_scores = scratch("scores", self.padded * self.rows, self.dtype)
        queries, allocate_queries = scratch("queries", self.d * self.rows, self.dtype)

        def block(start: Index, size: int) -> Stmt:
            return tir.seq(
                self._load_queries(batch, queries, start, size),
                self._score(queries, keys, scores, size),
                self._weigh(batch, scores, values, start, size),
            )

        return tir.seq(
            allocate_keys, allocate_values, allocate_scores, allocate_queries,
            self._pack_keys(batch, keys), self._pack_values(batch, values),
            tiling.row_tiles(self.m, self.rows, block),
        )  # fmt: skip

    def _read(self, value: Value, batch: Sequence[Expr], row: Index, column: Expr) -> Expr:
        """Return elements of q, k, v or the mask, which broadcasts over the batch."""
        place = [*batch, tir.index(row), column]
        return self.view.load(value, self.view.broadcast_index(value, place))

    def _pack_keys(self, batch: Sequence[Expr], keys: Buffer) -> Stmt:
        """Store k transposed: for each panel of positions and each feature, the features of those positions."""
        n = self.lanes
        tiles = tir.floordiv(self.d, n)

        def put(position: Index, feature: Index, value: Expr) -> Stmt:
            panel, lane = tir.floordiv(position, self.width), tir.floormod(position, self.width)
            at = (panel * self.d + feature) * self.width + lane
            return tir.store(keys, [tir.ramp(at, tir.lanes_of(value))], value)

        def tile(block: Expr, feature: Expr) -> Stmt:
            return transpose_tile(
                n,
                lambda r: self._read(self.op.k, batch, block * n + r, tir.ramp(feature * n, n)),
                lambda c, column: put(block * n, feature * n + c, column),
            )

        def single(position: Index, feature: Index) -> Stmt:
            return tir.scoped(
                lambda: put(position, feature, self._read(self.op.k, batch, position, tir.index(feature)))
            )

        whole = tir.floordiv(self.s, n)
        rest = tir.floormod(self.s, n)
        left = tir.floormod(self.d, n)
        return tir.seq(
            tir.nest([whole, tiles], tile) if tir.static(tiles) != 0 else None,
            tir.nest([whole * n, left], lambda p, f: single(p, tiles * n + f)) if tir.static(left) != 0 else None,
            tir.nest([rest, self.d], lambda p, f: single(whole * n + p, f)) if tir.static(rest) != 0 else None,
        )

    def _pack_values(self, batch: Sequence[Expr], values: Buffer) -> Stmt:
        """Store v row by row without gaps, so that rows do not evict each other from the cache."""

        def row(s: Expr) -> Stmt:
            def chunk(at: Index, lanes: int) -> Stmt:
                read = self._read(self.op.v, batch, s, tir.ramp(at, lanes))
                return tir.store(values, [tir.ramp(s * self.e + at, lanes)], read)

            return rows.chunks(self.e, self.lanes, lambda at, lanes: tir.scoped(lambda: chunk(at, lanes)))

        return tir.serial(self.s, row, "s")

    def _load_queries(self, batch: Sequence[Expr], queries: Buffer, start: Index, size: int) -> Stmt:
        scale = tir.const(self.op.scale, self.dtype)

        def row(r: Expr) -> Stmt:
            def chunk(at: Index, lanes: int) -> Stmt:
                read = self._read(self.op.q, batch, start + r, tir.ramp(at, lanes))
                return tir.store(queries, [tir.ramp(r * self.d + at, lanes)], read * tir.broadcast(scale, lanes))

            return rows.chunks(self.d, self.lanes, lambda at, lanes: tir.scoped(lambda: chunk(at, lanes)))

        return tir.serial(size, row, "r")

    def _score(self, queries: Buffer, keys: Buffer, scores: Buffer, size: int) -> Stmt:
        """Scores of a block of rows against all positions; those beyond the last are never read."""

        def panel(p: Expr) -> Stmt:
            tile = RegisterTile(size, tiling.column_vectors(self.width, self.lanes), self.dtype)

            def step(d: Expr) -> Stmt:
                return tile.multiply_add(
                    lambda r, _, __: queries[tir.index(r * self.d + d)],
                    lambda offset, lanes: read_flat(keys, (p * self.d + d) * self.width + offset, lanes, self.dtype),
                )

            return tile.emit(
                lambda _, __, ___: tir.const(0.0, self.dtype),
                lambda _: tir.serial(self.d, step, "d"),
                lambda r, offset, lanes, value: tir.store(
                    scores, [tir.ramp(self.padded * r + p * self.width + offset, lanes)], value
                ),
            )

        return tir.serial(self.panels, panel, "panel")

    def _weigh(self, batch: Sequence[Expr], scores: Buffer, values: Buffer, start: Index, size: int) -> Stmt:
        """Softmax of each row, not yet normalized, and its product with v."""
        inverse = rows.register("inverse", size, self.dtype)
        softmax = tir.serial(size, lambda r: self._softmax(batch, scores, inverse, start, r), "r")

        def columns(first: Index, vectors: Sequence[tuple[int, int]]) -> Stmt:
            tile = RegisterTile(size, vectors, self.dtype)

            def step(s: Expr) -> Stmt:
                return tile.multiply_add(
                    lambda r, _, __: scores[tir.index(self.padded * r + s)],
                    lambda offset, lanes: read_flat(values, s * self.e + first + offset, lanes, self.dtype),
                )

            def finish(r: int, offset: int, lanes: int, value: Expr) -> Stmt:
                normalized = value * tir.broadcast(inverse[tir.index(r)], lanes)
                return self.view.store([*batch, start + r, tir.ramp(first + offset, lanes)], normalized)

            return tile.emit(
                lambda _, __, ___: tir.const(0.0, self.dtype), lambda _: tir.serial(self.s, step, "s"), finish
            )

        return tir.seq(tirx.AllocBuffer(inverse), softmax, self._column_tiles(columns))

    def _column_tiles(self, body: Any) -> Stmt:
        """Return ``body(first column, vectors)`` over tiles of the columns of v."""
        known = tir.static(self.e)
        if known is None:
            return rows.chunks(self.e, self.lanes, lambda at, lanes: body(at, [(0, lanes)]))
        whole = known // self.width
        parts = [tir.serial(whole, lambda t: body(t * self.width, tiling.column_vectors(self.width, self.lanes)))]
        left = tiling.column_vectors(known - whole * self.width, self.lanes)
        return tir.seq(*(parts if whole else []), body(tir.index(whole * self.width), left) if left else None)

    def _softmax(self, batch: Sequence[Expr], scores: Buffer, inverse: Buffer, start: Index, r: Expr) -> Stmt:
        mask: Value | None = self.op.mask
        low = tir.const(float("-inf"), self.dtype)
        largest = rows.Accumulator("max", self.lanes, self.dtype, low, tirx.max)
        total = rows.Accumulator("sum", self.lanes, self.dtype, tir.const(0.0, self.dtype), lambda a, b: a + b)

        def at(first: Index, lanes: int) -> Expr:
            return tir.ramp(self.padded * r + first, lanes)

        def read(first: Index, lanes: int) -> Stmt:
            place = at(first, lanes)
            if mask is None:
                return largest.add(scores[place])
            added = tir.broadcast(self._read(mask, batch, start + r, tir.ramp(first, lanes)), lanes)
            return tir.seq(tir.store(scores, [place], scores[place] + added), largest.add(scores[place]))

        def exponential(first: Index, lanes: int) -> Stmt:
            place = at(first, lanes)
            shifted = scores[place] - tir.broadcast(largest.value, lanes)
            kept = tir.scoped(lambda: tir.store(scores, [place], vector_math.exp_flushed(shifted)))
            return tir.seq(kept, total.add(scores[place]))

        return tir.seq(
            largest.begin(),
            rows.chunks(self.s, self.lanes, lambda f, n: tir.scoped(lambda: read(f, n)), rows.CHAINS),
            largest.finish(),
            total.begin(), rows.chunks(self.s, self.lanes, exponential, rows.CHAINS), total.finish(),
            tir.store(inverse, [r], tir.const(1.0, self.dtype) / total.value),
        )  # fmt: skip
