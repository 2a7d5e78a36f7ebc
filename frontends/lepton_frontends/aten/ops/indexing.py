"""Reading and writing elements by tensors of indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.nonzero import flat, places, unraveled, whole
from lepton_frontends.aten.ops.views import expanded, to_front, transposed, untransposed
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axis_of, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType, broadcast_shapes


class _Indexed(NamedTuple):
    """What a list of indices means: one index tensor for each of some axes, which all have one shape.

    Attributes:
        axes: the axes that are indexed.
        indices: i64, for each of the axes.
        at: where the axes of the indices stand in the result.
    """

    axes: tuple[int, ...]
    indices: list[Value]
    at: int

    @property
    def shape(self) -> tuple[Dim, ...]:
        return self.indices[0].shape


def _meaning(b: AtenBuilder, x: Value, indices: Sequence[Value | None]) -> _Indexed | None:
    """Return what indices mean, None where there are none."""
    axes: list[int] = []
    found: list[Value] = []
    axis = 0
    for index in indices:
        if index is None:
            axis += 1
            continue
        if index.tensor.dtype in (DType.BOOL, DType.U8):
            parts, width = _of_mask(b, index), index.rank
        else:
            parts, width = [b.cast_to(index, DType.I64)], 1
        axes += range(axis, axis + width)
        found += parts
        axis += width
    if axis > x.rank:
        raise UnsupportedError(f"it indexes {axis} axes of a tensor of rank {x.rank}")
    if not found:
        return None
    shape = broadcast_shapes(*(i.shape for i in found))
    together = axes == list(range(axes[0], axes[0] + len(axes)))
    return _Indexed(tuple(axes), [expanded(b, i, shape) for i in found], axes[0] if together else 0)


def _of_mask(b: AtenBuilder, mask: Value) -> list[Value]:
    if not mask.rank:
        raise UnsupportedError("it indexes with a single truth value, which adds an axis", "use torch.where")
    found = places(b, flat(b, b.convert(mask, DType.BOOL)), "number of elements that a mask selects")
    return unraveled(b, found, mask.shape)


def _vectors(b: AtenBuilder, indexed: _Indexed) -> Value:
    columns = [b.reshaped(i, (*indexed.shape, 1)) for i in indexed.indices]
    return columns[0] if len(columns) == 1 else b.tensor_concat(columns, axis=len(indexed.shape))


def _placed(indexed: _Indexed, rank: int) -> list[int]:
    """Return the order of axes that puts those of the indices, which come first, where PyTorch has them."""
    count = len(indexed.shape)
    rest = list(range(count, count + rank - len(indexed.axes)))
    return [*rest[: indexed.at], *range(count), *rest[indexed.at :]]


@aten_op("index", "_unsafe_index")
def index(b: AtenBuilder, self: Value, indices: Sequence[Value | None]) -> Value:
    all_or_nothing = _single_truth(b, self, indices)
    if all_or_nothing is not None:
        return all_or_nothing
    indexed = _meaning(b, self, indices)
    if indexed is None:
        return self
    if len(indexed.axes) == 1:
        return b.tensor_gather(self, indexed.indices[0], axis=indexed.axes[0])
    x = transposed(b, self, to_front(self.rank, *indexed.axes))
    return transposed(b, b.tensor_gather_nd(x, _vectors(b, indexed)), _placed(indexed, self.rank))


def _single_truth(b: AtenBuilder, x: Value, indices: Sequence[Value | None]) -> Value | None:
    """Return the elements that a single truth value of rank 0 selects along a new first axis."""
    if len(indices) != 1 or indices[0] is None or indices[0].rank or indices[0].tensor.dtype is not DType.BOOL:
        return None
    found = places(b, b.reshaped(indices[0], (1,)), "number of elements that a mask selects")
    return b.tensor_gather(b.reshaped(x, (1, *x.shape)), found, axis=0)


@aten_op("index_put", "_index_put_impl", "_unsafe_index_put")
def index_put(
    b: AtenBuilder,
    self: Value,
    indices: Sequence[Value | None],
    values: Value,
    accumulate: bool = False,
    unsafe: bool = False,
) -> Value:
    new = b.convert(values, self.tensor.dtype)
    mask = _single_mask(indices)
    if mask is not None and new.tensor.size == 1 and not accumulate:
        return _filled(b, self, *mask, b.reshaped(new, ()))
    indexed = _meaning(b, self, indices)
    if indexed is None:
        whole = expanded(b, new, self.shape)
        return combined(b, self, whole, "add") if accumulate else whole
    rest = [d for i, d in enumerate(self.shape) if i not in indexed.axes]
    shape = (*rest[: indexed.at], *indexed.shape, *rest[indexed.at :])
    updates = untransposed(b, expanded(b, _fitted(b, new, shape), shape), _placed(indexed, self.rank))
    order = to_front(self.rank, *indexed.axes)
    x = transposed(b, self, order)
    y = scattered(b, x, _vectors(b, indexed), updates, "add" if accumulate else "none")
    return untransposed(b, y, order)


def _clamped(b: AtenBuilder, x: Value, indices: Sequence[Value | None]) -> list[Value | None]:
    """Return indices moved into their axes; what masked operators read beside the mask does not count."""
    kept: list[Value | None] = []
    for axis, index in enumerate(indices):
        if index is None:
            kept.append(None)
            continue
        size, wide = whole(b, x.shape[axis]), b.cast_to(index, DType.I64)
        kept.append(b.minimum(b.maximum(wide, b.neg(size)), b.sub(size, whole(b, 1))))
    return kept


@aten_op("_unsafe_masked_index")
def masked_index(b: AtenBuilder, self: Value, mask: Value, indices: Sequence[Value | None], fill: Any) -> Value:
    number = tensor_of(b, fill, self.tensor.dtype)
    if self.tensor.size == 0:
        return expanded(b, number, mask.shape)
    return b.where(mask, index(b, self, _clamped(b, self, indices)), number)


@aten_op("_unsafe_masked_index_put_accumulate")
def masked_index_put(b: AtenBuilder, self: Value, mask: Value, indices: Sequence[Value | None], values: Value) -> Value:
    if self.tensor.size == 0:
        return self
    new = b.where(mask, values, b.like(values, 0))
    return index_put(b, self, _clamped(b, self, indices), new, accumulate=True)


def _fitted(b: AtenBuilder, new: Value, shape: Sequence[Dim]) -> Value:
    """Return values without leading axes of size 1 that the target lacks."""
    extra = new.rank - len(shape)
    return b.reshaped(new, new.shape[extra:]) if extra > 0 else new


def _single_mask(indices: Sequence[Value | None]) -> tuple[Value, int] | None:
    """Return the mask and its first axis where indices are one mask and nothing else."""
    given = [(v, axis) for axis, v in enumerate(indices) if v is not None]
    if len(given) == 1 and given[0][0].tensor.dtype in (DType.BOOL, DType.U8):
        return given[0]
    return None


def _filled(b: AtenBuilder, x: Value, mask: Value, axis: int, number: Value) -> Value:
    flags = b.reshaped(b.convert(mask, DType.BOOL), (*mask.shape, *[1] * (x.rank - axis - mask.rank)))
    return b.where(flags, number, x)


def combined(b: AtenBuilder, x: Value, y: Value, reduction: str) -> Value:
    """Return two tensors combined element by element, as scattering combines them."""
    if x.tensor.dtype is DType.BOOL:
        return b.or_(x, y) if reduction in ("add", "max") else b.and_(x, y)
    operators = {"add": b.add, "mul": b.mul, "min": b.minimum, "max": b.maximum}
    return operators[reduction](x, y)


def scattered(b: AtenBuilder, x: Value, vectors: Value, updates: Value, reduction: str) -> Value:
    """Return x with updates at vectors of indices; truth values are combined as numbers."""
    if reduction == "none" or x.tensor.dtype is not DType.BOOL:
        return b.tensor_scatter_nd(x, vectors, updates, reduction=reduction)
    numbers = [b.cast(v, to=DType.I32) for v in (x, updates)]
    return b.convert(b.tensor_scatter_nd(numbers[0], vectors, numbers[1], reduction=reduction), DType.BOOL)


@aten_op("index_select")
def index_select(b: AtenBuilder, self: Value, dim: Any, index: Value) -> Value:
    axis = axis_of(dim, self.rank)
    picked = b.tensor_gather(b.reshaped(self, self.shape or (1,)), flat(b, index), axis=axis)
    return picked if self.rank else b.reshaped(picked, ())


@aten_op("take")
def take(b: AtenBuilder, self: Value, index: Value) -> Value:
    return b.tensor_gather(flat(b, self), index, axis=0)


@aten_op("put")
def put(b: AtenBuilder, self: Value, index: Value, source: Value, accumulate: bool = False) -> Value:
    vectors = b.reshaped(index, (index.tensor.size, 1))
    reduction = "add" if accumulate else "none"
    return b.reshaped(scattered(b, flat(b, self), vectors, flat(b, source), reduction), self.shape)


@aten_op("gather")
def gather(b: AtenBuilder, self: Value, dim: Any, index: Value, *, sparse_grad: bool = False) -> Value:
    if not self.rank or not index.rank:
        picked = b.tensor_gather(flat(b, self), flat(b, index), axis=0)
        return b.reshaped(picked, index.shape)
    if index.tensor.size == 0:
        return b.full(index.shape, 0, self.tensor.dtype)
    return b.tensor_gather_elements(self, index, axis=axis_of(dim, self.rank))


@aten_op("take_along_dim")
def take_along_dim(b: AtenBuilder, self: Value, indices: Value, dim: Any = None) -> Value:
    if dim is None:
        return b.tensor_gather(flat(b, self), flat(b, indices), axis=0)
    axis = axis_of(dim, self.rank)
    others = [(*v.shape[:axis], 1, *v.shape[axis + 1 :]) for v in (self, indices)]
    shape = broadcast_shapes(*others)
    x, wanted = (expanded(b, v, (*shape[:axis], v.shape[axis], *shape[axis + 1 :])) for v in (self, indices))
    return b.tensor_gather_elements(x, wanted, axis=axis)
