"""Layers of quantized models: operators of the namespace "quantized"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.conv import conv, conv_transpose
from lepton_frontends.aten.ops.quantized import by_range
from lepton_frontends.aten.quantized import PackedParams, QuantizedTensor, like, quantized, reals, spread
from lepton_frontends.aten.rules import Rule, aten_op, find_rule
from lepton_frontends.aten.types import int_of, ints_of, number_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType


def _shifted(b: AtenBuilder, q: QuantizedTensor) -> Value:
    """Return the integers less the zero point, as f32, whose sums of products are exact for all but huge layers."""
    return b.sub(b.cast(q.value, to=DType.F32), spread(b, q.zero_point, q.axis, q.value.rank, DType.F32))


def _scaled(b: AtenBuilder, sums: Value, x: QuantizedTensor, packed: PackedParams, channel_axis: int) -> Value:
    """Return sums of products of integers as the numbers that they stand for, plus the bias."""
    axis = None if packed.weight.axis is None else channel_axis
    factor = b.mul(b.reshaped(x.scale, ()), spread(b, packed.weight.scale, axis, sums.rank, DType.F32))
    y = b.mul(sums, factor)
    return y if packed.bias is None else b.add(y, spread(b, packed.bias, channel_axis, sums.rank, DType.F32))


def _linear(b: AtenBuilder, x: QuantizedTensor, packed: PackedParams) -> Value:
    sums = b.linalg_matmul(_shifted(b, x), _shifted(b, packed.weight), transpose_b=True)
    return _scaled(b, sums, x, packed, sums.rank - 1)


def _convolved(b: AtenBuilder, x: QuantizedTensor, packed: PackedParams) -> Value:
    data, w = _shifted(b, x), _shifted(b, packed.weight)
    if w.rank == data.rank + 1:
        # conv1d keeps its weight as that of a conv2d with rows of height 1.
        w = b.reshaped(w, (*w.shape[:2], *w.shape[3:]))
    rank = w.rank - 2
    stride, padding, dilation, extra = (
        tuple(v)[-rank:] for v in (packed.stride, packed.padding, packed.dilation, packed.output_padding)
    )
    if packed.transposed:
        if packed.weight.axis is not None and packed.groups > 1:
            raise UnsupportedError("it is a transposed convolution in groups, quantized for each channel")
        sums = conv_transpose(b, data, w, None, stride, padding, extra or 0, packed.groups, dilation)
    else:
        sums = conv(b, data, w, None, stride, padding, dilation, packed.groups)
    return _scaled(b, sums, x, packed, sums.rank - 1 - rank)


def _output(
    b: AtenBuilder, y: Value, rest: tuple[Any, ...], x: QuantizedTensor, function: Callable[[Value], Value] | None
) -> QuantizedTensor:
    """Quantize a layer's result; the last two arguments are its scale and zero point."""
    scale, zero_point = rest[-2:]
    return quantized(b, y if function is None else function(y), scale, zero_point, x.value.tensor.dtype)


@aten_op("quantized::linear", "quantized::linear_relu", "quantized::linear_tanh")
def linear(b: AtenBuilder, X: QuantizedTensor, W_prepack: PackedParams, *scale: Any) -> QuantizedTensor:
    function = {"quantized::linear_relu": b.relu, "quantized::linear_tanh": b.tanh}.get(b.op)
    return _output(b, _linear(b, X, W_prepack), scale, X, function)


@aten_op("quantized::linear_leaky_relu")
def linear_leaky_relu(
    b: AtenBuilder, X: QuantizedTensor, W_prepack: PackedParams, scale: Any, zero_point: Any, negative_slope: Any
) -> QuantizedTensor:
    y = b.leaky_relu(_linear(b, X, W_prepack), alpha=float(number_of(negative_slope, "slope")))
    return _output(b, y, (scale, zero_point), X, None)


@aten_op("quantized::linear_dynamic", "quantized::linear_relu_dynamic")
def linear_dynamic(b: AtenBuilder, X: Value, W_prepack: PackedParams, reduce_range: Any = False) -> Value:
    y = _linear(b, by_range(b, X, DType.U8, bool(reduce_range)), W_prepack)
    return b.relu(y) if b.op == "quantized::linear_relu_dynamic" else y


