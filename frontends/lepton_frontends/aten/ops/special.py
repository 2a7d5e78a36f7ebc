"""Special functions, computed in f64: error functions, normal distribution, gamma functions.

Sources: NIST Digital Library of Mathematical Functions, https://dlmf.nist.gov, 5.5, 5.11, 5.15, 7.2; Wichura,
"Algorithm AS 241: The Percentage Points of the Normal Distribution" (1988), https://doi.org/10.2307/2347330.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.opmath import refuse_complex, rounded_once
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import int_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value

_ERFC = (
    -0.651326859890854715, 0.64196979235649026, 0.0194764732041858363, -0.00956151478680863164,
    -0.000946595344482036866, 0.000366839497852761452, 4.25233248069077716e-5, -2.02785781125342432e-5,
    -1.62429000464702551e-6, 1.3036558355805232e-6, 1.56264417220661432e-8, -8.52380959149265425e-8,
    6.5290544390988515e-9, 5.05934349555146894e-9, -9.91364156493033087e-10, -2.27365122293183586e-10,
    9.6467911020155268e-11, 2.39403808303911474e-12, -6.8860275264975534e-12, 8.94487927309072572e-13,
    3.13092139934295808e-13, -1.12708223613672524e-13, 3.81090525518923205e-16, 7.10609761360923699e-15,
    -1.5230282014571043e-15, -9.45749457129123395e-17, 1.21023718922427899e-16, -2.81666308774717692e-17,
)  # fmt: skip
"""The Chebyshev series of log(erfc(x) exp(x^2) / t) in 2 t - 1, where t = 2 / (2 + x), for x >= 0."""

_CENTER = (
    (3.3871328727963666080, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3, 2.1213794301586595867e4,
     3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_MIDDLE = (
    (1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
     1.27045825245236838258, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187, 1.67638483018380384940, 6.89767334985100004550e-1, 1.48103976427480074590e-1,
     1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_TAIL = (
    (6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2, 7.86869131145613259100e-4,
     1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
"""The Bernoulli numbers B2, B4, ..."""
_SHIFT = 10
"""Gamma functions are computed this far to the right, where their asymptotic series are exact to 53 bits."""


def _polynomial(b: AtenBuilder, x: Value, coefficients: Sequence[float]) -> Value:
    """Return c0 + c1 x + c2 x^2 + ..."""
    y = b.like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        y = b.add(b.mul(y, x), b.like(x, c))
    return y


def _scaled_erfc(b: AtenBuilder, x: Value) -> Value:
    """Return erfc(x) exp(x^2) for x >= 0, by Clenshaw's recurrence."""
    t = b.div(b.like(x, 2), b.add(x, b.like(x, 2)))
    y = b.sub(b.mul(t, b.like(x, 4)), b.like(x, 2))
    now = last = b.like(x, 0)
    for c in reversed(_ERFC[1:]):
        now, last = b.add(b.sub(b.mul(y, now), last), b.like(x, c)), now
    series = b.sub(b.add(b.mul(b.mul(y, b.like(x, 0.5)), now), b.like(x, _ERFC[0])), last)
    return b.mul(t, b.exp(series))


def erfc(b: AtenBuilder, x: Value) -> Value:
    """Return 1 - erf(x) of f64, exact where it is small too."""
    size = b.abs(x)
    right = b.mul(_scaled_erfc(b, size), b.exp(b.neg(b.mul(x, x))))
    return b.where(b.lt(x, b.like(x, 0)), b.sub(b.like(x, 2), right), right)


def _erfcx(b: AtenBuilder, x: Value) -> Value:
    right = _scaled_erfc(b, b.abs(x))
    left = b.sub(b.mul(b.exp(b.mul(x, x)), b.like(x, 2)), right)
    return b.where(b.lt(x, b.like(x, 0)), left, right)


