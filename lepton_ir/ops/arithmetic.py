"""Elementwise arithmetic of two tensors."""

from __future__ import annotations

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import FusionKind, InferenceError, Operation, attribute, operand, result
from lepton_ir.ir.types import DType, TensorType
from lepton_ir.ops import symbolic
from lepton_ir.ops.checks import check_divisor, may_be_zero, verify_divisor
from lepton_ir.ops.elementwise import Binary, Elementwise
from lepton_ir.ops.folds import arithmetic as arithmetic_folds
from lepton_ir.ops.support import Array, require_same_dtype


class Add(Binary):
    """a + b; integers wrap."""

    name = "add"
    canonicalizations = (
        arithmetic_folds.neutral_element,
        arithmetic_folds.sum_with_negation,
        arithmetic_folds.operand_expanded,
    )
    is_shape_computation = True

    def compute(self, a: Array, b: Array) -> Array:
        return np.add(a, b)


class Sub(Binary):
    """a - b; integers wrap."""

    name = "sub"
    canonicalizations = (
        arithmetic_folds.neutral_element,
        arithmetic_folds.sum_with_negation,
        arithmetic_folds.operand_expanded,
    )
    is_shape_computation = True

    def compute(self, a: Array, b: Array) -> Array:
        return np.subtract(a, b)


class Mul(Binary):
    """a * b; integers wrap."""

    name = "mul"
    canonicalizations = (arithmetic_folds.neutral_element, arithmetic_folds.operand_expanded)
    is_shape_computation = True

    def compute(self, a: Array, b: Array) -> Array:
        return np.multiply(a, b)


class Division(Binary):
    """Base class: integers wrap (the lowest number divided by -1 is itself), and their divisor must not be zero."""

    def verify(self) -> None:
        super().verify()
        verify_divisor(self.b)

    def may_fail(self) -> bool:
        return may_be_zero(self.b)

    def compute(self, a: Array, b: Array) -> Array:
        if symbolic.is_symbolic(a, b):
            return self.divide_dims(a, b)
        check_divisor(a, b)
        return self.divide(a, b)

    def divide_dims(self, a: Array, b: Array) -> Array:
        """Return the result for arrays of dimensions, which are not negative."""
        return np.asarray(Operation.evaluate(self, a, b))

    def divide(self, a: Array, b: Array) -> Array:
        """Return the result for numbers; no integer is divided by zero."""
        return np.asarray(Operation.evaluate(self, a, b))


class Div(Division):
    """a / b; for integers the quotient is truncated toward zero."""

    name = "div"
    canonicalizations = (
        arithmetic_folds.neutral_element,
        arithmetic_folds.divide_by_power_of_two,
        arithmetic_folds.one_over,
        arithmetic_folds.operand_expanded,
    )
    is_shape_computation = True

    def divide_dims(self, a: Array, b: Array) -> Array:
        # Dimensions are not negative, where truncation and floor agree.
        return np.floor_divide(a, b)

    def divide(self, a: Array, b: Array) -> Array:
        if a.dtype.kind not in "iu":
            return np.divide(a, b)
        quotient = np.floor_divide(a, b)
        inexact = (quotient * b != a) & ((a < 0) != (b < 0))
        return quotient + inexact.astype(a.dtype)


class FloorDiv(Division):
    """The largest integer that is at most a / b."""

    name = "floordiv"
    canonicalizations = (arithmetic_folds.neutral_element,)
    is_shape_computation = True

    def divide_dims(self, a: Array, b: Array) -> Array:
        return np.floor_divide(a, b)

    def divide(self, a: Array, b: Array) -> Array:
        return np.floor_divide(a, b)


class Mod(Division):
    """The remainder of a / b, with the sign of b, or with the sign of a where ``fmod`` is set."""

    name = "mod"
    is_shape_computation = True
    fmod = attribute(bool, default=False, doc="take the sign of a, as C's fmod")

    def divide_dims(self, a: Array, b: Array) -> Array:
        return np.mod(a, b)

    def divide(self, a: Array, b: Array) -> Array:
        return np.fmod(a, b) if self.fmod else np.mod(a, b)


