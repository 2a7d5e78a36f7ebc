"""Writing elements by index."""

from __future__ import annotations

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.opdef import InferenceError, Operation, attribute, operand, result
from lepton_ir.ir.types import Type
from lepton_ir.ops.checks import verify_indices, verify_vectors
from lepton_ir.ops.gather import element_index, index_vectors, require_inside
from lepton_ir.ops.support import (
    Array,
    dims_differ,
    narrow,
    normalize_axis,
    require_integer,
    require_same_dtype,
    widen,
)

_REDUCTIONS = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}


class Scatter(Operation):
    """Base class: a copy of x with some elements replaced by, or combined with, updates."""

    x: Value = operand()
    indices: Value = operand("integers")
    updates: Value = operand()
    reduction = attribute(str, default="none", doc='"none" (replace), "add", "mul", "min" or "max"')

    def infer(self) -> Type:
        require_integer(f"the indices of {self.name}", self.indices.tensor)
        require_same_dtype(f"x and updates of {self.name}", self.x.tensor, self.updates.tensor)
        return self.x.type

    def verify(self) -> None:
        if self.reduction != "none" and self.reduction not in _REDUCTIONS:
            raise InferenceError(f'{self.name} has no reduction "{self.reduction}"')

    def may_fail(self) -> bool:
        return True

    def moves_elements(self) -> bool:
        return bool(self.reduction == "none")

    def scatter(self, x: Array, index: tuple[Array, ...], updates: Array) -> Array:
        """Return x with the updates at a numpy index."""
        if self.reduction == "none":
            y = x.copy()
            y[index] = updates
            return y
        y = widen(x).copy()
        _REDUCTIONS[self.reduction].at(y, index, widen(updates))
        return narrow(y, self.x.tensor.dtype)


class ScatterElements(Scatter):
    """x with each update at the place that its own place names, the index along the axis taken from ``indices``."""

    name = "tensor.scatter_elements"
    axis = attribute(int, default=0)
    y: OpResult = result()

    def infer(self) -> Type:
        normalize_axis(self.axis, self.x.rank)
        indices, updates = self.indices.tensor, self.updates.tensor
        if indices.rank != self.x.rank or indices.rank != updates.rank:
            raise InferenceError(f"indices {indices} and updates {updates} need the rank of {self.x.type}")
        if any(dims_differ(d, e) for d, e in zip(indices.shape, updates.shape, strict=True)):
            raise InferenceError(f"indices {indices} and updates {updates} differ in shape")
        require_inside(indices, self.x.tensor, self.axis)
        return super().infer()

    def verify(self) -> None:
        super().verify()
        verify_indices(self.indices, self.x.shape[normalize_axis(self.axis, self.x.rank)])

    def evaluate(self, x: Array, indices: Array, updates: Array) -> Array:
        return self.scatter(x, element_index(indices, self.axis, x.shape[self.axis]), updates)


class ScatterNd(Scatter):
    """x with slices written at the places that the vectors in the last axis of ``indices`` name."""

    name = "tensor.scatter_nd"
    y: OpResult = result()

    def infer(self) -> Type:
        x, indices, updates = self.x.tensor, self.indices.tensor, self.updates.tensor
        if not indices.rank or not isinstance(indices.shape[-1], int) or indices.shape[-1] > x.rank:
            raise InferenceError(f"the last axis of the indices must be known and at most {x.rank}, got {indices}")
        expected = (*indices.shape[:-1], *x.shape[indices.shape[-1] :])
        if len(expected) != updates.rank or any(
            dims_differ(d, e) for d, e in zip(expected, updates.shape, strict=True)
        ):
            raise InferenceError(f"the updates must have the shape {list(expected)}, got {updates}")
        return super().infer()

    def verify(self) -> None:
        super().verify()
        verify_vectors(self.indices, self.indexed_sizes())

    def indexed_sizes(self) -> tuple[Dim, ...]:
        """Return the sizes of the axes that the entries of an index vector stand for."""
        return self.x.shape[: int(self.indices.shape[-1])]

    def evaluate(self, x: Array, indices: Array, updates: Array) -> Array:
        return self.scatter(x, index_vectors(indices, x.shape), updates)
