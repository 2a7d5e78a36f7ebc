"""Normalization and softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import UseFunctionBodyError, onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import floordiv, product
from lepton_ir.ir.types import DType


@onnx_op("LayerNormalization", since=17)
def layer_normalization(
    b: OnnxBuilder,
    x: Value,
    scale: Value,
    bias: Value | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Value:
    if b.wants(1) or b.wants(2) or scale.tensor.dtype is not x.tensor.dtype:
        raise UseFunctionBodyError
    return b.nn_layer_norm(x, scale, bias, axis=b.axis(axis, x.rank), epsilon=epsilon)


@onnx_op("RMSNormalization", since=23)
def rms_normalization(
    b: OnnxBuilder, x: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    if scale.tensor.dtype is not x.tensor.dtype:
        raise UseFunctionBodyError
    return b.nn_rms_norm(x, scale, axis=b.axis(axis, x.rank), epsilon=epsilon)


@onnx_op("GroupNormalization", since=18)
def group_normalization_by_group(
    b: OnnxBuilder, x: Value, scale: Value, bias: Value, *, num_groups: int, epsilon: float = 1e-5
) -> Value:
    channels = x.shape[1]
    each = floordiv(channels, num_groups)

    def per_channel(v: Value) -> Value:
        return b.reshaped(b.tensor_expand(b.reshaped(v, (num_groups, 1)), shape=(num_groups, each)), (channels,))

    return b.nn_group_norm(x, per_channel(scale), per_channel(bias), groups=num_groups, epsilon=epsilon)


@onnx_op("GroupNormalization", since=21)
def group_normalization(
    b: OnnxBuilder,
    x: Value,
    scale: Value,
    bias: Value,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Value:
    return b.nn_group_norm(x, scale, bias, groups=num_groups, epsilon=epsilon)


@onnx_op("InstanceNormalization")
def instance_normalization(b: OnnxBuilder, x: Value, scale: Value, bias: Value, *, epsilon: float = 1e-5) -> Value:
    return b.nn_instance_norm(x, scale, bias, epsilon=epsilon)


@onnx_op("LRN")
def lrn(b: OnnxBuilder, x: Value, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Value:
    return b.nn_lrn(x, size=size, alpha=alpha, beta=beta, bias=bias)


@onnx_op("LpNormalization")
def lp_normalization(b: OnnxBuilder, x: Value, *, axis: int = -1, p: int = 2) -> Value:
    axes = (b.axis(axis, x.rank),)
    norm = (b.reduce_l1 if p == 1 else b.reduce_l2)(x, axes=axes, keepdims=True)
    zero = b.like(x, 0)
    return b.where(b.eq(norm, zero), zero, b.div(x, norm))


@onnx_op("MeanVarianceNormalization", since=9)
def mean_variance_normalization(b: OnnxBuilder, x: Value, *, axes: Sequence[int] = (0, 2, 3)) -> Value:
    over = b.axes(axes, x.rank)
    centered = b.sub(x, b.reduce_mean(x, axes=over, keepdims=True))
    variance = b.reduce_mean(b.mul(centered, centered), axes=over, keepdims=True)
    return b.div(centered, b.add(b.sqrt(variance), b.like(x, 1e-9)))


_COERCED = ("Softmax", "LogSoftmax", "Hardmax")


@onnx_op(*_COERCED)
def coerced(b: OnnxBuilder, x: Value, *, axis: int = 1) -> Value:
    """Before opset 13 these work on a matrix: the axes before ``axis`` are its rows, the others its columns."""
    at = axis + x.rank if axis < 0 else axis
    if at >= x.rank - 1:
        return along_axis(b, x, axis=-1)
    matrix = b.reshaped(x, (product(x.shape[:at]), product(x.shape[at:])))
    return b.reshaped(along_axis(b, matrix, axis=1), x.shape)


@onnx_op(*_COERCED, since=13)
def along_axis(b: OnnxBuilder, x: Value, *, axis: int = -1) -> Any:
    at = b.axis(axis, x.rank)
    if b.op_type != "Hardmax":
        return (b.nn_softmax if b.op_type == "Softmax" else b.nn_log_softmax)(x, axis=at)
    shape = tuple(d if i == at else 1 for i, d in enumerate(x.shape))
    largest = b.reduce_argmax(x, axis=at, keepdims=True)
    return b.cast(b.eq(b.tensor_iota(shape=shape, axis=at, dtype=DType.I64), largest), to=x.tensor.dtype)
