"""Quantization."""

from __future__ import annotations

import numpy as np

from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import UnsupportedError, onnx_op
from lepton_frontends.onnx.tensors import dtype_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType


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
    precision: int = 0,
    saturate: int = 1,
) -> Value:
    if not saturate:
        raise UnsupportedError("saturate=0 is not supported")
    to = DType.U8
    if zero_point is not None:
        to = zero_point.tensor.dtype
    elif output_dtype:
        to = dtype_of(output_dtype)
    offset = _shaped_like(b, zero_point, scale)
    return b.quant_quantize(x, scale, offset, axis=_axis(b, x, scale, axis), block_size=block_size, to=to)


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
    offset = _shaped_like(b, zero_point, scale)
    return b.quant_dequantize(x, scale, offset, axis=_axis(b, x, scale, axis), block_size=block_size, to=to)


def _shaped_like(b: OnnxBuilder, zero_point: Value | None, scale: Value) -> Value | None:
    """Return a zero point for the whole tensor in the shape of its scale: ONNX lets one be [] and the other [1]."""
    single = zero_point is not None and all(d == 1 for d in (*zero_point.shape, *scale.shape))
    return b.reshaped(zero_point, scale.shape) if zero_point is not None and single else zero_point


def _axis(b: OnnxBuilder, x: Value, scale: Value, axis: int) -> int:
    return b.axis(axis, x.rank) if scale.rank else 0


@onnx_op("DynamicQuantizeLinear", since=11)
def dynamic_quantize_linear(b: OnnxBuilder, x: Value) -> tuple[Value, Value, Value]:
    axes = tuple(range(x.rank))
    zero, steps = b.like(x, 0), b.like(x, 255)
    low = b.minimum(b.reduce_min(x, axes=axes, keepdims=False), zero)
    high = b.maximum(b.reduce_max(x, axes=axes, keepdims=False), zero)
    scale = b.div(b.sub(high, low), steps)
    offset = b.round(b.clip(b.div(b.neg(low), scale), zero, steps))
    zero_point = b.cast(offset, to=DType.U8)
    return b.quant_quantize(x, scale, zero_point, axis=0, to=DType.U8), scale, zero_point


def _centered(b: OnnxBuilder, x: Value, zero_point: Value | None, shape: tuple[Dim, ...]) -> Value:
    """Return integers as i32, less their zero point."""
    wide = b.cast(x, to=DType.I32)
    if zero_point is None:
        return wide
    offset = b.cast(zero_point, to=DType.I32)
    if offset.rank == 1:
        offset = b.reshaped(offset, () if offset.shape == (1,) else shape)
    return b.sub(wide, offset)


@onnx_op("MatMulInteger", since=10)
def matmul_integer(
    b: OnnxBuilder, x: Value, y: Value, x_zero: Value | None = None, y_zero: Value | None = None
) -> Value:
    rows = (*(x_zero.shape if x_zero is not None else ()), 1)
    columns = tuple(y_zero.shape) if y_zero is not None else ()
    return b.linalg_matmul(_centered(b, x, x_zero, rows), _centered(b, y, y_zero, columns))


@onnx_op("QLinearMatMul", since=10)
def qlinear_matmul(
    b: OnnxBuilder,
    x: Value,
    x_scale: Value,
    x_zero: Value,
    y: Value,
    y_scale: Value,
    y_zero: Value,
    scale: Value,
    zero: Value,
) -> Value:
    product = b.cast(matmul_integer(b, x, y, x_zero, y_zero), to=DType.F32)
    factor = b.div(b.mul(_f32(b, x_scale), _f32(b, y_scale)), _f32(b, scale))
    return _requantized(b, b.mul(product, factor), zero)


def _f32(b: OnnxBuilder, v: Value) -> Value:
    return b.cast_to(b.reshaped(v, ()) if v.shape == (1,) else v, DType.F32)


def _requantized(b: OnnxBuilder, x: Value, zero: Value) -> Value:
    to = zero.tensor.dtype
    limits = np.iinfo(to.numpy)
    offset = b.cast(b.reshaped(zero, ()) if zero.shape == (1,) else zero, to=DType.F32)
    return b.cast(b.clip(b.add(b.round(x), offset), b.like(x, limits.min), b.like(x, limits.max)), to=to)


@onnx_op("ConvInteger", since=10)
def conv_integer(
    b: OnnxBuilder,
    x: Value,
    w: Value,
    x_zero: Value | None = None,
    w_zero: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    from lepton_frontends.onnx.ops.conv import conv

    data = _centered(b, x, x_zero, ())
    channels = (*(w_zero.shape if w_zero is not None else ()), *[1] * (w.rank - 1))
    weight = _centered(b, w, w_zero, channels)
    return conv(
        b,
        data,
        weight,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )


@onnx_op("QLinearConv", since=10)
def qlinear_conv(
    b: OnnxBuilder,
    x: Value,
    x_scale: Value,
    x_zero: Value,
    w: Value,
    w_scale: Value,
    w_zero: Value,
    scale: Value,
    zero: Value,
    bias: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    product = conv_integer(
        b, x, w, x_zero, w_zero, auto_pad=auto_pad, dilations=dilations, group=group, kernel_shape=kernel_shape,
        pads=pads, strides=strides,
    )  # fmt: skip
    along_channels = (-1, *[1] * (x.rank - 2))

    def per_channel(v: Value) -> Value:
        return b.reshaped(v, (v.shape[0], *along_channels[1:])) if v.rank == 1 and v.shape != (1,) else _scalar(b, v)

    if bias is not None:
        product = b.add(product, per_channel(bias))
    factor = b.div(b.mul(_f32(b, x_scale), b.cast_to(per_channel(w_scale), DType.F32)), _f32(b, scale))
    return _requantized(b, b.mul(b.cast(product, to=DType.F32), factor), zero)


def _scalar(b: OnnxBuilder, v: Value) -> Value:
    return b.reshaped(v, ()) if v.rank == 1 and v.shape == (1,) else v
