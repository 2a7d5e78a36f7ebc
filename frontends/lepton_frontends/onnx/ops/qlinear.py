"""Products and convolutions of quantized numbers."""

from __future__ import annotations

from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.ops.conv import conv
from lepton_frontends.onnx.ops.quant import along, integers, requantized, scalar
from lepton_frontends.onnx.rules import onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType


def per_row(b: OnnxBuilder, v: Value) -> Value:
    """Return a parameter of a matrix product's first operand: for all of it, or [M] or [..., M, 1] for its rows."""
    if v.rank != 1:
        return v
    return b.reshaped(v, () if v.shape == (1,) else (v.shape[0], 1))


@onnx_op("MatMulInteger", since=10)
def matmul_integer(
    b: OnnxBuilder, x: Value, y: Value, x_zero: Value | None = None, y_zero: Value | None = None
) -> Value:
    rows = None if x_zero is None else per_row(b, x_zero)
    columns = None if y_zero is None else scalar(b, y_zero)
    return b.linalg_matmul(integers(b, x, rows), integers(b, y, columns))


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
    of_x, of_y, of_result = per_row(b, x_scale), scalar(b, y_scale), per_row(b, scale)
    factor = b.div(b.mul(*(b.cast_to(v, DType.F32) for v in (of_x, of_y))), b.cast_to(of_result, DType.F32))
    offset = per_row(b, zero)
    if x.tensor.dtype.is_integer and y.tensor.dtype.is_integer:
        product = matmul_integer(b, x, y, x_zero, y_zero)
    else:
        reals = [b.cast(v, to=DType.F32) for v in (x, y)]
        shifts = [b.cast(v, to=DType.F32) for v in (per_row(b, x_zero), scalar(b, y_zero))]
        product = b.linalg_matmul(*map(b.sub, reals, shifts))
    if zero.tensor.dtype.is_integer:
        return requantized(b, product, factor, offset)
    y_real = b.mul(b.cast_to(product, DType.F32), factor)
    return b.cast(b.add(y_real, b.cast(offset, to=DType.F32)), to=zero.tensor.dtype)


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
    data = integers(b, x, None if x_zero is None else scalar(b, x_zero))
    weight = integers(b, w, None if w_zero is None else along(b, w_zero, 0, w.rank))
    return conv(
        b, data, weight, auto_pad=auto_pad, dilations=dilations, group=group, kernel_shape=kernel_shape, pads=pads,
        strides=strides,
    )  # fmt: skip


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
    if bias is not None:
        product = b.add(product, b.reshaped(bias, (bias.shape[0], *[1] * (x.rank - 2))))
    of_x, of_w, of_result = scalar(b, x_scale), along(b, w_scale, 1, x.rank), scalar(b, scale)
    return requantized(b, product, b.div(b.mul(of_x, of_w), of_result), scalar(b, zero))
