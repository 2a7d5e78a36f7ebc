"""Register tiles: rows times vectors of columns, accumulated over a reduction, shared by all matrix-like kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt

Vectors = Sequence[tuple[int, int]]


class RegisterTile:
    """Accumulators that stay in vector registers.

    Each lies in a scratch buffer of its own, which LLVM promotes to a register, since all indices are known at
    compile time and the buffer is small enough to be put on the stack.

    Attributes:
        rows: the number of rows.
        vectors: (offset, lanes) of each vector of columns.
        dtype: the accumulators' type.
    """

    def __init__(self, rows: int, vectors: Vectors, dtype: str) -> None:
        self.rows = rows
        self.vectors = list(vectors)
        self.dtype = dtype
        self._registers = {
            (row, offset): _register(f"acc{row}_{offset}", lanes, dtype)
            for row in range(rows)
            for offset, lanes in self.vectors
        }

    def value(self, row: int, offset: int, lanes: int) -> Expr:
        """Return the accumulated vector of a row."""
        return self._registers[row, offset][tir.ramp(0, lanes)]

    def emit(
        self,
        init: Callable[[int, int, int], Expr],
        reduce: Callable[[RegisterTile], Stmt],
        finish: Callable[[Index, int, int, Expr], Stmt],
        long_finish: bool = False,
    ) -> Stmt:
        """Return the whole tile.

        Args:
            init: the value that the accumulator (row, offset, lanes) starts with.
            reduce: makes the loops around :meth:`multiply_add`.
            finish: stores the accumulator (row, offset, lanes, value).
            long_finish: ``finish`` computes so much that it is not to be repeated for every accumulator: the tile goes
                through memory, and a loop over its rows finishes it.
        """
        allocations = [tirx.AllocBuffer(buffer) for buffer in self._registers.values()]
        starts = [self._set(row, offset, lanes, init(row, offset, lanes)) for row, offset, lanes in self._all()]
        if long_finish and self.rows > 1:
            ends = self._finish_in_loops(finish)
        else:
            ends = [finish(row, offset, lanes, self.value(row, offset, lanes)) for row, offset, lanes in self._all()]
        return tir.seq(*allocations, *starts, reduce(self), *ends)

    def _finish_in_loops(self, finish: Callable[[Index, int, int, Expr], Stmt]) -> list[Stmt]:
        width = sum(lanes for _, lanes in self.vectors)
        tile, allocate = scratch("tile", self.rows * width, self.dtype)
        stores = [
            tir.store(tile, [tir.ramp(row * width + offset, lanes)], self.value(row, offset, lanes))
            for row, offset, lanes in self._all()
        ]

        def row(r: Expr) -> Stmt:
            return tir.seq(
                *(finish(r, o, n, tirx.BufferLoad(tile, [tir.ramp(r * width + o, n)])) for o, n in self.vectors)
            )

        return [allocate, *stores, tir.serial(self.rows, row, "row")]

    def multiply_add(self, a: Callable[[int, int, int], Expr | None], w: Callable[[int, int], Expr]) -> Stmt:
        """Return one step of the reduction: every row's element times the vectors of the weight.

        Args:
            a: the element of a row for the vector at (offset, lanes): a scalar, or one element per lane; None where
                it contributes nothing.
            w: the weight's vector at (offset, lanes).
        """
        weights = {offset: w(offset, lanes) for offset, lanes in self.vectors}
        steps = []
        for row, offset, lanes in self._all():
            element = a(row, offset, lanes)
            if element is not None:
                product = tir.broadcast(element, lanes) * weights[offset]
                steps.append(self._set(row, offset, lanes, self.value(row, offset, lanes) + product))
        return tir.seq(*steps)

    def _all(self) -> list[tuple[int, int, int]]:
        return [(row, offset, lanes) for row in range(self.rows) for offset, lanes in self.vectors]

    def _set(self, row: int, offset: int, lanes: int, value: Expr) -> Stmt:
        return tir.store(self._registers[row, offset], [tir.ramp(0, lanes)], tir.broadcast(value, lanes))


def _register(name: str, lanes: int, dtype: str) -> Buffer:
    # Scope "global" it must be: TVM keeps small buffers of that scope on the stack, and puts "local" ones in memory.
    return tirx.decl_buffer([tir.index(lanes)], dtype, name, scope="global")


def scratch(name: str, size: Index, dtype: str) -> tuple[Buffer, Stmt]:
    """Return a one-dimensional scratch buffer and the statement that allocates it, once per task."""
    buffer = tirx.decl_buffer([tir.index(size)], dtype, name, scope="global")
    return buffer, tirx.AllocBuffer(buffer)


def read_flat(buffer: Buffer, at: Index, lanes: int, dtype: str) -> Expr:
    """Load a scalar or vector of a one-dimensional buffer, converted to the type that is computed in."""
    return tir.cast(tirx.BufferLoad(buffer, [tir.ramp(at, lanes)]), dtype)


_CHEAP = frozenset(
    {"add", "sub", "mul", "minimum", "maximum", "relu", "clip", "neg", "abs", "cast", "const", "where",
     "tensor.reshape", "tensor.transpose", "yield"}
)  # fmt: skip


def has_long_epilogue(view: KernelView) -> bool:
    """Return whether more than a few instructions follow the anchor for each of its elements."""
    ops = list(view.block.ops)
    after = ops[ops.index(view.anchor) + 1 :] if view.anchor in ops else ops
    return any(op.name not in _CHEAP for op in after)
