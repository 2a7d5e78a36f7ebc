"""The largest, smallest and middle elements, and where they stand."""

from __future__ import annotations

from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.opmath import dim_tensor, squeezed
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axes_of, axis_of, category, promoted
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import product
from lepton_ir.ir.types import DType


def _require_elements(x: Value, axes: tuple[int, ...]) -> None:
    """Refuse to look for an element where there is none, as PyTorch does."""
    if any(x.shape[a] == 0 for a in axes):
        raise UnsupportedError("it looks for an element along an axis that has none")


@aten_op("amax", "amin")
def extreme_along(b: AtenBuilder, self: Value, dim: Any = (), keepdim: Any = False) -> Value:
    axes = axes_of(dim, self.rank)
    _require_elements(self, axes)
    return _reduced(b, self, axes, bool(keepdim), b.op == "amax")


def _reduced(b: AtenBuilder, x: Value, axes: tuple[int, ...], keepdims: bool, largest: bool) -> Value:
    if x.tensor.dtype is DType.BOOL:
        return (b.reduce_any if largest else b.reduce_all)(x, axes=axes, keepdims=keepdims)
    return (b.reduce_max if largest else b.reduce_min)(x, axes=axes, keepdims=keepdims)


@aten_op("aminmax", "_aminmax")
def aminmax(b: AtenBuilder, self: Value, *, dim: Any = None, keepdim: Any = False) -> tuple[Value, Value]:
    axes = axes_of(dim, self.rank)
    _require_elements(self, axes)
    return _reduced(b, self, axes, bool(keepdim), False), _reduced(b, self, axes, bool(keepdim), True)


@aten_op("max", "min")
def extreme(b: AtenBuilder, self: Value, dim: Any = None, keepdim: Any = False, *, other: Value | None = None) -> Any:
    """Of all elements, along an axis with indices, or of two tensors."""
    largest = b.op == "max"
    other = dim if isinstance(dim, Value) else other
    if other is not None:
        x, y = promoted(b, self, other)
        if x.tensor.dtype is DType.BOOL:
            return b.or_(x, y) if largest else b.and_(x, y)
        return b.maximum(x, y) if largest else b.minimum(x, y)
    axes = axes_of(dim, self.rank)
    _require_elements(self, axes)
    values = _reduced(b, self, axes, bool(keepdim), largest)
    return values if dim is None else (values, _index(b, self, dim, bool(keepdim), largest))


def _index(b: AtenBuilder, x: Value, dim: Any, keepdim: bool, largest: bool) -> Value:
    if not x.rank:
        return b.full((), 0, DType.I64)
    find = b.reduce_argmax if largest else b.reduce_argmin
    known = b.convert(x, DType.U8) if x.tensor.dtype is DType.BOOL else x
    return find(known, axis=axis_of(dim, x.rank), keepdims=keepdim)


@aten_op("argmax", "argmin")
def index_of_extreme(b: AtenBuilder, self: Value, dim: Any = None, keepdim: Any = False) -> Value:
    largest = b.op == "argmax"
    if dim is not None:
        _require_elements(self, axes_of(dim, self.rank))
        return _index(b, self, dim, bool(keepdim), largest)
    _require_elements(self, axes_of(None, self.rank))
    found = _index(b, b.reshaped(self, (product(self.shape),)), 0, False, largest)
    return b.reshaped(found, (1,) * self.rank) if keepdim else found


def _sorted(b: AtenBuilder, x: Value, axis: int) -> tuple[Value, Value]:
    return b.tensor_topk(x, k=x.shape[axis], axis=axis, largest=False, sorted=True)


@aten_op("median", "nanmedian")
def median(b: AtenBuilder, self: Value, dim: Any = None, keepdim: Any = False) -> Any:
    """The lower one of two in the middle. NaN is the median where there is one, or does not count in nanmedian."""
    if category(self.tensor.dtype) in (0, 3):
        raise UnsupportedError(f"{self.tensor.dtype} has no order")
    x = self if dim is not None and self.rank else b.reshaped(self, (product(self.shape),))
    axis = 0 if dim is None or not self.rank else axis_of(dim, self.rank)
    if x.shape[axis] == 0 and dim is None:
        return b.full((), float("nan") if x.tensor.dtype.is_float else _lowest(x.tensor.dtype), x.tensor.dtype)
    _require_elements(x, (axis,))
    values, indices = _sorted(b, x, axis)
    place = _middle(b, x, axis, b.op == "nanmedian")
    found = [b.tensor_gather_elements(v, place, axis=axis) for v in (values, indices)]
    shape = tuple(self.shape) if not self.rank else tuple(found[0].shape)
    found = [squeezed(b, b.reshaped(v, shape), (axis,) if self.rank else (), bool(keepdim)) for v in found]
    return b.reshaped(found[0], ()) if dim is None else tuple(found)


def _lowest(dtype: DType) -> int:
    return -(1 << (dtype.bits - 1)) if dtype.is_signed else 0


def _middle(b: AtenBuilder, x: Value, axis: int, skip_nan: bool) -> Value:
    """Return the place of the median among the sorted elements, where NaN comes last."""
    size, shape = x.shape[axis], tuple(1 if i == axis else d for i, d in enumerate(x.shape))
    if not x.tensor.dtype.is_float:
        return b.tensor_full(dim_tensor(b, (size - 1) // 2, DType.I64), shape=shape)
    numbers = b.reduce_sum(b.convert(b.not_(b.isnan(x)), DType.I64), axes=(axis,))
    last, zero = dim_tensor(b, size - 1, DType.I64), b.const(0, dtype=DType.I64)
    if skip_nan:
        return b.floordiv(b.maximum(b.sub(numbers, b.const(1, dtype=DType.I64)), zero), b.const(2, dtype=DType.I64))
    # The first NaN stands right after the numbers.
    return b.where(b.gt(numbers, last), dim_tensor(b, (size - 1) // 2, DType.I64), numbers)
