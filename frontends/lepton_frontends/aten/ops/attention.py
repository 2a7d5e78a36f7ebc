"""Attention, in the forms that PyTorch's implementations have."""

from __future__ import annotations

import math
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.dropout import require_no_dropout
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import number_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType

_NOTHING = float("-inf")


def causal_mask(b: AtenBuilder, q: Value, k: Value) -> Value:
    """Return which keys a query may look at: none after its own place, [queries, keys]."""
    return b.ge(
        b.tensor_iota(shape=(q.shape[-2], 1), axis=0),
        b.tensor_iota(shape=(1, k.shape[-2]), axis=1),
    )


def additive(b: AtenBuilder, mask: Value, dtype: DType) -> Value:
    """Return a mask as what is added to the scores."""
    if mask.tensor.dtype is not DType.BOOL:
        return b.convert(mask, dtype)
    return b.where(mask, b.const(0, dtype=dtype), b.const(_NOTHING, dtype=dtype))


def _scale(q: Value, scale: Any) -> float:
    if scale is not None:
        return float(number_of(scale, "scale"))
    if not isinstance(q.shape[-1], int):
        raise UnsupportedError(f"the size {q.shape[-1]} of its heads is dynamic", "give the dimension a size")
    return 1 / math.sqrt(q.shape[-1]) if q.shape[-1] else 1.0


def attend(b: AtenBuilder, q: Value, k: Value, v: Value, mask: Value | None, is_causal: Any, scale: Any) -> Value:
    """Return softmax(q k^T * scale + mask) v; a query that may look at nothing gives zeros."""
    bias = None if mask is None else additive(b, mask, q.tensor.dtype)
    if is_causal:
        causal = additive(b, causal_mask(b, q, k), q.tensor.dtype)
        bias = causal if bias is None else b.add(bias, causal)
    y = b.nn_attention(q, k, v, bias, scale=_scale(q, scale))
    if mask is None or bias is None:
        return y
    peak = b.reduce_max(bias, axes=(bias.rank - 1,))
    return b.where(b.gt(peak, b.like(peak, _NOTHING)), y, b.like(y, 0))


