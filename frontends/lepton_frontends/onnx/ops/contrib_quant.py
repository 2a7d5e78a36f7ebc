"""Operators of com.microsoft on quantized numbers, element by element, over windows and axes.

They are meant as their schemas say: what the numbers stand for goes through the operator, and is quantized again.
"""

from __future__ import annotations

from collections.abc import Callable

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.ops.conv import average_pool, global_average_pool
from lepton_frontends.onnx.ops.qlinear import qlinear_conv
from lepton_frontends.onnx.ops.quant import integers, requantized, scalar
from lepton_frontends.onnx.rules import MICROSOFT, onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import product
from lepton_ir.ir.types import DType

Ints = tuple[int, ...]


def real(b: OnnxBuilder, x: Value, scale: Value, zero_point: Value | None) -> Value:
    """Return the numbers that quantized ones stand for; scale and zero point are for the whole tensor."""
    offset = None if zero_point is None else scalar(b, zero_point)
    return b.quant_dequantize(x, scalar(b, scale), offset, axis=0, to=scale.tensor.dtype)


def quantized(b: OnnxBuilder, y: Value, scale: Value, zero_point: Value | None, to: DType) -> Value:
    """Return numbers in quantized form; scale and zero point are for the whole tensor."""
    offset = None if zero_point is None else scalar(b, zero_point)
    return b.quant_quantize(y, scalar(b, scale), offset, axis=0, to=to)


def _given(b: OnnxBuilder, scale: Value | None) -> Value:
    if scale is None:
        raise UnsupportedError(f"{b.op_type} needs the scale of its result", "the model is not valid")
    return scale


def _through(
    b: OnnxBuilder,
    function: Callable[[Value], Value],
    x: Value,
    x_scale: Value,
    x_zero: Value | None,
    scale: Value | None,
    zero: Value | None,
) -> Value:
    """Return a function of what ``x`` stands for, quantized in the type of ``x``."""
    return quantized(b, function(real(b, x, x_scale, x_zero)), _given(b, scale), zero, x.tensor.dtype)


@onnx_op("QLinearAdd", since=1, domain=MICROSOFT)
def qlinear_add(
    b: OnnxBuilder,
    x: Value,
    x_scale: Value,
    x_zero: Value | None = None,
    y: Value | None = None,
    y_scale: Value | None = None,
    y_zero: Value | None = None,
    scale: Value | None = None,
    zero: Value | None = None,
) -> Value:
    if y is None or y_scale is None:
        raise UnsupportedError("it needs two operands with scales", "the model is not valid")
    total = b.add(real(b, x, x_scale, x_zero), real(b, y, y_scale, y_zero))
    return quantized(b, total, _given(b, scale), zero, x.tensor.dtype)


@onnx_op("QLinearMul", since=1, domain=MICROSOFT)
def qlinear_mul(
    b: OnnxBuilder,
    x: Value,
    x_scale: Value,
    x_zero: Value | None = None,
    y: Value | None = None,
    y_scale: Value | None = None,
    y_zero: Value | None = None,
    scale: Value | None = None,
    zero: Value | None = None,
) -> Value:
    if y is None or y_scale is None:
        raise UnsupportedError("it needs two operands with scales", "the model is not valid")
    product = mul_integer(b, x, x_zero, y, y_zero)
    factor = b.div(b.mul(scalar(b, x_scale), scalar(b, y_scale)), scalar(b, _given(b, scale)))
    offset = b.like(x, 0) if zero is None else scalar(b, zero)
    return requantized(b, product, factor, offset)


@onnx_op("MulInteger", since=1, domain=MICROSOFT)
def mul_integer(
    b: OnnxBuilder, x: Value, x_zero: Value | None = None, y: Value | None = None, y_zero: Value | None = None
) -> Value:
    if y is None:
        raise UnsupportedError("it needs two operands", "the model is not valid")
    zeros = [None if v is None else scalar(b, v) for v in (x_zero, y_zero)]
    return b.mul(integers(b, x, zeros[0]), integers(b, y, zeros[1]))


@onnx_op("QLinearSigmoid", since=1, domain=MICROSOFT)
def qlinear_sigmoid(
    b: OnnxBuilder,
    x: Value,
    x_scale: Value,
    x_zero: Value | None = None,
    scale: Value | None = None,
    zero: Value | None = None,
) -> Value:
    return _through(b, b.sigmoid, x, x_scale, x_zero, scale, zero)


@onnx_op("QLinearLeakyRelu", since=1, domain=MICROSOFT)
def qlinear_leaky_relu(
    b: OnnxBuilder,
    x: Value,
    x_scale: Value,
    x_zero: Value | None = None,
    scale: Value | None = None,
    zero: Value | None = None,
    *,
    alpha: float = 0.01,
) -> Value:
    return _through(b, lambda v: b.leaky_relu(v, alpha=alpha), x, x_scale, x_zero, scale, zero)