def _quantile(b: AtenBuilder, center: Value, tail: Value) -> Value:
    """Return the normal distribution's quantile, from the probability minus 1/2 and the smaller tail's."""

    def ratio(x: Value, table: tuple[Sequence[float], Sequence[float]]) -> Value:
        return b.div(_polynomial(b, x, table[0]), _polynomial(b, x, table[1]))

    inner = b.sub(b.like(center, 0.180625), b.mul(center, center))
    root = b.sqrt(b.neg(b.log(tail)))
    outer = b.where(
        b.le(root, b.like(root, 5)),
        ratio(b.sub(root, b.like(root, 1.6)), _MIDDLE),
        ratio(b.sub(root, b.like(root, 5)), _TAIL),
    )
    outer = b.where(b.eq(tail, b.like(tail, 0)), b.like(tail, math.inf), outer)
    outer = b.where(b.lt(center, b.like(center, 0)), b.neg(outer), outer)
    near = b.le(b.abs(center), b.like(center, 0.425))
    return b.where(near, b.mul(center, ratio(inner, _CENTER)), outer)


def _ndtri(b: AtenBuilder, x: Value) -> Value:
    return _quantile(b, b.sub(x, b.like(x, 0.5)), b.minimum(x, b.sub(b.like(x, 1), x)))


def _erfinv(b: AtenBuilder, x: Value) -> Value:
    half = b.like(x, 0.5)
    tail = b.mul(b.sub(b.like(x, 1), b.abs(x)), half)
    return b.mul(_quantile(b, b.mul(x, half), tail), b.like(x, math.sqrt(0.5)))


def _ndtr(b: AtenBuilder, x: Value) -> Value:
    return b.mul(erfc(b, b.mul(x, b.like(x, -math.sqrt(0.5)))), b.like(x, 0.5))


def _log_ndtr(b: AtenBuilder, x: Value) -> Value:
    half, scaled = b.like(x, 0.5), b.mul(x, b.like(x, math.sqrt(0.5)))
    left = b.sub(b.log(b.mul(_erfcx(b, b.neg(scaled)), half)), b.mul(scaled, scaled))
    right = b.log1p(b.neg(b.mul(erfc(b, scaled), half)))
    return b.where(b.lt(x, b.like(x, -1)), left, right)


def _entr(b: AtenBuilder, x: Value) -> Value:
    zero = b.like(x, 0)
    y = b.where(b.gt(x, zero), b.neg(b.mul(x, b.log(x))), b.like(x, -math.inf))
    return b.where(b.isnan(x), x, b.where(b.eq(x, zero), zero, y))


def lgamma(b: AtenBuilder, x: Value) -> Value:
    """Return the logarithm of the absolute value of the gamma function of f64, by Stirling's series."""
    reflects = b.lt(x, b.like(x, 0.5))
    one, far = b.like(x, 1), b.like(x, _SHIFT)
    z = b.where(reflects, b.sub(one, x), x)
    is_near = b.lt(z, far)
    product = z
    for k in range(1, _SHIFT):
        product = b.mul(product, b.add(z, b.like(x, k)))
    y = b.where(is_near, b.add(z, far), z)
    inverse = b.reciprocal(y)
    terms = [n / (2 * k * (2 * k - 1)) for k, n in enumerate(_BERNOULLI, 1)]
    series = b.mul(inverse, _polynomial(b, b.mul(inverse, inverse), terms))
    total = b.add(b.sub(b.mul(b.sub(y, b.like(x, 0.5)), b.log(y)), y), b.like(x, 0.5 * math.log(2 * math.pi)))
    right = b.sub(b.add(total, series), b.where(is_near, b.log(product), b.like(x, 0)))
    sine = b.abs(b.sin(b.mul(b.sub(x, b.round(x)), b.like(x, math.pi))))
    left = b.sub(b.log(b.div(b.like(x, math.pi), sine)), right)
    is_zero = b.or_(b.eq(x, one), b.eq(x, b.like(x, 2)))
    right = b.where(is_zero, b.like(x, 0), right)
    return b.where(b.isinf(x), b.like(x, math.inf), b.where(reflects, left, right))


def _cotangent(b: AtenBuilder, x: Value) -> Value:
    """Return the cotangent of pi x, infinite at integers."""
    return b.reciprocal(b.tan(b.mul(b.sub(x, b.round(x)), b.like(x, math.pi))))


