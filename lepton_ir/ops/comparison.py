"""Comparisons, logic and bits of two tensors."""

from __future__ import annotations

import numpy as np

from lepton_ir.ops import symbolic
from lepton_ir.ops.elementwise import Binary, Comparison
from lepton_ir.ops.folds import arithmetic as arithmetic_folds
from lepton_ir.ops.support import Array


class Equal(Comparison):
    """Whether a equals b."""

    name = "eq"
    canonicalizations = (arithmetic_folds.operand_expanded,)
    is_shape_computation = True

    def compute(self, a: Array, b: Array) -> Array:
        return symbolic.equals(a, b) if symbolic.is_symbolic(a, b) else np.equal(a, b)


class NotEqual(Comparison):
    """Whether a differs from b."""

    name = "ne"
    canonicalizations = (arithmetic_folds.operand_expanded,)
    is_shape_computation = True

    def compute(self, a: Array, b: Array) -> Array:
        return ~symbolic.equals(a, b) if symbolic.is_symbolic(a, b) else np.not_equal(a, b)


class Less(Comparison):
    """Whether a is less than b."""

    name = "lt"
    canonicalizations = (arithmetic_folds.operand_expanded,)
    is_shape_computation = True

    def compute(self, a: Array, b: Array) -> Array:
        return symbolic.is_less(a, b) if symbolic.is_symbolic(a, b) else np.less(a, b)


class LessEqual(Comparison):
    """Whether a is at most b."""

    name = "le"
    canonicalizations = (arithmetic_folds.operand_expanded,)
    is_shape_computation = True

    def compute(self, a: Array, b: Array) -> Array:
        return ~symbolic.is_less(b, a) if symbolic.is_symbolic(a, b) else np.less_equal(a, b)


class Greater(Comparison):
    """Whether a is greater than b."""

    name = "gt"
    canonicalizations = (arithmetic_folds.operand_expanded,)
    is_shape_computation = True

    def compute(self, a: Array, b: Array) -> Array:
        return symbolic.is_less(b, a) if symbolic.is_symbolic(a, b) else np.greater(a, b)


class GreaterEqual(Comparison):
    """Whether a is at least b."""

    name = "ge"
    canonicalizations = (arithmetic_folds.operand_expanded,)
    is_shape_computation = True

    def compute(self, a: Array, b: Array) -> Array:
        return ~symbolic.is_less(a, b) if symbolic.is_symbolic(a, b) else np.greater_equal(a, b)


class And(Binary):
    """Logical and."""

    name = "and"
    canonicalizations = (arithmetic_folds.neutral_element, arithmetic_folds.operand_expanded)
    accepts = "bool"
    is_shape_computation = True

    def compute(self, a: Array, b: Array) -> Array:
        return np.logical_and(a, b)


class Or(Binary):
    """Logical or."""

    name = "or"
    canonicalizations = (arithmetic_folds.neutral_element, arithmetic_folds.operand_expanded)
    accepts = "bool"
    is_shape_computation = True

    def compute(self, a: Array, b: Array) -> Array:
        return np.logical_or(a, b)


class Xor(Binary):
    """Logical exclusive or."""

    name = "xor"
    canonicalizations = (arithmetic_folds.neutral_element,)
    accepts = "bool"

    def compute(self, a: Array, b: Array) -> Array:
        return np.logical_xor(a, b)


class BitwiseAnd(Binary):
    """Bits that are set in both."""

    name = "bitwise_and"
    accepts = "integer"

    def compute(self, a: Array, b: Array) -> Array:
        return np.bitwise_and(a, b)


class BitwiseOr(Binary):
    """Bits that are set in either."""

    name = "bitwise_or"
    canonicalizations = (arithmetic_folds.neutral_element,)
    accepts = "integer"

    def compute(self, a: Array, b: Array) -> Array:
        return np.bitwise_or(a, b)


class BitwiseXor(Binary):
    """Bits that are set in exactly one."""

    name = "bitwise_xor"
    canonicalizations = (arithmetic_folds.neutral_element,)
    accepts = "integer"

    def compute(self, a: Array, b: Array) -> Array:
        return np.bitwise_xor(a, b)


class ShiftLeft(Binary):
    """a with its bits moved b places up; 0 where b is the width or more."""

    name = "shift_left"
    canonicalizations = (arithmetic_folds.neutral_element,)
    accepts = "integer"

    def compute(self, a: Array, b: Array) -> Array:
        return np.left_shift(a, b)


class ShiftRight(Binary):
    """a with its bits moved b places down; the sign is kept."""

    name = "shift_right"
    canonicalizations = (arithmetic_folds.neutral_element,)
    accepts = "integer"

    def compute(self, a: Array, b: Array) -> Array:
        return np.right_shift(a, b)
