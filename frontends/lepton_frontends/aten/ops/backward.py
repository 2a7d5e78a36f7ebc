"""Gradients of operators, as they stand in a graph that was differentiated before it was exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import lepton_ir.gradient.linear  # noqa: F401  # registers the derivatives
from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.conv import as_batch, without_batch
from lepton_frontends.aten.ops.pool import spatial_rank, window_of
from lepton_frontends.aten.ops.pool_adaptive import averages
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axis_of, dim_of, dtype_of, int_of, ints_of, number_of, promoted
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.gradient.rules import RULES, NotDifferentiableError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import floordiv, product
from lepton_ir.ir.types import DType
from lepton_ir.ops.conv import Conv, ConvTranspose


def _wide(b: AtenBuilder, x: Value) -> Value:
    """Return floats in f32 at least, in which sums of gradients are computed."""
    return x if x.tensor.dtype is DType.F64 else b.convert(x, DType.F32)


@aten_op("convolution_backward")
def convolution_backward(
    b: AtenBuilder,
    grad_output: Value,
    input: Value,
    weight: Value,
    bias_sizes: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: Any,
    output_padding: Any,
    groups: Any,
    output_mask: Sequence[bool],
) -> tuple[Value | None, ...]:
    rank = weight.rank - 2
    pads = ints_of(padding, "padding", rank)
    attributes: dict[str, Any] = {
        "strides": ints_of(stride, "stride", rank), "pads": (*pads, *pads),
        "dilations": ints_of(dilation, "dilation", rank), "group": int_of(groups, "number of groups"),
    }  # fmt: skip
    if transposed:
        attributes["output_padding"] = ints_of(output_padding, "output padding", rank)
    x, alone = as_batch(b, input, rank)
    dy, _ = as_batch(b, grad_output, rank)
    # The operation itself is only there to be differentiated; nobody reads its result.
    op = b.create(ConvTranspose if transposed else Conv, x, weight, None, **attributes)
    try:
        dx, dw, *_ = cast("list[Value]", RULES[op.name](b, op, dy))
    except NotDifferentiableError as error:
        raise UnsupportedError(error.reason) from None
    db = b.reduce_sum(dy, axes=(0, *range(2, dy.rank)), keepdims=False)
    found = (without_batch(b, dx, alone), dw, db)
    return tuple(g if wanted else None for g, wanted in zip(found, output_mask, strict=True))


@aten_op("max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward")
def max_pool_backward(
    b: AtenBuilder,
    grad_output: Value,
    self: Value,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: Any,
    indices: Value,
) -> Value:
    return adaptive_max_pool_backward(b, grad_output, self, indices)


@aten_op("adaptive_max_pool2d_backward", "adaptive_max_pool3d_backward")
def adaptive_max_pool_backward(b: AtenBuilder, grad_output: Value, self: Value, indices: Value) -> Value:
    """Each gradient goes to the element that was the largest."""
    rank = spatial_rank(b)
    planes, plane = product(self.shape[:-rank]), product(self.shape[-rank:])
    flat = (planes, product(grad_output.shape[-rank:]))
    zeros = b.full((planes, plane), 0, grad_output.tensor.dtype)
    places, updates = (b.reshaped(v, flat) for v in (indices, grad_output))
    return b.reshaped(b.tensor_scatter_elements(zeros, places, updates, axis=1, reduction="add"), self.shape)


@aten_op("avg_pool2d_backward", "avg_pool3d_backward")
def avg_pool_backward(
    b: AtenBuilder,
    grad_output: Value,
    self: Value,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: Any,
    count_include_pad: Any,
    divisor_override: Any,
) -> Value:
    """Each element gets its share of every window that it stands in."""
    rank = spatial_rank(b)
    window = window_of(rank, kernel_size, stride, padding, 1, ceil_mode)
    kernel, steps = window["kernel_shape"], window["strides"]
    x, alone = as_batch(b, self, rank)
    dy, _ = as_batch(b, grad_output, rank)
    for i in range(rank):
        size = int_of(x.shape[2 + i], "size of an image to differentiate by")
        pad = window["pads"][i]
        starts = [n * steps[i] - pad for n in range(int_of(dy.shape[2 + i], "size of a gradient"))]
        bounds = [(max(s, 0), min(s + kernel[i], size), min(s + kernel[i], size + pad) - s) for s in starts]
        rows = []
        for first, end, padded in bounds:
            counted = padded if count_include_pad else end - first
            # An override divides the sum over all axes, so the first axis does it alone.
            divisor = counted if divisor_override is None else int_of(divisor_override, "divisor") if i == 0 else 1
            rows.append((first, end, 1 / divisor))
        dy = averages(b, dy, 2 + i, rows, size, transposed=True)
    return without_batch(b, dy, alone)


@aten_op("_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "mkldnn_adaptive_avg_pool2d_backward")
def adaptive_avg_pool_backward(b: AtenBuilder, grad_output: Value, self: Value) -> Value:
    rank = spatial_rank(b)
    x, alone = as_batch(b, self, rank)
    dy, _ = as_batch(b, grad_output, rank)
    for axis in range(2, 2 + rank):
        size, parts = (int_of(v.shape[axis], "size of an image to differentiate by") for v in (x, dy))
        cuts = [(n * size // parts, -(-(n + 1) * size // parts)) for n in range(parts)]
        dy = averages(b, dy, axis, [(s, e, 1 / (e - s)) for s, e in cuts], size, transposed=True)
    return without_batch(b, dy, alone)


def _norm_gradients(
    b: AtenBuilder, dy: Value, x: Value, scale: Value | None, mean: Value, deviation: Value, axes: tuple[int, ...]
) -> tuple[Value, Value]:
    """Return the gradient of a normalization's input along some axes, and the normalized input."""
    normal = b.mul(b.sub(x, mean), deviation)
    scaled = dy if scale is None else b.mul(dy, scale)
    first = b.reduce_mean(scaled, axes=axes)
    second = b.mul(normal, b.reduce_mean(b.mul(scaled, normal), axes=axes))
    return b.mul(deviation, b.sub(b.sub(scaled, first), second)), normal


