"""Operators that draw random numbers.

A compiled model gives the same result for the same inputs: every call of such an operator in the model draws numbers
of its own, which are the same in every run, and in every trip of a loop that is counted at run time. They follow the
distribution that the operator names, but are not the numbers that PyTorch would draw.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import dim_of, dims_of, dtype_of, int_of, number_of, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType


def _key(b: AtenBuilder) -> int:
    """Return a key that no other call has."""
    name = b.importer.fresh_name()
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") >> 1


_PRECISION = {DType.F16: 11, DType.BF16: 8, DType.F32: 24, DType.F64: 53}
"""The bits of a float's significand."""


def _wide(dtype: DType) -> DType:
    return DType.F64 if dtype is DType.F64 else DType.F32


def _bits(b: AtenBuilder, shape: Sequence[Dim], key: int, word: int, kept: int) -> Value:
    drawn = b.random_bits(shape=tuple(shape), key=key, word=word)
    return b.cast(b.shift_right(drawn, b.const(32 - kept, dtype=DType.U32)), to=DType.I32)


def uniform_numbers(b: AtenBuilder, shape: Sequence[Dim], dtype: DType, key: int, words: tuple[int, int]) -> Value:
    """Return numbers at least 0 and below 1, f64 (53 random bits) or f32 (24 bits; fewer for narrower floats).

    So many bits does the float type hold that rounding to it gives no 1.
    """
    if dtype is not DType.F64:
        kept = _PRECISION.get(dtype, 24)
        return b.mul(b.cast(_bits(b, shape, key, words[0], kept), to=DType.F32), b.const(2.0**-kept, dtype=DType.F32))
    high, low = (b.cast(_bits(b, shape, key, w, kept), to=DType.F64) for w, kept in zip(words, (27, 26), strict=True))
    return b.mul(b.add(b.mul(high, b.const(2.0**26)), low), b.const(2.0**-53))


def _uniform(b: AtenBuilder, shape: Sequence[Dim], dtype: DType) -> Value:
    return uniform_numbers(b, shape, dtype, _key(b), (0, 1))


def _above_zero(b: AtenBuilder, shape: Sequence[Dim], dtype: DType) -> Value:
    """Return uniform numbers above 0, up to 1, whose logarithms are finite."""
    x = _uniform(b, shape, dtype)
    return b.sub(b.like(x, 1), x)


def _normal(b: AtenBuilder, shape: Sequence[Dim], dtype: DType) -> Value:
    """Return normally distributed numbers (Box and Muller 1958, https://doi.org/10.1214/aoms/1177706645)."""
    key, kind = _key(b), _wide(dtype)
    first, second = (uniform_numbers(b, shape, kind, key, words) for words in ((0, 1), (2, 3)))
    radius = b.sqrt(b.mul(b.log(b.sub(b.like(first, 1), first)), b.like(first, -2)))
    return b.mul(radius, b.cos(b.mul(second, b.like(second, 2 * math.pi))))


def _whole(b: AtenBuilder, shape: Sequence[Dim], low: int, high: int) -> Value:
    """Return integers of i64 from ``low`` up to, but without, ``high``."""
    if high <= low:
        raise UnsupportedError(f"it draws integers from {low} up to {high}, and there are none")
    span = high - low
    if span > 1 << 53:
        raise UnsupportedError(f"it draws from {span} integers", "draw from at most 2**53")
    x = uniform_numbers(b, shape, DType.F64, _key(b), (0, 1))
    place = b.cast(b.floor(b.mul(x, b.like(x, span))), to=DType.I64)
    return b.add(place, b.const(low, dtype=DType.I64))


@aten_op("rand", "randn")
def rand(b: AtenBuilder, size: Any, *_: Any, dtype: Any = None, names: Any = None) -> Value:
    kind = dtype_of(dtype, DType.F32)
    draw = _uniform if b.op == "rand" else _normal
    return b.convert(draw(b, dims_of(b, size), kind), kind)


@aten_op("rand_like", "randn_like")
def rand_like(b: AtenBuilder, self: Value, *, dtype: Any = None) -> Value:
    kind = dtype_of(dtype, self.tensor.dtype)
    draw = _uniform if b.op == "rand_like" else _normal
    return b.convert(draw(b, self.shape, kind), kind)


def _bounds(given: Sequence[Any], low: Any, high: Any) -> tuple[int, int]:
    """Return the bounds of integers: one number is the upper one, and the lower one 0."""
    numbers = [*([] if low is None else [low]), *given, *([] if high is None else [high])]
    first, last = numbers if len(numbers) == 2 else (0, numbers[0])
    return int_of(first, "lower bound"), int_of(last, "upper bound")


@aten_op("randint")
def randint(
    b: AtenBuilder, *given: Any, low: Any = None, high: Any = None, size: Any = None, dtype: Any = None
) -> Value:
    numbers = list(given)
    shape = size if size is not None else numbers.pop()
    least, end = _bounds(numbers, low, high)
    return b.convert(_whole(b, dims_of(b, shape), least, end), dtype_of(dtype, DType.I64))


@aten_op("randint_like")
def randint_like(
    b: AtenBuilder, self: Value, *given: Any, low: Any = None, high: Any = None, dtype: Any = None
) -> Value:
    least, end = _bounds(given, low, high)
    return b.convert(_whole(b, self.shape, least, end), dtype_of(dtype, self.tensor.dtype))


