"""Optionals: values that may be absent. A program holds the value itself, or None."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import InferenceError, Operation, operand, optional_operand, optional_type_attribute, result
from lepton_ir.ir.types import DType, OptionalType, TensorType, Type
from lepton_ir.ops.sequence import Reading, own


class Make(Operation):
    """The optional that holds a value, or none."""

    name = "optional.make"
    is_host = True
    x: Value | None = optional_operand("absent where the optional is empty")
    element = optional_type_attribute("the type of what it might hold, where it is empty")
    y: OpResult = result()

    def infer(self) -> Type:
        held = self.element if self.x is None else self.x.type
        if held is None:
            raise InferenceError("optional.make needs an operand, or the attribute element")
        return OptionalType(held)

    def evaluate(self, x: Any = None) -> Any:
        return own(x) if isinstance(x, np.ndarray) else x


class HasElement(Operation):
    """Whether an optional holds a value, bool of rank 0."""

    name = "optional.has_element"
    is_host = True
    x: Value = operand()
    y: OpResult = result()

    def infer(self) -> Type:
        _held(self.name, self.x)
        return TensorType((), DType.BOOL)

    def evaluate(self, x: Any) -> np.ndarray:
        return np.array(x is not None)


class Get(Reading):
    """What an optional holds. It is an error if it holds nothing."""

    name = "optional.get"
    x: Value = operand()
    y: OpResult = result()

    def infer(self) -> Type:
        return _held(self.name, self.x)

    def evaluate(self, x: Any) -> Any:
        if x is None:
            raise ValueError("it reads an optional that holds nothing")
        return x


def _held(what: str, x: Value) -> Type:
    if not isinstance(x.type, OptionalType):
        raise InferenceError(f"{what} needs an optional, got {x.type}")
    return x.type.element
