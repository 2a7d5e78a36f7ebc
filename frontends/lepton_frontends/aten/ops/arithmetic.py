"""Pointwise functions of two tensors, or of a tensor and a number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.opmath import rounded_once
from lepton_frontends.aten.rules import Scalar, aten_op
from lepton_frontends.aten.types import Number, number_of, promoted, result_type, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType

Operand: TypeAlias = "Value | Number"


def _is_wide(dtype: DType) -> bool:
    return dtype in (DType.F32, DType.F64)


def _is_bool(x: Value) -> bool:
    return x.tensor.dtype is DType.BOOL


@aten_op("add")
def add(b: AtenBuilder, self: Operand, other: Operand, alpha: Number = 1) -> Value:
    x, y = promoted(b, self, other)
    if _is_bool(x):
        return b.or_(x, y if alpha == 1 else b.and_(y, tensor_of(b, alpha, DType.BOOL)))
    return b.add(x, y) if alpha == 1 else _scaled(b, b.add, x, y, alpha)


def _scaled(b: AtenBuilder, combine: Callable[..., Value], x: Value, y: Value, factor: Number) -> Value:
    """Return x combined with factor * y, for floats rounded once."""

    def compute(x: Value, y: Value) -> Value:
        return combine(x, b.mul(y, tensor_of(b, factor, y.tensor.dtype)))

    return rounded_once(b, compute, x, y) if x.tensor.dtype.is_float else compute(x, y)


@aten_op("sub", "subtract")
def sub(b: AtenBuilder, self: Operand, other: Operand, alpha: Number = 1) -> Value:
    x, y = promoted(b, self, other)
    return b.sub(x, y) if alpha == 1 else _scaled(b, b.sub, x, y, alpha)


@aten_op("rsub")
def rsub(b: AtenBuilder, self: Operand, other: Operand, alpha: Number = 1) -> Value:
    return sub(b, other, self, alpha)


@aten_op("mul", "multiply")
def mul(b: AtenBuilder, self: Operand, other: Operand) -> Value:
    x, y = promoted(b, self, other)
    return b.and_(x, y) if _is_bool(x) else b.mul(x, y)


@aten_op("div", "divide", "true_divide")
def div(b: AtenBuilder, self: Operand, other: Operand, *, rounding_mode: str | None = None) -> Value:
    if rounding_mode is None:
        return b.div(*promoted(b, self, other, floating=True))
    if rounding_mode == "floor":
        return floor_divide(b, self, other)
    x, y = promoted(b, self, other)
    if not x.tensor.dtype.is_float:
        return b.div(x, y)
    return b.trunc(b.div(x, y))


@aten_op("floor_divide")
def floor_divide(b: AtenBuilder, self: Operand, other: Operand) -> Value:
    x, y = promoted(b, self, other)
    if not x.tensor.dtype.is_float:
        return b.floordiv(x, y)
    return rounded_once(b, lambda p, q: _floored(b, p, q), x, y)


def _floored(b: AtenBuilder, x: Value, y: Value) -> Value:
    """Return the floor of x / y by the exact remainder, as Python has it: a rounded quotient may be a whole more."""
    zero, one, plain = b.like(x, 0), b.like(x, 1), b.div(x, y)
    rest = b.mod(x, y, fmod=True)
    quotient = b.div(b.sub(x, rest), y)
    is_less = b.and_(b.ne(rest, zero), b.xor(b.lt(rest, zero), b.lt(y, zero)))
    quotient = b.where(is_less, b.sub(quotient, one), quotient)
    whole = b.floor(quotient)
    whole = b.where(b.gt(b.sub(quotient, whole), b.like(x, 0.5)), b.add(whole, one), whole)
    # Zero has the sign of the quotient.
    whole = b.where(b.eq(quotient, zero), b.mul(plain, zero), whole)
    return b.where(b.eq(y, zero), plain, whole)


@aten_op("remainder")
def remainder(b: AtenBuilder, self: Operand, other: Operand) -> Value:
    """The remainder with the sign of the divisor."""
    return b.mod(*promoted(b, self, other))


@aten_op("fmod")
def fmod(b: AtenBuilder, self: Operand, other: Operand) -> Value:
    return b.mod(*promoted(b, self, other), fmod=True)


@aten_op("pow")
def power(b: AtenBuilder, self: Operand, exponent: Operand) -> Value:
    dtype = result_type(self, exponent)
    if (
        isinstance(exponent, float)
        and exponent in (0.5, -0.5, 2.0, 3.0)
        and isinstance(self, Value)
        and _is_wide(dtype)
    ):
        x = tensor_of(b, self, dtype)
        if abs(exponent) == 0.5:
            return b.sqrt(x) if exponent > 0 else b.rsqrt(x)
        return b.mul(x, x) if exponent == 2 else b.mul(b.mul(x, x), x)
    if isinstance(exponent, int) and exponent == 2 and isinstance(self, Value) and dtype is not DType.BOOL:
        x = tensor_of(b, self, dtype)
        return b.mul(x, x)
    x, y = promoted(b, self, exponent)
    if dtype.is_float or dtype is DType.BOOL:
        return b.or_(x, b.not_(y)) if dtype is DType.BOOL else b.pow(x, y)
    return _integer_power(b, x, y)


def _integer_power(b: AtenBuilder, x: Value, y: Value) -> Value:
    """To a negative power: 1 and -1 keep their size, all other numbers become 0."""
    zero, one = b.like(x, 0), b.like(x, 1)
    positive = b.pow(x, b.maximum(y, b.like(y, 0)))
    if not y.tensor.dtype.is_signed:
        return positive
    minus = b.like(x, -1)
    odd = b.ne(b.mod(y, b.like(y, 2)), b.like(y, 0))
    unit = b.where(b.eq(x, one), one, b.where(b.eq(x, minus), b.where(odd, minus, one), zero))
    return b.where(b.lt(y, b.like(y, 0)), unit, positive)


@aten_op("float_power")
def float_power(b: AtenBuilder, self: Operand, exponent: Operand) -> Value:
    return b.pow(tensor_of(b, self, DType.F64), tensor_of(b, exponent, DType.F64))


@aten_op("maximum", "minimum", "fmax", "fmin")
def extreme(b: AtenBuilder, self: Operand, other: Operand) -> Value:
    x, y = promoted(b, self, other)
    largest = b.op.endswith("max") or b.op == "maximum"
    if _is_bool(x):
        return b.or_(x, y) if largest else b.and_(x, y)
    found = b.maximum(x, y) if largest else b.minimum(x, y)
    if b.op in ("fmax", "fmin") and x.tensor.dtype.is_float:
        # One NaN counts as missing.
        found = b.where(b.isnan(x), y, b.where(b.isnan(y), x, found))
    return found


_COMPARISONS = {"eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge", "not_equal": "ne", "less": "lt",
                "less_equal": "le", "greater": "gt", "greater_equal": "ge"}  # fmt: skip


@aten_op(*_COMPARISONS)
def comparison(b: AtenBuilder, self: Operand, other: Operand) -> Value:
    x, y = promoted(b, self, other)
    if _is_bool(x):
        x, y = (b.convert(v, DType.U8) for v in (x, y))
    return getattr(b, _COMPARISONS[b.op])(x, y)


@aten_op("equal")
def equal(b: AtenBuilder, self: Value, other: Value) -> Any:
    differences = [] if self.rank != other.rank else [d - e for d, e in zip(self.shape, other.shape, strict=True)]
    if self.rank != other.rank or any(isinstance(d, int) and d != 0 for d in differences):
        return False
    if any(d != 0 for d in differences):
        raise UnsupportedError(f"whether {list(self.shape)} and {list(other.shape)} are one shape depends on data")
    same = b.eq(*promoted(b, self, other))
    return Scalar(b.reduce_all(same, axes=tuple(range(same.rank)), keepdims=False))


@aten_op("isclose")
def isclose(
    b: AtenBuilder, self: Value, other: Value, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: Any = False
) -> Value:
    x, y = promoted(b, self, other)
    same = b.eq(x, y)
    if not x.tensor.dtype.is_float:
        x, y = (b.convert(v, DType.F64) for v in (x, y))
    elif equal_nan:
        same = b.or_(same, b.and_(b.isnan(x), b.isnan(y)))
    allowed = b.add(b.like(x, number_of(atol)), b.abs(b.mul(y, b.like(x, number_of(rtol)))))
    error = b.abs(b.sub(x, y))
    finite = b.not_(b.isinf(error))
    return b.or_(same, b.and_(finite, b.le(error, allowed)))


@aten_op("logical_and", "logical_or", "logical_xor")
def logical(b: AtenBuilder, self: Operand, other: Operand) -> Value:
    x, y = (b.convert(tensor_of(b, v), DType.BOOL) for v in (self, other))
    return getattr(b, f"{b.op.removeprefix('logical_')}_" if not b.op.endswith("xor") else "xor")(x, y)


_BITS = {"bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor", "__and__": "and", "__or__": "or",
         "__xor__": "xor"}  # fmt: skip


@aten_op(*_BITS)
def bitwise(b: AtenBuilder, self: Operand, other: Operand) -> Value:
    kind = _BITS[b.op]
    x, y = promoted(b, self, other)
    if _is_bool(x):
        return getattr(b, kind if kind == "xor" else f"{kind}_")(x, y)
    return getattr(b, f"bitwise_{kind}")(x, y)


@aten_op("bitwise_left_shift", "bitwise_right_shift", "__lshift__", "__rshift__")
def shift(b: AtenBuilder, self: Operand, other: Operand) -> Value:
    x, y = promoted(b, self, other)
    left = "left" in b.op or "lshift" in b.op
    if x.tensor.dtype.is_float:
        factor = b.pow(b.full((), 2, x.tensor.dtype), y)
        return b.mul(x, factor) if left else b.div(x, factor)
    return b.shift_left(x, y) if left else b.shift_right(x, y)


@aten_op("atan2", "arctan2")
def atan2(b: AtenBuilder, self: Operand, other: Operand) -> Value:
    return b.atan2(*promoted(b, self, other, floating=True))


@aten_op("hypot")
def hypot(b: AtenBuilder, self: Value, other: Value) -> Value:
    x, z = (b.abs(v) for v in promoted(b, self, other))
    high, low = b.maximum(x, z), b.minimum(x, z)
    zero = b.like(x, 0)
    ratio = b.where(b.eq(high, zero), zero, b.div(low, high))
    y = b.mul(high, b.sqrt(b.add(b.mul(ratio, ratio), b.like(x, 1))))
    # Also with NaN, where one side is infinite.
    return b.where(b.or_(b.isinf(x), b.isinf(z)), b.like(x, math.inf), y)


@aten_op("copysign")
def copysign(b: AtenBuilder, self: Operand, other: Operand) -> Value:
    x, y = promoted(b, self, other, floating=True)
    size, zero = b.abs(x), b.like(x, 0)
    negative = b.or_(b.lt(y, zero), b.and_(b.eq(y, zero), b.lt(b.reciprocal(y), zero)))
    return b.where(negative, b.neg(size), size)


@aten_op("xlogy", "xlog1py", "special_xlog1py", "special_xlogy")
def xlogy(b: AtenBuilder, self: Operand, other: Operand) -> Value:
    x, y = promoted(b, self, other, floating=True)
    product = b.mul(x, b.log1p(y) if "log1p" in b.op else b.log(y))
    zero = b.like(x, 0)
    return b.where(b.isnan(y), y, b.where(b.eq(x, zero), zero, product))


@aten_op("logaddexp", "logaddexp2")
def logaddexp(b: AtenBuilder, self: Value, other: Value) -> Value:
    base = math.log(2) if b.op == "logaddexp2" else 1.0

    def compute(x: Value, y: Value) -> Value:
        high = b.maximum(x, y)
        distance = b.mul(b.neg(b.abs(b.sub(x, y))), b.like(x, base))
        tail = b.mul(b.log1p(b.exp(distance)), b.like(x, 1 / base))
        # inf - inf is no distance.
        return b.where(b.and_(b.isinf(x), b.eq(x, y)), x, b.add(high, tail))

    return rounded_once(b, compute, *promoted(b, self, other, floating=True))


@aten_op("lerp")
def lerp(b: AtenBuilder, self: Value, end: Value, weight: Operand) -> Value:
    def compute(x: Value, y: Value) -> Value:
        w = tensor_of(b, weight, x.tensor.dtype)
        distance = b.sub(y, x)
        near = b.add(x, b.mul(w, distance))
        far = b.sub(y, b.mul(distance, b.sub(b.like(x, 1), w)))
        return b.where(b.lt(b.abs(w), b.like(x, 0.5)), near, far)

    return rounded_once(b, compute, *promoted(b, self, end))


@aten_op("addcmul", "addcdiv")
def add_combined(b: AtenBuilder, self: Value, tensor1: Value, tensor2: Value, *, value: Number = 1) -> Value:
    combine = b.mul if b.op == "addcmul" else b.div

    def compute(base: Value, x: Value, y: Value) -> Value:
        combined = combine(x, y)
        if value != 1:
            combined = b.mul(combined, tensor_of(b, value, base.tensor.dtype))
        return b.add(base, combined)

    given = promoted(b, self, tensor1, tensor2, floating=b.op == "addcdiv")
    return rounded_once(b, compute, *given) if given[0].tensor.dtype.is_float else compute(*given)


@aten_op("where")
def where(b: AtenBuilder, condition: Value, self: Operand | None = None, other: Operand | None = None) -> Any:
    if self is None or other is None:
        raise UnsupportedError("it lists where a condition holds, and how many these are depends on data",
                               "use nonzero")  # fmt: skip
    x, y = promoted(b, self, other)
    return b.where(b.convert(condition, DType.BOOL), x, y)


@aten_op("ldexp")
def ldexp(b: AtenBuilder, self: Value, other: Value) -> Value:
    x, y = promoted(b, self, other, floating=True)
    return b.mul(x, b.pow(b.full((), 2, x.tensor.dtype), y))
