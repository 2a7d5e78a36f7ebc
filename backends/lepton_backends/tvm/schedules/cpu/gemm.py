"""Matrix products with packed weights: ``linalg.matmul_packed``, and what 1x1 convolutions share with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import SYMBOL_GUESS, KernelView
from lepton_backends.tvm.schedules.cpu import tiling
from lepton_backends.tvm.schedules.cpu.microkernel import RegisterTile, has_long_epilogue, read_flat, scratch
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt
from lepton_ir.ir import Value
from lepton_ir.target import Target

Rows = Callable[[Index], list[Index]]


@dataclass(frozen=True)
class PackedProduct:
    """``rows x k`` times packed panels, plus a bias.

    Attributes:
        view: the kernel.
        target: the machine.
        a: the left operand; its last axis is the reduction.
        w: the packed weight, [panels, k, panel] in memory whatever its shape is called.
        bias: added to every row, or None.
        leading: the extents whose product is the number of rows.
        k: the length of the reduction.
        n: the number of columns.
        panel: columns in one panel.
        a_at: the leading indices of ``a`` for a row.
        y_at: the leading indices of the result for a row.
        a_row: elements of ``a``'s buffer from one row to the next; None where rows do not lie evenly.
    """

    view: KernelView
    target: Target
    a: Value
    w: Value
    bias: Value | None
    leading: Sequence[Index]
    k: int
    n: int
    panel: int
    a_at: Rows
    y_at: Rows
    a_row: int | None

    def emit(self) -> Stmt:
        """Return the statement of the whole product."""
        images, known = self._images()
        panels = -(-self.n // self.panel)
        itemsize = 8 if self.dtype.endswith("64") else 4
        split = tiling.split_work(
            known or 8 * SYMBOL_GUESS,
            panels,
            target=self.target,
            row_cycles=self.k * self.panel / self.lanes,
            row_bytes=self.k * itemsize,
            panel_bytes=self.k * self.panel * itemsize,
            block_cycles=self.k / self.lanes * 2 if self._is_staged else 0.0,
        )
        if known is None:
            return self._symbolic(panels, split)
        longest = -(-known // split.blocks)

        def task(p: Expr) -> Stmt:
            group, image, block = tir.split_index(p, [split.groups, images, split.blocks])
            start, count = tiling.part(block, known, split.blocks)
            return self._block(image * known + start, count, longest, *tiling.part(group, panels, split.groups))

        return self._share_out(tir.product([split.groups, images, split.blocks]), task)

    def _images(self) -> tuple[Index, int | None]:
        """Return how often a known number of rows repeats, and that number; None where too few are known."""
        total = tir.static(tiling.total(self.leading))
        if total is not None:
            return 1, total
        known = 1
        outer = list(self.leading)
        while outer and tir.static(outer[-1]) is not None:
            known *= tir.static(outer.pop()) or 0
        return (tir.product(outer), known) if known >= 2 * self._max_rows(self.panel) else (1, None)

    def _symbolic(self, panels: int, split: tiling.Split) -> Stmt:
        all_rows = tir.product(self.leading)
        rows = self._max_rows(self.panel)
        longest = rows * max(1, 112 // rows)
        groups = max(split.groups, min(panels, 2 * self.target.num_threads))
        blocks = tir.ceildiv(all_rows, longest)

        def task(p: Expr) -> Stmt:
            group, block = tir.split_index(p, [groups, blocks])
            start = block * longest
            count = tir.minimum(all_rows - start, longest)
            return self._block(start, count, longest, *tiling.part(group, panels, groups))

        return self._share_out(blocks * groups, task)

    def _share_out(self, tasks: Index, task: Callable[[Expr], Stmt]) -> Stmt:
        assert self.view.anchor is not None
        multiplies = self.view.size_guess(self.view.anchor.results[0]) * self.k
        return tiling.share_out(tasks, multiplies, self.lanes, self.target, task)

    # One task: a block of rows times a group of panels ----------------------------------------------------------------

    def _block(self, start: Index, count: Index, longest: int, first: Index, panels: Index) -> Stmt:
        prepare: list[Stmt] = []
        if self._is_staged:
            pitch = self._pitch
            rows, allocate = scratch("rows", longest * pitch, self.dtype)
            prepare = [allocate, self._copy_rows(rows, pitch, start, count)]
            read = self._reader(rows, pitch, start)
        else:
            buffer = self.view.buffer_of(self.a)
            assert buffer is not None and self.a_row is not None
            read = self._reader(self.view.flat(buffer), self.a_row, 0)
        full, rest = divmod(self.n, self.panel)

        def panel(j: Expr) -> Stmt:
            at = first + j
            whole = self._panel(at, self.panel, start, count, read) if full else None
            if not rest:
                return tir.seq(whole)
            tail = self._panel(tir.index(full), rest, start, count, read)
            return tail if whole is None else tir.if_then(at < full, whole, tail)

        return tir.seq(*prepare, tir.serial(panels, panel, "panel"))

    def _copy_rows(self, rows: Buffer, pitch: int, start: Index, count: Index) -> Stmt:
        def element(r: Expr, base: Expr, lanes: int) -> Stmt:
            value = self.view.load(self.a, [*self.a_at(start + r), tir.ramp(base, lanes)])
            return tir.store(rows, [tir.ramp(r * pitch + base, lanes)], value)

        return tir.serial(
            count, lambda r: tiling.vector_steps(self.k, self.lanes, lambda b, n: element(r, b, n)), "row"
        )

    def _reader(self, buffer: Buffer, pitch: int, start: Index) -> Callable[[Index, Index], Expr]:
        return lambda row, k: read_flat(buffer, (row - start) * pitch + k, 1, self.dtype)

    def _panel(self, at: Index, width: int, start: Index, count: Index, read: Callable[[Index, Index], Expr]) -> Stmt:
        weights = self.view.buffer_of(self.w)
        assert weights is not None
        packed = self.view.flat(weights)
        vectors = tiling.column_vectors(width, self.lanes)

        def tile(row: Index, size: int) -> Stmt:
            def step(t: RegisterTile, k: Expr) -> Stmt:
                base = (at * self.k + k) * self.panel
                return t.multiply_add(
                    lambda r, o, lanes: read(start + row + r, k),
                    lambda o, lanes: read_flat(packed, base + o, lanes, self.dtype),
                )

            def finish(r: Index, offset: int, lanes: int, value: Expr) -> Stmt:
                return self.view.store([*self.y_at(start + row + r), tir.ramp(at * self.panel + offset, lanes)], value)

            return RegisterTile(size, vectors, self.dtype).emit(
                lambda r, offset, lanes: bias_vector(self.view, self.bias, at * self.panel + offset, lanes, self.dtype),
                lambda t: tir.serial(self.k, lambda k: step(t, k), "k"),
                finish,
                has_long_epilogue(self.view),
            )

        return tiling.row_tiles(count, self._max_rows(width), tile)

    def _max_rows(self, width: int) -> int:
        return tiling.max_rows(self.target, len(tiling.column_vectors(width, self.lanes)))

    @property
    def dtype(self) -> str:
        """The type that is computed in."""
        return self.view.dtype(self.w)

    @property
    def lanes(self) -> int:
        """Lanes of a vector of that type."""
        return tiling.vector_lanes(self.target, self.dtype)

    @property
    def _pitch(self) -> int:
        """Elements from one scratch row to the next: an odd number of cache lines."""
        return (-(-self.k // 16) | 1) * 16

    @property
    def _is_staged(self) -> bool:
        buffer = self.view.buffer_of(self.a)
        if buffer is None or self.a_row is None or self.dtype != str(buffer.ty.dtype):
            return True
        aliasing = (self.a_row * 4) % tiling.ALIASING_BYTES == 0
        return aliasing and self.n > 4 * self.panel and tir.static(tiling.total(self.leading)) != 1


def bias_vector(view: KernelView, bias: Value | None, at: Index, lanes: int, dtype: str) -> Expr:
    """Return the lanes of a bias, zeros where there is none."""
    if bias is None:
        return tir.const(0, dtype, lanes)
    return view.load(bias, [tir.ramp(at, lanes)])


def row_indices(leading: Sequence[Index]) -> Rows:
    """Return the function from a flat row number to the indices along ``leading``."""
    return lambda row: tir.split_index(tir.index(row), leading)


@template("linalg.matmul_packed")
def matmul_packed(view: KernelView, target: Target) -> Stmt:
    """Multiply by a packed weight."""
    op = view.anchor
    assert op is not None
    a, w, bias = op.a, op.w, op.bias
    leading = view.shape(a)[:-1]
    k = w.shape[1]
    at = row_indices(leading)
    return PackedProduct(view, target, a, w, bias, leading, k, op.n, op.panel, at, at, k).emit()