@aten_op("native_layer_norm_backward")
def native_layer_norm_backward(
    b: AtenBuilder,
    grad_out: Value,
    input: Value,
    normalized_shape: Any,
    mean: Value,
    rstd: Value,
    weight: Value | None,
    bias: Value | None,
    output_mask: Sequence[bool],
) -> tuple[Value | None, ...]:
    lead = input.rank - len(normalized_shape)
    dtype, axes = input.tensor.dtype, tuple(range(lead, input.rank))
    dy, x, center, deviation = (_wide(b, v) for v in (grad_out, input, mean, rstd))
    scale = None if weight is None else _wide(b, weight)
    dx, normal = _norm_gradients(b, dy, x, scale, center, deviation, axes)
    outer = tuple(range(lead))
    dw = b.reduce_sum(b.mul(dy, normal), axes=outer, keepdims=False)
    db = b.reduce_sum(dy, axes=outer, keepdims=False)
    kept = dtype if weight is None else weight.tensor.dtype
    found = (b.convert(dx, dtype), b.convert(dw, kept), b.convert(db, kept))
    return tuple(g if wanted else None for g, wanted in zip(found, output_mask, strict=True))


@aten_op("native_group_norm_backward")
def native_group_norm_backward(
    b: AtenBuilder,
    grad_out: Value,
    input: Value,
    mean: Value,
    rstd: Value,
    weight: Value | None,
    N: Any,
    C: Any,
    HxW: Any,
    group: Any,
    output_mask: Sequence[bool],
) -> tuple[Value | None, ...]:
    groups, dtype = int_of(group, "number of groups"), input.tensor.dtype
    batch, channels = input.shape[:2]
    each, tail = floordiv(channels, groups), product(input.shape[2:])
    apart = (batch, groups, each, tail)
    dy, x = (b.reshaped(_wide(b, v), apart) for v in (grad_out, input))
    center, deviation = (b.reshaped(_wide(b, v), (batch, groups, 1, 1)) for v in (mean, rstd))
    scale = None if weight is None else b.reshaped(_wide(b, weight), (1, groups, each, 1))
    dx, normal = _norm_gradients(b, dy, x, scale, center, deviation, (2, 3))
    dw = b.reshaped(b.reduce_sum(b.mul(dy, normal), axes=(0, 3), keepdims=False), (channels,))
    db = b.reshaped(b.reduce_sum(dy, axes=(0, 3), keepdims=False), (channels,))
    found = (b.reshaped(dx, input.shape), dw, db)
    return tuple(b.convert(g, dtype) if wanted else None for g, wanted in zip(found, output_mask, strict=True))


