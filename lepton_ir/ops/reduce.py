"""Reductions along axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import FusionKind, InferenceError, Operation, attribute, operand, result
from lepton_ir.ir.types import DType, TensorType, Type
from lepton_ir.ops.checks import EMPTY_AXIS, DataError
from lepton_ir.ops.elementwise import ACCEPTS
from lepton_ir.ops.folds import shape as shape_folds
from lepton_ir.ops.support import Array, narrow, normalize_axes, normalize_axis, widen


class Reduction(Operation):
    """Base class: combines all elements along some axes into one."""

    fusion = FusionKind.REDUCTION
    accepts: ClassVar[str] = "number"
    x: Value = operand()
    axes = attribute(tuple[int, ...], doc="the axes that vanish")
    keepdims = attribute(bool, default=True, doc="keep the axes, with size 1")
    y: OpResult = result()

    def infer(self) -> Type:
        axes = normalize_axes(self.axes, self.x.rank)
        if self.keepdims:
            return self.x.tensor.with_shape([1 if i in axes else d for i, d in enumerate(self.x.shape)])
        return self.x.tensor.with_shape([d for i, d in enumerate(self.x.shape) if i not in axes])

    def verify(self) -> None:
        if not ACCEPTS[self.accepts](self.x.tensor.dtype):
            raise InferenceError(f"{self.name} needs an operand of kind {self.accepts}, got {self.x.type}")

    def evaluate(self, x: Array) -> Array:
        dtype = x.dtype
        with np.errstate(all="ignore"):
            y = self.compute(widen(x), normalize_axes(self.axes, x.ndim))
        return y if dtype == np.object_ else narrow(y, DType.of(dtype))

    def compute(self, x: Array, axes: tuple[int, ...]) -> Array:
        """Return the result for an array that numpy can compute with."""
        return np.asarray(Operation.evaluate(self, x))

    def inner(self) -> dict[str, object]:
        """Return the attributes for a reduction that this one decomposes into."""
        return {"axes": self.axes, "keepdims": self.keepdims}


class ReduceSum(Reduction):
    """The sum."""

    name = "reduce.sum"
    canonicalizations = (shape_folds.reduce_nothing,)
    is_shape_computation = True

    def compute(self, x: Array, axes: tuple[int, ...]) -> Array:
        return np.sum(x, axes, keepdims=self.keepdims, dtype=x.dtype)


class ReduceMean(Reduction):
    """The mean; of integers, truncated toward zero. Of no elements: NaN, 0 of integers."""

    name = "reduce.mean"
    canonicalizations = (shape_folds.reduce_nothing,)

    def compute(self, x: Array, axes: tuple[int, ...]) -> Array:
        if x.dtype.kind in "iu" and not all(x.shape[a] for a in axes):
            return np.sum(x, axes, keepdims=self.keepdims)
        return np.mean(x, axes, keepdims=self.keepdims)


class ReduceMax(Reduction):
    """The largest element; NaN where one is NaN. Of no elements: the type's smallest value."""

    name = "reduce.max"
    canonicalizations = (shape_folds.reduce_nothing,)
    accepts = "any"

    def compute(self, x: Array, axes: tuple[int, ...]) -> Array:
        return np.max(x, axes, keepdims=self.keepdims, initial=_extreme(x.dtype, smallest=True))


class ReduceMin(Reduction):
    """The smallest element; NaN where one is NaN. Of no elements: the type's largest value."""

    name = "reduce.min"
    canonicalizations = (shape_folds.reduce_nothing,)
    accepts = "any"

    def compute(self, x: Array, axes: tuple[int, ...]) -> Array:
        return np.min(x, axes, keepdims=self.keepdims, initial=_extreme(x.dtype, smallest=False))


class ReduceProd(Reduction):
    """The product."""

    name = "reduce.prod"
    canonicalizations = (shape_folds.reduce_nothing,)
    is_shape_computation = True

    def compute(self, x: Array, axes: tuple[int, ...]) -> Array:
        return np.prod(x, axes, keepdims=self.keepdims, dtype=x.dtype)


class ReduceL1(Reduction):
    """The sum of absolute values."""

    name = "reduce.l1"

    def compute(self, x: Array, axes: tuple[int, ...]) -> Array:
        return np.sum(np.abs(x), axes, keepdims=self.keepdims, dtype=x.dtype)

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [b.reduce_sum(b.abs(self.x), **self.inner())]


class ReduceL2(Reduction):
    """The square root of the sum of squares."""

    name = "reduce.l2"

    def compute(self, x: Array, axes: tuple[int, ...]) -> Array:
        if x.dtype.kind in "iu":
            return self.compute(x.astype(np.float64), axes)
        return np.sqrt(np.sum(np.square(x), axes, keepdims=self.keepdims, dtype=x.dtype))

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [_by_float(b, self.x, lambda x: b.sqrt(b.reduce_sum(b.mul(x, x), **self.inner())))]


