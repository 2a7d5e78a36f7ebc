"""Activation functions and softmax."""

from __future__ import annotations

from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axis_of, category, dtype_of, floats, number_of, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType


@aten_op("relu")
def relu(b: AtenBuilder, self: Value) -> Value:
    return b.relu(self)


@aten_op("relu6")
def relu6(b: AtenBuilder, self: Value) -> Value:
    return hardtanh(b, self, 0, 6)


@aten_op("hardtanh")
def hardtanh(b: AtenBuilder, self: Value, min_val: Any = -1, max_val: Any = 1) -> Value:
    low, high = (tensor_of(b, v, self.tensor.dtype) for v in (min_val, max_val))
    return b.clip(self, low, high)


@aten_op("hardswish")
def hardswish(b: AtenBuilder, self: Value) -> Value:
    return b.hard_swish(self)


@aten_op("hardsigmoid")
def hardsigmoid(b: AtenBuilder, self: Value) -> Value:
    return b.hard_sigmoid(self, alpha=1 / 6, beta=0.5)


@aten_op("silu")
def silu(b: AtenBuilder, self: Value) -> Value:
    return b.silu(floats(b, self))


@aten_op("mish")
def mish(b: AtenBuilder, self: Value) -> Value:
    return b.mish(self)


@aten_op("leaky_relu")
def leaky_relu(b: AtenBuilder, self: Value, negative_slope: Any = 0.01) -> Value:
    return b.leaky_relu(self, alpha=float(number_of(negative_slope, "slope")))


