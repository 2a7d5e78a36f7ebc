"""Pointwise functions of one tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.complex import is_complex, magnitude
from lepton_frontends.aten.ops.opmath import rounded_once
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import Number, floats, int_of, number_of, result_type, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType

_SAME_NAME = (
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "erf", "exp", "expm1", "log", "log1p",
    "reciprocal", "rsqrt", "sigmoid", "sin", "sinh", "sqrt", "tan", "tanh",
)  # fmt: skip
"""Functions of real numbers that Lepton's own operators compute; integers become f32."""


@aten_op(*_SAME_NAME, *(f"arc{n}" for n in ("cos", "cosh", "sin", "sinh", "tan", "tanh")), "special_expm1",
         "special_log1p", "special_erf", "special_expit")  # fmt: skip
def real_function(b: AtenBuilder, self: Value) -> Value:
    name = b.op.removeprefix("special_").replace("arc", "a").replace("expit", "sigmoid")
    return getattr(b, name)(floats(b, self))


_COMPOSED: dict[str, Callable[[AtenBuilder, Value], Value]] = {
    "exp2": lambda b, x: b.pow(b.full((), 2, x.tensor.dtype), x),
    "log2": lambda b, x: b.mul(b.log(x), b.like(x, 1 / math.log(2))),
    "log10": lambda b, x: b.mul(b.log(x), b.like(x, 1 / math.log(10))),
    "deg2rad": lambda b, x: b.mul(x, b.like(x, math.pi / 180)),
    "rad2deg": lambda b, x: b.mul(x, b.like(x, 180 / math.pi)),
    "sinc": lambda b, x: _sinc(b, x),
}


@aten_op(*_COMPOSED)
def composed_function(b: AtenBuilder, self: Value) -> Value:
    compute = _COMPOSED[b.op]
    return rounded_once(b, lambda x: compute(b, x), self)


def _sinc(b: AtenBuilder, x: Value) -> Value:
    angle = b.mul(x, b.like(x, math.pi))
    return b.where(b.eq(x, b.like(x, 0)), b.like(x, 1), b.div(b.sin(angle), angle))


@aten_op("abs", "absolute", "neg", "negative")
def signed(b: AtenBuilder, self: Value) -> Value:
    if is_complex(self) and b.op.startswith("abs"):
        return magnitude(b, self)
    return b.neg(self) if b.op.startswith("neg") else b.abs(self) if self.tensor.dtype is not DType.BOOL else self


@aten_op("positive", "resolve_conj", "resolve_neg")
def unchanged(b: AtenBuilder, self: Value) -> Value:
    return self


@aten_op("sign", "sgn")
def sign(b: AtenBuilder, self: Value) -> Value:
    """The sign of NaN is 0."""
    if self.tensor.dtype is DType.BOOL:
        return self
    y = b.sign(self)
    return b.where(b.isnan(self), b.like(self, 0), y) if self.tensor.dtype.is_float else y


@aten_op("signbit")
def signbit(b: AtenBuilder, self: Value) -> Value:
    if not self.tensor.dtype.is_float:
        return (
            b.lt(self, b.like(self, 0))
            if self.tensor.dtype is not DType.BOOL
            else b.full(self.shape, False, DType.BOOL)
        )
    # 1 / -0 is minus infinity.
    return b.or_(b.lt(self, b.like(self, 0)), b.lt(b.reciprocal(self), b.like(self, 0)))


@aten_op("square")
def square(b: AtenBuilder, self: Value) -> Value:
    x = b.convert(self, DType.I64) if self.tensor.dtype is DType.BOOL else self
    return b.mul(x, x)


@aten_op("floor", "ceil", "trunc", "fix")
def rounded(b: AtenBuilder, self: Value) -> Value:
    if not self.tensor.dtype.is_float:
        return self
    return b.trunc(self) if b.op == "fix" else getattr(b, b.op)(self)


