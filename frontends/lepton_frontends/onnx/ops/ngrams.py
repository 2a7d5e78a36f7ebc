"""Counting n-grams of integers, and of strings, which become integers first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.ops.strings import string_ids
from lepton_frontends.onnx.rules import onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType


@onnx_op("TfIdfVectorizer", since=9)
def tf_idf_vectorizer(
    b: OnnxBuilder,
    x: Value,
    *,
    mode: str,
    ngram_counts: Sequence[int],
    ngram_indexes: Sequence[int],
    min_gram_length: int,
    max_gram_length: int,
    max_skip_count: int,
    pool_int64s: Sequence[int] = (),
    pool_strings: Sequence[str] = (),
    weights: Sequence[float] = (),
) -> Value:
    """Every n-gram of the pool is compared with every window of the rows."""
    if pool_strings:
        x, pool_int64s = string_ids(b, x, pool_strings)
    if mode not in ("TF", "IDF", "TFIDF") or x.rank not in (1, 2) or min_gram_length < 1 or max_skip_count < 0:
        raise UnsupportedError(f'its mode is "{mode}" and its input {x.type}', "the model is not valid ONNX")
    rows = b.reshaped(x, (1, x.shape[0])) if x.rank == 1 else x
    pool = list(_grams(pool_int64s, ngram_counts))
    lengths = np.array([g.shape[1] for g in pool for _ in g], np.int64)
    if len(lengths) != len(ngram_indexes) or not pool or min(ngram_indexes) < 0:
        raise UnsupportedError(f"it has {len(ngram_indexes)} ngram_indexes for {len(lengths)} n-grams")
    if len(weights) not in (0, len(lengths)):
        raise UnsupportedError(f"it has {len(weights)} weights for {len(lengths)} n-grams")
    taken = (lengths >= min_gram_length) & (lengths <= max_gram_length)
    counts = [_counted(b, rows, g, max_skip_count) for g in pool if min_gram_length <= g.shape[1] <= max_gram_length]
    size = max(ngram_indexes) + 1
    y = b.tensor_full(b.const(0, dtype=DType.F32), shape=(rows.shape[0], size))
    if counts:
        each = counts[0] if len(counts) == 1 else b.tensor_concat(counts, axis=1)
        each = _weighted(b, each, mode, np.array(weights or [1] * len(lengths), np.float32)[taken])
        places = np.array(ngram_indexes, np.int64)[taken]
        index = b.tensor_expand(b.const(places[None]), shape=(rows.shape[0], len(places)))
        y = b.tensor_scatter_elements(y, index, each, axis=1, reduction="add")
    return b.reshaped(y, (size,)) if x.rank == 1 else y


def _grams(pool: Sequence[int], starts: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield the 1-grams of the pool, the 2-grams, and so on, each as [number, n]; sizes without any are left out."""
    for n, (start, end) in enumerate(zip(starts, [*starts[1:], len(pool)], strict=True), 1):
        part = np.array(pool[start:end], np.int64)
        if len(part) % n or start > end:
            raise UnsupportedError(f"its pool holds no whole number of {n}-grams", "the model is not valid ONNX")
        if len(part):
            yield part.reshape(-1, n)


def _counted(b: OnnxBuilder, rows: Value, grams: np.ndarray, skips: int) -> Value:
    """Return how often each n-gram stands in each row, with any number of elements up to ``skips`` left out between."""
    number, n = grams.shape
    total: Value | None = None
    for step in range(1, skips + 2 if n > 1 else 2):
        windows = rows.shape[1] - (n - 1) * step
        if isinstance(windows, int) and windows < 1:
            break
        hit: Value | None = None
        for k in range(n):
            part = b.tensor_slice(rows, starts=(k * step,), ends=(k * step + windows,), axes=(1,), steps=(1,))
            wanted = b.const(grams[:, k].reshape(1, 1, number).astype(rows.tensor.dtype.numpy))
            same = b.eq(b.reshaped(part, (rows.shape[0], windows, 1)), wanted)
            hit = same if hit is None else b.and_(hit, same)
        count = b.reduce_sum(b.cast(hit, to=DType.F32), axes=(1,), keepdims=False)
        total = count if total is None else b.add(total, count)
    return b.tensor_full(b.const(0, dtype=DType.F32), shape=(rows.shape[0], number)) if total is None else total


def _weighted(b: OnnxBuilder, counts: Value, mode: str, weights: np.ndarray) -> Value:
    if mode == "IDF":
        counts = b.cast(b.gt(counts, b.const(0, dtype=DType.F32)), to=DType.F32)
    return counts if mode == "TF" or (weights == 1).all() else b.mul(counts, b.const(weights))
