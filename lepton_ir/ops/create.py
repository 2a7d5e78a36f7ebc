"""Operators that make tensors out of attributes."""

from __future__ import annotations

import numpy as np

from lepton_ir.ir.constant import Constant
from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import (
    FusionKind,
    InferenceError,
    Operation,
    attribute,
    dim_attribute,
    dims_attribute,
    operand,
    result,
)
from lepton_ir.ir.types import DType, TensorType, Type
from lepton_ir.ops.support import Array, ints, normalize_axis, require_sizes


class Const(Operation):
    """A constant tensor, held by reference."""

    name = "const"
    is_shape_computation = True
    value = attribute(Constant, doc="the data")
    y: OpResult = result()

    def infer(self) -> Type:
        return self.value.type

    def evaluate(self) -> Array:
        return self.value.array


class Full(Operation):
    """A tensor whose elements all equal a scalar."""

    name = "tensor.full"
    fusion = FusionKind.INJECTIVE
    is_shape_computation = True
    value: Value = operand("rank 0")
    shape = dims_attribute()
    y: OpResult = result()

    def infer(self) -> Type:
        if self.value.rank:
            raise InferenceError(f"tensor.full repeats a tensor of rank 0, got {self.value.type}")
        require_sizes(self.name, self.shape)
        return TensorType(self.shape, self.value.tensor.dtype)

    def evaluate(self, value: Array) -> Array:
        return np.broadcast_to(value, ints(self.shape))


class Iota(Operation):
    """Numbers counting along one axis: ``start + step * i`` at index ``i``."""

    name = "tensor.iota"
    fusion = FusionKind.INJECTIVE
    is_shape_computation = True
    shape = dims_attribute()
    axis = attribute(int, default=0, doc="the axis to count along")
    dtype = attribute(DType, default=DType.I64, doc="the element type, a number type")
    start = dim_attribute(default=0)
    step = dim_attribute(default=1)
    y: OpResult = result()

    def infer(self) -> Type:
        normalize_axis(self.axis, len(self.shape))
        require_sizes(self.name, self.shape)
        return TensorType(self.shape, self.dtype)

    def verify(self) -> None:
        if self.dtype in (DType.BOOL, DType.STR):
            raise InferenceError(f"tensor.iota counts in numbers, not {self.dtype}")

    def evaluate(self) -> Array:
        shape = ints(self.shape)
        axis = normalize_axis(self.axis, len(shape))
        values = [self.start + self.step * i for i in range(shape[axis])]
        known = all(isinstance(v, int) for v in values)
        line = np.array(values, dtype=np.int64 if known else object)
        if known:
            line = line.astype(self.dtype.numpy)
        return np.broadcast_to(line.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)


class Dims(Operation):
    """The values of dimensions as a tensor of i64: how sizes that are known at run time become data."""

    name = "tensor.dims"
    is_shape_computation = True
    dims = dims_attribute()
    y: OpResult = result()

    def infer(self) -> Type:
        return TensorType((len(self.dims),), DType.I64)

    def evaluate(self) -> Array:
        if all(isinstance(d, int) for d in self.dims):
            return np.array(self.dims, dtype=np.int64).reshape(-1)
        out = np.empty(len(self.dims), dtype=object)
        out[:] = self.dims
        return out
