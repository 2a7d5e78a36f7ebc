"""Reading elements by index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.opdef import InferenceError, attribute, operand, result
from lepton_ir.ir.types import TensorType, Type
from lepton_ir.ops.checks import check_indices, verify_indices, verify_vectors
from lepton_ir.ops.folds import shape as shape_folds
from lepton_ir.ops.shape import Injective
from lepton_ir.ops.support import Array, dims_differ, dims_exceed, normalize_axis, require_integer


class Gather(Injective):
    """Slices of x along an axis, picked by index; negative indices count from the end."""

    name = "tensor.gather"
    canonicalizations = (shape_folds.gather_one,)
    x: Value = operand()
    indices: Value = operand("integers of any shape")
    axis = attribute(int, default=0)
    y: OpResult = result("the axis replaced by the shape of indices")

    def infer(self) -> Type:
        require_integer("the indices of tensor.gather", self.indices.tensor)
        axis = normalize_axis(self.axis, self.x.rank)
        shape = self.x.shape
        return self.x.tensor.with_shape((*shape[:axis], *self.indices.shape, *shape[axis + 1 :]))

    def verify(self) -> None:
        verify_indices(self.indices, self.x.shape[normalize_axis(self.axis, self.x.rank)])

    def may_fail(self) -> bool:
        return True

    def evaluate(self, x: Array, indices: Array) -> Array:
        wanted = np.asarray(indices, dtype=np.int64)
        check_indices(wanted, x.shape[self.axis])
        return np.take(x, wanted, axis=self.axis)


class GatherElements(Injective):
    """Elements of x: along the axis each index of the result is replaced by the element of ``indices`` there."""

    name = "tensor.gather_elements"
    is_shape_computation = False
    x: Value = operand()
    indices: Value = operand("integers, of the rank of x")
    axis = attribute(int, default=0)
    y: OpResult = result("the shape of indices")

    def infer(self) -> Type:
        require_integer("the indices of tensor.gather_elements", self.indices.tensor)
        normalize_axis(self.axis, self.x.rank)
        if self.indices.rank != self.x.rank:
            raise InferenceError(f"the indices {self.indices.type} need the rank of {self.x.type}")
        require_inside(self.indices.tensor, self.x.tensor, self.axis)
        return self.x.tensor.with_shape(self.indices.shape)

    def verify(self) -> None:
        verify_indices(self.indices, self.x.shape[normalize_axis(self.axis, self.x.rank)])

    def may_fail(self) -> bool:
        return True

    def evaluate(self, x: Array, indices: Array) -> Array:
        return np.asarray(x[element_index(indices, self.axis, x.shape[self.axis])])


class GatherNd(Injective):
    """Slices of x, each picked by a vector of indices, the last axis of ``indices``."""

    name = "tensor.gather_nd"
    is_shape_computation = False
    x: Value = operand()
    indices: Value = operand("integers; the last axis has one index per leading axis of x")
    batch_dims = attribute(int, default=0, doc="leading axes that x and indices share")
    y: OpResult = result()

    def infer(self) -> Type:
        require_integer("the indices of tensor.gather_nd", self.indices.tensor)
        x, indices, batch = self.x.tensor, self.indices.tensor, self.batch_dims
        if not indices.rank or not isinstance(indices.shape[-1], int):
            raise InferenceError(f"the last axis of the indices must be known, got {indices}")
        depth = indices.shape[-1]
        if not 0 <= batch < indices.rank or batch + depth > x.rank:
            raise InferenceError(f"{depth} indices after {batch} batch axes do not fit {x}")
        if any(dims_differ(d, e) for d, e in zip(x.shape[:batch], indices.shape[:batch], strict=True)):
            raise InferenceError(f"{x} and the indices {indices} differ in their {batch} batch axes")
        return TensorType((*indices.shape[:-1], *x.shape[batch + depth :]), x.dtype)

    def verify(self) -> None:
        verify_vectors(self.indices, self.indexed_sizes())

    def may_fail(self) -> bool:
        return True

    def indexed_sizes(self) -> tuple[Dim, ...]:
        """Return the sizes of the axes that the entries of an index vector stand for."""
        return self.x.shape[self.batch_dims :][: int(self.indices.shape[-1])]

    def evaluate(self, x: Array, indices: Array) -> Array:
        batch = self.batch_dims
        leading = tuple(
            np.arange(indices.shape[i]).reshape([-1 if j == i else 1 for j in range(indices.ndim - 1)])
            for i in range(batch)
        )
        picked = index_vectors(indices, x.shape[batch:])
        return np.asarray(x[leading + picked])


def require_inside(indices: TensorType, x: TensorType, axis: int) -> None:
    """Check that the indices are no larger than x along the axes that they do not index.

    Raises:
        InferenceError: they are.
    """
    pairs = list(zip(indices.shape, x.shape, strict=True))
    del pairs[normalize_axis(axis, x.rank)]
    if any(dims_exceed(d, limit) for d, limit in pairs):
        raise InferenceError(f"the indices {indices} reach beyond {x}")


def element_index(indices: Array, axis: int, size: int) -> tuple[Array, ...]:
    """Return the numpy index of the elements that ``indices`` name along the axis.

    Raises:
        DataError: an index lies outside of the axis.
    """
    index: list[Array] = list(np.indices(indices.shape, sparse=True))
    wanted = np.asarray(indices, dtype=np.int64)
    check_indices(wanted, size)
    index[axis] = np.where(wanted < 0, wanted + size, wanted)
    return tuple(index)


def index_vectors(indices: Array, sizes: Sequence[int]) -> tuple[Array, ...]:
    """Return the numpy index that the vectors in the last axis of ``indices`` name.

    Raises:
        DataError: an entry lies outside of its axis.
    """
    entries = tuple(np.moveaxis(np.asarray(indices, dtype=np.int64), -1, 0))
    for entry, size in zip(entries, sizes, strict=False):
        check_indices(entry, size)
    return entries
