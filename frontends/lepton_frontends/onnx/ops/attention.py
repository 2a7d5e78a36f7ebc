"""Attention."""

from __future__ import annotations

from math import sqrt
from typing import Any

from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import UseFunctionBodyError, onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType


def _heads(b: OnnxBuilder, x: Value, count: int) -> Value:
    """Return [N, S, heads * D] as [N, heads, S, D]."""
    if x.rank == 4:
        return x
    n, s, width = x.shape
    return b.tensor_transpose(b.reshaped(x, (n, s, count, width // count)), perm=(0, 2, 1, 3))


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
    unusual = is_causal or softcap or past_key or past_value or nonpad_kv_seqlen or any(b.wants(i) for i in (1, 2, 3))
    windowed = left_window_size >= 0 or right_window_size >= 0
    if unusual or windowed or q.tensor.dtype is not v.tensor.dtype or (mask is not None and mask.rank < 2):
        raise UseFunctionBodyError
    queries, keys, values = _heads(b, q, q_num_heads), _heads(b, k, kv_num_heads), _heads(b, v, kv_num_heads)
    width, length = queries.shape[-1], keys.shape[-2]
    if not isinstance(width, int) or (mask is not None and mask.shape[-1] != length):
        raise UseFunctionBodyError
    keys, values = (_shared(b, x, queries.shape[1]) for x in (keys, values))
    factor = 1 / sqrt(width) if scale is None else scale
    y = b.nn_attention(queries, keys, values, _additive(b, mask, queries), scale=factor)
    if mask is not None and mask.tensor.dtype is DType.BOOL:
        # A query that may look at nothing gives zeros, where softmax would give NaN.
        sees = b.reduce_any(mask, axes=(mask.rank - 1,), keepdims=True)
        y = b.where(sees, y, b.like(y, 0))
    if q.rank == 4:
        return y
    n, heads, s, each = y.shape
    return b.reshaped(b.tensor_transpose(y, perm=(0, 2, 1, 3)), (n, s, heads * each))


def _shared(b: OnnxBuilder, x: Value, heads: Dim) -> Value:
    """Return keys or values with each of their heads repeated for the query heads that share it."""
    n, own, s, d = x.shape
    if own == heads:
        return x
    times = heads // own
    spread = b.tensor_expand(b.reshaped(x, (n, own, 1, s, d)), shape=(n, own, times, s, d))
    return b.reshaped(spread, (n, heads, s, d))


def _additive(b: OnnxBuilder, mask: Value | None, q: Value) -> Value | None:
    if mask is None or mask.tensor.dtype is not DType.BOOL:
        return mask
    return b.where(mask, b.like(q, 0), b.like(q, float("-inf")))