@aten_op("random")
def random(b: AtenBuilder, self: Value, *given: Any, **named: Any) -> Value:
    """Integers between bounds, else from 0 up to the largest that the type holds exactly."""
    dtype = self.tensor.dtype
    exact = 1 if dtype is DType.BOOL else min(53, dtype.bits - dtype.is_signed)
    most = min((1 << _PRECISION.get(dtype, exact)) + dtype.is_float, 1 << 53)
    low, high = named.get("from"), named.get("to")
    numbers = [g for g in given if g is not None]
    bounded = numbers or low is not None or high is not None
    least, end = _bounds(numbers, low, high) if bounded else (0, most)
    return b.convert(_whole(b, self.shape, least, end), dtype)


@aten_op("randperm")
def randperm(b: AtenBuilder, n: Any, *, dtype: Any = None) -> Value:
    """The order of random numbers."""
    count = dim_of(b, n, "number of elements")
    x = uniform_numbers(b, (count,), DType.F64, _key(b), (0, 1))
    return b.convert(b.tensor_topk(x, k=count, axis=0, largest=False)[1], dtype_of(dtype, DType.I64))


@aten_op("bernoulli")
def bernoulli(b: AtenBuilder, self: Value, p: Any = None) -> Value:
    """Ones with the probability ``p``, else with those that the tensor itself holds."""
    dtype = self.tensor.dtype
    drawn = _uniform(b, self.shape, dtype)
    return b.convert(b.lt(drawn, tensor_of(b, self if p is None else p, drawn.tensor.dtype)), dtype)


@aten_op("uniform")
def uniform(b: AtenBuilder, self: Value, *given: Any, **named: Any) -> Value:
    low, high = [*given, *[named.get("from", 0.0), named.get("to", 1.0)][len(given) :]]
    x = _uniform(b, self.shape, self.tensor.dtype)
    first, last = (tensor_of(b, v, x.tensor.dtype) for v in (low, high))
    return b.convert(b.add(first, b.mul(x, b.sub(last, first))), self.tensor.dtype)


@aten_op("normal")
def normal(b: AtenBuilder, mean: Any, std: Any = 1.0, size: Any = None, *, dtype: Any = None) -> Value:
    """Of means and deviations that are tensors or numbers."""
    tensors = [v for v in (mean, std) if isinstance(v, Value)]
    kind = dtype_of(dtype, DType.F32) if not tensors else tensors[0].tensor.dtype
    if not tensors:
        shape = dims_of(b, size)
    else:
        shape = tensors[0].shape if len(tensors) == 1 else b.add(*(b.convert(t, kind) for t in tensors)).shape
    return b.convert(_moved(b, _normal(b, shape, kind), mean, std), kind)


@aten_op("normal_functional", "normal_")
def normal_functional(b: AtenBuilder, self: Value, mean: Any = 0.0, std: Any = 1.0) -> Value:
    return b.convert(_moved(b, _normal(b, self.shape, self.tensor.dtype), mean, std), self.tensor.dtype)


def _moved(b: AtenBuilder, x: Value, mean: Any, std: Any) -> Value:
    return b.add(b.mul(x, tensor_of(b, std, x.tensor.dtype)), tensor_of(b, mean, x.tensor.dtype))


@aten_op("exponential", "cauchy", "log_normal", "geometric")
def distributed(b: AtenBuilder, self: Value, *given: Any, **named: Any) -> Value:
    """By the inverse of the distribution's cumulative function."""
    dtype = self.tensor.dtype
    numbers = [float(number_of(g, "parameter")) for g in (*given, *named.values())]
    if b.op == "log_normal":
        mean, std = [*numbers, *(1.0, 2.0)[len(numbers) :]]
        return b.convert(b.exp(_moved(b, _normal(b, self.shape, dtype), mean, std)), dtype)
    x = _above_zero(b, self.shape, dtype)
    if b.op == "exponential":
        return b.convert(b.mul(b.log(x), b.like(x, -1 / (numbers or [1.0])[0])), dtype)
    if b.op == "geometric":
        return b.convert(b.ceil(b.div(b.log(x), b.like(x, math.log1p(-numbers[0])))), dtype)
    median, sigma = [*numbers, *(0.0, 1.0)[len(numbers) :]]
    angle = b.mul(b.sub(x, b.like(x, 0.5)), b.like(x, math.pi))
    return b.convert(_moved(b, b.tan(angle), median, sigma), dtype)


@aten_op("multinomial")
def multinomial(b: AtenBuilder, self: Value, num_samples: Any, replacement: Any = False) -> Value:
    """With replacement by cumulative sums; else the classes with the largest log(p) - log(-log(uniform))."""
    count = dim_of(b, num_samples, "number of samples")
    rows = self if self.rank == 2 else b.reshaped(self, (1, *self.shape))
    batch, classes = rows.shape
    x = b.convert(rows, _wide(rows.tensor.dtype))
    if replacement:
        upto = b.tensor_cumsum(x, axis=1)
        total = b.tensor_slice(upto, starts=(classes - 1,), ends=(classes,), axes=(1,), steps=(1,))
        drawn = b.mul(_uniform(b, (batch, count), x.tensor.dtype), total)
        passed = b.le(b.reshaped(upto, (batch, 1, classes)), b.reshaped(drawn, (batch, count, 1)))
        found = b.reduce_sum(b.cast(passed, to=DType.I64), axes=(2,), keepdims=False)
        found = b.minimum(found, b.reshaped(b.tensor_dims(dims=(classes - 1,)), ()))
    else:
        noise = b.neg(b.log(b.neg(b.log(_above_zero(b, x.shape, x.tensor.dtype)))))
        found = b.tensor_topk(b.add(b.log(x), noise), k=count, axis=1)[1]
    return found if self.rank == 2 else b.reshaped(found, (count,))
