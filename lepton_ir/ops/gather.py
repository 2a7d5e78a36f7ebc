"""Reading elements by index."""

from __future__ import annotations

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import InferenceError, attribute, operand, result
from lepton_ir.ir.types import TensorType, Type
from lepton_ir.ops.folds import shape as shape_folds
from lepton_ir.ops.shape import Injective
from lepton_ir.ops.support import Array, dims_differ, normalize_axis, require_integer


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

    def evaluate(self, x: Array, indices: Array) -> Array:
        return np.take(x, np.asarray(indices, dtype=np.int64), axis=self.axis)


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
        return self.x.tensor.with_shape(self.indices.shape)

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

    def evaluate(self, x: Array, indices: Array) -> Array:
        batch = self.batch_dims
        leading = tuple(
            np.arange(indices.shape[i]).reshape([-1 if j == i else 1 for j in range(indices.ndim - 1)])
            for i in range(batch)
        )
        picked = tuple(np.moveaxis(np.asarray(indices, dtype=np.int64), -1, 0))
        return np.asarray(x[leading + picked])


def element_index(indices: Array, axis: int, size: int) -> tuple[Array, ...]:
    """Return the numpy index of the elements that ``indices`` name along the axis.

    Raises:
        IndexError: an index lies outside of the axis.
    """
    index: list[Array] = list(np.indices(indices.shape, sparse=True))
    wanted = np.asarray(indices, dtype=np.int64)
    if wanted.size and (wanted.min() < -size or wanted.max() >= size):
        raise IndexError(f"an index is out of range for an axis of {size} elements")
    index[axis] = np.where(wanted < 0, wanted + size, wanted)
    return tuple(index)
