"""Exponentials, trigonometry and activation functions, element by element."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import vector_math as vm
from lepton_backends.tvm.emit.rules import scalar
from lepton_backends.tvm.emit.scalars import clip, is_float, maximum, to_integer
from lepton_backends.tvm.emit.vector_math import like
from lepton_backends.tvm.tir import Expr, bind, dtype_of, select

for _name, _function in {
    "exp": vm.exp,
    "expm1": vm.expm1,
    "log": vm.log,
    "log1p": vm.log1p,
    "tanh": vm.tanh,
    "sigmoid": vm.sigmoid,
    "erf": vm.erf,
    "sin": tirx.sin,
    "cos": tirx.cos,
}.items():
    scalar(_name)(_function)

for _name in ("tan", "asin", "acos", "atan", "atan2"):
    scalar(_name)(functools.partial(tir.call_c, _name))


def _large(x: Expr) -> float:
    """Return a number beyond which sqrt(x * x + 1) is x."""
    return 1e4 if dtype_of(x) == "float32" else 1e9


def _odd(function: Callable[[Expr], Expr], x: Expr) -> Expr:
    """Return an odd function of x from its values at positive arguments."""
    x = bind(x)
    value = bind(function(bind(tirx.abs(x))))
    return select(x < like(0, x), -value, select(x.equal(like(0, x)), x, value))


@scalar("sinh")
def sinh(x: Expr) -> Expr:
    def positive(a: Expr) -> Expr:
        e = bind(vm.expm1(a))
        # The square of e**(a / 2) overflows only where the result does.
        half = bind(vm.exp(like(0.5, a) * a))
        return select(a < like(20, a), like(0.5, a) * (e + e / (e + like(1, a))), like(0.5, a) * half * half)

    return _odd(positive, x)


@scalar("cosh")
def cosh(x: Expr) -> Expr:
    a = bind(tirx.abs(x))
    half = bind(vm.exp(like(0.5, a) * a))
    return like(0.5, a) * half * half + like(0.5, a) / (half * half)


@scalar("asinh")
def asinh(x: Expr) -> Expr:
    def positive(a: Expr) -> Expr:
        square = bind(a * a)
        near = vm.log1p(a + square / (tirx.sqrt(square + like(1, a)) + like(1, a)))
        return select(a < like(_large(a), a), near, vm.log(a) + like(math.log(2), a))

    return _odd(positive, x)


@scalar("acosh")
def acosh(x: Expr) -> Expr:
    x = bind(x)
    t = bind(x - like(1, x))
    near = vm.log1p(t + tirx.sqrt(t * t + like(2, x) * t))
    return select(x < like(_large(x), x), near, vm.log(x) + like(math.log(2), x))


@scalar("atanh")
def atanh(x: Expr) -> Expr:
    return _odd(lambda a: like(0.5, a) * vm.log1p((a + a) / (like(1, a) - a)), x)


@scalar("relu")
def relu(x: Expr) -> Expr:
    return maximum(x, like(0, x))


@scalar("leaky_relu")
def leaky_relu(x: Expr, *, alpha: float) -> Expr:
    x = bind(x)
    return select(x >= like(0, x), x, x * like(alpha, x))


@scalar("prelu")
def prelu(x: Expr, slope: Expr) -> Expr:
    x = bind(x)
    return select(x >= like(0, x), x, x * slope)


@scalar("elu")
def elu(x: Expr, *, alpha: float) -> Expr:
    x = bind(x)
    return select(x > like(0, x), x, vm.expm1(x) * like(alpha, x))


@scalar("selu")
def selu(x: Expr, *, alpha: float, gamma: float) -> Expr:
    return elu(x, alpha=alpha) * like(gamma, x)


@scalar("celu")
def celu(x: Expr, *, alpha: float) -> Expr:
    x = bind(x)
    below = bind(vm.expm1(x / like(alpha, x)) * like(alpha, x))
    return maximum(x, like(0, x)) + select(below > like(0, x), like(0, x), below)


@scalar("gelu")
def gelu(x: Expr, *, approximate: str) -> Expr:
    x = bind(x)
    if approximate == "none":
        return vm.gelu(x)
    inner = (x + like(0.044715, x) * x * x * x) * like(math.sqrt(2 / math.pi), x)
    # 0.5 * (1 + tanh(u)) is sigmoid(2 * u).
    return x * vm.sigmoid(inner * like(2, x))


@scalar("silu")
def silu(x: Expr) -> Expr:
    x = bind(x)
    return x * vm.sigmoid(x)


@scalar("softplus")
def softplus(x: Expr) -> Expr:
    x = bind(x)
    return maximum(x, like(0, x)) + vm.log1p(vm.exp(-tirx.abs(x)))


@scalar("mish")
def mish(x: Expr) -> Expr:
    x = bind(x)
    return x * vm.tanh(softplus(x))


@scalar("softsign")
def softsign(x: Expr) -> Expr:
    x = bind(x)
    return x / (tirx.abs(x) + like(1, x))


@scalar("hard_sigmoid")
def hard_sigmoid(x: Expr, *, alpha: float, beta: float) -> Expr:
    return clip(x * like(alpha, x) + like(beta, x), like(0, x), like(1, x))


@scalar("hard_swish")
def hard_swish(x: Expr) -> Expr:
    x = bind(x)
    return x * hard_sigmoid(x, alpha=1 / 6, beta=0.5)


@scalar("thresholded_relu")
def thresholded_relu(x: Expr, *, alpha: float) -> Expr:
    x = bind(x)
    return select(x > like(alpha, x), x, like(0, x))


@scalar("shrink")
def shrink(x: Expr, *, lambd: float, bias: float) -> Expr:
    dtype, whole = dtype_of(x), not is_float(x)
    # The parameters are no integers, also where x is one.
    x = bind(tir.cast(x, "float64") if whole else x)
    above = select(x > like(lambd, x), x - like(bias, x), like(0, x))
    y = select(x < like(-lambd, x), x + like(bias, x), above)
    return to_integer(y, dtype) if whole else y
