"""Activation functions: elementwise composites that backends may compute at once or decompose."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import InferenceError, attribute, operand, optional_operand, result
from lepton_ir.ir.types import DType, Type
from lepton_ir.ops.elementwise import Elementwise, FloatUnary, Unary
from lepton_ir.ops.folds import arithmetic as arithmetic_folds
from lepton_ir.ops.special import erf, sigmoid, softplus
from lepton_ir.ops.support import Array


def scalar(b: Builder, like: Value, number: float) -> Value:
    """Return a constant scalar of the element type of ``like``."""
    return b.const(number, dtype=like.tensor.dtype)


class Relu(Unary):
    """max(x, 0)."""

    name = "relu"
    canonicalizations = (arithmetic_folds.twice_is_once,)

    def compute(self, x: Array) -> Array:
        return np.maximum(x, np.zeros((), x.dtype))

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [b.maximum(self.x, scalar(b, self.x, 0))]


class LeakyRelu(FloatUnary):
    """x where x >= 0, else alpha * x."""

    name = "leaky_relu"
    alpha = attribute(float, default=0.01)

    def compute(self, x: Array) -> Array:
        return np.where(x >= 0, x, x * x.dtype.type(self.alpha))

    def decompose(self, b: Builder) -> Sequence[Value]:
        scaled = b.mul(self.x, scalar(b, self.x, self.alpha))
        return [b.where(b.ge(self.x, scalar(b, self.x, 0)), self.x, scaled)]


class Elu(FloatUnary):
    """x where x > 0, else alpha * (exp(x) - 1)."""

    name = "elu"
    alpha = attribute(float, default=1.0)

    def compute(self, x: Array) -> Array:
        return np.where(x > 0, x, x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0)))

    def decompose(self, b: Builder) -> Sequence[Value]:
        below = b.mul(b.expm1(self.x), scalar(b, self.x, self.alpha))
        return [b.where(b.gt(self.x, scalar(b, self.x, 0)), self.x, below)]


class Selu(FloatUnary):
    """gamma * x where x > 0, else gamma * alpha * (exp(x) - 1)."""

    name = "selu"
    alpha = attribute(float, default=1.67326319217681884765625)
    gamma = attribute(float, default=1.05070102214813232421875)

    def compute(self, x: Array) -> Array:
        below = x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0))
        return x.dtype.type(self.gamma) * np.where(x > 0, x, below)

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [b.mul(b.elu(self.x, alpha=self.alpha), scalar(b, self.x, self.gamma))]


class Celu(FloatUnary):
    """max(x, 0) + min(alpha * (exp(x / alpha) - 1), 0)."""

    name = "celu"
    alpha = attribute(float, default=1.0)

    def verify(self) -> None:
        super().verify()
        if self.alpha == 0:
            raise InferenceError("alpha of celu must not be 0")

    def compute(self, x: Array) -> Array:
        alpha = x.dtype.type(self.alpha)
        return np.maximum(x, 0) + np.minimum(alpha * np.expm1(x / alpha), 0)

    def decompose(self, b: Builder) -> Sequence[Value]:
        zero, alpha = scalar(b, self.x, 0), scalar(b, self.x, self.alpha)
        below = b.mul(b.expm1(b.div(self.x, alpha)), alpha)
        return [b.add(b.maximum(self.x, zero), b.minimum(below, zero))]


class Gelu(FloatUnary):
    """x times the normal distribution's cumulative function at x, exact or by its tanh approximation."""

    name = "gelu"
    approximate = attribute(str, default="none", doc='"none" (by erf) or "tanh"')

    def verify(self) -> None:
        super().verify()
        if self.approximate not in ("none", "tanh"):
            raise InferenceError(f'approximate of gelu must be "none" or "tanh", got "{self.approximate}"')

    def compute(self, x: Array) -> Array:
        t = x.dtype.type
        if self.approximate == "none":
            return x * t(0.5) * (1 + erf(x * t(math.sqrt(0.5))))
        return t(0.5) * x * (1 + np.tanh(t(math.sqrt(2 / math.pi)) * (x + t(0.044715) * x * x * x)))

    def decompose(self, b: Builder) -> Sequence[Value]:
        x, one, half = self.x, scalar(b, self.x, 1), scalar(b, self.x, 0.5)
        if self.approximate == "none":
            inner = b.erf(b.mul(x, scalar(b, x, math.sqrt(0.5))))
        else:
            cubed = b.mul(b.mul(b.mul(x, x), x), scalar(b, x, 0.044715))
            inner = b.tanh(b.mul(b.add(x, cubed), scalar(b, x, math.sqrt(2 / math.pi))))
        return [b.mul(b.mul(x, half), b.add(inner, one))]


