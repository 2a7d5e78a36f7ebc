"""Normalizations as ONNX Runtime's optimizer writes them: joined with sums and with embeddings."""

from __future__ import annotations

from typing import Any

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import MICROSOFT, given_inputs, onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType


def _wide(b: OnnxBuilder, x: Value) -> Value:
    """Return x in a type that statistics are taken in: f32 for all shorter floats."""
    return x if x.tensor.dtype is DType.F64 else b.cast_to(x, DType.F32)


def _statistics(b: OnnxBuilder, x: Value, axis: int, epsilon: float, centered: bool) -> tuple[Value, Value]:
    """Return the mean over the axes from ``axis`` on and 1 / sqrt(variance + epsilon), or that of the mean square."""
    axes = tuple(range(axis, x.rank))
    mean = b.reduce_mean(x, axes=axes, keepdims=True)
    off = b.sub(x, mean) if centered else x
    variance = b.reduce_mean(b.mul(off, off), axes=axes, keepdims=True)
    return mean, b.rsqrt(b.add(variance, b.like(x, epsilon)))


def _layer_norm(b: OnnxBuilder, x: Value, scale: Value, bias: Value | None, axis: int, epsilon: float) -> Value:
    """Return the layer normalization of x in the type of x, which may be wider than that of the scale."""
    shift = None if bias is None else b.cast_to(bias, x.tensor.dtype)
    return b.nn_layer_norm(x, b.cast_to(scale, x.tensor.dtype), shift, axis=axis, epsilon=epsilon)