def _shared(b: AtenBuilder, x: Value, heads: Any) -> Value:
    """Return keys or values with each head repeated for the queries that share it."""
    have = x.shape[-3]
    if have == heads:
        return x
    if not isinstance(have, int) or not isinstance(heads, int) or heads % have:
        raise UnsupportedError(f"{heads} heads of queries cannot share {have} heads of keys")
    lead, tail = x.shape[:-3], x.shape[-2:]
    apart = b.tensor_reshape(x, shape=(*lead, have, 1, *tail))
    return b.tensor_reshape(
        b.tensor_expand(apart, shape=(*lead, have, heads // have, *tail)), shape=(*lead, heads, *tail)
    )


def _log_sum(b: AtenBuilder, q: Value, k: Value, mask: Value | None, is_causal: Any, scale: Any) -> Value:
    """Return the logarithm of the sum of exp(scores), in f32 at least, which gradients need."""
    wide = q.tensor.dtype if q.tensor.dtype is DType.F64 else DType.F32
    scores = b.linalg_matmul(b.convert(q, wide), b.convert(k, wide), transpose_b=True)
    scores = b.mul(scores, b.const(_scale(q, scale), dtype=wide))
    if mask is not None:
        scores = b.add(scores, additive(b, mask, wide))
    if is_causal:
        scores = b.add(scores, additive(b, causal_mask(b, q, k), wide))
    return b.reduce_log_sum_exp(scores, axes=(scores.rank - 1,), keepdims=False)


@aten_op("scaled_dot_product_attention")
def scaled_dot_product_attention(
    b: AtenBuilder,
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None = None,
    dropout_p: Any = 0.0,
    is_causal: Any = False,
    *,
    scale: Any = None,
    enable_gqa: Any = False,
) -> Value:
    require_no_dropout(dropout_p, True)
    if enable_gqa:
        key, value = (_shared(b, x, query.shape[-3]) for x in (key, value))
    return attend(b, query, key, value, attn_mask, is_causal, scale)


@aten_op("_scaled_dot_product_attention_math")
def attention_math(
    b: AtenBuilder,
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None = None,
    dropout_p: Any = 0.0,
    is_causal: Any = False,
    dropout_mask: Value | None = None,
    *,
    scale: Any = None,
    enable_gqa: Any = False,
) -> tuple[Value, Value]:
    """The second result is the softmax itself, the attention to an identity matrix."""
    y = scaled_dot_product_attention(
        b, query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )
    keys = _shared(b, key, query.shape[-3]) if enable_gqa else key
    size = keys.shape[-2]
    rows, columns = b.tensor_iota(shape=(size, 1), axis=0), b.tensor_iota(shape=(1, size), axis=1)
    identity = b.cast(b.eq(rows, columns), to=query.tensor.dtype)
    every = b.tensor_expand(identity, shape=(*keys.shape[:-2], size, size))
    return y, attend(b, query, keys, every, attn_mask, is_causal, scale)


@aten_op("_scaled_dot_product_flash_attention_for_cpu")
def flash_attention_for_cpu(
    b: AtenBuilder,
    query: Value,
    key: Value,
    value: Value,
    dropout_p: Any = 0.0,
    is_causal: Any = False,
    *,
    attn_mask: Value | None = None,
    scale: Any = None,
) -> tuple[Value, Value]:
    y = scaled_dot_product_attention(b, query, key, value, attn_mask, dropout_p, is_causal, scale=scale)
    return y, _log_sum(b, query, key, attn_mask, is_causal, scale)


@aten_op("_scaled_dot_product_efficient_attention")
def efficient_attention(
    b: AtenBuilder,
    query: Value,
    key: Value,
    value: Value,
    attn_bias: Value | None,
    compute_log_sumexp: Any,
    dropout_p: Any = 0.0,
    is_causal: Any = False,
    *,
    scale: Any = None,
) -> tuple[Any, ...]:
    """The last two results are the state of a random number generator, which nothing reads in inference."""
    y = scaled_dot_product_attention(b, query, key, value, attn_bias, dropout_p, is_causal, scale=scale)
    return y, _log_sum(b, query, key, attn_bias, is_causal, scale), None, None


@aten_op("_scaled_dot_product_flash_attention")
def flash_attention(
    b: AtenBuilder,
    query: Value,
    key: Value,
    value: Value,
    dropout_p: Any = 0.0,
    is_causal: Any = False,
    return_debug_mask: Any = False,
    *,
    scale: Any = None,
) -> tuple[Any, ...]:
    y = scaled_dot_product_attention(b, query, key, value, None, dropout_p, is_causal, scale=scale)
    return _with_lengths(b, y, query, key, None, is_causal, scale)


@aten_op("_scaled_dot_product_cudnn_attention")
def cudnn_attention(
    b: AtenBuilder,
    query: Value,
    key: Value,
    value: Value,
    attn_bias: Value | None,
    compute_log_sumexp: Any,
    dropout_p: Any = 0.0,
    is_causal: Any = False,
    return_debug_mask: Any = False,
    *,
    scale: Any = None,
) -> tuple[Any, ...]:
    y = scaled_dot_product_attention(b, query, key, value, attn_bias, dropout_p, is_causal, scale=scale)
    return _with_lengths(b, y, query, key, attn_bias, is_causal, scale)


@aten_op("_scaled_dot_product_fused_attention_overrideable")
def fused_attention_overrideable(
    b: AtenBuilder,
    query: Value,
    key: Value,
    value: Value,
    attn_bias: Value | None = None,
    dropout_p: Any = 0.0,
    is_causal: Any = False,
    return_debug_mask: Any = False,
    *,
    scale: Any = None,
) -> tuple[Any, ...]:
    return cudnn_attention(b, query, key, value, attn_bias, True, dropout_p, is_causal, scale=scale)


def _with_lengths(
    b: AtenBuilder, y: Value, q: Value, k: Value, mask: Value | None, is_causal: Any, scale: Any
) -> tuple[Any, ...]:
    """Return the nine results of the fused forms; there are no packed lengths and no random numbers."""
    sums = _log_sum(b, q, k, mask, is_causal, scale)
    return y, sums, None, None, q.shape[-2], k.shape[-2], None, None, None


def _projected(b: AtenBuilder, x: Value, weight: Value, bias: Value | None) -> Value:
    y = b.linalg_matmul(x, weight, transpose_b=True)
    return y if bias is None else b.add(y, bias)


@aten_op("_native_multi_head_attention")
def native_multi_head_attention(
    b: AtenBuilder,
    query: Value,
    key: Value,
    value: Value,
    embed_dim: Any,
    num_head: Any,
    qkv_weight: Value,
    qkv_bias: Value,
    proj_weight: Value,
    proj_bias: Value,
    mask: Value | None = None,
    need_weights: Any = True,
    average_attn_weights: Any = True,
    mask_type: Any = None,
) -> tuple[Value, Value | None]:
    size, heads = int(number_of(embed_dim)), int(number_of(num_head))
    weights = b.tensor_split(qkv_weight, axis=0, sizes=(size,) * 3)
    biases = b.tensor_split(qkv_bias, axis=0, sizes=(size,) * 3)
    q, k, v = (
        _heads(b, _projected(b, x, w, c), heads) for x, w, c in zip((query, key, value), weights, biases, strict=True)
    )
    seen = None if mask is None else _visible(b, mask, mask_type)
    y, shares = attention_math(b, q, k, v, seen)
    joined = b.tensor_reshape(b.tensor_transpose(y, perm=(0, 2, 1, 3)), shape=(*query.shape[:2], size))
    found = _projected(b, joined, proj_weight, proj_bias)
    if not need_weights:
        return found, None
    return found, b.reduce_mean(shares, axes=(1,), keepdims=False) if average_attn_weights else shares


def _heads(b: AtenBuilder, x: Value, heads: int) -> Value:
    """Return [batch, places, heads * size] as [batch, heads, places, size]."""
    apart = b.tensor_reshape(x, shape=(*x.shape[:2], heads, x.shape[2] // heads))
    return b.tensor_transpose(apart, perm=(0, 2, 1, 3))


def _visible(b: AtenBuilder, mask: Value, mask_type: Any) -> Value:
    """Return a mask as it applies to [batch, heads, queries, keys]; True, or a number but 0, hides a key.

    Its type is 0 for [queries, keys], 1 for padding, [batch, keys], and 2 for all axes.
    """
    hidden = b.convert(mask, DType.BOOL)
    if mask_type == 1:
        hidden = b.tensor_reshape(hidden, shape=(mask.shape[0], 1, 1, mask.shape[1]))
    return b.not_(hidden)


@aten_op("_transformer_encoder_layer_fwd")
def transformer_encoder_layer(
    b: AtenBuilder,
    src: Value,
    embed_dim: Any,
    num_heads: Any,
    qkv_weight: Value,
    qkv_bias: Value,
    proj_weight: Value,
    proj_bias: Value,
    use_gelu: Any,
    norm_first: Any,
    eps: Any,
    norm_weight_1: Value,
    norm_bias_1: Value,
    norm_weight_2: Value,
    norm_bias_2: Value,
    ffn_weight_1: Value,
    ffn_bias_1: Value,
    ffn_weight_2: Value,
    ffn_bias_2: Value,
    mask: Value | None = None,
    mask_type: Any = None,
) -> Value:
    epsilon = float(number_of(eps, "epsilon"))

    def attended(x: Value) -> Value:
        return native_multi_head_attention(
            b, x, x, x, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, mask, False, True, mask_type
        )[0]

    def fed_forward(x: Value) -> Value:
        inner = _projected(b, x, ffn_weight_1, ffn_bias_1)
        return _projected(b, b.gelu(inner) if use_gelu else b.relu(inner), ffn_weight_2, ffn_bias_2)

    def normed(x: Value, weight: Value, bias: Value) -> Value:
        return b.nn_layer_norm(x, weight, bias, axis=-1, epsilon=epsilon)

    if norm_first:
        x = b.add(src, attended(normed(src, norm_weight_1, norm_bias_1)))
        return b.add(x, fed_forward(normed(x, norm_weight_2, norm_bias_2)))
    x = normed(b.add(src, attended(src)), norm_weight_1, norm_bias_1)
    return normed(b.add(x, fed_forward(x)), norm_weight_2, norm_bias_2)
