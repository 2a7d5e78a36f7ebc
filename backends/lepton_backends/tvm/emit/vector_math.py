"""Elementary functions as polynomials in plain arithmetic, so that loops over them become vector instructions.

Nothing here calls the C library for float32, and everything works on scalars and on vectors. The errors below are
measured by tests/backends/test_vector_math.py against numpy in float64, over the whole range of float32 including
infinities, NaN and denormal numbers:

    exp, expm1, log, log1p, erf, tanh, sigmoid   at most 4 units in the last place
    pow                                          at most 2 units in the last place

For float64, exp, expm1, log, log1p, tanh and sigmoid are polynomials as well (4 units); erf and pow call the C
library there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.tir import Expr, bind, bitcast, dtype_of, select


@dataclass(frozen=True)
class Format:
    """A floating-point format and the coefficients that suit it.

    Attributes:
        integer: the integer type of the same width.
        mantissa: bits of the mantissa.
        bias: of the exponent.
        magic: adding it rounds to an integer and leaves that in the low bits.
        ln2_high, ln2_low: log(2) in two parts, products of the first with small integers are exact.
        exp_range: arguments outside give 0 or infinity.
        exp_normal: below, the result is denormal.
        exp: P in exp(r) = 1 + r + r*r*P(r), highest power first.
        smallest: the smallest normal number.
    """

    integer: str
    mantissa: int
    bias: int
    magic: float
    ln2_high: float
    ln2_low: float
    exp_range: tuple[float, float]
    exp_normal: float
    exp: tuple[float, ...]
    smallest: float

    @property
    def magic_bits(self) -> int:
        """The bits of ``magic`` as an integer."""
        return ((self.bias + self.mantissa) << self.mantissa) | (1 << (self.mantissa - 1))


F32 = Format(
    "int32", 23, 127, 12582912.0, 0.693359375, -2.12194440e-4, (-104.0, 89.0), -87.33654, (
        1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
    ), 1.1754943508222875e-38,
)  # fmt: skip
F64 = Format(
    "int64", 52, 1023, 6755399441055744.0, 6.93147180369123816490e-01, 1.90821492927058770002e-10,
    (-746.0, 710.0), -708.3964, tuple(1 / math.factorial(n) for n in range(13, 1, -1)), 2.2250738585072014e-308,
)  # fmt: skip
_FORMATS = {"float32": F32, "float64": F64}

_LOG_F32 = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
            -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)  # fmt: skip
_LOG_F64 = (1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01, 2.222219843214978396e-01,
            2.857142874366239149e-01, 3.999999999940941908e-01, 6.666666666666735130e-01)  # fmt: skip
_ERF_NEAR = (-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1)
_ERF_FAR_ODD = (-1.72853470e-5, 3.83197126e-4)
_ERF_FAR_EVEN = (-3.88396438e-3, 2.42546219e-2)
_ERF_FAR = (-1.06777877e-1, -6.34846687e-1, -1.28717512e-1)
_ERF_SPLIT = 0.927734375


def _format(x: Expr) -> Format:
    return _FORMATS[dtype_of(x)]


def like(value: float, x: Expr) -> Expr:
    """Return a literal of the element type of ``x``."""
    return tir.const(value, dtype_of(x))


def horner(x: Expr, coefficients: Sequence[float]) -> Expr:
    """Evaluate a polynomial, highest power first."""
    value = like(coefficients[0], x)
    for coefficient in coefficients[1:]:
        value = value * x + like(coefficient, x)
    return value


def _integer(value: int, x: Expr) -> Expr:
    return tir.const(value, _format(x).integer)


def _power_of_two(n: Expr, x: Expr) -> Expr:
    """Return 2**n for integers n in the exponent's normal range, in the type of ``x``."""
    f = _format(x)
    return bitcast((n + _integer(f.bias, x)) << _integer(f.mantissa, x), dtype_of(x))


def _reduce(x: Expr) -> tuple[Expr, Expr]:
    """Return integer n and r with x = n * log(2) + r and |r| at most half of log(2)."""
    f = _format(x)
    shifted = bind(x * like(math.log2(math.e), x) + like(f.magic, x))
    n = bind(shifted - like(f.magic, x))
    r = bind(x - n * like(f.ln2_high, x) - n * like(f.ln2_low, x))
    return bind(bitcast(shifted, f.integer) - _integer(f.magic_bits, x)), r


def exp(x: Expr) -> Expr:
    """Return e**x."""
    low, high = _format(x).exp_range
    x = bind(x)
    x = bind(select(x > like(high, x), like(high, x), x))
    x = bind(select(x < like(low, x), like(low, x), x))
    n, r = _reduce(x)
    value = horner(r, _format(x).exp) * (r * r) + r + like(1, x)
    half = bind(n >> _integer(1, x))
    return value * _power_of_two(half, x) * _power_of_two(n - half, x)


def exp_flushed(x: Expr) -> Expr:
    """Return e**x of x at most 88; results that would be denormal are 0."""
    low = _format(x).exp_normal
    x = bind(x)
    clamped = bind(select(x < like(low, x), like(low, x), x))
    n, r = _reduce(clamped)
    value = horner(r, _format(x).exp) * (r * r) + r + like(1, x)
    return select(x < like(low, x), like(0, x), value * _power_of_two(n, x))


