"""Operators that draw random numbers.

A compiled model gives the same result for the same inputs: the numbers of a node follow from its seed, or, where it
has none, from its name. Nodes of different names draw different numbers, and so does every trip of a loop that is
unrolled; a loop whose trips are counted at run time draws the same ones in every trip.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_frontends.onnx.tensors import dtype_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType


def key_of(b: OnnxBuilder, seed: float | None) -> int:
    """Return the key of the numbers that the node at hand draws."""
    name = b.location.node
    drawn = b.importer.draws[name]
    b.importer.draws[name] += 1
    text = f"{name if seed is None else float(seed)!r} {drawn}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def uniform(b: OnnxBuilder, key: int, shape: Sequence[Dim], dtype: DType, words: tuple[int, int] = (0, 1)) -> Value:
    """Return numbers of f32 (24 random bits) or f64 (53 random bits), at least 0 and below 1.

    Args:
        b: the builder.
        key: of :func:`key_of`.
        shape: the shape of the result.
        dtype: f64, or any other float for f32.
        words: the words of the generator to take: f64 takes both, f32 the first.
    """

    def bits(word: int, kept: int) -> Value:
        drawn = b.random_bits(shape=tuple(shape), key=key, word=word)
        return b.cast(b.shift_right(drawn, b.const(32 - kept, dtype=DType.U32)), to=DType.I32)

    if dtype is not DType.F64:
        return b.mul(b.cast(bits(words[0], 24), to=DType.F32), b.const(2.0**-24, dtype=DType.F32))
    high, low = (b.cast(bits(w, kept), to=DType.F64) for w, kept in zip(words, (27, 26), strict=True))
    return b.mul(b.add(b.mul(high, b.const(2.0**26)), low), b.const(2.0**-53))


def normal(b: OnnxBuilder, key: int, shape: Sequence[Dim], dtype: DType) -> Value:
    """Return normally distributed numbers (Box and Muller 1958, https://doi.org/10.1214/aoms/1177706645)."""
    first, second = uniform(b, key, shape, dtype), uniform(b, key, shape, dtype, (2, 3))
    one_bit = b.like(first, 2.0**-53 if dtype is DType.F64 else 2.0**-24)
    radius = b.sqrt(b.mul(b.log(b.add(first, one_bit)), b.like(first, -2)))
    return b.mul(radius, b.cos(b.mul(second, b.like(second, 2 * math.pi))))


def _draw(b: OnnxBuilder, shape: Sequence[Dim], dtype: DType, seed: float | None, scale: float, shift: float) -> Value:
    """Return numbers of the distribution that the node's name says, times ``scale``, plus ``shift``."""
    if not dtype.is_float:
        raise UnsupportedError(f"it draws numbers of the type {dtype}", "the model is not valid ONNX")
    distribution = normal if "Normal" in b.op_type else uniform
    x = distribution(b, key_of(b, seed), shape, dtype)
    return b.cast_to(b.add(b.mul(x, b.like(x, scale)), b.like(x, shift)), dtype)


@onnx_op("RandomNormal")
def random_normal(
    b: OnnxBuilder,
    *,
    shape: Sequence[int],
    dtype: int = 1,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
) -> Value:
    return _draw(b, shape, dtype_of(dtype), seed, scale, mean)


@onnx_op("RandomUniform")
def random_uniform(
    b: OnnxBuilder,
    *,
    shape: Sequence[int],
    dtype: int = 1,
    low: float = 0.0,
    high: float = 1.0,
    seed: float | None = None,
) -> Value:
    return _draw(b, shape, dtype_of(dtype), seed, high - low, low)


@onnx_op("RandomNormalLike")
def random_normal_like(
    b: OnnxBuilder,
    x: Value,
    *,
    dtype: int | None = None,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
) -> Value:
    return _draw(b, x.shape, x.tensor.dtype if dtype is None else dtype_of(dtype), seed, scale, mean)


@onnx_op("RandomUniformLike")
def random_uniform_like(
    b: OnnxBuilder,
    x: Value,
    *,
    dtype: int | None = None,
    low: float = 0.0,
    high: float = 1.0,
    seed: float | None = None,
) -> Value:
    return _draw(b, x.shape, x.tensor.dtype if dtype is None else dtype_of(dtype), seed, high - low, low)


@onnx_op("Bernoulli", since=15)
def bernoulli(b: OnnxBuilder, p: Value, *, dtype: int | None = None, seed: float | None = None) -> Value:
    drawn = uniform(b, key_of(b, seed), p.shape, p.tensor.dtype)
    hit = b.lt(drawn, b.cast_to(p, drawn.tensor.dtype))
    return b.cast_to(hit, p.tensor.dtype if dtype is None else dtype_of(dtype))


@onnx_op("Multinomial")
def multinomial(
    b: OnnxBuilder, logits: Value, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None
) -> Value:
    """The number of classes up to which the probabilities add up to no more than a uniform number."""
    if logits.rank != 2 or sample_size < 0:
        raise UnsupportedError(f"it draws {sample_size} samples from {logits.type}", "the model is not valid ONNX")
    batch, classes = logits.shape
    wide = DType.F64 if logits.tensor.dtype is DType.F64 else DType.F32
    upto = b.tensor_cumsum(b.nn_softmax(b.cast_to(logits, wide), axis=1), axis=1)
    total = b.tensor_slice(upto, starts=(classes - 1,), ends=(classes,), axes=(1,), steps=(1,))
    drawn = b.mul(uniform(b, key_of(b, seed), (batch, sample_size), wide), total)
    passed = b.le(b.reshaped(upto, (batch, 1, classes)), b.reshaped(drawn, (batch, sample_size, 1)))
    count = b.reduce_sum(b.cast(passed, to=DType.I64), axes=(2,), keepdims=False)
    last = b.reshaped(b.tensor_dims(dims=(classes - 1,)), ())
    return b.cast_to(b.minimum(count, last), dtype_of(dtype))


@onnx_op("Dropout")
def dropout_with_number_mask(b: OnnxBuilder, x: Value, *, ratio: float = 0.5) -> Any:
    kept = b.tensor_full(b.like(x, 1), shape=x.shape) if b.wants(1) else None
    return x, kept


@onnx_op("Dropout", since=10)
def dropout_by_attribute(b: OnnxBuilder, x: Value, *, ratio: float = 0.5) -> Any:
    return x, _all_kept(b, x)


@onnx_op("Dropout", since=12)
def dropout(
    b: OnnxBuilder,
    x: Value,
    ratio: Value | None = None,
    training_mode: Value | None = None,
    *,
    seed: int | None = None,
) -> Any:
    trains, rate = b.array(training_mode), b.array(ratio)
    if rate is not None and not 0 <= float(rate.reshape(())) < 1:
        raise UnsupportedError(
            f"its ratio is {float(rate.reshape(()))}, not from 0 to 1", "the model is not valid ONNX"
        )
    kept = (trains is not None and not trains.any()) or (rate is not None and not rate.any())
    if training_mode is None or kept:
        return x, _all_kept(b, x)
    key = key_of(b, None if seed is None else float(seed))
    drawn = uniform(b, key, x.shape, x.tensor.dtype)
    share = b.like(drawn, 0.5) if ratio is None else b.cast_to(b.reshaped(ratio, ()), drawn.tensor.dtype)
    one, mode = b.like(drawn, 1), b.reshaped(training_mode, ())
    mask = b.or_(b.ge(drawn, share), b.not_(mode))
    scale = b.where(mode, b.div(one, b.sub(one, share)), one)
    scaled = b.mul(x, b.cast_to(scale, x.tensor.dtype))
    return b.where(mask, scaled, b.like(x, 0)), mask


def _all_kept(b: OnnxBuilder, x: Value) -> Value | None:
    return b.tensor_full(b.const(np.True_), shape=x.shape) if b.wants(1) else None
