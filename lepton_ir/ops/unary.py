"""Elementwise operators of one tensor: arithmetic, rounding, predicates, conversion."""

from __future__ import annotations

import numpy as np

from lepton_ir.ir.opdef import InferenceError, attribute
from lepton_ir.ir.types import DType, TensorType, Type
from lepton_ir.ops.convert import ROUND_MODES, convert
from lepton_ir.ops.elementwise import FloatUnary, Unary
from lepton_ir.ops.folds import arithmetic as arithmetic_folds
from lepton_ir.ops.special import erf, sigmoid
from lepton_ir.ops.support import Array


class Neg(Unary):
    """-x; integers wrap."""

    name = "neg"
    canonicalizations = (arithmetic_folds.twice_is_nothing,)
    is_shape_computation = True

    def compute(self, x: Array) -> Array:
        return np.negative(x)


class Abs(Unary):
    """The absolute value of x."""

    name = "abs"
    canonicalizations = (arithmetic_folds.twice_is_once,)

    def compute(self, x: Array) -> Array:
        return np.abs(x)


class Sign(Unary):
    """-1, 0 or 1 as x is negative, zero or positive; NaN stays NaN."""

    name = "sign"
    canonicalizations = (arithmetic_folds.twice_is_once,)

    def compute(self, x: Array) -> Array:
        return np.sign(x)


class Reciprocal(FloatUnary):
    """1 / x."""

    name = "reciprocal"
    canonicalizations = (arithmetic_folds.reciprocal_of_root,)

    def compute(self, x: Array) -> Array:
        return np.reciprocal(x)


class Sqrt(FloatUnary):
    """The square root of x; NaN for negative x."""

    name = "sqrt"

    def compute(self, x: Array) -> Array:
        return np.sqrt(x)


class Rsqrt(FloatUnary):
    """1 / sqrt(x)."""

    name = "rsqrt"

    def compute(self, x: Array) -> Array:
        return np.reciprocal(np.sqrt(x))


class Floor(FloatUnary):
    """The largest integer that is at most x."""

    name = "floor"
    canonicalizations = (arithmetic_folds.twice_is_once,)

    def compute(self, x: Array) -> Array:
        return np.floor(x)


class Ceil(FloatUnary):
    """The smallest integer that is at least x."""

    name = "ceil"
    canonicalizations = (arithmetic_folds.twice_is_once,)

    def compute(self, x: Array) -> Array:
        return np.ceil(x)


class Round(FloatUnary):
    """The integer nearest to x, halves to the even one."""

    name = "round"
    canonicalizations = (arithmetic_folds.twice_is_once,)

    def compute(self, x: Array) -> Array:
        return np.rint(x)


class Trunc(FloatUnary):
    """The integer part of x."""

    name = "trunc"
    canonicalizations = (arithmetic_folds.twice_is_once,)

    def compute(self, x: Array) -> Array:
        return np.trunc(x)


class Sigmoid(FloatUnary):
    """1 / (1 + exp(-x))."""

    name = "sigmoid"

    def compute(self, x: Array) -> Array:
        return sigmoid(x)


class Erf(FloatUnary):
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""

    name = "erf"

    def compute(self, x: Array) -> Array:
        return erf(x)


class Not(Unary):
    """Logical negation."""

    name = "not"
    canonicalizations = (arithmetic_folds.twice_is_nothing, arithmetic_folds.not_equal)
    accepts = "bool"

    def compute(self, x: Array) -> Array:
        return np.logical_not(x)


class BitwiseNot(Unary):
    """Every bit of x inverted."""

    name = "bitwise_not"
    canonicalizations = (arithmetic_folds.twice_is_nothing,)
    accepts = "integer"

    def compute(self, x: Array) -> Array:
        return np.invert(x)


class IsNan(Unary):
    """Whether x is not a number."""

    name = "isnan"
    accepts = "float"
    result_dtype = DType.BOOL

    def compute(self, x: Array) -> Array:
        return np.isnan(x)


class IsInf(Unary):
    """Whether x is an infinity of a sign that is asked for."""

    name = "isinf"
    accepts = "float"
    result_dtype = DType.BOOL
    detect_negative = attribute(bool, default=True, doc="whether -inf counts")
    detect_positive = attribute(bool, default=True, doc="whether +inf counts")

    def compute(self, x: Array) -> Array:
        return (np.isneginf(x) & self.detect_negative) | (np.isposinf(x) & self.detect_positive)


class Cast(Unary):
    """x converted to another element type; floats to integers truncate, integers to integers wrap.

    A float beyond the range of an 8-bit float becomes that type's largest number where ``saturate`` is set, else
    its infinity or NaN. Only casts to f8e8m0fnu, whose numbers are the powers of two from 2**-127 to 2**127, look at
    ``round_mode``: ``up``, ``down``, or ``nearest`` with halves up. There 0 counts as a number below the range, and
    what is negative becomes NaN.
    """

    name = "cast"
    canonicalizations = (arithmetic_folds.idle_cast, arithmetic_folds.cast_of_widening)
    accepts = "any"
    is_shape_computation = True
    to = attribute(DType, doc="the element type of the result")
    saturate = attribute(bool, default=True, doc="for 8-bit floats: clamp to the range")
    round_mode = attribute(str, default="up", doc="for f8e8m0fnu: up, down or nearest")

    def verify(self) -> None:
        super().verify()
        if self.round_mode not in ROUND_MODES:
            raise InferenceError(f'cast knows the round_mode up, down and nearest, not "{self.round_mode}"')

    def infer(self) -> Type:
        return TensorType(self.x.tensor.shape, self.to)

    def evaluate(self, x: Array) -> Array:
        return convert(np.asarray(x), self.to, saturate=self.saturate, round_mode=self.round_mode)
