"""Canonicalizations of elementwise operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType, TensorType
from lepton_ir.rewrite import Failure, Rewrite, constant_array, rewrite_pattern, uniform_scalar

_COMMUTATIVE = frozenset({"add", "mul", "minimum", "maximum", "and", "or", "xor", "eq", "ne"})
_NEUTRAL: dict[str, float | bool] = {
    "add": 0, "sub": 0, "mul": 1, "div": 1, "floordiv": 1, "pow": 1, "and": True, "or": False, "xor": False,
    "bitwise_or": 0, "bitwise_xor": 0, "shift_left": 0, "shift_right": 0,
}  # fmt: skip
_INVERSES = frozenset({"neg", "not", "bitwise_not"})
_IDEMPOTENT = frozenset({"abs", "relu", "floor", "ceil", "round", "trunc", "sign"})


@rewrite_pattern(*_NEUTRAL)
def neutral_element(op: Any) -> Failure | Rewrite:
    """x + 0, x * 1, x / 1 and the like are x."""
    sides = [(op.a, op.b), (op.b, op.a)] if op.name in _COMMUTATIVE else [(op.a, op.b)]
    for kept, other in sides:
        if kept.type == op.y.type and _is_neutral(op, uniform_scalar(other)):
            return lambda rw: kept
    return Failure("no operand is the neutral element", op)


def _is_neutral(op: Any, number: Any) -> bool:
    if number is None or number != _NEUTRAL[op.name]:
        return False
    if op.name == "floordiv":
        return bool(op.y.tensor.dtype.is_integer)
    if op.name in ("add", "sub") and op.y.tensor.dtype.is_float:
        # -0.0 + 0.0 is 0.0, so only adding -0.0 and subtracting 0.0 change nothing.
        return bool(np.signbit(number)) == (op.name == "add")
    return True


@rewrite_pattern(*_INVERSES)
def twice_is_nothing(op: Any) -> Failure | Rewrite:
    """-(-x) is x."""
    inner: Any = op.x.op
    if inner is None or inner.name != op.name:
        return Failure("the operand is another operation", op)
    return lambda rw: inner.x


@rewrite_pattern(*_IDEMPOTENT)
def twice_is_once(op: Any) -> Failure | Rewrite:
    """relu(relu(x)) is relu(x)."""
    if op.x.op is None or op.x.op.name != op.name:
        return Failure("the operand is another operation", op)
    return lambda rw: op.x


@rewrite_pattern("pow")
def small_power(op: Any) -> Failure | Rewrite:
    """Powers of 2, 3, 1/2, -1/2 and -1 are products and roots; -inf and -0.0 have another square root than power."""
    exponent = uniform_scalar(op.b)
    if exponent is None or op.a.type != op.y.type or not op.a.tensor.dtype.is_float:
        return Failure("the exponent is not one number, or the base is not of floats", op)
    x = op.a
    forms: dict[float, Rewrite] = {
        2.0: lambda rw: rw.mul(x, x),
        3.0: lambda rw: rw.mul(rw.mul(x, x), x),
        0.5: lambda rw: rw.sqrt(x),
        -0.5: lambda rw: rw.rsqrt(x),
        -1.0: lambda rw: rw.reciprocal(x),
    }
    return forms.get(float(exponent)) or Failure(f"the exponent {exponent} has no simpler form", op)


@rewrite_pattern("div")
def divide_by_power_of_two(op: Any) -> Failure | Rewrite:
    """Dividing by a power of two is multiplying by its reciprocal, exactly.

    Other reciprocals are rounded, and models such as a distance of scaled vectors blow up the one unit in the last
    place that a product with them is off.
    """
    divisor, dtype = constant_array(op.b), op.y.tensor.dtype
    if divisor is None or dtype not in (DType.F32, DType.F64) or divisor.size > 65536:
        return Failure("the divisor is not a constant of f32 or f64", op)
    with np.errstate(all="ignore"):
        reciprocal = np.asarray(1 / divisor)
    tiny = np.finfo(divisor.dtype).tiny
    if not np.isfinite(reciprocal).all() or (np.abs(reciprocal) < tiny).any() or (np.abs(divisor) < tiny).any():
        return Failure("the reciprocal is out of range", op)
    if (np.abs(np.frexp(divisor)[0]) != 0.5).any():
        return Failure("the divisor is no power of two", op)
    return lambda rw: rw.mul(op.a, rw.const(reciprocal))


@rewrite_pattern("div")
def one_over(op: Any) -> Failure | Rewrite:
    """1 / x is reciprocal(x)."""
    if uniform_scalar(op.a) != 1 or not op.b.tensor.dtype.is_float or op.b.type != op.y.type:
        return Failure("the dividend is not 1", op)
    return lambda rw: rw.reciprocal(op.b)


@rewrite_pattern("reciprocal")
def reciprocal_of_root(op: Any) -> Failure | Rewrite:
    """1 / sqrt(x) is rsqrt(x)."""
    inner: Any = op.x.op
    if inner is None or inner.name != "sqrt" or not op.x.has_one_use:
        return Failure("the operand is not a square root of its own", op)
    return lambda rw: rw.rsqrt(inner.x)


@rewrite_pattern("add", "sub")
def sum_with_negation(op: Any) -> Failure | Rewrite:
    """a + (-b) is a - b, and a - (-b) is a + b."""
    inner: Any = op.b.op
    if inner is None or inner.name != "neg":
        return Failure("the second operand is not negated", op)
    return lambda rw: rw.sub(op.a, inner.x) if op.name == "add" else rw.add(op.a, inner.x)


@rewrite_pattern("maximum")
def maximum_with_zero(op: Any) -> Failure | Rewrite:
    """maximum(x, 0) is relu(x)."""
    for x, other in ((op.a, op.b), (op.b, op.a)):
        if uniform_scalar(other) == 0 and x.type == op.y.type and x.tensor.dtype is not DType.BOOL:
            return lambda rw: rw.relu(x)
    return Failure("no operand is 0", op)


@rewrite_pattern("clip")
def idle_clip(op: Any) -> Failure | Rewrite:
    """Bounds that bound nothing go away; a lower bound of 0 alone is relu."""
    low, high = _bound(op.min, -np.inf), _bound(op.max, np.inf)
    if low is None and high is None:
        return lambda rw: op.x
    if high is None and uniform_scalar(low) == 0:
        return lambda rw: rw.relu(op.x)
    if low is op.min and high is op.max:
        return Failure("both bounds matter", op)
    return lambda rw: rw.clip(op.x, low, high)


def _bound(value: Value | None, idle: float) -> Value | None:
    number = uniform_scalar(value)
    return None if isinstance(number, float) and number == idle else value


@rewrite_pattern("prelu")
def prelu_with_one_slope(op: Any) -> Failure | Rewrite:
    """prelu with one slope everywhere is leaky_relu."""
    slope = uniform_scalar(op.slope)
    if not isinstance(slope, float) or op.x.type != op.y.type:
        return Failure("the slope is not one constant", op)
    return lambda rw: rw.leaky_relu(op.x, alpha=slope)


@rewrite_pattern("where")
def where_decided(op: Any) -> Failure | Rewrite:
    """where with a constant condition, or with one value for both, is that value."""
    if op.x is op.y:
        chosen = op.x
    else:
        condition = uniform_scalar(op.condition)
        if condition is None:
            return Failure("the condition is not one constant", op)
        chosen = op.x if condition else op.y
    if chosen.type == op.z.type:
        return lambda rw: chosen
    return lambda rw: rw.tensor_expand(chosen, shape=op.z.shape)


@rewrite_pattern("where")
def where_not(op: Any) -> Failure | Rewrite:
    """where(not c, x, y) is where(c, y, x)."""
    inner: Any = op.condition.op
    if inner is None or inner.name != "not":
        return Failure("the condition is not a negation", op)
    return lambda rw: rw.where(inner.x, op.y, op.x)


@rewrite_pattern("not")
def not_equal(op: Any) -> Failure | Rewrite:
    """not (a == b) is a != b; orders are left alone, for both are false of NaN."""
    inner: Any = op.x.op
    if inner is None or inner.name not in ("eq", "ne") or not op.x.has_one_use:
        return Failure("the operand is not a comparison of its own", op)
    return lambda rw: rw.ne(inner.a, inner.b) if inner.name == "eq" else rw.eq(inner.a, inner.b)


@rewrite_pattern("cast")
def idle_cast(op: Any) -> Failure | Rewrite:
    """A cast to the type that is there is nothing."""
    if op.x.type != op.y.type:
        return Failure("the type changes", op)
    return lambda rw: op.x


@rewrite_pattern("cast")
def cast_of_widening(op: Any) -> Failure | Rewrite:
    """A cast after one that loses nothing is a cast of the original."""
    inner: Any = op.x.op
    if inner is None or inner.name != "cast" or not _widens(inner.x.tensor, op.x.tensor):
        return Failure("the operand is not a widening cast", op)
    if op.y.tensor.dtype is DType.STR:
        return Failure("text shows the type that it comes from", op)
    return lambda rw: rw.cast(inner.x, to=op.to, saturate=op.saturate, round_mode=op.round_mode)


def _widens(narrow: TensorType, wide: TensorType) -> bool:
    """Return whether every value of one type is one of the other, and means the same to any cast."""
    a, b = narrow.dtype, wide.dtype
    if a is DType.BOOL:
        return b.is_integer or b.is_float
    if a.is_integer and b.is_integer:
        return b.bits > a.bits and (b.is_signed or not a.is_signed)
    # Integers to floats to integers is left alone: out of range one cast wraps where the other is undefined.
    return a in (DType.F16, DType.BF16, DType.F32) and b in (DType.F32, DType.F64) and a.bits < b.bits


@rewrite_pattern("log")
def log_of_softmax(op: Any) -> Failure | Rewrite:
    """log(softmax(x)) is log_softmax(x), which does not underflow."""
    inner: Any = op.x.op
    if inner is None or inner.name != "nn.softmax" or not op.x.has_one_use:
        return Failure("the operand is not a softmax of its own", op)
    return lambda rw: rw.nn_log_softmax(inner.x, axis=inner.axis)


_BROADCASTING = (
    "add",
    "sub",
    "mul",
    "div",
    "minimum",
    "maximum",
    "pow",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "and",
    "or",
)


@rewrite_pattern(*_BROADCASTING)
def operand_expanded(op: Any) -> Failure | Rewrite:
    """An operand needs no expand where the other one has the result's shape already."""
    for index, (side, other) in enumerate(((op.a, op.b), (op.b, op.a))):
        inner: Any = side.op
        if inner is not None and inner.name == "tensor.expand" and tuple(other.shape) == tuple(op.y.shape):
            pair = (inner.x, op.b) if index == 0 else (op.a, inner.x)
            return lambda rw: rw.create(type(op), *pair, **op.attributes).result
    return Failure("no operand is expanded to the shape of the other", op)