class Silu(FloatUnary):
    """x * sigmoid(x), also known as swish."""

    name = "silu"

    def compute(self, x: Array) -> Array:
        return x * sigmoid(x)

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [b.mul(self.x, b.sigmoid(self.x))]


class Mish(FloatUnary):
    """x * tanh(log(1 + exp(x)))."""

    name = "mish"

    def compute(self, x: Array) -> Array:
        return x * np.tanh(softplus(x))

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [b.mul(self.x, b.tanh(b.softplus(self.x)))]


class Softplus(FloatUnary):
    """log(1 + exp(x))."""

    name = "softplus"

    def compute(self, x: Array) -> Array:
        return softplus(x)

    def decompose(self, b: Builder) -> Sequence[Value]:
        # max(x, 0) + log(1 + exp(-|x|)) does not overflow.
        tail = b.log1p(b.exp(b.neg(b.abs(self.x))))
        return [b.add(b.maximum(self.x, scalar(b, self.x, 0)), tail)]


class Softsign(FloatUnary):
    """x / (1 + |x|)."""

    name = "softsign"

    def compute(self, x: Array) -> Array:
        return x / (1 + np.abs(x))

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [b.div(self.x, b.add(b.abs(self.x), scalar(b, self.x, 1)))]


class HardSigmoid(FloatUnary):
    """alpha * x + beta, clamped to [0, 1]."""

    name = "hard_sigmoid"
    alpha = attribute(float, default=0.2)
    beta = attribute(float, default=0.5)

    def compute(self, x: Array) -> Array:
        t = x.dtype.type
        return np.clip(t(self.alpha) * x + t(self.beta), t(0), t(1))

    def decompose(self, b: Builder) -> Sequence[Value]:
        x = self.x
        line = b.add(b.mul(x, scalar(b, x, self.alpha)), scalar(b, x, self.beta))
        return [b.clip(line, scalar(b, x, 0), scalar(b, x, 1))]


class HardSwish(FloatUnary):
    """x * clamp(x / 6 + 1 / 2, 0, 1)."""

    name = "hard_swish"

    def compute(self, x: Array) -> Array:
        t = x.dtype.type
        return x * np.clip(x * t(1 / 6) + t(0.5), t(0), t(1))

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [b.mul(self.x, b.hard_sigmoid(self.x, alpha=1 / 6, beta=0.5))]


class ThresholdedRelu(FloatUnary):
    """x where x > alpha, else 0."""

    name = "thresholded_relu"
    alpha = attribute(float, default=1.0)

    def compute(self, x: Array) -> Array:
        return np.where(x > self.alpha, x, np.zeros((), x.dtype))

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [b.where(b.gt(self.x, scalar(b, self.x, self.alpha)), self.x, scalar(b, self.x, 0))]


class Shrink(Unary):
    """x + bias where x < -lambd, x - bias where x > lambd, else 0."""

    name = "shrink"
    lambd = attribute(float, default=0.5)
    bias = attribute(float, default=0.0)

    def compute(self, x: Array) -> Array:
        shifted = np.where(x > self.lambd, x - self.bias, 0)
        return np.where(x < -self.lambd, x + self.bias, shifted)

    def decompose(self, b: Builder) -> Sequence[Value]:
        # The attributes are no integers, also where x holds some.
        is_float = self.x.tensor.dtype.is_float
        x = self.x if is_float else b.cast(self.x, to=DType.F64)
        bias = scalar(b, x, self.bias)
        above = b.where(b.gt(x, scalar(b, x, self.lambd)), b.sub(x, bias), scalar(b, x, 0))
        y = b.where(b.lt(x, scalar(b, x, -self.lambd)), b.add(x, bias), above)
        return [y if is_float else b.cast(y, to=self.x.tensor.dtype)]


class Clip(Elementwise):
    """x raised to ``min`` and lowered to ``max``, where they are given; ``max`` wins over ``min``."""

    name = "clip"
    canonicalizations = (arithmetic_folds.idle_clip,)
    x: Value = operand()
    min: Value | None = optional_operand("rank 0")
    max: Value | None = optional_operand("rank 0")
    y: OpResult = result()

    def infer(self) -> Type:
        self.check_dtypes([v.tensor for v in self.present_operands])
        for bound in (self.min, self.max):
            if bound is not None and bound.rank:
                raise InferenceError(f"the bounds of clip must be scalars, got {bound.type}")
        return self.x.type

    def compute(self, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
        raised = x if low is None else np.maximum(x, low)
        return raised if high is None else np.minimum(raised, high)

    def decompose(self, b: Builder) -> Sequence[Value]:
        y = self.x
        if self.min is not None:
            y = b.maximum(y, self.min)
        if self.max is not None:
            y = b.minimum(y, self.max)
        return [y]
