"""Tile shapes and work splits, from the shape and the target alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from lepton_backends.tvm import tir
from lepton_backends.tvm.tir import Expr, Index, Stmt
from lepton_ir.target import Target

STREAM_BYTES = 8
"""Bytes per cycle that one core reads from beyond its second-level cache, about."""

ALIASING_BYTES = 2048
"""Rows this many bytes apart (or a multiple) fall into so few sets of the first-level cache that they evict
each other while a tile reads them side by side; such rows are copied to scratch rows with a better distance."""

CYCLES_PER_NANOSECOND = 3.0

_ROWS_32 = {1: 16, 2: 14, 3: 9, 4: 7}
_ROWS_16_FMA = {1: 12, 2: 6, 3: 4, 4: 3}
_ROWS_16 = {1: 10, 2: 5, 3: 3, 4: 2}


def max_rows(target: Target, vectors: int) -> int:
    """Return the most rows of a register tile that is ``vectors`` vectors wide.

    Accumulators, one row of the weight and one broadcast element fit the registers: 14 x 2 or 7 x 4 of 32,
    6 x 2 or 4 x 3 of 16; without fused multiply-add each product needs a register as well.
    """
    table = _ROWS_32 if target.registers >= 32 else _ROWS_16_FMA if target.has_fma else _ROWS_16
    return table.get(vectors, max(1, table[4] * 4 // vectors))


def vector_lanes(target: Target, dtype: str) -> int:
    """Return the elements of a vector register, of TVM's element type ``dtype``."""
    bits = int("".join(c for c in dtype.split("_")[0] if c.isdigit()) or 8)
    return max(1, target.vector_bytes * 8 // bits)


def vector_steps(extent: Index, lanes: int, body: Callable[[Expr, int], Stmt]) -> Stmt:
    """Return a loop over ``range(extent)`` in vectors; the body takes the first index and the lanes.

    A known remainder is done in shorter vectors, an unknown one element by element.
    """
    known = tir.static(extent)
    if known is None:
        main = tir.serial(tir.floordiv(extent, lanes), lambda v: body(v * lanes, lanes), "v")
        start = tir.floordiv(extent, lanes) * lanes
        return tir.seq(main, tir.serial(tir.floormod(extent, lanes), lambda i: body(start + i, 1), "t"))
    whole = known // lanes
    parts = [tir.serial(whole, lambda v: body(v * lanes, lanes), "v")] if whole else []
    parts += [body(tir.index(whole * lanes + o), n) for o, n in column_vectors(known - whole * lanes, lanes)]
    return tir.seq(*parts)


def total(extents: Sequence[Index]) -> Index:
    """Return the product of extents, an int where all are known."""
    known = [tir.static(e) for e in extents]
    return tir.product(extents) if None in known else prod(k for k in known if k is not None)


def column_vectors(width: int, lanes: int) -> list[tuple[int, int]]:
    """Split columns into vectors, as (offset, lanes): whole ones, then shorter powers of two."""
    vectors = []
    offset = 0
    while offset < width:
        while lanes > width - offset:
            lanes //= 2
        vectors.append((offset, lanes))
        offset += lanes
    return vectors


def balanced(extent: int, largest: int) -> list[tuple[int, int]]:
    """Split an extent into the fewest parts of at most ``largest``, as (count, size) groups that differ by one."""
    parts = -(-extent // largest)
    size, more = divmod(extent, max(1, parts))
    return [(count, rows) for count, rows in ((more, size + 1), (parts - more, size)) if count and rows]


def row_tiles(extent: Index, largest: int, body: Callable[[Index, int], Stmt]) -> Stmt:
    """Return loops that cover ``range(extent)`` by tiles of a size known at compile time.

    A known extent is split evenly; an unknown one into tiles of ``largest`` and, for the rest, of powers of two.

    Args:
        extent: how many rows there are.
        largest: the most rows of a tile.
        body: makes the statement of one tile from its first row and its number of rows.
    """
    known = tir.static(extent)
    parts: list[Stmt] = []
    if known is not None:
        done = 0
        for count, size in balanced(known, largest):
            parts.append(_tiles(done, count, size, body))
            done += count * size
        return tir.seq(*parts)
    full = tir.floordiv(extent, largest)
    parts.append(tir.serial(full, lambda t: body(t * largest, largest), "tile"))
    rest = extent - full * largest
    for size in tir.tail_lanes((1 << (largest - 1).bit_length()) - 1, 1 << 16):
        start = full * largest + tir.floordiv(rest, 2 * size) * (2 * size)
        parts.append(tir.if_then(tir.floormod(tir.floordiv(rest, size), 2).equal(1), body(start, size)))
    return tir.seq(*parts)


def _tiles(start: int, count: int, size: int, body: Callable[[Index, int], Stmt]) -> Stmt:
    return tir.serial(count, lambda t: body(t * size + start, size), "tile")


def share_out(tasks: Index, multiplies: float, lanes: int, target: Target, body: Callable[[Expr], Stmt]) -> Stmt:
    """Return the loop over tasks, shared by the threads where that is worth it.

    Args:
        tasks: how many there are.
        multiplies: multiplications of all of them, estimated.
        lanes: multiplications in one instruction.
        target: the machine.
        body: makes the statement of one task.
    """
    nanoseconds = multiplies / lanes / CYCLES_PER_NANOSECOND
    if tir.parallel_if(nanoseconds, target.num_threads):
        return tir.parallel(tasks, body)
    return tir.serial(tasks, body)


@dataclass(frozen=True)
class Split:
    """How a product is shared out: blocks of rows times groups of panels, each one task.

    Attributes:
        blocks: row blocks.
        groups: panel groups.
    """

    blocks: int
    groups: int


def split_work(
    rows: int, panels: int, *, target: Target, row_cycles: float, row_bytes: float, panel_bytes: float,
    block_cycles: float = 0.0, batch: int = 1,
) -> Split:  # fmt: skip
    """Choose the tasks of ``rows`` (lines, or rows of a matrix) by ``panels``.

    The estimate of a split is the time of the busiest thread plus what all threads read from far away: every row
    block reads all weights once, and every panel group all rows once, or once per panel where a block of rows
    does not stay in the second-level cache.

    Args:
        rows: how many rows can be split.
        panels: how many panels of columns there are.
        target: the machine.
        row_cycles: the work of one row and one panel.
        row_bytes: the bytes that one row reads.
        panel_bytes: the bytes of one packed panel.
        block_cycles: the work per row of preparing a block, done by each task for itself.
        batch: how often the whole product is done, in parallel too.
    """
    best: tuple[float, Split] | None = None
    for blocks in _candidates(rows):
        block_rows = -(-rows // blocks)
        resident = block_rows * row_bytes <= target.l2 * 0.5
        for groups in _candidates(panels):
            group_panels = -(-panels // groups)
            tasks = blocks * groups * batch
            work = block_rows * (group_panels * row_cycles + block_cycles)
            reads = 1 if resident else group_panels
            traffic = batch * (blocks * panels * panel_bytes + rows * row_bytes * groups * reads)
            cost = _busiest(tasks, target.num_threads) * work + traffic / STREAM_BYTES / target.num_threads
            # Other thread counts than the target's are possible when the artifact runs.
            cost += 0.1 * _busiest(tasks, 2 * target.num_threads) * work + tasks * 200
            if best is None or cost < best[0]:
                best = (cost, Split(blocks, groups))
    assert best is not None
    return best[1]


def _busiest(tasks: int, threads: int) -> int:
    """Return the most tasks that one thread gets."""
    return -(-tasks // threads)


def _candidates(extent: int) -> Iterator[int]:
    """Yield numbers of parts worth trying."""
    seen = set()
    for parts in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64):
        size = -(-extent // parts)
        count = -(-extent // max(1, size))
        if count not in seen:
            seen.add(count)
            yield count
    if extent not in seen and extent <= 256:
        yield extent


def part(index: Index, extent: int, parts: int) -> tuple[Index, Index]:
    """Return start and size of the ``index``-th of ``parts`` nearly equal parts of a range."""
    size, more = divmod(extent, parts)
    if not more:
        return index * size, size
    return index * size + tir.minimum(index, more), tir.select(index < more, tir.index(size + 1), tir.index(size))
