"""Views that keep every element: other shapes, other orders of axes, repeated axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.call import view_op
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axes_of, axis_of, category, dims_of, dtype_of, ints_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product


@aten_op("reshape", "_unsafe_view", "_reshape_alias", "_reshape_alias_copy", "_reshape_copy")
def reshape(b: AtenBuilder, self: Value, shape: Any, *_: Any) -> Value:
    return b.reshaped(self, filled_shape(b, self.tensor.size, shape))


def filled_shape(b: AtenBuilder, total: Dim, shape: Any) -> tuple[Dim, ...]:
    """Return a shape of ``total`` elements whose size -1, where it has one, is what the others leave."""
    dims = dims_of(b, shape)
    if -1 not in dims:
        return dims
    others = product(d for d in dims if d != -1)
    if others == 0:
        raise UnsupportedError("the size -1 can be anything beside a size of 0")
    return tuple(total // others if d == -1 else d for d in dims)


@aten_op("view", "view_copy")
def view(b: AtenBuilder, self: Value, size: Any) -> Value:
    """A view of another shape, or the bits as another element type."""
    if isinstance(size, (list, tuple)):
        return reshape(b, self, size)
    target = dtype_of(size)
    if target.bits != self.tensor.dtype.bits:
        raise UnsupportedError(f"it reads {self.tensor.dtype} as {target}, which has another width")
    return self if target is self.tensor.dtype else b.bitcast(self, to=target)


@aten_op("view_as", "reshape_as")
def view_as(b: AtenBuilder, self: Value, other: Value) -> Value:
    return b.reshaped(self, other.shape)


@aten_op("ravel")
def ravel(b: AtenBuilder, self: Value) -> Value:
    return b.reshaped(self, (self.tensor.size,))


@aten_op("flatten")
def flatten(b: AtenBuilder, self: Value, start_dim: Any = 0, end_dim: Any = -1) -> Value:
    start, end = axis_of(start_dim, self.rank), axis_of(end_dim, self.rank)
    if start > end:
        raise UnsupportedError(f"axis {start} comes after axis {end}")
    shape = self.shape
    return b.reshaped(self, (*shape[:start], product(shape[start : end + 1]), *shape[end + 1 :]))


@aten_op("unflatten")
def unflatten(b: AtenBuilder, self: Value, dim: Any, sizes: Any) -> Value:
    axis = axis_of(dim, self.rank)
    shape = self.shape
    return b.reshaped(self, (*shape[:axis], *filled_shape(b, shape[axis], sizes), *shape[axis + 1 :]))


@aten_op("unsqueeze", "unsqueeze_copy")
def unsqueeze(b: AtenBuilder, self: Value, dim: Any) -> Value:
    axis = axis_of(dim, self.rank + 1)
    return b.reshaped(self, (*self.shape[:axis], 1, *self.shape[axis:]))


@aten_op("squeeze", "squeeze_copy")
def squeeze(b: AtenBuilder, self: Value, dim: Any = None) -> Value:
    """Drop axes of size 1; a dynamic size counts as larger, for else the rank would depend on it."""
    axes = axes_of(dim, self.rank, empty_means_all=False)
    return b.reshaped(self, [d for i, d in enumerate(self.shape) if i not in axes or d != 1])


@aten_op("atleast_1d", "atleast_2d", "atleast_3d")
def atleast(b: AtenBuilder, self: Any, *more: Value) -> Any:
    rank = int(b.op[8])
    if isinstance(self, Value) and not more:
        return with_rank(b, self, rank)
    return [with_rank(b, x, rank) for x in (self if isinstance(self, (list, tuple)) else (self, *more))]


def with_rank(b: AtenBuilder, x: Value, rank: int) -> Value:
    """Return x with axes of size 1 where it has fewer than ``rank``."""
    if x.rank >= rank:
        return x
    # A vector becomes a row, and a matrix lies in the first two of three axes.
    before = 1 if rank > 1 and x.rank < 2 else 0
    ones: list[Dim] = [1]
    shape = ones * before + list(x.shape)
    return b.reshaped(x, shape + ones * (rank - len(shape)) if x.rank else ones * rank)


@view_op(
    "reshape", "_unsafe_view", "_reshape_alias", "view_as", "reshape_as", "ravel", "flatten", "unflatten",
    "unsqueeze", "squeeze", "atleast_1d", "atleast_2d", "atleast_3d",
)  # fmt: skip
def write_reshaped(b: AtenBuilder, whole: Value, new: Value, *_: Any, **__: Any) -> Value:
    return b.reshaped(new, whole.shape)


@view_op("view")
def write_view(b: AtenBuilder, whole: Value, new: Value, *_: Any, **__: Any) -> Value:
    kind = whole.tensor.dtype
    return b.reshaped(new if new.tensor.dtype is kind else b.bitcast(new, to=kind), whole.shape)


@view_op("alias", "detach")
def write_alias(b: AtenBuilder, whole: Value, new: Value) -> Value:
    return new


def transposed(b: AtenBuilder, x: Value, perm: Sequence[int]) -> Value:
    """Return x with its axes in another order, itself where they stay."""
    return x if list(perm) == list(range(x.rank)) else b.tensor_transpose(x, perm=tuple(perm))


def untransposed(b: AtenBuilder, x: Value, perm: Sequence[int]) -> Value:
    """Undo :func:`transposed`."""
    return transposed(b, x, [list(perm).index(i) for i in range(x.rank)])


def to_back(rank: int, *axes: int) -> list[int]:
    """Return the order that moves axes behind all others."""
    return [i for i in range(rank) if i not in axes] + list(axes)


def to_front(rank: int, *axes: int) -> list[int]:
    """Return the order that moves axes before all others."""
    return list(axes) + [i for i in range(rank) if i not in axes]


def _swap(rank: int, dim0: Any, dim1: Any) -> list[int]:
    order = list(range(rank))
    if rank:
        i, j = axis_of(dim0, rank), axis_of(dim1, rank)
        order[i], order[j] = order[j], order[i]
    return order


@aten_op("transpose", "transpose_copy", "swapaxes", "swapdims")
def transpose(b: AtenBuilder, self: Value, dim0: Any, dim1: Any) -> Value:
    return transposed(b, self, _swap(self.rank, dim0, dim1))


@view_op("transpose", "swapaxes", "swapdims")
def write_transpose(b: AtenBuilder, whole: Value, new: Value, dim0: Any, dim1: Any) -> Value:
    return transpose(b, new, dim0, dim1)


@aten_op("permute", "permute_copy")
def permute(b: AtenBuilder, self: Value, dims: Any) -> Value:
    return transposed(b, self, [axis_of(d, self.rank) for d in dims])


@view_op("permute")
def write_permute(b: AtenBuilder, whole: Value, new: Value, dims: Any) -> Value:
    return untransposed(b, new, [axis_of(d, whole.rank) for d in dims])


@aten_op("t", "t_copy", "numpy_T", "T", "matrix_H", "H")
def t(b: AtenBuilder, self: Value) -> Value:
    """All axes in reverse."""
    if b.op in ("matrix_H", "H"):
        _require_real(self)
    return transposed(b, self, list(range(self.rank))[::-1])


@aten_op("mT", "mH", "adjoint")
def matrix_transpose(b: AtenBuilder, self: Value) -> Value:
    if b.op != "mT":
        _require_real(self)
    return transposed(b, self, _swap(self.rank, -2, -1))


def _require_real(x: Value) -> None:
    if category(x.tensor.dtype) == 3:
        raise UnsupportedError("it conjugates complex numbers, which Lepton does not compute")


@view_op("t", "numpy_T", "T", "matrix_H", "H")
def write_t(b: AtenBuilder, whole: Value, new: Value) -> Value:
    return transposed(b, new, list(range(whole.rank))[::-1])


@view_op("mT", "mH", "adjoint")
def write_matrix_transpose(b: AtenBuilder, whole: Value, new: Value) -> Value:
    return transposed(b, new, _swap(whole.rank, -2, -1))


@aten_op("movedim", "moveaxis")
def movedim(b: AtenBuilder, self: Value, source: Any, destination: Any) -> Value:
    return transposed(b, self, _moved(self.rank, source, destination))


@view_op("movedim", "moveaxis")
def write_movedim(b: AtenBuilder, whole: Value, new: Value, source: Any, destination: Any) -> Value:
    return untransposed(b, new, _moved(whole.rank, source, destination))


def _moved(rank: int, source: Any, destination: Any) -> list[int]:
    sources = [axis_of(a, rank) for a in ints_of(source, "axis")]
    targets = [axis_of(a, rank) for a in ints_of(destination, "axis")]
    if not rank:
        return []
    places = dict(zip(targets, sources, strict=True))
    rest = iter(i for i in range(rank) if i not in sources)
    return [places[i] if i in places else next(rest) for i in range(rank)]


@aten_op("expand", "expand_copy", "broadcast_to")
def expand(b: AtenBuilder, self: Value, size: Any, implicit: bool = False) -> Value:
    dims = dims_of(b, size)
    new = len(dims) - self.rank
    shape = tuple(self.shape[i - new] if d == -1 and i >= new else d for i, d in enumerate(dims))
    return expanded(b, self, shape)


@aten_op("expand_as")
def expand_as(b: AtenBuilder, self: Value, other: Value) -> Value:
    return expanded(b, self, other.shape)


def expanded(b: AtenBuilder, x: Value, shape: Sequence[Dim]) -> Value:
    """Return x broadcast to a shape, itself where it has that."""
    return x if tuple(x.shape) == tuple(shape) else b.tensor_expand(x, shape=tuple(shape))


@view_op("expand", "broadcast_to", "expand_as")
def write_expand(b: AtenBuilder, whole: Value, new: Value, *_: Any, **__: Any) -> Value:
    if tuple(whole.shape) == tuple(new.shape):
        return new
    # Of a tensor whose axes are not repeated, only axes of size 1 are new.
    if whole.tensor.size == new.tensor.size:
        return b.reshaped(new, whole.shape)
    raise UnsupportedError(
        "a tensor is written to of which expand repeats elements", "clone the expanded tensor before it changes"
    )
