"""Pointwise functions of one or two tensors."""

from __future__ import annotations

from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import Number, floats, number_of, promoted, tensor_of
from lepton_ir.ir.core import Value

_SAME_NAME = (
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "erf", "exp", "expm1", "log", "log1p",
    "reciprocal", "rsqrt", "sigmoid", "sin", "sinh", "sqrt", "tan", "tanh",
)  # fmt: skip
"""Functions of real numbers that Lepton's own operators compute; integers become f32."""


@aten_op(*_SAME_NAME)
def real_function(b: AtenBuilder, self: Value) -> Value:
    return getattr(b, b.op)(floats(b, self))


@aten_op("add")
def add(b: AtenBuilder, self: Value | Number, other: Value | Number, alpha: Number = 1) -> Value:
    x, y = promoted(b, self, other)
    if alpha != 1:
        y = b.mul(y, tensor_of(b, alpha, x.tensor.dtype))
    return b.or_(x, y) if x.tensor.dtype.value == "bool" else b.add(x, y)


@aten_op("leaky_relu")
def leaky_relu(b: AtenBuilder, self: Value, negative_slope: Any = 0.01) -> Value:
    return b.leaky_relu(self, alpha=float(number_of(negative_slope, "slope")))
