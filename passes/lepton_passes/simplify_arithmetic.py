"""Simplification of arithmetic with constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_ir.ir import Value
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import Failure, Pattern, Rewrite, constant_array, rewrite_pattern, uniform_scalar
from lepton_ir.rewrite.nodes import COMMUTATIVE

_NEUTRAL_RIGHT = {"add": 0, "sub": 0, "mul": 1, "div": 1, "pow": 1, "or": False, "and": True, "bitwise_or": 0}
_SMALL = 65536
_IDEMPOTENT = frozenset({"relu", "abs", "floor", "ceil", "round", "trunc", "sign"})
_INVOLUTIONS = frozenset({"neg", "not", "bitwise_not", "reciprocal"})


@rewrite_pattern(*_NEUTRAL_RIGHT)
def neutral_element(op: Any) -> Failure | Rewrite:
    """x + 0, x * 1, x / 1 and the like are x."""
    sides = [(op.a, op.b), (op.b, op.a)] if op.name in COMMUTATIVE else [(op.a, op.b)]
    for kept, other in sides:
        if uniform_scalar(other) == _NEUTRAL_RIGHT[op.name] and kept.type == op.y.type:
            return lambda rw: kept
    return Failure("no operand is the neutral element", op)


@rewrite_pattern("pow")
def small_power(op: Any) -> Failure | Rewrite:
    """Powers of 2, 3, 1/2, -1 and -1/2 have operations of their own."""
    exponent = uniform_scalar(op.b)
    if exponent is None or op.a.type != op.y.type or not op.a.tensor.dtype.is_float:
        return Failure("the exponent is not one constant", op)
    x = op.a
    makers: dict[float, Rewrite] = {
        2.0: lambda rw: rw.mul(x, x),
        3.0: lambda rw: rw.mul(rw.mul(x, x), x),
        0.5: lambda rw: rw.sqrt(x),
        -1.0: lambda rw: rw.reciprocal(x),
        -0.5: lambda rw: rw.rsqrt(x),
    }
    return makers.get(float(exponent)) or Failure(f"{exponent} is not a special exponent", op)


@rewrite_pattern("div")
def divide_by_constant(op: Any) -> Failure | Rewrite:
    """Multiplying by the reciprocal is several times as fast as dividing."""
    array = constant_array(op.b)
    if array is None or not op.y.tensor.dtype.is_float or array.size > _SMALL:
        return Failure("the divisor is not a small float constant", op)
    with np.errstate(all="ignore"):
        inverse = np.float64(1) / array.astype(np.float64)
    if not np.isfinite(inverse).all() or (array == 0).any():
        return Failure("the divisor has no reciprocal", op)
    return lambda rw: rw.mul(op.a, rw.const(inverse.astype(array.dtype), dtype=op.b.tensor.dtype))


@rewrite_pattern(*_IDEMPOTENT, *_INVOLUTIONS)
def twice(op: Any) -> Failure | Rewrite:
    """relu(relu(x)) is relu(x); neg(neg(x)) is x."""
    inner = op.x.op
    if inner is None or inner.name != op.name:
        return Failure("the operand is another operation", op)
    return lambda rw: op.x if op.name in _IDEMPOTENT else inner.x


@rewrite_pattern("cast")
def needless_cast(op: Any) -> Failure | Rewrite:
    """A cast to the same type is nothing; so is one to a wider float and back."""
    x: Value = op.x
    if x.type == op.y.type:
        return lambda rw: x
    inner: Any = x.op
    if inner is None or inner.name != "cast" or inner.x.type != op.y.type:
        return Failure("the type changes", op)
    narrow, wide = op.y.tensor.dtype, x.tensor.dtype
    widened = (narrow.is_float and wide.is_float) or (narrow.is_integer and wide.is_integer)
    if not widened or wide.bits <= narrow.bits or narrow.is_signed != wide.is_signed:
        return Failure("the first cast may lose something", inner)
    return lambda rw: inner.x


@rewrite_pattern("mul", "add")
def join_constants(op: Any) -> Failure | Rewrite:
    """(x * a) * b is x * (a * b), and (x + a) + b is x + (a + b)."""
    outer = _with_constant(op, op.name)
    inner = _with_constant(outer[0].op, op.name) if outer is not None else None
    if outer is None or inner is None or not outer[0].has_one_use:
        return Failure("no two constants follow each other", op)
    joined = inner[1] * outer[1] if op.name == "mul" else inner[1] + outer[1]
    if not np.isfinite(joined).all():
        return Failure("the constants overflow", op)
    return lambda rw: getattr(rw, op.name)(inner[0], rw.const(joined, dtype=op.y.tensor.dtype))


@rewrite_pattern("mul")
def scale_of_affine(op: Any) -> Failure | Rewrite:
    """(x * a + b) * c is x * (a * c) + b * c."""
    outer = _with_constant(op, "mul")
    added = _with_constant(outer[0].op, "add") if outer is not None else None
    inner = _with_constant(added[0].op, "mul") if added is not None else None
    if outer is None or added is None or inner is None:
        return Failure("the operand is not x * a + b", op)
    if not outer[0].has_one_use or not added[0].has_one_use:
        return Failure("a value inside is read elsewhere too", op)
    factor, shift = inner[1] * outer[1], added[1] * outer[1]
    if not np.isfinite(factor).all() or not np.isfinite(shift).all():
        return Failure("the constants overflow", op)
    dtype = op.y.tensor.dtype
    return lambda rw: rw.add(rw.mul(inner[0], rw.const(factor, dtype=dtype)), rw.const(shift, dtype=dtype))


def _with_constant(op: Any, name: str) -> tuple[Any, np.ndarray] | None:
    """Return the other operand and the constant, in float64, of an addition or multiplication by a small constant."""
    if op is None or op.name != name or not op.y.tensor.dtype.is_float:
        return None
    for x, c in ((op.a, op.b), (op.b, op.a)):
        array = constant_array(c)
        if array is not None and array.size <= _SMALL and x.type == op.y.type:
            wide = array.astype(np.float64)
            return (x, wide) if np.isfinite(wide).all() else None
    return None


@register_pass("simplify-arithmetic")
@dataclass(frozen=True)
class SimplifyArithmetic(PatternPass):
    """Drop arithmetic that does nothing, and replace dear operations by cheap ones."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return [neutral_element, small_power, divide_by_constant, twice, needless_cast, join_constants, scale_of_affine]