@aten_op("round")
def round_(b: AtenBuilder, self: Value, *, decimals: Any = 0) -> Value:
    if not self.tensor.dtype.is_float:
        return self
    digits = int_of(decimals, "number of decimals")
    if not digits:
        return b.round(self)
    forth, back = (b.mul, b.div) if digits > 0 else (b.div, b.mul)

    def compute(x: Value) -> Value:
        factor = b.like(x, 10.0 ** abs(digits))
        return back(b.round(forth(x, factor)), factor)

    return rounded_once(b, compute, self)


@aten_op("frac")
def frac(b: AtenBuilder, self: Value) -> Value:
    return b.sub(self, b.trunc(self))


@aten_op("isnan", "isinf", "isfinite", "isposinf", "isneginf")
def predicate(b: AtenBuilder, self: Value) -> Value:
    if not self.tensor.dtype.is_float:
        return b.full(self.shape, b.op == "isfinite", DType.BOOL)
    if b.op == "isnan":
        return b.isnan(self)
    if b.op == "isfinite":
        return b.not_(b.or_(b.isnan(self), b.isinf(self)))
    return b.isinf(self, detect_negative=b.op != "isposinf", detect_positive=b.op != "isneginf")


@aten_op("logical_not")
def logical_not(b: AtenBuilder, self: Value) -> Value:
    return b.not_(b.convert(self, DType.BOOL))


@aten_op("bitwise_not")
def bitwise_not(b: AtenBuilder, self: Value) -> Value:
    return b.not_(self) if self.tensor.dtype is DType.BOOL else b.bitwise_not(self)


@aten_op("clamp", "clip", "clamp_min", "clamp_max")
def clamp(b: AtenBuilder, self: Value, min: Any = None, max: Any = None) -> Value:
    """NaN stays; the upper bound wins where both cross."""
    if b.op == "clamp_max":
        min, max = None, min if max is None else max
    bounds = [v for v in (min, max) if v is not None]
    dtype = result_type(self, *bounds)
    y = b.convert(self, dtype)
    is_bool = dtype is DType.BOOL
    for bound, pick in ((min, b.or_ if is_bool else b.maximum), (max, b.and_ if is_bool else b.minimum)):
        if bound is not None:
            y = pick(y, tensor_of(b, bound, dtype))
    return y


@aten_op("nan_to_num")
def nan_to_num(b: AtenBuilder, self: Value, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Value:
    if not self.tensor.dtype.is_float:
        return self
    largest = {DType.F16: 65504.0, DType.BF16: 3.3895313892515355e38, DType.F32: 3.4028234663852886e38}
    most = largest.get(self.tensor.dtype, 1.7976931348623157e308)
    y = b.where(b.isnan(self), b.like(self, 0 if nan is None else number_of(nan)), self)
    high, low = (most if posinf is None else number_of(posinf)), (-most if neginf is None else number_of(neginf))
    y = b.where(b.isinf(self, detect_negative=False), b.like(self, high), y)
    return b.where(b.isinf(self, detect_positive=False), b.like(self, low), y)


@aten_op("logit", "special_logit")
def logit(b: AtenBuilder, self: Value, eps: Any = None) -> Value:
    low = None if eps is None else float(number_of(eps, "eps"))

    def compute(x: Value) -> Value:
        if low is not None and low >= 0:
            x = b.minimum(b.maximum(x, b.like(x, low)), b.like(x, 1 - low))
        return b.log(b.div(x, b.sub(b.like(x, 1), x)))

    return rounded_once(b, compute, self)


@aten_op("masked_fill")
def masked_fill(b: AtenBuilder, self: Value, mask: Value, value: Value | Number) -> Value:
    filler = tensor_of(b, value, self.tensor.dtype)
    if isinstance(value, Value) and value.rank:
        raise UnsupportedError("it fills with a tensor that is no number")
    return b.where(b.convert(mask, DType.BOOL), filler, self)


@aten_op("heaviside")
def heaviside(b: AtenBuilder, self: Value, values: Value) -> Value:
    if self.tensor.dtype is DType.BOOL:
        return b.or_(self, values)
    zero, one = b.like(self, 0), b.like(self, 1)
    y = b.where(b.gt(self, zero), one, zero)
    return b.where(b.eq(self, zero), values, y)