@aten_op(
    "quantized::conv1d", "quantized::conv2d", "quantized::conv3d", "quantized::conv1d_relu", "quantized::conv2d_relu",
    "quantized::conv3d_relu", "quantized::conv_transpose1d", "quantized::conv_transpose2d",
    "quantized::conv_transpose3d",
)  # fmt: skip
def convolution(b: AtenBuilder, qx: QuantizedTensor, packed: PackedParams, *rest: Any) -> QuantizedTensor:
    """An older overload repeats stride, padding, dilation and groups before the scale; the weight has them, too."""
    return _output(b, _convolved(b, qx, packed), rest, qx, b.relu if b.op.endswith("_relu") else None)


@aten_op("quantized::conv2d_add", "quantized::conv2d_add_relu")
def convolution_add(
    b: AtenBuilder, qx: QuantizedTensor, qaccum: QuantizedTensor, packed: PackedParams, *scale: Any
) -> QuantizedTensor:
    y = b.add(_convolved(b, qx, packed), reals(b, qaccum))
    return _output(b, y, scale, qx, b.relu if b.op.endswith("_relu") else None)


@aten_op("quantized::conv1d_dynamic", "quantized::conv2d_dynamic", "quantized::conv3d_dynamic")
def convolution_dynamic(b: AtenBuilder, qx: Value, packed: PackedParams, reduce_range: Any = False) -> Value:
    return _convolved(b, by_range(b, qx, DType.U8, bool(reduce_range)), packed)


@aten_op("quantized::linear_prepack")
def linear_prepack(b: AtenBuilder, W: QuantizedTensor, B: Value | None = None) -> PackedParams:
    return PackedParams(W, B)


@aten_op("quantized::conv1d_prepack", "quantized::conv2d_prepack", "quantized::conv3d_prepack")
def conv_prepack(
    b: AtenBuilder, weight: QuantizedTensor, bias: Value | None, stride: Any, padding: Any, dilation: Any, groups: Any
) -> PackedParams:
    step, pads, taps = (ints_of(v, "window") for v in (stride, padding, dilation))
    return PackedParams(weight, bias, step, pads, taps, int_of(groups, "number of groups"))


def _two(b: AtenBuilder, op: str, first: Any, second: Any, rest: tuple[Any, ...]) -> QuantizedTensor:
    x, y = (reals(b, v) for v in (first, second))
    result = {"add": b.add, "mul": b.mul, "matmul": b.linalg_matmul}[op](x, y)
    return _output(b, result, rest, first, b.relu if b.op.endswith("_relu") else None)


@aten_op("quantized::add", "quantized::mul", "quantized::add_relu", "quantized::mul_relu", "quantized::matmul")
def arithmetic(b: AtenBuilder, qa: Any, qb: Any, *scale: Any) -> QuantizedTensor:
    name = b.op.removeprefix("quantized::").removesuffix("_relu")
    if not scale:
        q, number = (qa, qb) if isinstance(qa, QuantizedTensor) else (qb, qa)
        return _with_number(b, name, q, number, b.op.endswith("_relu"))
    return _two(b, name, qa, qb, scale)


@aten_op("quantized::add_scalar", "quantized::add_scalar_relu", "quantized::mul_scalar", "quantized::mul_scalar_relu")
def scalar_arithmetic(b: AtenBuilder, qa: QuantizedTensor, number: Any) -> QuantizedTensor:
    name = b.op.removeprefix("quantized::").removesuffix("_relu").removesuffix("_scalar")
    return _with_number(b, name, qa, number, b.op.endswith("_relu"))


def _with_number(b: AtenBuilder, name: str, q: QuantizedTensor, number: Any, relu: bool) -> QuantizedTensor:
    """Return q + number or q * number; PyTorch moves the zero point or the scale where the integers can stay."""
    known = [b.array(v) for v in (q.scale, q.zero_point)]
    value = b.array(number) if isinstance(number, Value) else number_of(number)
    if any(k is None for k in known) or value is None:
        raise UnsupportedError("its number or its scale is computed at run time", "make it a constant of the model")
    scale, zero_point = (float(k.reshape(())) for k in known if k is not None)
    (low, high), offset = q.bounds, float(value)
    if name == "mul":
        factor = abs(offset) * scale if offset else 1.0
        shift = 0 if not offset else zero_point if offset > 0 else low + high - zero_point
    else:
        shift = zero_point - round(offset / scale)
        factor = scale
        if shift < low:
            factor, shift = (high - shift) / (high - low) * scale, low
        elif shift > high:
            factor, shift = (shift - low) / (high - low) * scale, high
    x = reals(b, q)
    if name == "add":
        # What is added is a whole number of steps.
        y = b.add(x, b.like(x, round(offset / scale) * scale))
    else:
        y = b.mul(x, b.like(x, offset))
    return quantized(b, b.relu(y) if relu else y, factor, shift, q.value.tensor.dtype)