@aten_op("elu")
def elu(b: AtenBuilder, self: Value, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> Value:
    """scale * (x where x > 0, else alpha * (exp(input_scale * x) - 1))."""
    factor, inner = number_of(scale, "scale"), number_of(input_scale, "input_scale")
    if inner == 1:
        y = b.elu(self, alpha=float(number_of(alpha, "alpha")))
    else:
        below = b.mul(b.expm1(b.mul(self, b.like(self, inner))), b.like(self, number_of(alpha, "alpha")))
        y = b.where(b.gt(self, b.like(self, 0)), self, below)
    return y if factor == 1 else b.mul(y, b.like(self, factor))


@aten_op("selu")
def selu(b: AtenBuilder, self: Value) -> Value:
    # The operator's own constants are those of f32.
    return b.selu(self, alpha=1.6732632423543772, gamma=1.0507009873554805)


@aten_op("celu")
def celu(b: AtenBuilder, self: Value, alpha: Any = 1.0) -> Value:
    return b.celu(self, alpha=float(number_of(alpha, "alpha")))


@aten_op("gelu")
def gelu(b: AtenBuilder, self: Value, *, approximate: str = "none") -> Value:
    return b.gelu(self, approximate=approximate)


@aten_op("softplus")
def softplus(b: AtenBuilder, self: Value, beta: Any = 1, threshold: Any = 20) -> Value:
    """log(1 + exp(beta x)) / beta; x itself where beta x is beyond the threshold."""
    factor, edge = number_of(beta, "beta"), number_of(threshold, "threshold")
    scaled = self if factor == 1 else b.mul(self, b.like(self, factor))
    y = b.softplus(scaled)
    if factor != 1:
        y = b.div(y, b.like(self, factor))
    if factor > 0 and edge >= 20 and self.tensor.dtype is not DType.F64:
        # Beyond 20 both are the same number in f32.
        return y
    return b.where(b.gt(scaled, b.like(self, edge)), self, y)


@aten_op("softshrink")
def softshrink(b: AtenBuilder, self: Value, lambd: Any = 0.5) -> Value:
    edge = float(number_of(lambd, "lambd"))
    y = b.shrink(self, lambd=edge, bias=edge)
    return b.where(b.isnan(self), self, y)


@aten_op("hardshrink")
def hardshrink(b: AtenBuilder, self: Value, lambd: Any = 0.5) -> Value:
    edge = number_of(lambd, "lambd")
    inside = b.and_(b.ge(self, b.like(self, -edge)), b.le(self, b.like(self, edge)))
    return b.where(inside, b.like(self, 0), self)


@aten_op("tanhshrink")
def tanhshrink(b: AtenBuilder, self: Value) -> Value:
    x = floats(b, self)
    return b.sub(x, b.tanh(x))


@aten_op("softsign")
def softsign(b: AtenBuilder, self: Value) -> Value:
    return b.softsign(floats(b, self))


@aten_op("log_sigmoid")
def log_sigmoid(b: AtenBuilder, self: Value) -> Value:
    return b.neg(b.softplus(b.neg(self)))


@aten_op("log_sigmoid_forward")
def log_sigmoid_forward(b: AtenBuilder, self: Value) -> tuple[Value, Value]:
    return log_sigmoid(b, self), b.exp(b.neg(b.abs(self)))


@aten_op("prelu", "_prelu_kernel")
def prelu(b: AtenBuilder, self: Value, weight: Value) -> Value:
    slope = weight
    if weight.rank == 1 and weight.shape[0] != 1 and self.rank > 1:
        slope = b.reshaped(weight, (weight.shape[0], *[1] * (self.rank - 2)))
    return b.prelu(self, slope)


@aten_op("rrelu", "rrelu_with_noise")
def rrelu(b: AtenBuilder, self: Value, *given: Any, training: Any = False, **named: Any) -> Value:
    """In inference a leaky ReLU with the mean of the bounds."""
    rest = [g for g in given if not isinstance(g, Value)]
    if training or (rest and rest[-1] is True):
        raise UnsupportedError("it draws random slopes", "export the model for inference")
    numbers = [g for g in rest if isinstance(g, (int, float)) and not isinstance(g, bool)]
    lower, upper = [*numbers, *[named.get("lower", 1 / 8), named.get("upper", 1 / 3)][len(numbers) :]][:2]
    return b.leaky_relu(self, alpha=float((lower + upper) / 2))


@aten_op("glu")
def glu(b: AtenBuilder, self: Value, dim: Any = -1) -> Value:
    axis = axis_of(dim, self.rank)
    half = self.shape[axis] // 2
    first, second = b.tensor_split(self, axis=axis, sizes=(half, half))
    return b.mul(first, b.sigmoid(second))


@aten_op("threshold")
def threshold(b: AtenBuilder, self: Value, threshold: Any, value: Any) -> Value:
    edge, other = (tensor_of(b, v, self.tensor.dtype) for v in (threshold, value))
    return b.where(b.le(self, edge), other, self)


@aten_op("softmax", "_softmax", "_safe_softmax")
def softmax(b: AtenBuilder, self: Value, dim: Any, dtype: Any = None) -> Value:
    """The third argument of ``_softmax`` says whether f16 becomes f32, which its own result type tells."""
    x = _typed(b, self, dtype)
    if not x.rank:
        return b.full((), 1, x.tensor.dtype)
    axis = axis_of(dim, x.rank)
    y = b.nn_softmax(x, axis=axis)
    if b.op != "_safe_softmax":
        return y
    dead = b.eq(b.reduce_max(x, axes=(axis,)), b.like(x, float("-inf")))
    return b.where(dead, b.like(x, 0), y)


@aten_op("log_softmax", "_log_softmax")
def log_softmax(b: AtenBuilder, self: Value, dim: Any, dtype: Any = None) -> Value:
    x = _typed(b, self, dtype)
    return b.nn_log_softmax(x, axis=axis_of(dim, x.rank)) if x.rank else b.full((), 0, x.tensor.dtype)


def _typed(b: AtenBuilder, x: Value, dtype: Any) -> Value:
    if dtype is None or isinstance(dtype, bool):
        widened = dtype is True and x.tensor.dtype is DType.F16
        return b.convert(x, DType.F32) if widened or category(x.tensor.dtype) < 2 else x
    return b.convert(x, dtype_of(dtype))