def expm1(x: Expr) -> Expr:
    """Return e**x - 1, exact near 0."""
    f, x = _format(x), bind(x)
    low = -(f.mantissa + 3) * math.log(2)
    high = f.exp_range[1]
    clamped = bind(select(x < like(low, x), like(low, x), x))
    clamped = bind(select(clamped > like(high, x), like(high, x), clamped))
    n, r = _reduce(clamped)
    q = bind(horner(r, f.exp) * (r * r) + r)
    scale = bind(_power_of_two(n - _integer(1, x), x))
    return select(x.equal(like(0, x)), x, (scale * q + (scale - like(0.5, x))) * like(2, x))


def _log_parts(x: Expr) -> tuple[Expr, Expr]:
    """Return exponent k (as a float) and f with x = 2**k * (1 + f), 1 + f near 1, of positive finite x."""
    f = _format(x)
    is_small = bind(x < like(f.smallest, x))
    scaled = select(is_small, x * like(2.0**f.mantissa, x), x)
    bits = bind(bitcast(scaled, f.integer))
    sqrt_half = 0x3F3504F3 if f is F32 else 0x3FE6A09E667F3BCD
    k = bind((bits - _integer(sqrt_half, x)) >> _integer(f.mantissa, x))
    fraction = bitcast(bits - (k << _integer(f.mantissa, x)), dtype_of(x))
    exponent = tir.cast(k, dtype_of(x)) - select(is_small, like(f.mantissa, x), like(0, x))
    return bind(exponent), bind(fraction - like(1, x))


def log(x: Expr) -> Expr:
    """Return the natural logarithm."""
    x = bind(x)
    form = _format(x)
    k, f = _log_parts(x)
    if form is F32:
        square = bind(f * f)
        rest = horner(f, _LOG_F32) * (f * square) + k * like(form.ln2_low, x) - like(0.5, x) * square
        value = f + rest + k * like(form.ln2_high, x)
    else:
        s = bind(f / (f + like(2, x)))
        square = bind(like(0.5, x) * f * f)
        z = bind(s * s)
        rest = s * (square + horner(z, _LOG_F64) * z) + k * like(form.ln2_low, x)
        value = k * like(form.ln2_high, x) - ((square - rest) - f)
    infinity = like(math.inf, x)
    value = select(x < infinity, value, x)
    value = select(x > like(0, x), value, like(math.nan, x))
    value = select(x.equal(like(0, x)), like(-math.inf, x), value)
    return select(tir.is_nan(x), x, value)


def log1p(x: Expr) -> Expr:
    """Return log(1 + x), exact near 0."""
    x = bind(x)
    u = bind(x + like(1, x))
    correction = (x - (u - like(1, x))) / u
    small = u.equal(like(1, x))
    ends = u.equal(like(math.inf, x))
    return select(small, x, select(ends, u, select(u > like(0, x), log(u) + correction, log(u))))


def tanh(x: Expr) -> Expr:
    """Return the hyperbolic tangent."""
    x = bind(x)
    t = bind(expm1(tirx.abs(x) * like(-2, x)))
    value = bind(-t / (t + like(2, x)))
    return select(x < like(0, x), -value, select(x.equal(like(0, x)), x, value))


def sigmoid(x: Expr) -> Expr:
    """Return 1 / (1 + exp(-x)) without overflow."""
    x = bind(x)
    e = bind(exp(-tirx.abs(x)))
    return select(x < like(0, x), e, like(1, x)) / (e + like(1, x))


def erf(x: Expr) -> Expr:
    """Return the error function."""
    if dtype_of(x) == "float64":
        return tir.call_c("erf", x)
    x = bind(x)
    t, s = bind(tirx.abs(x)), bind(x * x)
    near = horner(s, _ERF_NEAR) * x + x
    u = bind(select(t > like(4, x), like(4, x), t))
    far = bind(horner(u, _ERF_FAR_ODD) * (u * u) + horner(u, _ERF_FAR_EVEN))
    for coefficient in _ERF_FAR:
        far = far * u + like(coefficient, x)
    far = bind(like(1, x) - exp_flushed(far * u - u))
    return select(t > like(_ERF_SPLIT, x), select(x < like(0, x), -far, far), near)


def gelu(x: Expr) -> Expr:
    """Return x times the normal distribution's cumulative function."""
    x = bind(x)
    half = like(0.5, x) * x
    return half * erf(x * like(math.sqrt(0.5), x)) + half


def power(a: Expr, b: Expr) -> Expr:
    """Return a**b of floats."""
    if dtype_of(a) == "float64":
        return tirx.pow(a, b)
    a, b = bind(a), bind(b)
    magnitude = bind(tir.cast(tirx.abs(a), "float64"))
    value = bind(tir.cast(exp(log(magnitude) * tir.cast(b, "float64")), "float32"))
    floor = bind(tirx.floor(b))
    odd = bind(floor.equal(b) & ~(tirx.floor(b * like(0.5, b)) * like(2, b)).equal(b))
    negative = bitcast(a, "int32") < _integer(0, a)
    value = bind(select(odd & negative, -value, value))
    undefined = (a < like(0, a)) & (a > like(-math.inf, a)) & ~floor.equal(b)
    value = select(undefined, like(math.nan, a), value)
    one = b.equal(like(0, b)) | a.equal(like(1, a))
    one = one | (a.equal(like(-1, a)) & tirx.abs(b).equal(like(math.inf, b)))
    return select(one, like(1, a), value)
