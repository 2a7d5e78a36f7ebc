"""Elementary functions by the device's own instructions and libraries.

The rules that all targets share compute them as polynomials, which suits the vector units of CPUs; GPUs have
hardware or library functions for exp, log, tanh and erf, and the others follow from these. Nothing here uses a
function that one of CUDA, ROCm and OpenCL lacks in TVM.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tvm import tirx

from lepton_backends.tvm.schedules.gpu_te.core import Expr
from lepton_backends.tvm.tir import bind

NativeRule: TypeAlias = Callable[[Any, Sequence[Expr]], Expr]

NATIVE_RULES: dict[str, NativeRule] = {}
"""By operator: how a GPU computes one element, from the operation and its operands' elements."""


def native(*operators: str) -> Callable[[NativeRule], NativeRule]:
    """Register how a GPU computes one element of an operator."""

    def register(function: NativeRule) -> NativeRule:
        NATIVE_RULES.update(dict.fromkeys(operators, function))
        return function

    return register


def native_unary(*operators: str) -> Callable[[Callable[[Expr], Expr]], Callable[[Expr], Expr]]:
    """Register how a GPU computes one element of an operator without attributes."""

    def register(function: Callable[[Expr], Expr]) -> Callable[[Expr], Expr]:
        native(*operators)(lambda op, operands: function(operands[0]))
        return function

    return register


def like(value: float, x: Expr) -> Expr:
    """Return a literal of the type of ``x``."""
    return tirx.const(value, str(x.ty))


for _name, _function in {"exp": tirx.exp, "log": tirx.log, "tanh": tirx.tanh, "erf": tirx.erf}.items():
    native_unary(_name)(_function)


@native_unary("expm1")
def expm1(x: Expr) -> Expr:
    """Return exp(x) - 1; near 0 as 2 t / (1 - t) with t = tanh(x / 2), which loses no digits there."""
    x = bind(x)
    t = bind(tirx.tanh(x * like(0.5, x)))
    return tirx.Select(tirx.abs(x) < like(1, x), like(2, x) * t / (like(1, x) - t), tirx.exp(x) - like(1, x))


@native_unary("log1p")
def log1p(x: Expr) -> Expr:
    """Return log(1 + x); what rounding 1 + x loses is put back by the factor x / ((1 + x) - 1)."""
    x = bind(x)
    u = bind(like(1, x) + x)
    near = tirx.any(u.equal(like(1, x)), u > like(1e30, x))
    return tirx.Select(near, tirx.Select(u.equal(like(1, x)), x, tirx.log(u)), tirx.log(u) * x / (u - like(1, x)))


@native_unary("sigmoid")
def sigmoid(x: Expr) -> Expr:
    return like(1, x) / (like(1, x) + tirx.exp(-x))


@native_unary("silu")
def silu(x: Expr) -> Expr:
    x = bind(x)
    return x * sigmoid(x)


@native_unary("softplus")
def softplus(x: Expr) -> Expr:
    x = bind(x)
    return tirx.max(x, like(0, x)) + log1p(tirx.exp(-tirx.abs(x)))


@native_unary("mish")
def mish(x: Expr) -> Expr:
    x = bind(x)
    return x * tirx.tanh(softplus(x))


@native_unary("sinh")
def sinh(x: Expr) -> Expr:
    a = bind(tirx.abs(x))
    e = bind(expm1(a))
    small = like(0.5, x) * (e + e / (e + like(1, x)))
    return _odd(x, tirx.Select(a < like(20, x), small, tirx.exp(a - like(math.log(2), x))))


@native_unary("cosh")
def cosh(x: Expr) -> Expr:
    half = bind(tirx.exp(tirx.abs(x) - like(math.log(2), x)))
    return half + like(0.25, x) / half


@native_unary("asinh")
def asinh(x: Expr) -> Expr:
    x = bind(x)
    a = bind(tirx.abs(x))
    near = log1p(a + a * a / (tirx.sqrt(a * a + like(1, x)) + like(1, x)))
    return _odd(x, tirx.Select(a < like(1e4, x), near, tirx.log(a) + like(math.log(2), x)))


@native_unary("acosh")
def acosh(x: Expr) -> Expr:
    x = bind(x)
    t = bind(x - like(1, x))
    near = log1p(t + tirx.sqrt(t * t + like(2, x) * t))
    return tirx.Select(x < like(1e4, x), near, tirx.log(x) + like(math.log(2), x))


@native_unary("atanh")
def atanh(x: Expr) -> Expr:
    x = bind(x)
    a = bind(tirx.abs(x))
    return _odd(x, like(0.5, x) * log1p(like(2, x) * a / (like(1, x) - a)))


@native_unary("tan")
def tan(x: Expr) -> Expr:
    x = bind(x)
    return tirx.sin(x) / tirx.cos(x)


@native("hard_sigmoid")
def hard_sigmoid(op: Any, operands: Sequence[Expr]) -> Expr:
    return _hard_sigmoid(operands[0], op.alpha, op.beta)


@native_unary("hard_swish")
def hard_swish(x: Expr) -> Expr:
    x = bind(x)
    return x * _hard_sigmoid(x, 1 / 6, 0.5)


@native("gelu")
def gelu(op: Any, operands: Sequence[Expr]) -> Expr:
    x = bind(operands[0])
    half = like(0.5, x) * x
    if op.approximate == "none":
        return half * (like(1, x) + tirx.erf(x * like(math.sqrt(0.5), x)))
    inner = (x + like(0.044715, x) * x * x * x) * like(math.sqrt(2 / math.pi), x)
    return half * (like(1, x) + tirx.tanh(inner))


@native("pow")
def power(op: Any, operands: Sequence[Expr]) -> Expr:
    a, b = bind(operands[0]), operands[1]
    exponent = b.value if isinstance(b, (tirx.FloatImm, tirx.IntImm)) else None
    if exponent in (1, 2, 3):
        return [a, a * a, a * a * a][int(exponent) - 1]
    return tirx.sqrt(a) if exponent == 0.5 else tirx.pow(a, b.astype(str(a.ty)))


@native("elu")
def elu(op: Any, operands: Sequence[Expr]) -> Expr:
    return _elu(operands[0], op.alpha)


@native("selu")
def selu(op: Any, operands: Sequence[Expr]) -> Expr:
    return _elu(operands[0], op.alpha) * like(op.gamma, operands[0])


@native("celu")
def celu(op: Any, operands: Sequence[Expr]) -> Expr:
    x = bind(operands[0])
    below = expm1(x / like(op.alpha, x)) * like(op.alpha, x)
    return tirx.max(x, like(0, x)) + tirx.min(below, like(0, x))


def _hard_sigmoid(x: Expr, alpha: float, beta: float) -> Expr:
    # By max and min: TVM's simplifier takes exponential time over nested selects.
    return tirx.min(tirx.max(x * like(alpha, x) + like(beta, x), like(0, x)), like(1, x))


def _elu(x: Expr, alpha: float) -> Expr:
    x = bind(x)
    return tirx.Select(x > like(0, x), x, expm1(x) * like(alpha, x))


def _odd(x: Expr, positive: Expr) -> Expr:
    """Return an odd function of ``x`` from its value at abs(x)."""
    positive = bind(positive)
    return tirx.Select(x < like(0, x), -positive, positive)
