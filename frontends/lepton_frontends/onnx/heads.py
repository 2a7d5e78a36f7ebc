"""What the attention operators of all domains share: heads, positions, masks, the attention itself."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType


def split_heads(b: OnnxBuilder, x: Value, count: int) -> Value:
    """Return [N, S, heads * D] as [N, heads, S, D]; what has rank 4 is that already.

    Raises:
        UnsupportedError: the last axis does not hold as many heads.
    """
    if x.rank == 4:
        return x
    n, s, width = x.shape
    if count < 1 or (isinstance(width, int) and width % count):
        raise UnsupportedError(f"its {width} channels cannot be split into {count} heads", "the model is not valid")
    return b.tensor_transpose(b.reshaped(x, (n, s, count, width // count)), perm=(0, 2, 1, 3))


def join_heads(b: OnnxBuilder, x: Value) -> Value:
    """Return [N, heads, S, D] as [N, S, heads * D]."""
    n, heads, s, each = x.shape
    return b.reshaped(b.tensor_transpose(x, perm=(0, 2, 1, 3)), (n, s, heads * each))


def shared_heads(b: OnnxBuilder, x: Value, heads: Dim) -> Value:
    """Return keys or values with each of their heads repeated for the query heads that share it.

    Raises:
        UnsupportedError: the numbers of heads do not fit.
    """
    n, own, s, d = x.shape
    if own == heads:
        return x
    if isinstance(own, int) and isinstance(heads, int) and (own < 1 or heads % own):
        raise UnsupportedError(f"{heads} query heads cannot share {own} heads of keys", "the model is not valid")
    times = heads // own
    spread = b.tensor_expand(b.reshaped(x, (n, own, 1, s, d)), shape=(n, own, times, s, d))
    return b.reshaped(spread, (n, heads, s, d))


def with_past(b: OnnxBuilder, past: Value | None, x: Value) -> Value:
    """Return the cached keys or values with the new ones after them, [N, heads, P + S, D]."""
    return x if past is None else b.tensor_concat((past, x), axis=2)


def default_scale(q: Value) -> float:
    """Return 1 / sqrt(D) for queries [..., D].

    Raises:
        UnsupportedError: D is not a number.
    """
    width = q.shape[-1]
    if not isinstance(width, int):
        raise UnsupportedError(f"its heads have {width} channels, a dynamic size", 'set it, with dims={"name": size}')
    return 1 / sqrt(width)


def positions(b: OnnxBuilder, size: Dim, *, rows: bool = False) -> Value:
    """Return 0, 1, ... as a row [size], or as a column [size, 1]."""
    return b.tensor_iota(shape=(size, 1) if rows else (size,), axis=0, dtype=DType.I64)


def per_batch(b: OnnxBuilder, x: Value) -> Value:
    """Return numbers [B] as [B, 1, 1, 1], in i64."""
    return b.reshaped(b.cast_to(x, DType.I64), (x.shape[0], 1, 1, 1))


def additive(b: OnnxBuilder, visible: Value, dtype: DType, hidden: float) -> Value:
    """Return what is added to the scores: 0 where a key is visible, else ``hidden``."""
    return b.where(visible, b.const(0, dtype=dtype), b.const(hidden, dtype=dtype))


def total_of(b: OnnxBuilder, *values: Value | None) -> Value | None:
    """Return the sum of the values that are there, None where none is."""
    total: Value | None = None
    for value in values:
        if value is not None:
            total = value if total is None else b.add(total, value)
    return total


@dataclass(frozen=True)
class Scores:
    """How scores become weights.

    Attributes:
        scale: what the products are multiplied by.
        bias: added after the soft cap, broadcasts to [N, heads, S, T].
        softcap: c in c * tanh(scores / c); 0 for none.
        sink: the logit of one more key that all queries see and that has no value, broadcasts to [N, heads, S, 1].
    """

    scale: float
    bias: Value | None = None
    softcap: float = 0.0
    sink: Value | None = None

    def apply(self, b: OnnxBuilder, q: Value, k: Value, v: Value) -> Value:
        """Return the attention of q [N, heads, S, D] to keys and values [N, heads, T, D]."""
        if not self.softcap and self.sink is None:
            attended: Value = b.nn_attention(q, k, v, self.bias, scale=self.scale)
            return attended
        return b.linalg_matmul(self.weights(b, self.biased(b, self.capped(b, self.products(b, q, k)))), v)

    def products(self, b: OnnxBuilder, q: Value, k: Value) -> Value:
        """Return q k^T * scale."""
        scores = b.linalg_matmul(q, k, transpose_b=True)
        return b.mul(scores, b.like(scores, self.scale))

    def capped(self, b: OnnxBuilder, scores: Value) -> Value:
        """Return the scores after the soft cap."""
        if not self.softcap:
            return scores
        cap = b.like(scores, self.softcap)
        return b.mul(b.tanh(b.div(scores, cap)), cap)

    def biased(self, b: OnnxBuilder, scores: Value) -> Value:
        """Return the scores with the bias."""
        return scores if self.bias is None else b.add(scores, self.bias)

    def weights(self, b: OnnxBuilder, scores: Value) -> Value:
        """Return the softmax over the keys, and over the sink where there is one."""
        last = scores.rank - 1
        if self.sink is None:
            return b.nn_softmax(scores, axis=last)
        sink = b.tensor_expand(self.sink, shape=(*scores.shape[:-1], 1))
        kept, _ = b.tensor_split(
            b.nn_softmax(b.tensor_concat((scores, sink), axis=last), axis=last),
            axis=last,
            sizes=(scores.shape[-1], 1),
        )
        weights: Value = kept
        return weights