@aten_op("quantized::cat", "quantized::cat_relu")
def cat(b: AtenBuilder, qx: list[QuantizedTensor], dim: Any, scale: Any, zero_point: Any) -> QuantizedTensor:
    first = qx[0]
    y = b.tensor_concat([reals(b, q) for q in qx], axis=int_of(dim, "axis"))
    y = b.relu(y) if b.op.endswith("_relu") else y
    if scale is None or zero_point is None:
        return like(b, y, first)
    return quantized(b, y, scale, zero_point, first.value.tensor.dtype)


@aten_op("quantized::relu6")
def relu6(b: AtenBuilder, qx: QuantizedTensor, inplace: Any = False) -> QuantizedTensor:
    x = reals(b, qx)
    return like(b, b.clip(x, b.like(x, 0), b.like(x, 6)), qx)


@aten_op("quantized::max_pool1d", "quantized::max_pool2d")
def max_pool(b: AtenBuilder, qx: QuantizedTensor, *window: Any) -> QuantizedTensor:
    return QuantizedTensor(_ordinary(b).call(b, [qx.value, *window], {}), qx.scale, qx.zero_point)


def _ordinary(b: AtenBuilder) -> Rule:
    """Return the rule of the operator for floats that has the same name, and make it the operator at hand."""
    b.op = b.op.removeprefix("quantized::")
    rule = find_rule(b.op)
    if rule is None:
        raise UnsupportedError(f"Lepton has no lowering for aten::{b.op}")
    return rule


@aten_op(
    "quantized::hardswish", "quantized::sigmoid", "quantized::prelu", "quantized::layer_norm",
    "quantized::group_norm",
)  # fmt: skip
def as_floats(b: AtenBuilder, qx: QuantizedTensor, *rest: Any) -> QuantizedTensor:
    """The last two arguments are the scale and the zero point of the result."""
    y = _ordinary(b).call(b, [reals(b, qx), *rest[:-2]], {})
    return _output(b, y, rest, qx, None)


@aten_op("quantized::elu", "quantized::celu", "quantized::leaky_relu")
def activation(b: AtenBuilder, qx: QuantizedTensor, *rest: Any) -> QuantizedTensor:
    """elu and celu have scale and zero point before their alphas, leaky_relu has them last, after "inplace"."""
    x, leaky = reals(b, qx), b.op == "quantized::leaky_relu"
    scale = rest[-2:] if leaky else rest[:2]
    y = _ordinary(b).call(b, [x, *(rest[:1] if leaky else rest[2:])], {})
    return _output(b, y, scale, qx, None)


@aten_op("quantized::instance_norm")
def instance_norm(
    b: AtenBuilder, input: QuantizedTensor, weight: Any, bias: Any, eps: Any, scale: Any, zero_point: Any
) -> QuantizedTensor:
    y = _ordinary(b).call(b, [reals(b, input), weight, bias, None, None, True, 0.0, eps], {})
    return quantized(b, y, scale, zero_point, input.value.tensor.dtype)


@aten_op(
    "quantized::batch_norm", "quantized::batch_norm1d", "quantized::batch_norm2d", "quantized::batch_norm3d",
    "quantized::batch_norm_relu", "quantized::batch_norm1d_relu", "quantized::batch_norm2d_relu",
    "quantized::batch_norm3d_relu",
)  # fmt: skip
def batch_norm(
    b: AtenBuilder, qx: QuantizedTensor, weight: Any, bias: Any, mean: Any, var: Any, eps: Any, *scale: Any
) -> QuantizedTensor:
    relu = b.op.endswith("_relu")
    b.op = "quantized::batch_norm"
    y = _ordinary(b).call(b, [reals(b, qx), weight, bias, mean, var, False, 0.0, eps], {})
    return _output(b, y, scale, qx, b.relu if relu else None)
