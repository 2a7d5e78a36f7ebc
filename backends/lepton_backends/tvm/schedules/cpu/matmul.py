"""Matrix products of two operands that are only known at run time: ``linalg.matmul``.

Each task packs the panels of b that it needs into scratch memory, one at a time, and multiplies with the same
register tiles as products with packed weights do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import SYMBOL_GUESS, KernelView
from lepton_backends.tvm.schedules.cpu import tiling
from lepton_backends.tvm.schedules.cpu.microkernel import RegisterTile, has_long_epilogue, read_flat, scratch
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt
from lepton_ir.ir import Value
from lepton_ir.target import Target

_FEW_ROWS = 4
"""With up to this many rows, packing b costs more than it saves."""

Element = Callable[[Index, Index], Expr]


@template("linalg.matmul")
def matmul(view: KernelView, target: Target) -> Stmt:
    """Multiply matrices, batch by batch."""
    return _Product(view, target).emit()


class _Product:
    """The sizes of the product and how its operands are read."""

    def __init__(self, view: KernelView, target: Target) -> None:
        op: Any = view.anchor
        self.view, self.target, self.op = view, target, op
        self.dtype = view.dtype(op.y)
        self.lanes = tiling.vector_lanes(target, self.dtype)
        a, b = view.shape(op.a), view.shape(op.b)
        self.k: Index = a[-2] if op.transpose_a else a[-1]
        self.m: Index = 1 if len(a) == 1 else a[-1] if op.transpose_a else a[-2]
        self.n: Index = 1 if len(b) == 1 else b[-2] if op.transpose_b else b[-1]
        kept = (len(a) > 1) + (len(b) > 1)
        y = view.shape(op.y)
        self.batch = y[: len(y) - kept]
        self.panel = self._panel_width()
        rows = tir.static(self.m)
        self.packs = rows is None or rows > _FEW_ROWS

    def _panel_width(self) -> int:
        n = tir.static(self.n)
        if n is None or n >= 2 * self.lanes:
            return 2 * self.lanes
        return n if n <= self.lanes else 2 * self.lanes

    def a(self, at: Sequence[Index], m: Index, k: Index) -> Expr:
        """Return an element of a (or a vector, where an index is one)."""
        return self._load(self.op.a, at, m, k, self.op.transpose_a)

    def b(self, at: Sequence[Index], k: Index, n: Index) -> Expr:
        """Return an element of b (or a vector, where an index is one)."""
        if self.op.b.rank == 1:
            return self.view.load(self.op.b, [k])
        return self._load(self.op.b, at, k, n, self.op.transpose_b)

    def _load(self, value: Value, at: Sequence[Index], row: Index, column: Index, transposed: bool) -> Expr:
        if value.rank == 1:
            return self.view.load(value, [column])
        own = value.rank - 2
        batch = [0 if d == 1 else i for d, i in zip(value.shape[:own], at[len(at) - own :], strict=True)]
        return self.view.load(value, [*batch, *((column, row) if transposed else (row, column))])

    def store(self, at: Sequence[Index], m: Index, n: Index, value: Expr) -> Stmt:
        """Store an element (or vector) of the result."""
        rows = [m] if self.op.a.rank > 1 else []
        columns = [n] if self.op.b.rank > 1 else []
        return self.view.store([*at, *rows, *columns], value)

    def emit(self) -> Stmt:
        """Return the loops over tasks: batches, blocks of rows, groups of panels."""
        panels = tir.ceildiv(self.n, self.panel)
        known_panels, known_rows, known_k = tir.static(panels), tir.static(self.m), tir.static(self.k)
        split = tiling.split_work(
            known_rows or 4 * SYMBOL_GUESS,
            known_panels or 4,
            target=self.target,
            row_cycles=(known_k or 64) * self.panel / self.lanes,
            row_bytes=(known_k or 64) * 4,
            panel_bytes=(known_k or 64) * self.panel * 8,
            batch=self._batch_guess(),
        )
        blocks = split.blocks if known_rows is not None else 1
        groups = split.groups if known_panels is not None else 1
        longest = -(-known_rows // blocks) if known_rows is not None else self.m
        extents = [*self.batch, blocks, groups]

        def task(p: Expr) -> Stmt:
            *at, block, group = tir.split_index(p, extents)
            start, count = (0, self.m) if known_rows is None else tiling.part(block, known_rows, blocks)
            first, many = (0, panels) if known_panels is None else tiling.part(group, known_panels, groups)
            return _Task(self, at, start, count, longest).emit(first, many)

        multiplies = self.view.size_guess(self.op.y) * (known_k or 64)
        return tiling.share_out(tir.product(extents), multiplies, self.lanes, self.target, task)

    def _batch_guess(self) -> int:
        guess = 1
        for extent in self.batch:
            guess *= tir.static(extent) or 1
        return guess


class _Task:
    """One batch, a block of its rows, some of its panels."""

    def __init__(self, product: _Product, at: list[Index], start: Index, count: Index, longest: Index) -> None:
        self.p, self.at, self.start, self.count, self.longest = product, at, start, count, longest
        self.staged = product.packs and product.view.buffer_of(product.op.a) is None
        known = tir.static(product.k)
        if known is not None and product.packs and not product.op.transpose_a:
            self.staged = self.staged or known * 4 % tiling.ALIASING_BYTES == 0

    def emit(self, first: Index, panels: Index) -> Stmt:
        """Return the loops over panels."""
        p = self.p
        prepare: list[Stmt] = []
        read: Element = lambda row, k: p.a(self.at, self.start + row, k)  # noqa: E731
        if self.staged:
            pitch = p.k + 16
            rows, allocate = scratch("rows", self.longest * pitch, p.dtype)
            prepare = [allocate, self._copy_rows(rows, pitch)]
            read = lambda row, k: read_flat(rows, row * pitch + k, 1, p.dtype)  # noqa: E731
        packed = None
        if p.packs:
            packed, allocate = scratch("packed", p.k * p.panel, p.dtype)
            prepare.append(allocate)
        return tir.seq(*prepare, tir.serial(panels, lambda j: self._panel(first + j, packed, read), "panel"))

    def _copy_rows(self, rows: Buffer, pitch: Index) -> Stmt:
        p = self.p

        def put(r: Expr, k: Expr, lanes: int) -> Stmt:
            value = p.a(self.at, self.start + r, tir.ramp(k, lanes))
            return tir.store(rows, [tir.ramp(r * pitch + k, lanes)], value)

        return tir.serial(self.count, lambda r: tiling.vector_steps(p.k, p.lanes, lambda k, n: put(r, k, n)), "row")

    def _panel(self, panel: Expr, packed: Buffer | None, read: Element) -> Stmt:
        p = self.p
        known = tir.static(p.n)
        if known is None:
            whole = self._columns(panel, p.panel, p.panel, packed, read)
            width = p.n - panel * p.panel
            return tir.if_then(width >= p.panel, whole, self._columns(panel, p.panel, width, packed, read))
        full, rest = divmod(known, p.panel)
        if not rest:
            return self._columns(panel, p.panel, p.panel, packed, read)
        tail = self._columns(tir.index(full), rest, rest, packed, read)
        if not full:
            return tail
        return tir.if_then(panel < full, self._columns(panel, p.panel, p.panel, packed, read), tail)

    def _columns(self, panel: Index, width: int, valid: Index, packed: Buffer | None, read: Element) -> Stmt:
        """Return the products of all rows with a panel of ``width`` columns, of which ``valid`` exist."""
        p = self.p
        vectors = tiling.column_vectors(width, p.lanes)
        base = panel * p.panel
        partial = tir.static(valid) is None

        def weight(k: Index, offset: int, lanes: int) -> Expr:
            if packed is not None:
                return read_flat(packed, k * p.panel + offset, lanes, p.dtype)
            if partial:
                # Columns that do not exist repeat the last one, and are not stored.
                columns = tir.ramp(base + offset, lanes)
                last = tir.broadcast(tir.index(p.n - 1), lanes)
                return p.b(self.at, k, tir.minimum(columns, last))
            return p.b(self.at, k, tir.ramp(base + offset, lanes))

        def tile(row: Index, size: int) -> Stmt:
            def step(t: RegisterTile, k: Expr) -> Stmt:
                return t.multiply_add(lambda r, o, n: read(row + r, k), lambda o, n: weight(k, o, n))

            def finish(r: Index, offset: int, lanes: int, value: Expr) -> Stmt:
                if partial:
                    return self._store_some(self.start + row + r, base + offset, valid - offset, lanes, value)
                return p.store(self.at, self.start + row + r, tir.ramp(base + offset, lanes), value)

            return RegisterTile(size, vectors, p.dtype).emit(
                lambda r, o, n: tir.const(0, p.dtype, n),
                lambda t: tir.serial(p.k, lambda k: step(t, k), "k"),
                finish,
                has_long_epilogue(p.view),
            )

        tiles = tiling.row_tiles(self.count, tiling.max_rows(p.target, len(vectors)), tile)
        return tiles if packed is None else tir.seq(self._pack(packed, base, width, valid), tiles)

    def _store_some(self, row: Index, column: Index, valid: Index, lanes: int, value: Expr) -> Stmt:
        """Store those of a vector's lanes that exist, one by one."""
        p = self.p
        row_buffer, allocate = scratch("row", lanes, p.dtype)
        count = tir.maximum(tir.minimum(valid, lanes), 0)
        store = tir.serial(count, lambda j: p.store(self.at, row, column + j, row_buffer[j]), "j")
        return tir.seq(allocate, tir.store(row_buffer, [tir.ramp(0, lanes)], value), store)

    def _pack(self, packed: Buffer, base: Index, width: int, valid: Index) -> Stmt:
        """Copy a panel of b to scratch memory; along the rows of b as they lie in memory."""
        p = self.p

        def along_k(j: Expr) -> Stmt:
            def put(k: Expr, lanes: int) -> Stmt:
                value = p.b(self.at, tir.ramp(k, lanes), base + j)
                return tir.store(packed, [tir.ramp(k * p.panel + j, lanes, p.panel)], value)

            return tiling.vector_steps(p.k, p.lanes, put)

        if p.op.transpose_b or p.op.b.rank == 1 or tir.static(valid) is None:
            return tir.serial(valid, along_k, "j")

        def along_n(k: Expr) -> Stmt:
            return tir.seq(
                *(
                    tir.store(packed, [tir.ramp(k * p.panel + o, n)], p.b(self.at, k, tir.ramp(base + o, n)))
                    for o, n in tiling.column_vectors(width, p.lanes)
                )
            )

        return tir.serial(p.k, along_n, "k")