class Pow(Binary):
    """a to the power of b; b may have another element type."""

    name = "pow"
    canonicalizations = (
        arithmetic_folds.neutral_element,
        arithmetic_folds.small_power,
        arithmetic_folds.operand_expanded,
    )

    def check_dtypes(self, tensors: list[TensorType]) -> None:
        """Base and exponent may differ."""

    def compute(self, a: Array, b: Array) -> Array:
        if a.dtype.kind not in "iu":
            return np.power(a, b.astype(a.dtype) if b.dtype.kind in "iu" and a.dtype.kind == "f" else b)
        if b.dtype.kind == "f":
            return np.trunc(np.power(a.astype(np.float64), b)).astype(a.dtype)
        inverse = np.trunc(np.power(a.astype(np.float64), np.minimum(b, 0).astype(np.float64)))
        # In 64 bits, since a narrower element type might not hold the exponent; what wraps there wraps alike.
        exponent = np.maximum(b, 0)
        if exponent.dtype == np.uint64:
            exponent = np.minimum(exponent, np.uint64(np.iinfo(np.int64).max))
        positive = np.power(a.astype(np.int64), exponent.astype(np.int64)).astype(a.dtype)
        # 1 / 0 is the lowest number, as a conversion of infinity has it.
        finite = np.where(np.isfinite(inverse), inverse, 0).astype(a.dtype)
        return np.where(b < 0, np.where(a == 0, np.iinfo(a.dtype).min, finite), positive)


class Minimum(Binary):
    """The smaller of a and b; NaN where one is NaN."""

    name = "minimum"
    canonicalizations = (arithmetic_folds.operand_expanded,)
    is_shape_computation = True

    def compute(self, a: Array, b: Array) -> Array:
        return symbolic.minimum(a, b) if symbolic.is_symbolic(a, b) else np.minimum(a, b)


class Maximum(Binary):
    """The larger of a and b; NaN where one is NaN."""

    name = "maximum"
    canonicalizations = (arithmetic_folds.maximum_with_zero, arithmetic_folds.operand_expanded)
    is_shape_computation = True

    def compute(self, a: Array, b: Array) -> Array:
        return symbolic.maximum(a, b) if symbolic.is_symbolic(a, b) else np.maximum(a, b)


class Atan2(Binary):
    """The angle of the point (b, a), in (-pi, pi]."""

    name = "atan2"
    accepts = "float"

    def compute(self, a: Array, b: Array) -> Array:
        return np.arctan2(a, b)


class PRelu(Elementwise):
    """x where x >= 0, else slope * x."""

    name = "prelu"
    canonicalizations = (arithmetic_folds.prelu_with_one_slope,)
    fusion = FusionKind.BROADCAST
    x: Value = operand()
    slope: Value = operand("broadcast against x")
    y: OpResult = result()

    def compute(self, x: Array, slope: Array) -> Array:
        return np.where(x >= 0, x, x * slope)


class Where(Elementwise):
    """x where the condition holds, else y."""

    name = "where"
    canonicalizations = (arithmetic_folds.where_decided, arithmetic_folds.where_not)
    fusion = FusionKind.BROADCAST
    accepts = "any"
    is_shape_computation = True
    condition: Value = operand("bool")
    x: Value = operand()
    y: Value = operand()
    z: OpResult = result()

    def moves_elements(self) -> bool:
        return True

    def infer(self) -> TensorType:
        shape = super().infer().shape  # type: ignore[union-attr]
        return TensorType(shape, self.x.tensor.dtype)

    def check_dtypes(self, tensors: list[TensorType]) -> None:
        condition, x, y = tensors
        if condition.dtype is not DType.BOOL:
            raise InferenceError(f"the condition of where must be bool, got {condition}")
        require_same_dtype("x and y of where", x, y)

    def evaluate(self, condition: Array, x: Array, y: Array) -> Array:
        # Selecting copies bits, so narrow floats need no wider type here.
        return np.where(np.asarray(condition).astype(np.bool_), x, y)
