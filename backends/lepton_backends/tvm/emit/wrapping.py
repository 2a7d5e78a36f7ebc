"""Integer arithmetic that wraps.

TVM's code generation tells LLVM that sums, differences and products of 32 and 64 bits do not overflow, after which LLVM
may do as it likes with those that do. Here 32 bits are computed in 64 (LLVM makes plain 32-bit instructions of that),
and 64 bits so that what overflows is not chosen.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.vector_math import like
from lepton_backends.tvm.tir import Expr, bind, dtype_of, select

Operator = Callable[[Expr, Expr], Expr]
_SHORT = frozenset({"int32", "uint32"})
_LONG = frozenset({"int64", "uint64"})


def add(a: Expr, b: Expr) -> Expr:
    """Return a + b, wrapped."""
    return _wrapped(a, b, lambda x, y: x + y, _add_long)


def sub(a: Expr, b: Expr) -> Expr:
    """Return a - b, wrapped."""
    return _wrapped(a, b, lambda x, y: x - y, _sub_long)


def mul(a: Expr, b: Expr) -> Expr:
    """Return a * b, wrapped."""
    return _wrapped(a, b, lambda x, y: x * y, _mul_long, "uint64" if dtype_of(a) == "uint32" else "int64")


def is_lowest(x: Expr) -> Expr:
    """Return whether elements are the lowest number of their type.

    Not by ``==``: TVM 0.27 simplifies a comparison of int32 with -2**31 to false.
    """
    return x < like(int(tirx.min_value(dtype_of(x)).value) + 1, x)


def _wrapped(a: Expr, b: Expr, short: Operator, long: Operator, wide: str = "int64") -> Expr:
    dtype = dtype_of(a)
    if dtype in _SHORT:
        return tir.cast(short(tir.cast(a, wide), tir.cast(b, wide)), dtype)
    if dtype not in _LONG:
        return short(a, b)
    x, y = (_bits(e) for e in tir.match(a, b))
    result = long(bind(x), bind(y))
    return result if dtype == "uint64" else tir.bitcast(result, dtype)


def _bits(x: Expr) -> Expr:
    """Return the bits of 64-bit integers as unsigned numbers."""
    literal = x.value if isinstance(x, tirx.Broadcast) else x
    if isinstance(literal, tirx.IntImm) and literal.value >= 0:
        # TVM reinterprets a literal 0 as a pointer, and converts no negative literals.
        return tir.const(literal.value, "uint64", tir.lanes_of(x))
    return x if dtype_of(x) == "uint64" else tir.bitcast(x, "uint64")


def _negated(x: Expr) -> Expr:
    """Return 2**64 - x, of anything but 0."""
    return tirx.bitwise_not(x) + like(1, x)


def _add_long(a: Expr, b: Expr) -> Expr:
    return select(b > tirx.bitwise_not(a), a - _negated(b), a + b)


def _sub_long(a: Expr, b: Expr) -> Expr:
    return select(a >= b, a - b, _negated(b - a))


def _mul_long(a: Expr, b: Expr) -> Expr:
    """By halves: the product of the upper ones is beyond 64 bits, and of the mixed ones the upper half is."""
    mask, half = like(0xFFFFFFFF, a), like(32, a)
    a_low, a_high, b_low, b_high = bind(a & mask), bind(a >> half), bind(b & mask), bind(b >> half)
    mixed = ((a_high * b_low) & mask) + ((a_low * b_high) & mask)
    return _add_long(bind(a_low * b_low), bind(mixed << half))
