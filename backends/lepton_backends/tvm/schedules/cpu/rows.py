"""Loops along a row: vectors with exact remainders, and accumulators that are combined at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt

CHAINS = 4
"""Accumulators side by side: enough to hide the latency of an addition."""

Combine = Callable[[Expr, Expr], Expr]
Chunk = Callable[[Index, int], Expr]


def register(name: str, lanes: int, dtype: str) -> Buffer:
    """Return a buffer small enough that LLVM keeps it in vector registers."""
    return tirx.decl_buffer([tir.index(lanes)], dtype, name, scope="global")


def chunks(extent: Index, lanes: int, body: Callable[[Index, int], Stmt], unroll: int = 1) -> Stmt:
    """Return statements that cover ``range(extent)``: ``body(first, lanes)`` of whole vectors, then of the remainder.

    A known remainder is done in shorter vectors, an unknown one element by element.
    """
    known = tir.static(extent)
    if known is None:
        whole = tir.floordiv(extent, lanes)
        start = whole * lanes
        main = tir.serial(whole, lambda o: body(o * lanes, lanes), "o")
        return tir.seq(main, tir.serial(tir.floormod(extent, lanes), lambda r: body(start + r, 1), "t"))
    count = known // lanes // unroll
    main = tir.serial(
        count,
        lambda o: tir.seq(*(body(o * (lanes * unroll) + u * lanes, lanes) for u in range(unroll))),
        "o",
    )
    parts = [main] if count else []
    at = count * unroll * lanes
    while at < known:
        width = lanes if known - at >= lanes else tir.tail_lanes(known - at, lanes)[0]
        parts.append(body(tir.index(at), width))
        at += width
    return tir.seq(*parts)


class Accumulator:
    """Reduces a row to one number, in vectors.

    Attributes:
        total: the scalar buffer that holds the result after :meth:`finish`.
    """

    def __init__(self, name: str, lanes: int, dtype: str, start: Expr, combine: Combine) -> None:
        self.lanes, self.dtype, self.start, self.combine = lanes, dtype, start, combine
        self._lanes = [register(f"{name}{u}", lanes, dtype) for u in range(CHAINS)]
        self.total = register(f"{name}_total", 1, dtype)
        self._next = 0

    def begin(self) -> Stmt:
        """Allocate and set to the neutral element."""
        everything = tir.ramp(0, self.lanes)
        stmts: list[Stmt] = [tirx.AllocBuffer(b) for b in (*self._lanes, self.total)]
        stmts += [tir.store(b, [everything], tir.broadcast(self.start, self.lanes)) for b in self._lanes]
        return tir.seq(*stmts)

    def add(self, value: Expr) -> Stmt:
        """Combine a scalar or a vector of at most ``lanes`` into the accumulator."""
        buffer = self._lanes[self._next % CHAINS]
        self._next += 1
        at = tir.ramp(0, tir.lanes_of(value))
        return tir.store(buffer, [at], self.combine(buffer[at], value))

    def finish(self) -> Stmt:
        """Combine the lanes to the scalar ``total``."""
        everything = tir.ramp(0, self.lanes)
        first, *others = self._lanes
        stmts: list[Stmt] = []
        for other in others:
            stmts.append(tir.store(first, [everything], self.combine(first[everything], other[everything])))
        width = self.lanes
        while width > 1 and width % 2 == 0:
            width //= 2
            low, high = tir.ramp(0, width), tir.ramp(width, width)
            stmts.append(tir.store(first, [low], self.combine(first[low], first[high])))
        value = first[tir.index(0)]
        for lane in range(1, width):
            value = self.combine(value, first[tir.index(lane)])
        return tir.seq(*stmts, tir.store(self.total, [tir.index(0)], value))

    @property
    def value(self) -> Expr:
        """The result, after :meth:`finish`."""
        return self.total[tir.index(0)]


def column_blocks(extent: Index, lanes: int, body: Callable[[Index, Sequence[tuple[int, int]]], Stmt]) -> Stmt:
    """Return ``body(first column, [(offset, lanes), ...])`` over blocks of up to ``CHAINS`` vectors of columns."""
    known = tir.static(extent)
    if known is None:
        whole = tir.floordiv(extent, lanes)
        main = tir.serial(whole, lambda o: body(o * lanes, [(0, lanes)]), "o")
        start = whole * lanes
        return tir.seq(main, tir.serial(tir.floormod(extent, lanes), lambda r: body(start + r, [(0, 1)]), "t"))
    block = lanes * CHAINS
    parts = [tir.serial(known // block, lambda o: body(o * block, [(u * lanes, lanes) for u in range(CHAINS)]), "o")]
    at = known // block * block
    rest: list[tuple[int, int]] = []
    while at + sum(w for _, w in rest) < known:
        offset = sum(w for _, w in rest)
        left = known - at - offset
        rest.append((offset, lanes if left >= lanes else tir.tail_lanes(left, lanes)[0]))
    if rest:
        parts.append(body(tir.index(at), rest))
    return tir.seq(*(p for p in parts if known >= block or p is not parts[0]))