def _digamma(b: AtenBuilder, x: Value) -> Value:
    zero = b.like(x, 0)
    left = b.lt(x, zero)
    z = b.where(left, b.sub(b.like(x, 1), x), x)
    y = b.add(z, b.like(x, _SHIFT))
    square = b.reciprocal(b.mul(y, y))
    series = b.mul(square, _polynomial(b, square, [n / (2 * k) for k, n in enumerate(_BERNOULLI, 1)]))
    found = b.sub(b.sub(b.log(y), b.div(b.like(x, 0.5), y)), series)
    for k in range(_SHIFT):
        found = b.sub(found, b.reciprocal(b.add(z, b.like(x, k))))
    mirrored = b.sub(found, b.mul(_cotangent(b, x), b.like(x, math.pi)))
    # PyTorch has NaN at negative integers.
    is_pole = b.and_(left, b.eq(x, b.floor(x)))
    return b.where(is_pole, b.like(x, math.nan), b.where(left, mirrored, found))


def _polygamma(b: AtenBuilder, x: Value, order: int) -> Value:
    """Return the derivative of the digamma function, order >= 1, by the sum of 1 / (x + k)^(order + 1)."""
    left = b.lt(x, b.like(x, 0))
    z = b.where(left, b.sub(b.like(x, 1), x), x)
    y = b.add(z, b.like(x, _SHIFT))

    def power(v: Value) -> Value:
        result = v
        for _ in range(order):
            result = b.mul(result, v)
        return b.reciprocal(result)

    total = b.mul(power(y), b.add(b.like(x, 0.5), b.mul(y, b.like(x, 1 / order))))
    rising, terms = 1.0, []
    for k, number in enumerate(_BERNOULLI, 1):
        rising *= (order + 1) if k == 1 else (order + 2 * k - 2) * (order + 2 * k - 1)
        terms.append(number * rising / math.factorial(2 * k))
    inverse = b.reciprocal(y)
    series = b.mul(inverse, _polynomial(b, b.mul(inverse, inverse), terms))
    total = b.add(total, b.mul(power(y), series))
    for k in range(_SHIFT):
        total = b.add(total, power(b.add(z, b.like(x, k))))
    found = b.mul(total, b.like(x, math.factorial(order) * (-1.0) ** (order + 1)))
    slope = b.mul(_polynomial(b, _cotangent(b, x), _cotangent_derivative(order)), b.like(x, math.pi))
    mirrored = b.sub(b.mul(found, b.like(x, (-1.0) ** order)), slope)
    return b.where(left, mirrored, found)


def _cotangent_derivative(order: int) -> list[float]:
    """Return the derivative of the cotangent of pi x as a polynomial in the cotangent itself."""
    c = [0.0, 1.0]
    for _ in range(order):
        slope = [k * v for k, v in enumerate(c)][1:]
        grown = [*slope, 0.0, 0.0]
        for k, v in enumerate(slope):
            grown[k + 2] += v
        c = [-math.pi * v for v in grown]
    return c


_FUNCTIONS: dict[str, Callable[[AtenBuilder, Value], Value]] = {
    "erfc": erfc, "special_erfc": erfc, "special_erfcx": _erfcx, "erfinv": _erfinv, "special_erfinv": _erfinv,
    "special_ndtr": _ndtr, "special_ndtri": _ndtri, "special_log_ndtr": _log_ndtr, "special_entr": _entr,
    "lgamma": lgamma, "special_gammaln": lgamma, "digamma": _digamma, "special_digamma": _digamma,
    "special_psi": _digamma,
}  # fmt: skip


@aten_op(*_FUNCTIONS)
def special_function(b: AtenBuilder, self: Value) -> Value:
    refuse_complex(self)
    compute = _FUNCTIONS[b.op]
    return rounded_once(b, lambda x: compute(b, x), self, double=True)


@aten_op("polygamma", "special_polygamma")
def polygamma(b: AtenBuilder, n: Any, self: Any) -> Value:
    if isinstance(n, Value):
        n, self = self, n
    order = int_of(n, "order")
    if not 0 <= order <= 20:
        raise UnsupportedError(f"its order is {order}, not from 0 to 20")
    compute = (lambda x: _polygamma(b, x, order)) if order else (lambda x: _digamma(b, x))
    return rounded_once(b, compute, self, double=True)


@aten_op("mvlgamma", "special_multigammaln")
def mvlgamma(b: AtenBuilder, self: Value, p: Any) -> Value:
    count = int_of(p, "number of dimensions")

    def compute(x: Value) -> Value:
        total = b.like(x, count * (count - 1) / 4 * math.log(math.pi))
        for i in range(count):
            total = b.add(total, lgamma(b, b.sub(x, b.like(x, i / 2))))
        return total

    return rounded_once(b, compute, self, double=True)
