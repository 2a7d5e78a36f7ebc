"""Writing and combining elements along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.indexing import scattered
from lepton_frontends.aten.ops.nonzero import flat
from lepton_frontends.aten.ops.slices import cut
from lepton_frontends.aten.ops.views import expanded
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axis_of, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType

_REDUCTIONS = {
    "sum": "add", "add": "add", "mean": "add", "prod": "mul", "multiply": "mul", "amax": "max", "amin": "min",
}  # fmt: skip


@aten_op("scatter", "scatter_add")
def scatter(
    b: AtenBuilder, self: Value, dim: Any, index: Value, src: Any = None, *, value: Any = None, reduce: Any = None
) -> Value:
    given = src if value is None else value
    reduction = "add" if b.op == "scatter_add" else "none" if reduce is None else _reduction(reduce)
    new = b.convert(given, self.tensor.dtype) if isinstance(given, Value) and given.rank else None
    if new is None and not (isinstance(given, Value) and index.rank == 0):
        new = expanded(b, b.reshaped(tensor_of(b, given, self.tensor.dtype), ()), index.shape)
    if new is None:
        new = b.convert(given, self.tensor.dtype)
    return _scattered(b, self, axis_of(dim, self.rank), index, new, reduction)


def _reduction(reduce: str) -> str:
    if reduce not in _REDUCTIONS:
        raise UnsupportedError(f'it combines by "{reduce}"')
    return _REDUCTIONS[reduce]


def _scattered(b: AtenBuilder, x: Value, axis: int, index: Value, new: Value, reduction: str) -> Value:
    """Write or combine the elements of ``new``, as many as there are indices."""
    if index.tensor.size == 0:
        return x
    if not x.rank or not index.rank:
        vectors = b.reshaped(index, (index.tensor.size, 1))
        part = flat(b, _corner(b, new, index.shape))
        return b.reshaped(scattered(b, flat(b, x), vectors, part, reduction), x.shape)
    part = _corner(b, new, index.shape)
    if reduction == "none" or x.tensor.dtype is not DType.BOOL:
        return b.tensor_scatter_elements(x, index, part, axis=axis, reduction=reduction)
    numbers = [b.cast(v, to=DType.I32) for v in (x, part)]
    y = b.tensor_scatter_elements(numbers[0], index, numbers[1], axis=axis, reduction=reduction)
    return b.convert(y, DType.BOOL)


def _corner(b: AtenBuilder, x: Value, shape: tuple[Dim, ...]) -> Value:
    """Return the first elements of x along every axis, as many as a shape has."""
    if not x.rank or not shape:
        return b.reshaped(x, shape or (1,)) if x.tensor.size == 1 else cut(b, flat(b, x), 0, 0, 1)
    for axis, (have, want) in enumerate(zip(x.shape, shape, strict=True)):
        x = x if have == want else cut(b, x, axis, 0, want)
    return x


@aten_op("scatter_reduce")
def scatter_reduce(
    b: AtenBuilder, self: Value, dim: Any, index: Value, src: Value, reduce: str, *, include_self: bool = True
) -> Value:
    axis = axis_of(dim, self.rank)

    def write(x: Value, new: Value, reduction: str) -> Value:
        return _scattered(b, x, axis, index, new, reduction)

    return _reduced(b, self, b.convert(src, self.tensor.dtype), reduce, include_self, write)


@aten_op("index_reduce")
def index_reduce(
    b: AtenBuilder, self: Value, dim: Any, index: Value, source: Value, reduce: str, *, include_self: bool = True
) -> Value:
    axis = axis_of(dim, self.rank)

    def write(x: Value, new: Value, reduction: str) -> Value:
        return _along(b, x, axis, index, new, reduction)

    return _reduced(b, self, b.convert(source, self.tensor.dtype), reduce, include_self, write)


def _reduced(b: AtenBuilder, x: Value, new: Value, reduce: str, include_self: bool, write: Any) -> Value:
    """Combine what ``write`` puts at the same place; the old elements take part or are neutral."""
    reduction, dtype = _reduction(reduce), x.tensor.dtype
    if dtype is DType.BOOL and reduce == "mean":
        raise UnsupportedError("it takes the mean of truth values")
    old = x
    if not include_self:
        neutral = expanded(b, b.const(_neutral(reduction, dtype)), new.shape)
        old = write(old, neutral, "none")
    y = write(old, new, reduction)
    if reduce != "mean":
        return y
    ones = b.full(new.shape, 1, dtype)
    start = b.full(x.shape, 1 if include_self else 0, dtype)
    count = write(start, ones, "add")
    if not include_self:
        count = b.maximum(count, b.like(count, 1))
    return b.floordiv(y, count) if dtype.is_integer else b.div(y, count)


def _neutral(reduction: str, dtype: DType) -> np.ndarray:
    """Return the number that changes nothing when it is combined with another."""
    if reduction in ("add", "mul"):
        return np.asarray(0 if reduction == "add" else 1).astype(dtype.numpy)
    lowest = reduction == "max"
    if dtype is DType.BOOL:
        return np.asarray(not lowest)
    if dtype.is_integer:
        limits = np.iinfo(dtype.numpy)
        return np.asarray(limits.min if lowest else limits.max).astype(dtype.numpy)
    return np.asarray(-np.inf if lowest else np.inf).astype(dtype.numpy)


def _along(b: AtenBuilder, x: Value, axis: int, index: Value, new: Value, reduction: str) -> Value:
    """Write or combine slices of ``new`` with those of x that the indices name."""
    if not x.rank:
        part = b.reshaped(new, (new.tensor.size,))
        return b.reshaped(_along(b, b.reshaped(x, (1,)), 0, index, part, reduction), ())
    count = index.tensor.size
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    column = b.reshaped(index, [count if i == axis else 1 for i in range(x.rank)])
    return _scattered(b, x, axis, expanded(b, column, shape), b.reshaped(new, shape), reduction)


@aten_op("index_add")
def index_add(b: AtenBuilder, self: Value, dim: Any, index: Value, source: Value, *, alpha: Any = 1) -> Value:
    new = b.convert(source, self.tensor.dtype)
    if alpha != 1:
        factor = tensor_of(b, alpha, self.tensor.dtype)
        new = b.and_(new, factor) if self.tensor.dtype is DType.BOOL else b.mul(new, factor)
    return _along(b, self, axis_of(dim, self.rank), index, new, "add")


@aten_op("index_copy")
def index_copy(b: AtenBuilder, self: Value, dim: Any, index: Value, source: Value) -> Value:
    return _along(b, self, axis_of(dim, self.rank), index, source, "none")


@aten_op("index_fill")
def index_fill(b: AtenBuilder, self: Value, dim: Any, index: Value, value: Any) -> Value:
    axis = axis_of(dim, self.rank)
    number = b.reshaped(tensor_of(b, value, self.tensor.dtype), ())
    size = index.tensor.size
    shape = (*self.shape[:axis], size, *self.shape[axis + 1 :]) if self.rank else (size,)
    return _along(b, self, axis, index, expanded(b, number, shape), "none")
