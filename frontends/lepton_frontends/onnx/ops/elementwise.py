"""Elementwise operators of one tensor."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_frontends.onnx.scope import ValueList
from lepton_frontends.onnx.tensors import dtype_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType

_BY_LOWER_NAME = (
    "Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh",
    "Tanh", "Asinh", "Acosh", "Atanh", "Erf", "Floor", "Ceil", "Round", "Sign", "Sigmoid", "IsNaN", "Relu",
    "Softplus", "Softsign", "Mish",
)  # fmt: skip


@onnx_op(*_BY_LOWER_NAME)
def same_name(b: OnnxBuilder, x: Value) -> Value:
    dtype = x.tensor.dtype
    if b.op_type in ("Floor", "Ceil", "Round") and dtype.is_integer:
        return x
    return getattr(b, b.op_type.lower())(x)


@onnx_op("Not")
def not_(b: OnnxBuilder, x: Value) -> Value:
    return b.not_(x)


@onnx_op("BitwiseNot", since=18)
def bitwise_not(b: OnnxBuilder, x: Value) -> Value:
    return b.bitwise_not(x)


@onnx_op("IsInf", since=10)
def is_inf(b: OnnxBuilder, x: Value, *, detect_negative: int = 1, detect_positive: int = 1) -> Value:
    return b.isinf(x, detect_negative=bool(detect_negative), detect_positive=bool(detect_positive))


@onnx_op("LeakyRelu")
def leaky_relu(b: OnnxBuilder, x: Value, *, alpha: float = 0.01) -> Value:
    return b.leaky_relu(x, alpha=alpha)


@onnx_op("Elu")
def elu(b: OnnxBuilder, x: Value, *, alpha: float = 1.0) -> Value:
    return b.elu(x, alpha=alpha)


@onnx_op("Selu")
def selu(b: OnnxBuilder, x: Value, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Value:
    return b.selu(x, alpha=alpha, gamma=gamma)


@onnx_op("Celu", since=12)
def celu(b: OnnxBuilder, x: Value, *, alpha: float = 1.0) -> Value:
    return b.celu(x, alpha=alpha)


@onnx_op("Gelu", since=20)
def gelu(b: OnnxBuilder, x: Value, *, approximate: str = "none") -> Value:
    return b.gelu(x, approximate=approximate)


@onnx_op("Swish", since=24)
def swish(b: OnnxBuilder, x: Value, *, alpha: float = 1.0) -> Value:
    return b.silu(x) if alpha == 1.0 else b.mul(x, b.sigmoid(b.mul(x, b.like(x, alpha))))


@onnx_op("HardSigmoid")
def hard_sigmoid(b: OnnxBuilder, x: Value, *, alpha: float = 0.2, beta: float = 0.5) -> Value:
    return b.hard_sigmoid(x, alpha=alpha, beta=beta)


@onnx_op("HardSwish", since=14)
def hard_swish(b: OnnxBuilder, x: Value) -> Value:
    return b.hard_swish(x)


@onnx_op("ThresholdedRelu")
def thresholded_relu(b: OnnxBuilder, x: Value, *, alpha: float = 1.0) -> Value:
    return b.thresholded_relu(x, alpha=alpha)


@onnx_op("Shrink", since=9)
def shrink(b: OnnxBuilder, x: Value, *, lambd: float = 0.5, bias: float = 0.0) -> Value:
    dtype = x.tensor.dtype
    if not dtype.is_integer:
        return b.shrink(x, lambd=lambd, bias=bias)
    # The attributes are floats, and only the result is truncated.
    return b.cast(b.shrink(b.cast(x, to=DType.F64), lambd=lambd, bias=bias), to=dtype)


@onnx_op("Clip")
def clip_by_attributes(
    b: OnnxBuilder,
    x: Value,
    *,
    min: float = float(np.finfo(np.float32).min),
    max: float = float(np.finfo(np.float32).max),
) -> Value:
    low = None if min <= np.finfo(np.float32).min else b.like(x, min)
    high = None if max >= np.finfo(np.float32).max else b.like(x, max)
    return x if low is None and high is None else b.clip(x, low, high)


@onnx_op("Clip", since=11)
def clip(b: OnnxBuilder, x: Value, min: Value | None = None, max: Value | None = None) -> Value:
    bounds = [None if v is None else b.reshaped(v, ()) for v in (min, max)]
    return b.clip(x, *bounds) if any(v is not None for v in bounds) else x


@onnx_op("Cast")
def cast(b: OnnxBuilder, x: Value, *, to: int, saturate: int = 1, round_mode: str = "up") -> Value:
    dtype = dtype_of(to)
    if x.tensor.dtype is dtype:
        return x
    return b.cast(x, to=dtype, saturate=bool(saturate), round_mode=round_mode)


@onnx_op("CastLike", since=15)
def cast_like(b: OnnxBuilder, x: Value, like: Value, *, saturate: int = 1, round_mode: str = "up") -> Value:
    number = next(n for n in TensorProto.DataType.values() if _is(n, like.tensor.dtype))
    return cast(b, x, to=number, saturate=saturate, round_mode=round_mode)


def _is(number: int, dtype: DType) -> bool:
    from lepton_frontends.onnx.tensors import DTYPES

    return DTYPES.get(number) is dtype


@onnx_op("BitCast", since=26)
def bitcast(b: OnnxBuilder, x: Value, *, to: int) -> Value:
    dtype = dtype_of(to)
    return x if x.tensor.dtype is dtype else b.bitcast(x, to=dtype)


@onnx_op("Identity", takes_lists=True)
def identity(b: OnnxBuilder, x: Value | ValueList) -> Value | ValueList:
    return x
