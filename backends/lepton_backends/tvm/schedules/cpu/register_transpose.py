"""Transposing square tiles in vector registers."""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.tir import Expr, Stmt


def transpose_tile(size: int, load: Callable[[int], Expr], store: Callable[[int, Expr], Stmt]) -> Stmt:
    """Return statements that transpose a ``size`` x ``size`` tile, a power of two.

    Each of the log2(size) rounds interleaves row i with row i + size / 2; after the last, row i holds column i.

    Args:
        size: the side of the tile.
        load: the vector of row i.
        store: stores the vector of column i.
    """

    def make() -> Stmt:
        rows = [tir.bind(load(i), f"row{i}") for i in range(size)]
        half = size // 2
        low = [lane // 2 + size * (lane % 2) for lane in range(size)]
        high = [lane + half for lane in low]
        for _ in range(size.bit_length() - 1):
            rows = [
                tir.bind(tirx.Shuffle([rows[i], rows[i + half]], order)) for i in range(half) for order in (low, high)
            ]
        return tir.seq(*(store(i, row) for i, row in enumerate(rows)))

    return tir.scoped(make)
