"""Quantization: numbers to integers (or short floats) and back."""

from __future__ import annotations

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import MICROSOFT, onnx_op
from lepton_frontends.onnx.tensors import dtype_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType
from lepton_ir.ops.quant import integer_range


@onnx_op("QuantizeLinear", since=10)
def quantize_linear(
    b: OnnxBuilder,
    x: Value,
    scale: Value,
    zero_point: Value | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    saturate: int = 1,
) -> Value:
    return _quantized(b, x, scale, zero_point, axis, block_size, output_dtype, saturate, DType.F32)


@onnx_op("QuantizeLinear", since=23)
def quantize_linear_in_precision(
    b: OnnxBuilder,
    x: Value,
    scale: Value,
    zero_point: Value | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Value:
    divides_in = dtype_of(precision) if precision else scale.tensor.dtype
    if divides_in is DType.I32:
        divides_in = DType.F64
    elif divides_in is DType.F8E8M0FNU:
        divides_in = DType.F32
    return _quantized(b, x, scale, zero_point, axis, block_size, output_dtype, saturate, divides_in)


@onnx_op("QuantizeLinear", since=1, domain=MICROSOFT)
def quantize_linear_of_microsoft(
    b: OnnxBuilder, x: Value, scale: Value, zero_point: Value | None = None, *, axis: int = 1
) -> Value:
    return _quantized(b, x, scale, zero_point, axis, 0, 0, 1, DType.F32)


def _quantized(
    b: OnnxBuilder,
    x: Value,
    scale: Value,
    zero_point: Value | None,
    axis: int,
    block_size: int,
    output_dtype: int,
    saturate: int,
    precision: DType,
) -> Value:
    to = DType.U8
    if zero_point is not None:
        to = zero_point.tensor.dtype
    elif output_dtype:
        to = dtype_of(output_dtype)
    if zero_point is not None and output_dtype and dtype_of(output_dtype) is not to:
        raise UnsupportedError(f"output_dtype says {dtype_of(output_dtype)}, the zero point is of {to}")
    return b.quant_quantize(
        x,
        scale,
        shaped_like(b, zero_point, scale),
        axis=_axis(b, x, scale, axis),
        block_size=block_size,
        to=to,
        precision=precision,
        saturate=bool(saturate),
    )


@onnx_op("DequantizeLinear", since=1, domain=MICROSOFT)
@onnx_op("DequantizeLinear", since=10)
def dequantize_linear(
    b: OnnxBuilder,
    x: Value,
    scale: Value,
    zero_point: Value | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Value:
    to = dtype_of(output_dtype) if output_dtype else scale.tensor.dtype
    if to is DType.F8E8M0FNU:
        raise UnsupportedError("its scale is of f8e8m0fnu, which is no type for a result", "set output_dtype")
    offset = shaped_like(b, zero_point, scale)
    return b.quant_dequantize(x, scale, offset, axis=_axis(b, x, scale, axis), block_size=block_size, to=to)


def shaped_like(b: OnnxBuilder, zero_point: Value | None, scale: Value) -> Value | None:
    """Return a zero point for the whole tensor in the shape of its scale: ONNX lets one be [] and the other [1]."""
    single = zero_point is not None and all(d == 1 for d in (*zero_point.shape, *scale.shape))
    return b.reshaped(zero_point, scale.shape) if zero_point is not None and single else zero_point


def _axis(b: OnnxBuilder, x: Value, scale: Value, axis: int) -> int:
    single = all(d == 1 for d in scale.shape)
    return 0 if single and (scale.rank != x.rank or x.rank <= 1) else b.axis(axis, x.rank)


@onnx_op("DynamicQuantizeLinear", since=11)
def dynamic_quantize_linear(b: OnnxBuilder, x: Value) -> tuple[Value, Value, Value]:
    axes = tuple(range(x.rank))
    zero, steps = b.like(x, 0), b.like(x, 255)
    low = b.minimum(b.reduce_min(x, axes=axes, keepdims=False), zero)
    high = b.maximum(b.reduce_max(x, axes=axes, keepdims=False), zero)
    # Where all numbers are 0, ONNX's formula divides 0 by 0; as in ONNX Runtime, any scale is right then.
    scale = b.where(b.eq(low, high), b.like(x, 1), b.div(b.sub(high, low), steps))
    offset = b.round(b.clip(b.div(b.neg(low), scale), zero, steps))
    zero_point = b.cast(offset, to=DType.U8)
    return b.quant_quantize(x, scale, zero_point, axis=0, to=DType.U8), scale, zero_point


def scalar(b: OnnxBuilder, v: Value) -> Value:
    """Return a parameter of one element as a scalar, any other as it is."""
    return b.reshaped(v, ()) if v.shape == (1,) else v


def integers(b: OnnxBuilder, x: Value, zero_point: Value | None) -> Value:
    """Return integers as i32, less their zero point, which has to broadcast against them."""
    wide = b.cast_to(x, DType.I32)
    if zero_point is None:
        return wide
    known = b.array(zero_point)
    return wide if known is not None and not known.any() else b.sub(wide, b.cast_to(zero_point, DType.I32))


def requantized(b: OnnxBuilder, x: Value, factor: Value, zero_point: Value) -> Value:
    """Return integers times a factor, rounded, plus the zero point, clamped to the zero point's type."""
    to = zero_point.tensor.dtype
    low, high = integer_range(to)
    y = b.round(b.mul(b.cast_to(x, DType.F32), factor))
    return b.cast(b.clip(b.add(y, b.cast(zero_point, to=DType.F32)), b.like(y, low), b.like(y, high)), to=to)


def along(b: OnnxBuilder, v: Value, axis: int, rank: int) -> Value:
    """Return a parameter per index of an axis so that it broadcasts against a tensor of that rank."""
    v = scalar(b, v)
    if v.rank != 1:
        return v
    line: list[Dim] = [1] * (rank - axis)
    line[0] = v.shape[0]
    return b.reshaped(v, line)
