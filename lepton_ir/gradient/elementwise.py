"""Derivatives of the elementwise operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lepton_ir.gradient.rules import derivative, is_float, number, unbroadcast
from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import Value


@derivative("floor", "ceil", "round", "trunc", "sign")
def steps(b: Builder, op: Any, dy: Value) -> None:
    """Steps are flat wherever they have a derivative."""


@derivative("neg")
def neg(b: Builder, op: Any, dy: Value) -> Value:
    return b.neg(dy)


@derivative("cast")
def cast(b: Builder, op: Any, dy: Value) -> Value | None:
    return b.cast(dy, to=op.x.tensor.dtype) if is_float(op.x) else None


@derivative("abs")
def absolute(b: Builder, op: Any, dy: Value) -> Value:
    return b.mul(dy, b.sign(op.x))


@derivative("relu")
def relu(b: Builder, op: Any, dy: Value) -> Value:
    zero = number(b, dy, 0)
    return b.where(b.gt(op.x, zero), dy, zero)


_SLOPES: dict[str, Callable[[Builder, Value, Value], Value]] = {
    "exp": lambda b, x, y: y,
    "expm1": lambda b, x, y: b.add(y, number(b, y, 1)),
    "log": lambda b, x, y: b.reciprocal(x),
    "log1p": lambda b, x, y: b.reciprocal(b.add(x, number(b, x, 1))),
    "sqrt": lambda b, x, y: b.div(number(b, y, 0.5), y),
    "rsqrt": lambda b, x, y: b.div(b.mul(y, number(b, y, -0.5)), x),
    "reciprocal": lambda b, x, y: b.neg(b.mul(y, y)),
    "sin": lambda b, x, y: b.cos(x),
    "cos": lambda b, x, y: b.neg(b.sin(x)),
    "tan": lambda b, x, y: b.add(b.mul(y, y), number(b, y, 1)),
    "asin": lambda b, x, y: b.rsqrt(_one_minus_square(b, x)),
    "acos": lambda b, x, y: b.neg(b.rsqrt(_one_minus_square(b, x))),
    "atan": lambda b, x, y: b.reciprocal(b.add(b.mul(x, x), number(b, x, 1))),
    "sinh": lambda b, x, y: b.cosh(x),
    "cosh": lambda b, x, y: b.sinh(x),
    "tanh": lambda b, x, y: _one_minus_square(b, y),
    "asinh": lambda b, x, y: b.rsqrt(b.add(b.mul(x, x), number(b, x, 1))),
    "acosh": lambda b, x, y: b.rsqrt(b.sub(b.mul(x, x), number(b, x, 1))),
    "atanh": lambda b, x, y: b.reciprocal(_one_minus_square(b, x)),
    "sigmoid": lambda b, x, y: b.mul(y, b.sub(number(b, y, 1), y)),
    "softplus": lambda b, x, y: b.sigmoid(x),
    "erf": lambda b, x, y: b.mul(b.exp(b.neg(b.mul(x, x))), number(b, x, 2 / math.sqrt(math.pi))),
}
"""The derivative of y = f(x) at x, for each f."""


@derivative(*_SLOPES)
def smooth(b: Builder, op: Any, dy: Value) -> Value:
    return b.mul(dy, _SLOPES[op.name](b, op.x, op.y))


@derivative("elu", "celu")
def exponential_unit(b: Builder, op: Any, dy: Value) -> Value:
    """Below 0, where y = a (exp(x / c) - 1), the slope is (y + a) / c; by y, since exp(x) overflows above 0."""
    one, alpha = number(b, dy, 1), number(b, dy, op.alpha)
    below = b.add(op.y, alpha) if op.name == "elu" else b.add(b.div(op.y, alpha), one)
    return b.mul(dy, b.where(b.gt(op.x, number(b, dy, 0)), one, below))


@derivative("clip")
def clip(b: Builder, op: Any, dy: Value) -> list[Value | None]:
    """The bounds belong to the line between them, as in PyTorch."""
    zero, inner = number(b, dy, 0), dy
    low = high = None
    if op.min is not None:
        below = b.lt(op.x, op.min)
        low = b.where(below, dy, zero)
        inner = b.where(below, zero, inner)
    if op.max is not None:
        above = b.gt(op.x if op.min is None else b.maximum(op.x, op.min), op.max)
        high, inner = unbroadcast(b, b.where(above, dy, zero), op.max), b.where(above, zero, inner)
        low = None if low is None else b.where(above, zero, low)
    return [inner, None if low is None else unbroadcast(b, low, op.min), high]


@derivative("add")
def add(b: Builder, op: Any, dy: Value) -> list[Value]:
    return [unbroadcast(b, dy, op.a), unbroadcast(b, dy, op.b)]


@derivative("sub")
def sub(b: Builder, op: Any, dy: Value) -> list[Value]:
    return [unbroadcast(b, dy, op.a), b.neg(unbroadcast(b, dy, op.b))]


@derivative("mul")
def mul(b: Builder, op: Any, dy: Value) -> list[Value]:
    return [unbroadcast(b, b.mul(dy, op.b), op.a), unbroadcast(b, b.mul(dy, op.a), op.b)]


@derivative("div")
def div(b: Builder, op: Any, dy: Value) -> list[Value]:
    share = b.div(dy, op.b)
    return [unbroadcast(b, share, op.a), unbroadcast(b, b.neg(b.mul(share, op.y)), op.b)]


@derivative("mod")
def mod(b: Builder, op: Any, dy: Value) -> list[Value]:
    """a mod b is a - b q, where the quotient q is flat."""
    quotient = b.div(b.sub(op.a, op.y), op.b)
    return [unbroadcast(b, dy, op.a), unbroadcast(b, b.neg(b.mul(dy, b.round(quotient))), op.b)]


@derivative("pow")
def power(b: Builder, op: Any, dy: Value) -> list[Value | None]:
    """b a^(b - 1) and a^b log(a), without the NaN that 0 times infinity would be at a = 0."""
    exponent = op.b if op.b.tensor.dtype is dy.tensor.dtype else b.cast(op.b, to=dy.tensor.dtype)
    zero, one = number(b, dy, 0), number(b, dy, 1)
    slope = b.mul(exponent, b.pow(op.a, b.sub(exponent, one)))
    base = b.mul(dy, b.where(b.eq(exponent, zero), zero, slope))
    if not is_float(op.b):
        return [unbroadcast(b, base, op.a), None]
    flat = b.and_(b.eq(op.a, zero), b.ge(exponent, zero))
    rate = b.mul(op.y, b.log(b.where(flat, one, op.a)))
    return [unbroadcast(b, base, op.a), unbroadcast(b, b.cast(b.mul(dy, rate), to=op.b.tensor.dtype), op.b)]


@derivative("minimum", "maximum")
def extreme(b: Builder, op: Any, dy: Value) -> list[Value]:
    """Where both are equal, each takes half, as in PyTorch."""
    zero, half = number(b, dy, 0), b.mul(dy, number(b, dy, 0.5))
    a_wins = b.gt(op.a, op.b) if op.name == "maximum" else b.lt(op.a, op.b)
    same = b.eq(op.a, op.b)
    first = b.where(same, half, b.where(a_wins, dy, zero))
    second = b.where(same, half, b.where(a_wins, zero, dy))
    return [unbroadcast(b, first, op.a), unbroadcast(b, second, op.b)]


@derivative("atan2")
def atan2(b: Builder, op: Any, dy: Value) -> list[Value]:
    share = b.div(dy, b.add(b.mul(op.a, op.a), b.mul(op.b, op.b)))
    return [unbroadcast(b, b.mul(share, op.b), op.a), b.neg(unbroadcast(b, b.mul(share, op.a), op.b))]


@derivative("prelu")
def prelu(b: Builder, op: Any, dy: Value) -> list[Value]:
    zero = number(b, dy, 0)
    above = b.ge(op.x, zero)
    slope = b.where(above, zero, b.mul(dy, op.x))
    x = b.where(above, dy, b.mul(dy, op.slope))
    return [unbroadcast(b, x, op.x), unbroadcast(b, slope, op.slope)]


@derivative("where")
def where(b: Builder, op: Any, dy: Value) -> list[Value | None]:
    zero = number(b, dy, 0)
    taken, other = b.where(op.condition, dy, zero), b.where(op.condition, zero, dy)
    return [None, unbroadcast(b, taken, op.x), unbroadcast(b, other, op.y)]


def _one_minus_square(b: Builder, x: Value) -> Value:
    return b.sub(number(b, x, 1), b.mul(x, x))
