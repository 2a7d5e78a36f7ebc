"""Batch normalization, with the statistics of the batch (training) or given ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType


@onnx_op("BatchNormalization")
def batch_normalization_by_outputs(
    b: OnnxBuilder,
    x: Value,
    scale: Value,
    bias: Value,
    mean: Value,
    var: Value,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: int = 1,
) -> Any:
    """Training where there are more outputs than one: the running statistics, then those of the batch."""
    axes = tuple(a for a in range(x.rank) if a != 1) if spatial else (0,)
    if not any(b.wants(i) for i in range(1, 5)):
        return _normalized(b, x, (scale, bias, mean, var), axes, epsilon)
    y, running, batch = _trained(b, x, (scale, bias, mean, var), axes, epsilon, momentum)
    return [y, *running, *batch]


@onnx_op("BatchNormalization", since=14)
def batch_normalization(
    b: OnnxBuilder,
    x: Value,
    scale: Value,
    bias: Value,
    mean: Value,
    var: Value,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Any:
    axes = tuple(a for a in range(x.rank) if a != 1)
    if not training_mode:
        return _normalized(b, x, (scale, bias, mean, var), axes, epsilon)
    y, running, _ = _trained(b, x, (scale, bias, mean, var), axes, epsilon, momentum)
    return [y, *running]


def _normalized(b: OnnxBuilder, x: Value, given: Sequence[Value], axes: Sequence[int], epsilon: float) -> Value:
    """Return ``(x - mean) / sqrt(var + epsilon) * scale + bias``; the parameters have the axes not in ``axes``."""
    own = x.tensor.dtype
    kinds = {v.tensor.dtype for v in (x, *given)}
    wide = own if len(kinds) == 1 else DType.F64 if DType.F64 in kinds else DType.F32
    x, scale, bias, mean, var = (b.cast_to(v, wide) for v in (x, *given))
    if len(axes) == x.rank - 1:
        return b.cast_to(b.nn_batch_norm(x, scale, bias, mean, var, epsilon=epsilon), own)
    shape = tuple(x.shape[1:])
    scale, bias, mean, var = (b.reshaped(v, shape) for v in (scale, bias, mean, var))
    deviation = b.sqrt(b.add(var, b.like(var, epsilon)))
    return b.cast_to(b.add(b.mul(b.div(b.sub(x, mean), deviation), scale), bias), own)


def _trained(
    b: OnnxBuilder, x: Value, given: Sequence[Value], axes: Sequence[int], epsilon: float, momentum: float
) -> tuple[Value, list[Value], list[Value]]:
    """Return x normalized by the mean and variance of the batch, the running ones, and these themselves."""
    scale, bias, *running = given
    wide = DType.F64 if x.tensor.dtype is DType.F64 else DType.F32
    data = b.cast_to(x, wide)
    mean = b.reduce_mean(data, axes=tuple(axes), keepdims=True)
    centered = b.sub(data, mean)
    var = b.reduce_mean(b.mul(centered, centered), axes=tuple(axes), keepdims=True)
    batch = [b.reshaped(v, r.shape) for v, r in zip((mean, var), running, strict=True)]
    moved = [
        b.add(b.mul(b.cast_to(r, wide), b.like(v, momentum)), b.mul(v, b.like(v, 1 - momentum)))
        for r, v in zip(running, batch, strict=True)
    ]
    y = _normalized(b, x, (scale, bias, *batch), axes, epsilon)
    old = [r.tensor.dtype for r in running]
    updated, own = ([b.cast_to(v, d) for v, d in zip(vs, old, strict=True)] for vs in (moved, batch))
    return y, updated, own
