"""Reductions: sums, means, products, deviations, truth."""

from __future__ import annotations

import math
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.opmath import dim_tensor, refuse_complex, squeezed
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axes_of, category, dtype_of, floats, number_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import product
from lepton_ir.ir.types import DType


def _typed(b: AtenBuilder, x: Value, dtype: Any) -> Value:
    """Return what is to be added up or multiplied: in the type asked for, else integers as i64."""
    refuse_complex(x)
    return b.convert(x, dtype_of(dtype, DType.I64 if category(x.tensor.dtype) < 2 else x.tensor.dtype))


@aten_op("sum")
def sum_(b: AtenBuilder, self: Value, dim: Any = None, keepdim: Any = False, *, dtype: Any = None) -> Value:
    x = _typed(b, self, dtype)
    reduce = b.reduce_any if x.tensor.dtype is DType.BOOL else b.reduce_sum
    return reduce(x, axes=axes_of(dim, x.rank), keepdims=bool(keepdim))


@aten_op("nansum")
def nansum(b: AtenBuilder, self: Value, dim: Any = None, keepdim: Any = False, *, dtype: Any = None) -> Value:
    x = self
    if x.tensor.dtype.is_float:
        x = b.where(b.isnan(x), b.like(x, 0), x)
    return sum_(b, x, dim, keepdim, dtype=dtype)


@aten_op("mean")
def mean(b: AtenBuilder, self: Value, dim: Any = None, keepdim: Any = False, *, dtype: Any = None) -> Value:
    x = self if dtype is None else b.convert(self, dtype_of(dtype))
    refuse_complex(x)
    if not x.tensor.dtype.is_float:
        raise UnsupportedError(f"PyTorch has no mean of {x.tensor.dtype}", "give it the dtype of a float")
    return b.reduce_mean(x, axes=axes_of(dim, x.rank), keepdims=bool(keepdim))


@aten_op("nanmean")
def nanmean(b: AtenBuilder, self: Value, dim: Any = None, keepdim: Any = False, *, dtype: Any = None) -> Value:
    x = self if dtype is None else b.convert(self, dtype_of(dtype))
    axes = axes_of(dim, x.rank)
    counts = b.reduce_sum(b.convert(b.not_(b.isnan(x)), DType.F32), axes=axes, keepdims=bool(keepdim))
    total = nansum(b, b.convert(x, DType.F32) if x.tensor.dtype in (DType.F16, DType.BF16) else x, dim, keepdim)
    return b.convert(b.div(total, b.convert(counts, total.tensor.dtype)), x.tensor.dtype)


@aten_op("prod")
def prod(b: AtenBuilder, self: Value, dim: Any = None, keepdim: Any = False, *, dtype: Any = None) -> Value:
    x = _typed(b, self, dtype)
    reduce = b.reduce_all if x.tensor.dtype is DType.BOOL else b.reduce_prod
    return reduce(x, axes=axes_of(dim, x.rank), keepdims=bool(keepdim))


@aten_op("any", "all")
def truth(b: AtenBuilder, self: Value, dim: Any = None, keepdim: Any = False) -> Value:
    """Of u8 the result is u8 too."""
    x = b.convert(self, DType.BOOL)
    reduce = b.reduce_any if b.op == "any" else b.reduce_all
    # An empty list of axes reduces none.
    y = reduce(x, axes=axes_of(dim, x.rank, empty_means_all=False), keepdims=bool(keepdim))
    return b.convert(y, DType.U8) if self.tensor.dtype is DType.U8 else y


@aten_op("count_nonzero")
def count_nonzero(b: AtenBuilder, self: Value, dim: Any = None) -> Value:
    hits = b.convert(b.convert(self, DType.BOOL), DType.I64)
    return b.reduce_sum(hits, axes=axes_of(dim, self.rank), keepdims=False)


@aten_op("logsumexp", "special_logsumexp")
def logsumexp(b: AtenBuilder, self: Value, dim: Any, keepdim: Any = False) -> Value:
    x = floats(b, self)
    refuse_complex(x)
    return b.reduce_log_sum_exp(x, axes=axes_of(dim, x.rank), keepdims=bool(keepdim))


def _moments(
    b: AtenBuilder, x: Value, dim: Any, unbiased: Any, keepdim: Any, correction: Any, root: bool
) -> tuple[Value, Value]:
    """Return the variance, or the deviation, and the mean."""
    refuse_complex(x)
    if not x.tensor.dtype.is_float:
        raise UnsupportedError(f"PyTorch has no deviation of {x.tensor.dtype}")
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None else int(bool(unbiased))
    axes = axes_of(dim, x.rank)
    wide = b.convert(x, DType.F32) if x.tensor.dtype in (DType.F16, DType.BF16) else x
    average = b.reduce_mean(wide, axes=axes)
    distance = b.sub(wide, average)
    total = b.reduce_sum(b.mul(distance, distance), axes=axes)
    kind = total.tensor.dtype
    count = dim_tensor(b, product([x.shape[a] for a in axes]), kind)
    freedom = b.maximum(b.sub(count, b.like(total, number_of(correction, "correction"))), b.like(total, 0))
    # Of no degrees of freedom the quotient is infinite or NaN; kernels divide by no constant 0.
    known = b.array(freedom)
    none = known is not None and not known.any()
    spread = b.mul(total, b.like(total, math.inf)) if none else b.div(total, freedom)
    spread = b.sqrt(spread) if root else spread
    found = (squeezed(b, b.convert(v, x.tensor.dtype), axes, bool(keepdim)) for v in (spread, average))
    return next(found), next(found)


@aten_op("var", "std")
def spread(
    b: AtenBuilder, self: Value, dim: Any = None, unbiased: Any = None, keepdim: Any = False, *, correction: Any = None
) -> Value:
    return _moments(b, self, dim, unbiased, keepdim, correction, b.op == "std")[0]


@aten_op("var_mean", "std_mean")
def spread_and_mean(
    b: AtenBuilder, self: Value, dim: Any = None, unbiased: Any = None, keepdim: Any = False, *, correction: Any = None
) -> tuple[Value, Value]:
    return _moments(b, self, dim, unbiased, keepdim, correction, b.op == "std_mean")


@aten_op("sum_to_size")
def sum_to_size(b: AtenBuilder, self: Value, size: Any) -> Value:
    extra = self.rank - len(size)
    if not size:
        return sum_(b, self)
    axes = [*range(extra), *(i + extra for i, d in enumerate(size) if d == 1 and self.shape[i + extra] != 1)]
    if not axes:
        return self
    y = sum_(b, self, axes, keepdim=True)
    return b.reshaped(y, y.shape[extra:])
