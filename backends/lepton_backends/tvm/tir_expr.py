"""Scalar and vector expressions of TVM's tensor IR; see :mod:`lepton_backends.tvm.tir`, which has all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import tvm
from tvm import tirx

Expr: TypeAlias = Any
Index: TypeAlias = Any  # an int or an Expr

INDEX = "int64"


def var(name: str, dtype: str = INDEX) -> Expr:
    """Return a new variable."""
    return tirx.Var(name, dtype)


def const(value: float | int | bool, dtype: str = INDEX, lanes: int = 1) -> Expr:
    """Return a literal, broadcast where ``lanes`` is more than one."""
    literal = tirx.const(value, dtype)
    return tirx.Broadcast(literal, lanes) if lanes > 1 else literal


def dtype_of(expr: Expr) -> str:
    """Return the element type of an expression ("float32" also for a vector of them)."""
    return str(expr.ty).partition("x")[0] if not isinstance(expr, int) else INDEX


def lanes_of(expr: Expr) -> int:
    """Return the number of lanes of an expression, 1 for a scalar."""
    return 1 if isinstance(expr, (int, float)) else int(expr.ty.dtype.lanes)


def vector_type(dtype: str, lanes: int) -> str:
    """Return the name of a vector of ``lanes`` elements."""
    return f"{dtype}x{lanes}" if lanes > 1 else dtype


def cast(expr: Expr, dtype: str) -> Expr:
    """Convert the elements of a scalar or vector."""
    return expr if dtype_of(expr) == dtype else expr.astype(vector_type(dtype, lanes_of(expr)))


def bitcast(expr: Expr, dtype: str) -> Expr:
    """Reinterpret the bits of the elements of a scalar or vector."""
    return tirx.reinterpret(vector_type(dtype, lanes_of(expr)), expr)


def broadcast(expr: Expr, lanes: int) -> Expr:
    """Repeat a scalar over the lanes of a vector; vectors stay as they are."""
    return expr if lanes == 1 or lanes_of(expr) > 1 else tirx.Broadcast(expr, lanes)


def ramp(base: Index, lanes: int, stride: Index = 1) -> Expr:
    """Return the vector of indices ``base, base + stride, ...``."""
    return tirx.Ramp(index(base), index(stride), lanes) if lanes > 1 else index(base)


def index(value: Index) -> Expr:
    """Return an int as an int64 literal; expressions stay as they are."""
    return tirx.const(int(value), INDEX) if isinstance(value, int) else value


def select(condition: Expr, then: Expr, other: Expr) -> Expr:
    """Choose per lane; both sides are evaluated, so both must be safe to evaluate."""
    lanes = max(lanes_of(condition), lanes_of(then), lanes_of(other))
    if lanes > 1:
        condition, then, other = (broadcast(e, lanes) for e in (condition, then, other))
    return tirx.Select(condition, then, other)


def match(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """Broadcast two expressions to the same number of lanes."""
    lanes = max(lanes_of(a), lanes_of(b))
    return broadcast(a, lanes), broadcast(b, lanes)


def both(a: Expr, b: Expr) -> Expr:
    """Return whether both conditions hold."""
    return tirx.And(*match(a, b))


def either(a: Expr, b: Expr) -> Expr:
    """Return whether one of the conditions holds."""
    return tirx.Or(*match(a, b))


def negated(a: Expr) -> Expr:
    """Return whether the condition does not hold."""
    return tirx.Not(a)


def equal(a: Expr, b: Expr) -> Expr:
    """Return whether elements are equal."""
    return tirx.EQ(*match(a, b))


def call_c(name: str, *operands: Expr) -> Expr:
    """Call a function of the C library's math.h, element by element."""
    dtype, lanes = dtype_of(operands[0]), max(map(lanes_of, operands))
    symbol = name if dtype == "float64" else f"{name}f"
    if lanes == 1:
        return tirx.call_pure_extern(dtype, symbol, *operands)
    wide = [broadcast(x, lanes) for x in operands]
    elements = [tirx.call_pure_extern(dtype, symbol, *(tirx.Shuffle([x], [i]) for x in wide)) for i in range(lanes)]
    return tirx.Shuffle(elements, list(range(lanes)))


def is_nan(x: Expr) -> Expr:
    """Return whether the elements are not numbers."""
    return tirx.isnan(x)


def static(value: Index) -> int | None:
    """Return the number that an index is, None where that is not known at compile time."""
    if isinstance(value, int):
        return value
    return int(value.value) if isinstance(value, tirx.IntImm) else None


def ceildiv(a: Index, b: int) -> Index:
    """Return ceil(a / b) of nonnegative a."""
    return -(-a // b) if isinstance(a, int) else tirx.floordiv(a + (b - 1), b)


def floordiv(a: Index, b: Index) -> Index:
    """Return floor(a / b); ints stay ints."""
    return a // b if isinstance(a, int) and isinstance(b, int) else tirx.floordiv(index(a), index(b))


def floormod(a: Index, b: Index) -> Index:
    """Return a - b * floor(a / b); ints stay ints."""
    return a % b if isinstance(a, int) and isinstance(b, int) else tirx.floormod(index(a), index(b))


def minimum(a: Index, b: Index) -> Index:
    """Return the smaller of two indices; ints stay ints."""
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else tirx.min(index(a), index(b))


def maximum(a: Index, b: Index) -> Index:
    """Return the larger of two indices; ints stay ints."""
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else tirx.max(index(a), index(b))


def product(extents: Sequence[Index]) -> Index:
    """Return the product of indices (1 of none)."""
    total: Index = 1
    for extent in extents:
        total = extent if static(total) == 1 else total if static(extent) == 1 else total * extent
    return total


def simplify(expr: Expr) -> Expr:
    """Return an equal, simpler expression."""
    return expr if isinstance(expr, int) else tvm.sym.Analyzer().simplify(expr)


def split_index(flat: Expr, extents: Sequence[Index]) -> list[Expr]:
    """Return the indices along ``extents`` of the element at the flat (row-major) index."""
    indices: list[Expr] = []
    for position, extent in reversed(list(enumerate(extents))):
        if static(extent) == 1:
            indices.insert(0, index(0))
            continue
        outer = product(extents[:position])
        if static(outer) == 1:
            indices.insert(0, flat)
            flat = index(0)
            continue
        indices.insert(0, floormod(flat, extent))
        flat = floordiv(flat, extent)
    return indices


def flat_index(indices: Sequence[Index], extents: Sequence[Index]) -> Expr:
    """Return the row-major flat index of the element at ``indices``."""
    flat: Index = 0
    for i, extent in zip(indices, extents, strict=True):
        flat = i if static(flat) == 0 else flat * extent + i
    return index(flat)
