"""Running sums, products, extremes, and differences along an axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.opmath import refuse_complex, rounded_once
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axis_of, category, dtype_of, floats, int_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType

Parts = tuple[Value, ...]


def shifted(b: AtenBuilder, x: Value, axis: int, places: int, filler: float) -> Value:
    """Return x moved along an axis towards its end, with a number where nothing moves in."""
    kept = b.tensor_slice(x, starts=(0,), ends=(x.shape[axis] - places,), axes=(axis,), steps=(1,))
    pads = [0] * (2 * x.rank)
    pads[axis] = places
    return b.tensor_pad(kept, b.like(x, filler), pads=tuple(pads))


def scanned(
    b: AtenBuilder, parts: Parts, fillers: tuple[float, ...], axis: int, combine: Callable[[Parts, Parts], Parts]
) -> Parts:
    """Combine each element with those that stand 1, 2, 4, ... places before, until everything before is in.

    ``combine`` takes the earlier elements first; the fillers are its neutral element.

    Raises:
        UnsupportedError: the size of the axis is not known.
    """
    size, places = parts[0].shape[axis], 1
    if not isinstance(size, int):
        raise UnsupportedError("the size of its axis is dynamic", 'set it, with dims={"name": size}')
    while places < size:
        earlier = tuple(shifted(b, p, axis, places, f) for p, f in zip(parts, fillers, strict=True))
        parts = combine(earlier, parts)
        places *= 2
    return parts


def _line(b: AtenBuilder, x: Value) -> Value:
    return x if x.rank else b.reshaped(x, (1,))


@aten_op("cumsum")
def cumsum(b: AtenBuilder, self: Value, dim: Any, *, dtype: Any = None) -> Value:
    refuse_complex(self)
    axis = axis_of(dim, self.rank)
    x = b.convert(self, dtype_of(dtype, DType.I64 if category(self.tensor.dtype) < 2 else self.tensor.dtype))
    if x.tensor.dtype is DType.BOOL:
        raise UnsupportedError("it adds up to bools")
    return b.reshaped(b.tensor_cumsum(_line(b, x), axis=axis), self.shape)


@aten_op("cumprod")
def cumprod(b: AtenBuilder, self: Value, dim: Any, *, dtype: Any = None) -> Value:
    refuse_complex(self)
    axis = axis_of(dim, self.rank)
    x = b.convert(self, dtype_of(dtype, DType.I64 if category(self.tensor.dtype) < 2 else self.tensor.dtype))
    wide = b.convert(x, DType.F32) if x.tensor.dtype in (DType.F16, DType.BF16) else x
    (y,) = scanned(b, (_line(b, wide),), (1,), axis, lambda e, p: (b.mul(*e, *p),))
    return b.reshaped(b.convert(y, x.tensor.dtype), self.shape)


@aten_op("logcumsumexp")
def logcumsumexp(b: AtenBuilder, self: Value, dim: Any) -> Value:
    refuse_complex(self)
    axis = axis_of(dim, self.rank)

    def add(x: Value, y: Value) -> Value:
        high = b.maximum(x, y)
        total = b.add(high, b.log1p(b.exp(b.neg(b.abs(b.sub(x, y))))))
        # Infinities of one sign have no distance.
        return b.where(b.and_(b.isinf(x), b.eq(x, y)), x, total)

    def compute(x: Value) -> Value:
        return scanned(b, (_line(b, x),), (-math.inf,), axis, lambda e, p: (add(*e, *p),))[0]

    return b.reshaped(rounded_once(b, compute, floats(b, self)), self.shape)


@aten_op("cummax", "cummin")
def cummax(b: AtenBuilder, self: Value, dim: Any) -> tuple[Value, Value]:
    """The running extreme and its index: of equal elements the last, and NaN counts as the extreme."""
    axis, dtype = axis_of(dim, self.rank), self.tensor.dtype
    x = _line(b, b.convert(self, DType.U8) if dtype is DType.BOOL else self)
    better = b.ge if b.op == "cummax" else b.le

    def combine(earlier: Parts, own: Parts) -> Parts:
        replaces = better(own[0], earlier[0])
        if dtype.is_float:
            replaces = b.or_(replaces, b.isnan(own[0]))
        # An index of -1 stands before the first element.
        replaces = b.or_(replaces, b.lt(earlier[1], b.like(own[1], 0)))
        return b.where(replaces, own[0], earlier[0]), b.where(replaces, own[1], earlier[1])

    places = b.tensor_iota(shape=tuple(x.shape), axis=axis)
    values, indices = scanned(b, (x, places), (0, -1), axis, combine)
    return b.reshaped(b.convert(values, dtype), self.shape), b.reshaped(indices, self.shape)


@aten_op("diff")
def diff(
    b: AtenBuilder, self: Value, n: Any = 1, dim: Any = -1, prepend: Value | None = None, append: Value | None = None
) -> Value:
    axis, times = axis_of(dim, self.rank), int_of(n, "number of differences")
    if not times:
        return self
    pieces = [p for p in (prepend, self, append) if p is not None]
    x = b.tensor_concat(pieces, axis=axis) if len(pieces) > 1 else self
    for _ in range(times):
        size = x.shape[axis]
        if size == 0:
            break
        right = b.tensor_slice(x, starts=(1,), ends=(size,), axes=(axis,), steps=(1,))
        left = b.tensor_slice(x, starts=(0,), ends=(size - 1,), axes=(axis,), steps=(1,))
        x = b.xor(right, left) if x.tensor.dtype is DType.BOOL else b.sub(right, left)
    return x
