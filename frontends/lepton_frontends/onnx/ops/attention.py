"""Attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

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
from lepton_frontends.onnx.rules import UseFunctionBodyError, onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType


@onnx_op("Attention", since=23)
def attention(
    b: OnnxBuilder,
    q: Value,
    k: Value,
    v: Value,
    mask: Value | None = None,
    past_key: Value | None = None,
    past_value: Value | None = None,
    nonpad_kv_seqlen: Value | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int = 0,
    left_window_size: int = -1,
    q_num_heads: int = 0,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int = 0,
) -> Any:
    if b.wants(3) or q.tensor.dtype is not v.tensor.dtype or (past_key is None) != (past_value is None):
        raise UseFunctionBodyError
    queries, keys, values = (split_heads(b, x, n) for x, n in ((q, q_num_heads), (k, kv_num_heads), (v, kv_num_heads)))
    keys, values = with_past(b, past_key, keys), with_past(b, past_value, values)
    offset: Dim = 0 if past_key is None else past_key.shape[2]
    bounds = _Bounds(bool(is_causal), left_window_size, right_window_size, nonpad_kv_seqlen, offset)
    if not isinstance(queries.shape[-1], int):
        raise UseFunctionBodyError
    bias, guarded = bounds.bias(b, mask, queries, keys)
    scores = Scores(default_scale(queries) if scale is None else scale, bias, softcap)
    shared = [shared_heads(b, x, queries.shape[1]) for x in (keys, values)]
    y = scores.apply(b, queries, *shared)
    if guarded and bias is not None:
        # A query that may look at nothing gives zeros, where softmax would give NaN.
        peak = b.reduce_max(bias, axes=(bias.rank - 1,), keepdims=True)
        y = b.where(b.gt(peak, b.like(peak, float("-inf"))), y, b.like(y, 0))
    return y if q.rank == 4 else join_heads(b, y), keys, values


@dataclass(frozen=True)
class _Bounds:
    """What the positions of queries and keys allow. Query i stands at i + offset.

    Attributes:
        causal: no key after the query's position.
        left: how many keys before it may be seen; -1 for all.
        right: how many after it.
        lengths: how many keys there are, [B]; then the last query stands at the last of them.
        offset: the keys before the first query, where there are no lengths.
    """

    causal: bool
    left: int
    right: int
    lengths: Value | None
    offset: Dim

    def bias(self, b: OnnxBuilder, mask: Value | None, q: Value, k: Value) -> tuple[Value | None, bool]:
        """Return what is added to the scores, and whether it may hide all keys from a query."""
        length, dtype = k.shape[2], q.tensor.dtype
        visible = self._visible(b, q.shape[2], length)
        guarded = mask is not None or self.lengths is not None or self.left >= 0
        if mask is None:
            return None if visible is None else additive(b, visible, dtype, float("-inf")), guarded
        mask = _whole(b, mask, length)
        if mask.tensor.dtype is DType.BOOL:
            both = mask if visible is None else b.and_(mask, visible)
            return additive(b, both, dtype, float("-inf")), guarded
        guarded = guarded and not (visible is None and _hides_no_row(b.array(mask)))
        hidden = None if visible is None else additive(b, visible, dtype, float("-inf"))
        return total_of(b, mask, hidden), guarded

    def _visible(self, b: OnnxBuilder, queries: Dim, keys: Dim) -> Value | None:
        conditions = []
        key = positions(b, keys)
        if self.causal or self.left >= 0 or self.right >= 0:
            own = b.add(positions(b, queries, rows=True), self._start(b, queries))
            if self.causal or self.right >= 0:
                last = 0 if self.causal else self.right
                conditions.append(b.le(key, b.add(own, b.like(own, last))))
            if self.left >= 0:
                conditions.append(b.ge(key, b.sub(own, b.like(own, self.left))))
        if self.lengths is not None:
            conditions.append(b.lt(key, per_batch(b, self.lengths)))
        visible: Value | None = None
        for condition in conditions:
            visible = condition if visible is None else b.and_(visible, condition)
        return visible

    def _start(self, b: OnnxBuilder, queries: Dim) -> Value:
        """Return the position of the first query."""
        if self.lengths is None:
            return b.reshaped(b.tensor_dims(dims=(self.offset,)), ())
        return b.sub(per_batch(b, self.lengths), b.reshaped(b.tensor_dims(dims=(queries,)), ()))


def _whole(b: OnnxBuilder, mask: Value, keys: Dim) -> Value:
    """Return the mask with rank 2 at least, and a column for every key: those that it lacks are hidden."""
    if mask.rank < 2:
        mask = b.reshaped(mask, (1, *mask.shape) if mask.rank else (1, 1))
    if mask.shape[-1] == keys:
        return mask
    hidden = b.const(False) if mask.tensor.dtype is DType.BOOL else b.like(mask, float("-inf"))
    padded: Value = b.tensor_pad(mask, hidden, pads=(0,) * (2 * mask.rank - 1) + (keys - mask.shape[-1],))
    return padded


def _hides_no_row(mask: np.ndarray | None) -> bool:
    """Return whether a constant mask leaves every query a key."""
    return mask is not None and not np.isneginf(mask.astype(np.float32).max(-1)).any()