class ReduceLogSum(Reduction):
    """The logarithm of the sum."""

    name = "reduce.log_sum"

    def compute(self, x: Array, axes: tuple[int, ...]) -> Array:
        if x.dtype.kind in "iu":
            return self.compute(x.astype(np.float64), axes)
        return np.log(np.sum(x, axes, keepdims=self.keepdims, dtype=x.dtype))

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [_by_float(b, self.x, lambda x: b.log(b.reduce_sum(x, **self.inner())))]


class ReduceLogSumExp(Reduction):
    """The logarithm of the sum of exp(x), without overflow."""

    name = "reduce.log_sum_exp"

    def compute(self, x: Array, axes: tuple[int, ...]) -> Array:
        if x.dtype.kind != "f":
            return self.compute(x.astype(np.float64), axes)
        peak = np.max(x, axes, keepdims=True, initial=-np.inf)
        peak = np.where(np.isfinite(peak), peak, 0).astype(x.dtype)
        total = np.log(np.sum(np.exp(x - peak), axes, keepdims=True)) + peak
        return np.asarray(total) if self.keepdims else np.squeeze(total, axes)

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [_by_float(b, self.x, lambda x: self._stable(b, x))]

    def _stable(self, b: Builder, x: Value) -> Value:
        peak = b.reduce_max(x, axes=self.axes)
        zero = b.const(0, dtype=x.tensor.dtype)
        # An infinite peak would make NaN of inf - inf.
        peak = b.where(b.isinf(peak), zero, peak)
        total = b.add(b.log(b.reduce_sum(b.exp(b.sub(x, peak)), axes=self.axes)), peak)
        y: Value = b.tensor_reshape(total, shape=self.y.shape)
        return y


class ReduceSumSquare(Reduction):
    """The sum of squares."""

    name = "reduce.sum_square"

    def compute(self, x: Array, axes: tuple[int, ...]) -> Array:
        return np.sum(np.square(x), axes, keepdims=self.keepdims, dtype=x.dtype)

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [b.reduce_sum(b.mul(self.x, self.x), **self.inner())]


class ReduceAny(Reduction):
    """Whether one element holds."""

    name = "reduce.any"
    canonicalizations = (shape_folds.reduce_nothing,)
    accepts = "bool"

    def compute(self, x: Array, axes: tuple[int, ...]) -> Array:
        return np.any(x, axes, keepdims=self.keepdims)


class ReduceAll(Reduction):
    """Whether every element holds."""

    name = "reduce.all"
    canonicalizations = (shape_folds.reduce_nothing,)
    accepts = "bool"

    def compute(self, x: Array, axes: tuple[int, ...]) -> Array:
        return np.all(x, axes, keepdims=self.keepdims)


class ArgReduction(Operation):
    """Base class: the index of an extreme element along an axis."""

    fusion = FusionKind.REDUCTION
    x: Value = operand()
    axis = attribute(int)
    keepdims = attribute(bool, default=True, doc="keep the axis, with size 1")
    select_last_index = attribute(bool, default=False, doc="of equal elements take the last, not the first")
    y: OpResult = result("i64")

    def infer(self) -> Type:
        axis = normalize_axis(self.axis, self.x.rank)
        kept = (1,) if self.keepdims else ()
        return TensorType((*self.x.shape[:axis], *kept, *self.x.shape[axis + 1 :]), DType.I64)

    def verify(self) -> None:
        if self.x.shape[normalize_axis(self.axis, self.x.rank)] == 0:
            raise InferenceError(self.no_elements())

    def may_fail(self) -> bool:
        return not isinstance(self.x.shape[normalize_axis(self.axis, self.x.rank)], int)

    def no_elements(self) -> str:
        """Return the words for an axis without elements."""
        which = "largest" if self.name == "reduce.argmax" else "smallest"
        return EMPTY_AXIS.format(normalize_axis(self.axis, self.x.rank), which)

    def evaluate(self, x: Array) -> Array:
        if not x.shape[self.axis]:
            raise DataError(self.no_elements())
        wide = widen(x)
        pick = np.argmax if self.name == "reduce.argmax" else np.argmin
        if not self.select_last_index:
            return pick(wide, axis=self.axis, keepdims=self.keepdims).astype(np.int64)
        last = x.shape[self.axis] - 1
        return np.asarray(last - pick(np.flip(wide, self.axis), axis=self.axis, keepdims=self.keepdims), dtype=np.int64)


class ArgMax(ArgReduction):
    """The index of the largest element along an axis."""

    name = "reduce.argmax"


class ArgMin(ArgReduction):
    """The index of the smallest element along an axis."""

    name = "reduce.argmin"


def _extreme(dtype: np.dtype, *, smallest: bool) -> Any:
    if dtype.kind == "f":
        return -np.inf if smallest else np.inf
    if dtype.kind == "b":
        return not smallest
    info = np.iinfo(dtype)
    return info.min if smallest else info.max


def _by_float(b: Builder, x: Value, make: object) -> Value:
    """Compute in f64 for integers, whose result is truncated."""
    assert callable(make)
    if x.tensor.dtype.is_float:
        y: Value = make(x)
        return y
    back: Value = b.cast(make(b.cast(x, to=DType.F64)), to=x.tensor.dtype)
    return back