@aten_op("embedding_dense_backward")
def embedding_dense_backward(
    b: AtenBuilder, grad_output: Value, indices: Value, num_weights: Any, padding_idx: Any, scale_grad_by_freq: Any
) -> Value:
    rows, count = dim_of(b, num_weights), product(indices.shape)
    width = grad_output.shape[-1]
    flat = b.convert(b.reshaped(indices, (count,)), DType.I64)
    updates = _wide(b, b.reshaped(grad_output, (count, width)))
    places = b.reshaped(flat, (count, 1))
    padding = int_of(padding_idx, "padding index")
    if padding >= 0:
        kept = b.ne(places, b.like(places, padding))
        updates = b.where(kept, updates, b.like(updates, 0))
    if scale_grad_by_freq:
        ones = b.full((count,), 1, updates.tensor.dtype)
        uses = b.tensor_scatter_nd(b.full((rows,), 0, updates.tensor.dtype), places, ones, reduction="add")
        updates = b.div(updates, b.reshaped(b.tensor_gather(uses, flat, axis=0), (count, 1)))
    zeros = b.full((rows, width), 0, updates.tensor.dtype)
    return b.convert(b.tensor_scatter_nd(zeros, places, updates, reduction="add"), grad_output.tensor.dtype)


@aten_op("native_dropout_backward")
def native_dropout_backward(b: AtenBuilder, grad_output: Value, mask: Value, scale: Any) -> Value:
    dy, factor = promoted(b, grad_output, float(number_of(scale, "scale")))
    return b.mul(b.mul(dy, b.convert(mask, dy.tensor.dtype)), factor)


@aten_op("_softmax_backward_data")
def softmax_backward(b: AtenBuilder, grad_output: Value, output: Value, dim: Any, input_dtype: Any) -> Value:
    axis = axis_of(dim, output.rank)
    dy, y = _wide(b, grad_output), _wide(b, output)
    weighted = b.mul(dy, y)
    total = b.reduce_sum(weighted, axes=(axis,) if y.rank else ())
    return b.convert(b.sub(weighted, b.mul(y, total)), dtype_of(input_dtype))


@aten_op("_log_softmax_backward_data")
def log_softmax_backward(b: AtenBuilder, grad_output: Value, output: Value, dim: Any, input_dtype: Any) -> Value:
    axis = axis_of(dim, output.rank)
    dy, y = _wide(b, grad_output), _wide(b, output)
    total = b.reduce_sum(dy, axes=(axis,) if y.rank else ())
    return b.convert(b.sub(dy, b.mul(b.exp(y), total)), dtype_of(input_dtype))


@aten_op("threshold_backward")
def threshold_backward(b: AtenBuilder, grad_output: Value, self: Value, threshold: Any) -> Value:
    edge = b.like(self, number_of(threshold, "threshold"))
    return b.where(b.le(self, edge), b.like(grad_output, 0), grad_output)
