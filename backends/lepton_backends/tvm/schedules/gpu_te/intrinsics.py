"""Elementary functions by the device's own instructions and libraries.

The rules that all targets share compute them as polynomials, which suits the vector units of CPUs; GPUs have
hardware or library functions for them. A rule takes the operation and its operands' elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tvm import tirx

from lepton_backends.tvm.schedules.gpu_te.core import Expr

NativeRule: TypeAlias = Callable[[Any, Sequence[Expr]], Expr]

NATIVE_RULES: dict[str, NativeRule] = {}


def native(*operators: str) -> Callable[[NativeRule], NativeRule]:
    """Register how a GPU computes one element of an operator."""

    def register(function: NativeRule) -> NativeRule:
        NATIVE_RULES.update(dict.fromkeys(operators, function))
        return function

    return register


def _unary(function: Callable[[Expr], Expr]) -> NativeRule:
    return lambda op, operands: function(operands[0])


def like(value: float, x: Expr) -> Expr:
    """Return a literal of the type of ``x``."""
    return tirx.const(value, str(x.ty))


def sigmoid_of(x: Expr) -> Expr:
    """Return 1 / (1 + exp(-x))."""
    return like(1, x) / (like(1, x) + tirx.exp(-x))


def softplus_of(x: Expr) -> Expr:
    """Return log(1 + exp(x)) without overflow."""
    return tirx.max(x, like(0, x)) + tirx.log1p(tirx.exp(-tirx.abs(x)))


for _name, _function in {
    "exp": tirx.exp,
    "log": tirx.log,
    "log1p": tirx.log1p,
    "tanh": tirx.tanh,
    "erf": tirx.erf,
    "sinh": tirx.sinh,
    "cosh": tirx.cosh,
    "asinh": tirx.asinh,
    "acosh": tirx.acosh,
    "atanh": tirx.atanh,
    "sigmoid": sigmoid_of,
    "silu": lambda x: x * sigmoid_of(x),
    "softplus": softplus_of,
    "mish": lambda x: x * tirx.tanh(softplus_of(x)),
}.items():
    native(_name)(_unary(_function))


@native("expm1")
def expm1(op: Any, operands: Sequence[Expr]) -> Expr:
    return _expm1_of(operands[0])


@native("gelu")
def gelu(op: Any, operands: Sequence[Expr]) -> Expr:
    x = operands[0]
    half = like(0.5, x) * x
    if op.approximate == "none":
        return half * (like(1, x) + tirx.erf(x * like(math.sqrt(0.5), x)))
    inner = (x + like(0.044715, x) * x * x * x) * like(math.sqrt(2 / math.pi), x)
    return half * (like(1, x) + tirx.tanh(inner))


@native("elu")
def elu(op: Any, operands: Sequence[Expr]) -> Expr:
    x = operands[0]
    return _elu_of(x, op.alpha)


@native("selu")
def selu(op: Any, operands: Sequence[Expr]) -> Expr:
    x = operands[0]
    return _elu_of(x, op.alpha) * like(op.gamma, x)


@native("celu")
def celu(op: Any, operands: Sequence[Expr]) -> Expr:
    x = operands[0]
    below = _expm1_of(x / like(op.alpha, x)) * like(op.alpha, x)
    return tirx.max(x, like(0, x)) + tirx.min(below, like(0, x))


def _expm1_of(x: Expr) -> Expr:
    """Return exp(x) - 1; near 0 by tanh, which loses no digits there: 2 t / (1 - t) with t = tanh(x / 2)."""
    t = tirx.tanh(x * like(0.5, x))
    return tirx.Select(tirx.abs(x) < like(1, x), like(2, x) * t / (like(1, x) - t), tirx.exp(x) - like(1, x))


def _elu_of(x: Expr, alpha: float) -> Expr:
    return tirx.Select(x > like(0, x), x, _expm1_of(x) * like(alpha, x))