@onnx_op("LayerNormalization", since=1, domain=MICROSOFT)
@onnx_op("LayerNormalization", since=1)
def layer_normalization(
    b: OnnxBuilder,
    x: Value,
    scale: Value,
    bias: Value | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Any:
    at, wide = b.axis(axis, x.rank), _wide(b, x)
    y = b.cast_to(_layer_norm(b, wide, scale, bias, at, epsilon), scale.tensor.dtype)
    if not (b.wants(1) or b.wants(2)):
        return y
    return y, *_statistics(b, wide, at, epsilon, centered=True)


@onnx_op("SimplifiedLayerNormalization", since=1, domain=MICROSOFT)
@onnx_op("SimplifiedLayerNormalization", since=1)
def simplified_layer_normalization(
    b: OnnxBuilder, x: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    at, wide = b.axis(axis, x.rank), _wide(b, x)
    y = b.nn_rms_norm(wide, b.cast_to(scale, wide.tensor.dtype), axis=at, epsilon=epsilon)
    y = b.cast_to(y, scale.tensor.dtype)
    return (y, _statistics(b, wide, at, epsilon, centered=False)[1]) if b.wants(1) else y


@onnx_op("SkipLayerNormalization", since=1, domain=MICROSOFT)
def skip_layer_normalization(
    b: OnnxBuilder,
    x: Value,
    skip: Value,
    gamma: Value,
    beta: Value | None = None,
    bias: Value | None = None,
    *,
    epsilon: float = 1e-12,
) -> Any:
    total = _with_skip(b, x, skip, bias)
    y = _layer_norm(b, total, gamma, beta, x.rank - 1, epsilon)
    return _skip_results(b, x, y, total, epsilon, centered=True)


@onnx_op("SkipSimplifiedLayerNormalization", since=1, domain=MICROSOFT)
def skip_simplified_layer_normalization(
    b: OnnxBuilder, x: Value, skip: Value, gamma: Value, bias: Value | None = None, *, epsilon: float = 1e-12
) -> Any:
    total = _with_skip(b, x, skip, bias)
    y = b.nn_rms_norm(total, b.cast_to(gamma, total.tensor.dtype), axis=x.rank - 1, epsilon=epsilon)
    return _skip_results(b, x, y, total, epsilon, centered=False)


def _with_skip(b: OnnxBuilder, x: Value, skip: Value, bias: Value | None) -> Value:
    total = b.add(_wide(b, x), _wide(b, skip))
    return total if bias is None else b.add(total, _wide(b, bias))


def _skip_results(b: OnnxBuilder, x: Value, y: Value, total: Value, epsilon: float, centered: bool) -> Any:
    own = x.tensor.dtype
    mean, inverse = None, None
    if b.wants(1) or b.wants(2):
        mean, inverse = _statistics(b, total, x.rank - 1, epsilon, centered)
    return b.cast_to(y, own), mean, inverse, b.cast_to(total, own) if b.wants(3) else None


@onnx_op("EmbedLayerNormalization", since=1, domain=MICROSOFT)
def embed_layer_normalization(
    b: OnnxBuilder, *inputs: Value | None, epsilon: float = 1e-12, mask_index_type: int = 0
) -> Any:
    given = given_inputs(inputs, 9, (0, 2, 3, 5, 6))
    input_ids, segment_ids, word_embedding, position_embedding, segment_embedding = given[:5]
    gamma, beta, mask, position_ids = given[5:]
    batch, length = input_ids.shape
    if position_ids is None:
        position_ids = b.tensor_iota(shape=(1, length), axis=1, dtype=DType.I64)
    embedded = [b.tensor_gather(word_embedding, input_ids, axis=0)]
    embedded.append(b.tensor_gather(position_embedding, position_ids, axis=0))
    if segment_ids is not None and segment_embedding is not None:
        embedded.append(b.tensor_gather(segment_embedding, segment_ids, axis=0))
    total, *others = (_wide(b, v) for v in embedded)
    for other in others:
        total = b.add(total, other)
    own = gamma.tensor.dtype
    y = b.cast_to(_layer_norm(b, total, gamma, beta, 2, epsilon), own)
    return y, _mask_index(b, mask, batch) if b.wants(1) else None, b.cast_to(total, own) if b.wants(2) else None


def _mask_index(b: OnnxBuilder, mask: Value | None, batch: Dim) -> Value:
    """Return how many words of each row the mask leaves, [B]; without a mask ONNX Runtime gives 0."""
    if mask is None:
        return b.tensor_full(b.const(0, dtype=DType.I32), shape=(batch,))
    kept = b.cast(b.eq(mask, b.like(mask, 1)), to=DType.I32)
    return b.reduce_sum(kept, axes=(1,), keepdims=False)


@onnx_op("GroupNorm", since=1, domain=MICROSOFT)
def group_norm(
    b: OnnxBuilder,
    x: Value,
    gamma: Value,
    beta: Value,
    *,
    activation: int,
    channels_last: int = 1,
    epsilon: float = 1e-5,
    groups: int,
) -> Value:
    if activation not in (0, 1):
        raise UnsupportedError(f"the activation {activation} is not known", "0 is none, 1 is SiLU")
    data = _wide(b, x)
    if channels_last:
        data = b.tensor_transpose(data, perm=(0, x.rank - 1, *range(1, x.rank - 1)))
    scale, bias = (b.cast_to(v, data.tensor.dtype) for v in (gamma, beta))
    y = b.nn_group_norm(data, scale, bias, groups=groups, epsilon=epsilon)
    if channels_last:
        y = b.tensor_transpose(y, perm=(0, *range(2, x.rank), 1))
    return b.cast_to(b.silu(y) if activation else y, x.tensor.dtype)


@onnx_op("SkipGroupNorm", since=1, domain=MICROSOFT)
def skip_group_norm(
    b: OnnxBuilder,
    x: Value,
    gamma: Value,
    beta: Value,
    skip: Value,
    bias: Value | None = None,
    *,
    activation: int,
    channels_last: int = 1,
    epsilon: float = 1e-5,
    groups: int,
) -> Any:
    """The skip is [N, H, W, C], [N, 1, 1, C] or [N, C], whatever the layout of x."""
    others = [skip if skip.rank == x.rank else b.reshaped(skip, (skip.shape[0], *[1] * (x.rank - 2), skip.shape[1]))]
    others += [] if bias is None else [b.reshaped(bias, (*[1] * (x.rank - 1), bias.shape[0]))]
    total = x
    for other in others:
        if not channels_last:
            other = b.tensor_transpose(other, perm=(0, x.rank - 1, *range(1, x.rank - 1)))
        total = b.add(total, other)
    y = group_norm(
        b, total, gamma, beta, activation=activation, channels_last=channels_last, epsilon=epsilon, groups=groups
    )
    return y, total
