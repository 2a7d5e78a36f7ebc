"""GroupQueryAttention of the domain com.microsoft: caches, rotary embeddings, windows.

Row b of the batch has T_b = seqlens_k[b] + 1 keys after the step, of which P_b were cached before it. Its query s
stands at position P_b + s.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.heads import (
    Scores,
    additive,
    default_scale,
    join_heads,
    per_batch,
    positions,
    shared_heads,
    split_heads,
    total_of,
    with_past,
)
from lepton_frontends.onnx.ops.rotary import rotated
from lepton_frontends.onnx.rules import MICROSOFT, given_inputs, onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, dmax
from lepton_ir.ir.types import DType


@dataclass(frozen=True)
class _Rows:
    """Where the keys of each row of the batch stand.

    Attributes:
        total: T_b, [B, 1, 1, 1].
        past: P_b, [B, 1, 1, 1].
        queries: S.
        keys: how many keys the present cache holds.
    """

    total: Value
    past: Value
    queries: Dim
    keys: Dim

    def query_positions(self, b: OnnxBuilder) -> Value:
        """Return P_b + s, [B, 1, S, 1]."""
        return b.add(self.past, positions(b, self.queries, rows=True))

    def present(self, b: OnnxBuilder, past: Value | None, new: Value) -> Value:
        """Return the cache after the step: what was cached, the new keys from P_b on, and 0 from T_b on."""
        if past is None and self.keys == self.queries:
            return new
        n, heads, length, width = new.shape
        cached: Dim = 0 if past is None else past.shape[2]
        place = positions(b, self.keys, rows=True)
        fresh = b.add(b.sub(place, self.past), _number(b, cached))
        source = b.where(b.lt(place, self.past), place, b.minimum(fresh, _number(b, cached + length - 1)))
        source = b.tensor_expand(source, shape=(n, heads, self.keys, width))
        kept = b.tensor_gather_elements(with_past(b, past, new), source, axis=2)
        return b.where(b.lt(place, self.total), kept, b.like(kept, 0))

    def visible(self, b: OnnxBuilder, causal: bool, window: int) -> Value:
        """Return which keys each query sees, [B, 1, S or 1, T]."""
        key = positions(b, self.keys)
        if not causal:
            return b.lt(key, self.total)
        own = self.query_positions(b)
        seen = b.le(key, own)
        return b.and_(seen, b.gt(key, b.sub(own, b.like(own, window)))) if window > 0 else seen


def _number(b: OnnxBuilder, dim: Dim) -> Value:
    return b.reshaped(b.tensor_dims(dims=(dim,)), ())


def _rows(b: OnnxBuilder, q: Value, seqlens_k: Value, valid: Value | None, keys: Dim) -> _Rows:
    one = b.const(1, dtype=DType.I64)
    total = b.add(per_batch(b, b.reshaped(seqlens_k, (q.shape[0],))), one)
    new = _number(b, q.shape[2]) if valid is None else per_batch(b, valid)
    return _Rows(total, b.sub(total, b.minimum(total, new)), q.shape[2], keys)


def _heads(
    b: OnnxBuilder, query: Value, key: Value | None, value: Value | None, heads: int, shared: int
) -> list[Value]:
    """Return the heads of queries, keys and values, which may all be packed in ``query``."""
    if (key is None) != (value is None):
        raise UnsupportedError("it has only one of key and value", "the model is not valid")
    if key is not None and value is not None:
        return [split_heads(b, query, heads), split_heads(b, key, shared), split_heads(b, value, shared)]
    packed = split_heads(b, query, heads + 2 * shared)
    parts: Sequence[Value] = b.tensor_split(packed, axis=1, sizes=(heads, shared, shared))
    return list(parts)


def _turned(
    b: OnnxBuilder, rows: _Rows, heads: Sequence[Value], caches: Sequence[Value], ids: Value | None, interleaved: bool
) -> list[Value]:
    """Return heads turned by the angles of their positions."""
    if ids is None:
        ids = b.reshaped(rows.query_positions(b), (rows.total.shape[0], rows.queries))
    cos, sin = (b.tensor_gather(cache, ids, axis=0) for cache in caches)
    return [rotated(b, x, cos, sin, interleaved) for x in heads]


def _padded_bias(b: OnnxBuilder, bias: Value | None, keys: Dim) -> Value | None:
    """Return the bias with a column for every key of the cache; those that it lacks are not visible."""
    if bias is None or bias.shape[3] == keys:
        return bias
    padded: Value = b.tensor_pad(bias, None, pads=(0,) * 7 + (keys - bias.shape[3],))
    return padded


def _check(window_cache: int, quantized: Collection[str], scales: Sequence[Value | None]) -> None:
    if set(quantized) != {"NONE"} or any(s is not None for s in scales):
        raise UnsupportedError("its caches are quantized", "export the model with caches of floats")
    if window_cache:
        raise UnsupportedError(
            "its caches hold a window only (sliding_window_cache)", "export the model with caches of the whole length"
        )


@onnx_op("GroupQueryAttention", since=1, domain=MICROSOFT)
def group_query_attention(
    b: OnnxBuilder,
    *inputs: Value | None,
    causal: int = 1,
    do_rotary: int = 0,
    k_norm_epsilon: float | None = None,
    k_quant_type: str = "NONE",
    kv_cache_bit_width: int = 0,
    kv_num_heads: int,
    local_window_size: int = -1,
    num_heads: int,
    q_norm_epsilon: float | None = None,
    qk_norm_epsilon: float = 1e-6,
    qk_output: int = 0,
    rotary_interleaved: int = 0,
    scale: float = 0.0,
    sliding_window_cache: int = 0,
    smooth_softmax: int = 0,
    softcap: float = 0.0,
    v_quant_type: str = "NONE",
) -> Any:
    given = given_inputs(inputs, 17, (0, 5, 6))
    query, key, value, past_key, past_value, seqlens_k, total, cos, sin = given[:9]
    position_ids, attention_bias, head_sink, k_scale, v_scale, q_norm, k_norm, query_seqlens = given[9:]
    _check(sliding_window_cache, (k_quant_type, v_quant_type), (k_scale, v_scale))
    q, k, v = _heads(b, query, key, value, num_heads, kv_num_heads)
    cached: Dim = 0 if past_key is None else past_key.shape[2]
    rows = _rows(b, q, seqlens_k, query_seqlens, dmax(b.dims(total, "total sequence length")[0], cached))
    if q_norm is not None and k_norm is not None:
        q = b.nn_rms_norm(q, q_norm, axis=3, epsilon=qk_norm_epsilon if q_norm_epsilon is None else q_norm_epsilon)
        k = b.nn_rms_norm(k, k_norm, axis=3, epsilon=qk_norm_epsilon if k_norm_epsilon is None else k_norm_epsilon)
    if do_rotary:
        if cos is None or sin is None:
            raise UnsupportedError("do_rotary is set, but it lacks its caches of angles", "the model is not valid")
        q, k = _turned(b, rows, (q, k), (cos, sin), position_ids, bool(rotary_interleaved))
    k, v = rows.present(b, past_key, k), rows.present(b, past_value, v)
    visible = rows.visible(b, bool(causal), local_window_size)
    mask = additive(b, visible, q.tensor.dtype, float("-inf"))
    sink = _sink(b, q, head_sink, smooth_softmax == 1)
    scores = Scores(
        scale or default_scale(q), total_of(b, mask, _padded_bias(b, attention_bias, rows.keys)), softcap, sink
    )
    every = [shared_heads(b, x, num_heads) for x in (k, v)]
    y = join_heads(b, scores.apply(b, q, *every))
    return y, k, v, _output_qk(b, scores, q, every[0], qk_output, visible) if b.wants(3) else None


def _sink(b: OnnxBuilder, q: Value, head_sink: Value | None, smooth: bool) -> Value | None:
    if head_sink is not None:
        return b.reshaped(head_sink, (1, q.shape[1], 1, 1))
    return b.reshaped(b.like(q, 0), (1, 1, 1, 1)) if smooth else None


def _output_qk(b: OnnxBuilder, scores: Scores, q: Value, k: Value, mode: int, visible: Value) -> Value:
    """Return the scores before the softmax (mode 1; 0 where a key is not visible) or after it (mode 2)."""
    if mode not in (1, 2):
        raise UnsupportedError(f"its output of scores is read, but qk_output is {mode}", "1 is before softmax, 2 after")
    before = scores.biased(b, scores.capped(b, scores.products(b, q, k)))
    return b.where(visible, before, b.like(before, 0)) if mode == 1 else scores.weights(b, before)
