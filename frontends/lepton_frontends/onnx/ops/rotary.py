"""Rotary position embeddings (Su et al., RoFormer, https://arxiv.org/abs/2104.09864)."""

from __future__ import annotations

from typing import Any

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.heads import join_heads, positions, split_heads
from lepton_frontends.onnx.rules import MICROSOFT, onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType


def rotated(b: OnnxBuilder, x: Value, cos: Value, sin: Value, interleaved: bool) -> Value:
    """Return x [N, heads, S, D] with its first 2 * R channels turned, pair by pair.

    Args:
        b: the builder.
        x: what is turned.
        cos: the angles' cosines, [N or 1, S, R].
        sin: their sines.
        interleaved: a pair is two neighbours, else channels r and r + R.

    Raises:
        UnsupportedError: there are more angles than pairs, or the sizes are not numbers.
    """
    half, width = cos.shape[-1], x.shape[-1]
    if not isinstance(half, int) or not isinstance(width, int) or not 0 < 2 * half <= width:
        raise UnsupportedError(f"{half} angles do not fit heads of {width} channels", "the model is not valid")
    turned, *rest = _split(b, x, (2 * half, width - 2 * half))
    c, s = (b.reshaped(v, (v.shape[0], 1, *v.shape[1:])) for v in (cos, sin))
    n, heads, length, _ = x.shape
    if interleaved:
        pairs = b.reshaped(turned, (n, heads, length, half, 2))
        real, imaginary = (b.reshaped(v, (n, heads, length, half)) for v in _split(b, pairs, (1, 1)))
    else:
        real, imaginary = _split(b, turned, (half, half))
    parts = [b.sub(b.mul(real, c), b.mul(imaginary, s)), b.add(b.mul(real, s), b.mul(imaginary, c))]
    if interleaved:
        columns = [b.reshaped(p, (n, heads, length, half, 1)) for p in parts]
        y = b.reshaped(b.tensor_concat(columns, axis=4), (n, heads, length, 2 * half))
        return y if not rest else b.tensor_concat((y, *rest), axis=3)
    return b.tensor_concat((*parts, *rest), axis=3)


def _split(b: OnnxBuilder, x: Value, sizes: tuple[int, ...]) -> Any:
    """Return the parts of the last axis that are not empty."""
    kept = tuple(s for s in sizes if s)
    return (x,) if len(kept) == 1 else b.tensor_split(x, axis=x.rank - 1, sizes=kept)


@onnx_op("RotaryEmbedding", since=1, domain=MICROSOFT)
def microsoft_rotary_embedding(
    b: OnnxBuilder,
    x: Value,
    position_ids: Value,
    cos_cache: Value,
    sin_cache: Value,
    *,
    interleaved: int = 0,
    is_packed_batching: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float = 1.0,
) -> Value:
    """Positions are one offset [1] for all rows, or [N, S]; ``scale`` is not used (nor is it by ONNX Runtime)."""
    heads = _heads(x, cos_cache, num_heads if rotary_embedding_dim else 0)
    ids = position_ids
    if ids.rank < 2:
        length = x.shape[2 if x.rank == 4 else 1]
        ids = b.reshaped(b.add(positions(b, length), b.cast_to(ids, DType.I64)), (1, length))
    cos, sin = (b.tensor_gather(cache, ids, axis=0) for cache in (cos_cache, sin_cache))
    y = rotated(b, split_heads(b, x, heads), cos, sin, bool(interleaved))
    return y if x.rank == 4 else join_heads(b, y)


def _heads(x: Value, cache: Value, given: int) -> int:
    """Return how many heads x [N, S, heads * D] has; where the model does not say, all channels are turned."""
    half: Dim = cache.shape[-1]
    if given or x.rank == 4:
        return given
    width = x.shape[-1]
    if not isinstance(width, int) or not isinstance(half, int) or width % (2 * half):
        raise UnsupportedError(f"its {width} channels are no heads of {2 * half} channels", "set num_heads")
    return width // (2 * half)


@onnx_op("RotaryEmbedding", since=23)
def rotary_embedding(
    b: OnnxBuilder,
    x: Value,
    cos_cache: Value,
    sin_cache: Value,
    position_ids: Value | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Value:
    """The caches are [positions, R] with position ids, else [N, S, R]."""
    if x.rank == 3 and num_heads < 1:
        raise UnsupportedError("it lacks its attribute num_heads", "a tensor of rank 3 needs it")
    cos, sin = cos_cache, sin_cache
    if position_ids is not None:
        cos, sin = (b.tensor_gather(cache, position_ids, axis=0) for cache in (cos, sin))
    y = rotated(b, split_heads(b, x, num_heads), cos, sin, bool(interleaved))
    return y if x.rank == 4 else join_heads(b, y)