@onnx_op("QLinearSoftmax", since=1, domain=MICROSOFT)
def qlinear_softmax(
    b: OnnxBuilder,
    x: Value,
    x_scale: Value,
    x_zero: Value | None = None,
    scale: Value | None = None,
    zero: Value | None = None,
    *,
    opset: int,
    axis: int = -1,
) -> Value:
    at = b.axis(axis, x.rank)

    def softmax(v: Value) -> Value:
        if opset >= 13:
            return b.nn_softmax(v, axis=at)
        # Before opset 13, the axes from this one on were one axis together.
        rows = b.tensor_reshape(v, shape=(*v.shape[:at], product(v.shape[at:])))
        return b.reshaped(b.nn_softmax(rows, axis=at), v.shape)

    return _through(b, softmax, x, x_scale, x_zero, scale, zero)


@onnx_op("QLinearReduceMean", since=1, domain=MICROSOFT)
def qlinear_reduce_mean(
    b: OnnxBuilder,
    x: Value,
    x_scale: Value,
    x_zero: Value | None = None,
    scale: Value | None = None,
    zero: Value | None = None,
    *,
    axes: Ints = (),
    keepdims: int = 1,
) -> Value:
    over = b.axes(axes or range(x.rank), x.rank)
    mean = lambda v: b.reduce_mean(v, axes=over, keepdims=bool(keepdims))  # noqa: E731
    return _through(b, mean, x, x_scale, x_zero, scale, zero)


@onnx_op("ReduceSumInteger", since=1, domain=MICROSOFT)
def reduce_sum_integer(b: OnnxBuilder, x: Value, *, axes: Ints, keepdims: int) -> Value:
    wide = b.cast(x, to=DType.I32 if x.tensor.dtype.is_signed else DType.U32)
    return b.reduce_sum(wide, axes=b.axes(axes, x.rank), keepdims=bool(keepdims))


@onnx_op("QLinearWhere", since=1, domain=MICROSOFT)
def qlinear_where(
    b: OnnxBuilder,
    condition: Value,
    x: Value,
    x_scale: Value,
    x_zero: Value,
    y: Value,
    y_scale: Value,
    y_zero: Value,
    scale: Value,
    zero: Value,
) -> Value:
    chosen = b.where(condition, real(b, x, x_scale, x_zero), real(b, y, y_scale, y_zero))
    return quantized(b, chosen, scale, zero, x.tensor.dtype)


@onnx_op("QLinearConcat", since=1, domain=MICROSOFT)
def qlinear_concat(b: OnnxBuilder, scale: Value, zero: Value, *parts: Value, axis: int) -> Value:
    if not parts or len(parts) % 3:
        raise UnsupportedError("its inputs are not groups of tensor, scale and zero point", "the model is not valid")
    triples = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    # Each part is quantized by itself, so that none is held in a wide type.
    pieces = [quantized(b, real(b, *triple), scale, zero, zero.tensor.dtype) for triple in triples]
    return b.tensor_concat(pieces, axis=b.axis(axis, pieces[0].rank))


def _channels_first(b: OnnxBuilder, x: Value) -> Value:
    return b.tensor_transpose(x, perm=(0, x.rank - 1, *range(1, x.rank - 1)))


def _channels_last(b: OnnxBuilder, x: Value) -> Value:
    return b.tensor_transpose(x, perm=(0, *range(2, x.rank), 1))


def _on_images(b: OnnxBuilder, function: Callable[[Value], Value], channels_last: int) -> Callable[[Value], Value]:
    if not channels_last:
        return function
    return lambda v: _channels_last(b, function(_channels_first(b, v)))


@onnx_op("QLinearAveragePool", since=1, domain=MICROSOFT)
def qlinear_average_pool(
    b: OnnxBuilder,
    x: Value,
    x_scale: Value,
    x_zero: Value | None = None,
    scale: Value | None = None,
    zero: Value | None = None,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    channels_last: int = 0,
    count_include_pad: int = 0,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Value:
    def pool(v: Value) -> Value:
        return average_pool(
            b, v, kernel_shape=kernel_shape, auto_pad=auto_pad, ceil_mode=ceil_mode,
            count_include_pad=count_include_pad, pads=pads, strides=strides,
        )  # fmt: skip

    return _through(b, _on_images(b, pool, channels_last), x, x_scale, x_zero, scale, zero)


@onnx_op("QLinearGlobalAveragePool", since=1, domain=MICROSOFT)
def qlinear_global_average_pool(
    b: OnnxBuilder, x: Value, x_scale: Value, x_zero: Value, scale: Value, zero: Value, *, channels_last: int = 0
) -> Value:
    pool = _on_images(b, lambda v: global_average_pool(b, v), channels_last)
    return _through(b, pool, x, x_scale, x_zero, scale, zero)


@onnx_op("QLinearConv", since=1, domain=MICROSOFT)
def qlinear_conv_of_microsoft(
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
    channels_last: int = 0,
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Value:
    def conv(v: Value) -> Value:
        return qlinear_conv(
            b, v, x_scale, x_zero, w, w_scale, w_zero, scale, zero, bias, auto_pad=auto_pad, dilations=dilations,
            group=group, kernel_shape=kernel_shape, pads=pads, strides=strides,
        )  # fmt: skip

    return _on_images(b, conv, channels_last)(x)
