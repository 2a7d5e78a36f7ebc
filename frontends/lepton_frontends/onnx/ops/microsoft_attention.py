"""Attention and MultiHeadAttention of the domain com.microsoft.

Masks are finite there: what a query may not see gets ``mask_filter_value`` added to its score, so that a query that
may see nothing weighs all keys by their scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.heads import (
    Scores,
    additive,
    default_scale,
    join_heads,
    positions,
    split_heads,
    total_of,
    with_past,
)
from lepton_frontends.onnx.rules import MICROSOFT, onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType

_SHARED = "past and present share one buffer, and compiled models do not write to their inputs"
_SHARED_HELP = "export the model with past and present as tensors of their own"


@dataclass(frozen=True)
class _Masks:
    """The masks of one node, as terms added to the scores [B, heads, S, T].

    Attributes:
        batch: B.
        queries: S.
        keys: T, the cached ones included.
        dtype: the element type of the scores.
        hidden: what is added where a key is hidden.
    """

    batch: Dim
    queries: Dim
    keys: Dim
    dtype: DType
    hidden: float

    def causal(self, b: OnnxBuilder) -> Value:
        """Return the mask [S, T] of what comes after each query; the last query sees all keys."""
        own = b.add(positions(b, self.queries, rows=True), self._dim(b, self.keys - self.queries))
        return additive(b, b.le(positions(b, self.keys), own), self.dtype, _LEAST[self.dtype])

    def of(self, b: OnnxBuilder, mask: Value) -> Value | None:
        """Return the mask that the node's input stands for.

        It is [B] (how many keys there are), [2 * B] (the ends, then the starts), [3 * B + 2] (the lengths first),
        [B, T], [B, S, T] or [B, 1, M, M]; a mask [B or 1, 1] says nothing.
        """
        if mask.rank == 1:
            return self._ranges(b, mask)
        if mask.rank == 2 and mask.shape[1] == 1 and self.keys != 1:
            return None
        if mask.rank == 4:
            start = self.keys - self.queries
            ends = (mask.shape[0], 1, self.keys, self.keys)
            mask = b.tensor_slice(mask, starts=(0, 0, start, 0), ends=ends, axes=(0, 1, 2, 3), steps=(1, 1, 1, 1))
        elif mask.rank == 2:
            mask = b.reshaped(mask, (mask.shape[0], 1, 1, mask.shape[1]))
        elif mask.rank == 3:
            mask = b.reshaped(mask, (mask.shape[0], 1, *mask.shape[1:]))
        beyond = mask.shape[-1] - self.keys
        if mask.rank != 4 or (isinstance(beyond, int) and beyond):
            raise UnsupportedError(
                f"its mask {mask.type} does not cover the {self.keys} keys", "give the mask the length of past and keys"
            )
        if beyond != 0:
            # A length with a name of its own, which turns out to be that of past and keys.
            mask = b.tensor_slice(mask, starts=(0,), ends=(self.keys,), axes=(3,), steps=(1,))
        return additive(b, b.gt(mask, b.like(mask, 0)), self.dtype, self.hidden)

    def _ranges(self, b: OnnxBuilder, mask: Value) -> Value:
        count, batch, place = mask.shape[0], self.batch, positions(b, self.keys)

        def part(first: Dim) -> Value:
            cut = b.tensor_slice(mask, starts=(first,), ends=(first + batch,), axes=(0,), steps=(1,))
            return b.reshaped(b.cast_to(cut, DType.I64), (batch, 1, 1, 1))

        if count not in (batch, 2 * batch, 3 * batch + 2):
            raise UnsupportedError(f"its mask has {count} elements for a batch of {batch}", "the model is not valid")
        visible = b.lt(place, part(0))
        if count == 2 * batch:
            visible = b.and_(visible, b.ge(place, part(batch)))
        return additive(b, visible, self.dtype, self.hidden)

    @staticmethod
    def _dim(b: OnnxBuilder, dim: Dim) -> Value:
        return b.reshaped(b.tensor_dims(dims=(dim,)), ())


_LEAST = {
    DType.F16: -65504.0,
    DType.BF16: -3.3895313892515355e38,
    DType.F32: float(np.finfo(np.float32).min),
    DType.F64: float(np.finfo(np.float64).min),
}
"""The least number of each element type, which hides a key whatever its score."""


def _all_masks(
    b: OnnxBuilder, masks: _Masks, mask: Value | None, bias: Value | None, unidirectional: int
) -> Value | None:
    terms = [None if mask is None else masks.of(b, mask), masks.causal(b) if unidirectional else None, bias]
    return total_of(b, *terms)


@onnx_op("Attention", since=1, domain=MICROSOFT)
def attention(
    b: OnnxBuilder,
    x: Value,
    weights: Value,
    bias: Value | None = None,
    mask_index: Value | None = None,
    past: Value | None = None,
    attention_bias: Value | None = None,
    past_sequence_length: Value | None = None,
    *,
    do_rotary: int = 0,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    past_present_share_buffer: int = 0,
    qkv_hidden_sizes: Sequence[int] = (),
    rotary_embedding_dim: int = 0,
    scale: float = 0.0,
    unidirectional: int = 0,
) -> Any:
    if past_present_share_buffer:
        raise UnsupportedError(_SHARED, _SHARED_HELP)
    if do_rotary:
        raise UnsupportedError("do_rotary is not supported", "use RotaryEmbedding and MultiHeadAttention instead")
    projected = b.linalg_matmul(x, weights)
    if bias is not None:
        projected = b.add(projected, bias)
    third = weights.shape[1] // 3
    parts = b.tensor_split(projected, axis=2, sizes=tuple(qkv_hidden_sizes) or (third, third, third))
    q, k, v = (split_heads(b, part, num_heads) for part in parts)
    if past is not None:
        cached = [b.reshaped(p, p.shape[1:]) for p in b.tensor_split(past, axis=0, sizes=(1, 1))]
        k, v = (with_past(b, p, new) for p, new in zip(cached, (k, v), strict=True))
    masks = _Masks(q.shape[0], q.shape[2], k.shape[2], q.tensor.dtype, mask_filter_value)
    terms = _all_masks(b, masks, mask_index, attention_bias, unidirectional)
    y = join_heads(b, Scores(scale or default_scale(q), terms).apply(b, q, k, v))
    if not b.wants(1):
        return y
    return y, b.tensor_concat([b.reshaped(p, (1, *p.shape)) for p in (k, v)], axis=0)


def _packed(b: OnnxBuilder, x: Value, count: int) -> list[Value]:
    """Return the parts of [B, S, heads, count, D], each as [B, heads, S, D]."""
    n, s, heads, _, each = x.shape
    parts = b.tensor_split(x, axis=3, sizes=(1,) * count)
    return [b.tensor_transpose(b.reshaped(p, (n, s, heads, each)), perm=(0, 2, 1, 3)) for p in parts]


def _with_bias(b: OnnxBuilder, x: Value, bias: Value | None, start: Dim, size: Dim) -> Value:
    """Return heads [B, heads, S, D] with their part of the bias of the input projection."""
    if bias is None:
        return x
    own = b.tensor_slice(bias, starts=(start,), ends=(start + size,), axes=(0,), steps=(1,))
    return b.add(x, b.reshaped(own, (x.shape[1], 1, x.shape[3])))


def _queries_keys_values(
    b: OnnxBuilder, query: Value, key: Value | None, value: Value | None, bias: Value | None, heads: int
) -> list[Value]:
    if query.rank == 5:
        parts = _packed(b, query, 3)
    elif key is None:
        raise UnsupportedError("it has no keys", "the query holds them only where it has rank 5")
    elif key.rank == 5:
        parts = [split_heads(b, query, heads), *_packed(b, key, 2)]
    elif value is None:
        raise UnsupportedError("it has no values", "the key holds them only where it has rank 5")
    else:
        parts = [split_heads(b, v, heads) for v in (query, key, value)]
    start: Dim = 0
    result = []
    for part in parts:
        size = part.shape[1] * part.shape[3]
        result.append(_with_bias(b, part, bias, start, size))
        start = start + size
    return result


@onnx_op("MultiHeadAttention", since=1, domain=MICROSOFT)
def multi_head_attention(
    b: OnnxBuilder,
    query: Value,
    key: Value | None = None,
    value: Value | None = None,
    bias: Value | None = None,
    key_padding_mask: Value | None = None,
    attention_bias: Value | None = None,
    past_key: Value | None = None,
    past_value: Value | None = None,
    past_sequence_length: Value | None = None,
    cache_indirection: Value | None = None,
    *,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    scale: float = 0.0,
    unidirectional: int = 0,
) -> Any:
    if past_sequence_length is not None or cache_indirection is not None:
        raise UnsupportedError(_SHARED, _SHARED_HELP)
    q, k, v = _queries_keys_values(b, query, key, value, bias, num_heads)
    k, v = with_past(b, past_key, k), with_past(b, past_value, v)
    masks = _Masks(q.shape[0], q.shape[2], k.shape[2], q.tensor.dtype, mask_filter_value)
    scores = Scores(scale or default_scale(q), _all_masks(b, masks, key_padding_mask, attention_bias, unidirectional))
    y = join_heads(b, scores.apply(b, q, k, v))
    return y, k, v, scores.biased(b, scores.products(b, q, k)) if b.wants(3) else None
