"""The base class of the elementwise operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import FusionKind, InferenceError, Operation, operand, result
from lepton_ir.ir.types import DType, TensorType, Type
from lepton_ir.ops.support import Array, broadcast, narrow, require_same_dtype, widen

ACCEPTS: dict[str, Callable[[DType], bool]] = {
    "any": lambda d: True,
    "number": lambda d: d is not DType.BOOL and d is not DType.STR,
    "float": lambda d: d.is_float or d in (DType.C64, DType.C128),
    "integer": lambda d: d.is_integer,
    "bool": lambda d: d is DType.BOOL,
}


class Elementwise(Operation):
    """Computes each element of the result from the operands' elements at its place, after numpy broadcasting.

    A subclass says what it means in ``compute``, which sees narrow floats (f16, bf16, f8) as f32; its result is
    rounded once to the result's element type.

    Attributes:
        accepts: what the operands may hold: "any", "number", "float", "integer" or "bool".
        result_dtype: the element type of the result; None is that of the first operand.
    """

    fusion = FusionKind.ELEMENTWISE
    accepts: ClassVar[str] = "number"
    result_dtype: ClassVar[DType | None] = None

    def infer(self) -> Type:
        tensors = [v.tensor for v in self.present_operands]
        self.check_dtypes(tensors)
        shape = tensors[0].shape if len(tensors) == 1 else broadcast(*(t.shape for t in tensors), dynamic=True)
        return TensorType(shape, self.result_dtype or tensors[0].dtype)

    def check_dtypes(self, tensors: list[TensorType]) -> None:
        """Check the operands' element types."""
        if len(tensors) > 1:
            require_same_dtype(f"the operands of {self.name}", *tensors)

    def verify(self) -> None:
        for value in self.present_operands:
            if not ACCEPTS[self.accepts](value.tensor.dtype):
                raise InferenceError(f"{self.name} needs operands of kind {self.accepts}, got {value.tensor}")

    def evaluate(self, *operands: Any) -> Array:
        given = [None if x is None else np.asarray(x) for x in operands]
        dtype = self.result_dtype or DType.of(next(x for x in given if x is not None))
        with np.errstate(all="ignore"):
            value = self.compute(*(None if x is None else widen(x) for x in given))
        return narrow(value, dtype)

    def compute(self, *operands: Any) -> Any:
        """Return the result for arrays that numpy can compute with."""
        return Operation.evaluate(self, *operands)


class Unary(Elementwise):
    """An elementwise operator of one tensor."""

    x: Value = operand()
    y: OpResult = result()


class FloatUnary(Unary):
    """An elementwise operator of one tensor of floats."""

    accepts = "float"


class Binary(Elementwise):
    """An elementwise operator of two tensors, with broadcasting."""

    fusion = FusionKind.BROADCAST
    a: Value = operand()
    b: Value = operand()
    y: OpResult = result()


class Comparison(Binary):
    """Compares two tensors; the result is bool."""

    accepts = "any"
    result_dtype = DType.BOOL
