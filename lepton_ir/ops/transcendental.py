"""Exponentials, logarithms and trigonometry, elementwise."""

from __future__ import annotations

import numpy as np

from lepton_ir.ops.elementwise import FloatUnary
from lepton_ir.ops.folds import arithmetic as arithmetic_folds
from lepton_ir.ops.support import Array


class Exp(FloatUnary):
    """e to the power of x."""

    name = "exp"

    def compute(self, x: Array) -> Array:
        return np.exp(x)


class Expm1(FloatUnary):
    """exp(x) - 1, exact near 0."""

    name = "expm1"

    def compute(self, x: Array) -> Array:
        return np.expm1(x)


class Log(FloatUnary):
    """The natural logarithm of x."""

    name = "log"
    canonicalizations = (arithmetic_folds.log_of_softmax,)

    def compute(self, x: Array) -> Array:
        return np.log(x)


class Log1p(FloatUnary):
    """log(1 + x), exact near 0."""

    name = "log1p"

    def compute(self, x: Array) -> Array:
        return np.log1p(x)


class Sin(FloatUnary):
    """The sine of x in radians."""

    name = "sin"

    def compute(self, x: Array) -> Array:
        return np.sin(x)


class Cos(FloatUnary):
    """The cosine of x in radians."""

    name = "cos"

    def compute(self, x: Array) -> Array:
        return np.cos(x)


class Tan(FloatUnary):
    """The tangent of x in radians."""

    name = "tan"

    def compute(self, x: Array) -> Array:
        return np.tan(x)


class Asin(FloatUnary):
    """The arc sine of x."""

    name = "asin"

    def compute(self, x: Array) -> Array:
        return np.arcsin(x)


class Acos(FloatUnary):
    """The arc cosine of x."""

    name = "acos"

    def compute(self, x: Array) -> Array:
        return np.arccos(x)


class Atan(FloatUnary):
    """The arc tangent of x."""

    name = "atan"

    def compute(self, x: Array) -> Array:
        return np.arctan(x)


class Sinh(FloatUnary):
    """The hyperbolic sine of x."""

    name = "sinh"

    def compute(self, x: Array) -> Array:
        return np.sinh(x)


class Cosh(FloatUnary):
    """The hyperbolic cosine of x."""

    name = "cosh"

    def compute(self, x: Array) -> Array:
        return np.cosh(x)


class Tanh(FloatUnary):
    """The hyperbolic tangent of x."""

    name = "tanh"

    def compute(self, x: Array) -> Array:
        return np.tanh(x)


class Asinh(FloatUnary):
    """The inverse hyperbolic sine of x."""

    name = "asinh"

    def compute(self, x: Array) -> Array:
        return np.arcsinh(x)


class Acosh(FloatUnary):
    """The inverse hyperbolic cosine of x."""

    name = "acosh"

    def compute(self, x: Array) -> Array:
        return np.arccosh(x)


class Atanh(FloatUnary):
    """The inverse hyperbolic tangent of x."""

    name = "atanh"

    def compute(self, x: Array) -> Array:
        return np.arctanh(x)
