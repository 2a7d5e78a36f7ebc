"""Sorting, counting and marking along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.opdef import (
    FusionKind,
    InferenceError,
    Operation,
    attribute,
    dim_attribute,
    operand,
    result,
)
from lepton_ir.ir.types import DType, TensorType, Type
from lepton_ir.ops.checks import TOO_FEW, DataError
from lepton_ir.ops.support import Array, ints, narrow, normalize_axis, require_sizes, widen


class OneHot(Operation):
    """A new axis with the value ``on`` at the index and ``off`` elsewhere; all off where the index is out of range."""

    name = "tensor.one_hot"
    fusion = FusionKind.INJECTIVE
    indices: Value = operand("numbers; negative ones count from the end")
    on_off: Value = operand("[2]: the value for off, then the value for on")
    depth = dim_attribute(doc="the size of the new axis")
    axis = attribute(int, default=-1, doc="where the new axis stands in the result")
    y: OpResult = result()

    def infer(self) -> Type:
        if tuple(self.on_off.shape) != (2,):
            raise InferenceError(f"on_off of tensor.one_hot must have two elements, got {self.on_off.type}")
        axis = normalize_axis(self.axis, self.indices.rank + 1)
        require_sizes(self.name, (self.depth,))
        shape = self.indices.shape
        return TensorType((*shape[:axis], self.depth, *shape[axis:]), self.on_off.tensor.dtype)

    def evaluate(self, indices: Array, on_off: Array) -> Array:
        (depth,) = ints((self.depth,))
        axis = normalize_axis(self.axis, indices.ndim + 1)
        wanted = np.expand_dims(np.where(indices < 0, indices + depth, indices), axis)
        places = np.arange(depth).reshape([-1 if i == axis else 1 for i in range(indices.ndim + 1)])
        return np.where(wanted == places, on_off[1], on_off[0])

    def decompose(self, b: Builder) -> Sequence[Value]:
        axis, dtype = normalize_axis(self.axis, self.indices.rank + 1), self.indices.tensor.dtype
        depth = b.tensor_reshape(b.tensor_dims(dims=(self.depth,)), shape=())
        if dtype is not DType.I64:
            depth = b.cast(depth, to=dtype)
        negative = b.lt(self.indices, b.const(0, dtype=dtype))
        wanted = b.where(negative, b.add(self.indices, depth), self.indices)
        shape = self.indices.shape
        wanted = b.tensor_reshape(wanted, shape=(*shape[:axis], 1, *shape[axis:]))
        line: list[Dim] = [1] * (self.indices.rank + 1)
        line[axis] = self.depth
        places = b.tensor_iota(shape=line, axis=axis, dtype=dtype)
        off, on = b.tensor_split(self.on_off, axis=0, sizes=(1, 1))
        return [b.where(b.eq(wanted, places), b.tensor_reshape(on, shape=()), b.tensor_reshape(off, shape=()))]


class TopK(Operation):
    """The k largest or smallest elements along an axis with their indices; of equal elements the first comes first."""

    name = "tensor.topk"
    x: Value = operand()
    k = dim_attribute()
    axis = attribute(int, default=-1)
    largest = attribute(bool, default=True)
    sorted = attribute(bool, default=True, doc="the result is in order (it always is here)")
    values: OpResult = result()
    indices: OpResult = result("i64")

    def infer(self) -> Sequence[Type]:
        axis = normalize_axis(self.axis, self.x.rank)
        shape = (*self.x.shape[:axis], self.k, *self.x.shape[axis + 1 :])
        size = self.x.shape[axis]
        require_sizes(self.name, (self.k,))
        if isinstance(size, int) and isinstance(self.k, int) and self.k > size:
            raise InferenceError(f"cannot take {self.k} of the {size} elements of axis {axis}")
        return [self.x.tensor.with_shape(shape), TensorType(shape, DType.I64)]

    def may_fail(self) -> bool:
        return not (isinstance(self.k, int) and isinstance(self.x.shape[normalize_axis(self.axis, self.x.rank)], int))

    def evaluate(self, x: Array) -> tuple[Array, Array]:
        (k,) = ints((self.k,))
        if k > x.shape[self.axis]:
            raise DataError(TOO_FEW.format(k, x.shape[self.axis], normalize_axis(self.axis, x.ndim)))
        wide = widen(x)
        if self.largest:
            # Sorting the reversed axis and reversing again keeps equal elements in their order.
            backwards = np.argsort(np.flip(wide, self.axis), axis=self.axis, kind="stable")
            order = x.shape[self.axis] - 1 - np.flip(backwards, self.axis)
        else:
            order = np.argsort(wide, axis=self.axis, kind="stable")
        kept = np.take(order, np.arange(k), axis=self.axis).astype(np.int64)
        return np.take_along_axis(x, kept, self.axis), kept


class CumSum(Operation):
    """The running sum along an axis."""

    name = "tensor.cumsum"
    x: Value = operand()
    axis = attribute(int)
    exclusive = attribute(bool, default=False, doc="each sum leaves its own element out")
    reverse = attribute(bool, default=False, doc="sum from the end")
    y: OpResult = result()

    def infer(self) -> Type:
        normalize_axis(self.axis, self.x.rank)
        return self.x.type

    def evaluate(self, x: Array) -> Array:
        data = widen(np.flip(x, self.axis) if self.reverse else x)
        y = np.cumsum(data, axis=self.axis, dtype=data.dtype)
        if self.exclusive:
            y = np.roll(y, 1, self.axis)
            y[(slice(None),) * normalize_axis(self.axis, x.ndim) + (slice(0, 1),)] = 0
        return narrow(np.flip(y, self.axis) if self.reverse else y, DType.of(x))
