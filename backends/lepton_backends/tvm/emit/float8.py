"""Conversions between float32 and the floats of at most 8 bits, by integer arithmetic on their bits.

TVM's own conversions know neither subnormal numbers nor NaN. Rounding is to nearest, ties to even, as in ml_dtypes,
but for the format of scales, which has rounding modes of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.vector_math import like
from lepton_backends.tvm.tir import Expr, bind, bitcast, select


@dataclass(frozen=True)
class Format:
    """How a float is laid out: sign, exponent, mantissa.

    Attributes:
        mantissa: bits of the mantissa.
        bias: what is added to the exponent.
        largest: the bits of the largest finite number.
        overflow: the bits (below the sign) that numbers beyond it get.
        unsigned_zero: there is no negative zero; its bits mean NaN.
    """

    mantissa: int
    bias: int
    largest: int
    overflow: int
    unsigned_zero: bool = False

    @property
    def infinity(self) -> int | None:
        """The bits of infinity, None where the format has none."""
        return self.overflow if self.overflow & ((1 << self.mantissa) - 1) == 0 and not self.unsigned_zero else None

    @property
    def is_finite(self) -> bool:
        """Whether all bits mean numbers; what is beyond the largest becomes it, and NaN becomes 0, as in ml_dtypes."""
        return self.overflow == self.largest


FORMATS = {
    "float8_e4m3fn": Format(3, 7, 0x7E, 0x7F),
    "float8_e4m3fnuz": Format(3, 8, 0x7F, 0x80, True),
    "float8_e5m2": Format(2, 15, 0x7B, 0x7C),
    "float8_e5m2fnuz": Format(2, 16, 0x7F, 0x80, True),
}
"""The formats by TVM's name (OCP 8-bit Floating Point Specification; Noune et al. 2022 for those with "uz")."""

F6E2M3 = Format(3, 1, 0x1F, 0x1F)
F6E3M2 = Format(2, 3, 0x1F, 0x1F)
F4E2M1 = Format(1, 1, 0x07, 0x07)
"""The formats below a byte (OCP Microscaling Formats 1.0), here with the sign in the highest of 8 bits."""
SCALE = "float8_e8m0fnu"
"""The format of scales: 8 bits of exponent, no sign, no mantissa (the same specification)."""

_NAN = 0x7FC00000
_INFINITY = 0x7F800000


def widen(x: Expr) -> Expr:
    """Return 8-bit floats as float32; other types as they are."""
    if tir.dtype_of(x) == SCALE:
        return _decode_scale(bind(tir.cast(bitcast(x, "uint8"), "int32")))
    layout = FORMATS.get(tir.dtype_of(x))
    return x if layout is None else _decode(bind(tir.cast(bitcast(x, "uint8"), "int32")), layout)


def narrow(x: Expr, dtype: str) -> Expr:
    """Return float32 numbers as 8-bit floats of the type ``dtype``."""
    code = _encode_scale(bind(x), True, "up") if dtype == SCALE else _encode(bind(x), FORMATS[dtype])
    return bitcast(tir.cast(code, "uint8"), dtype)


def rounded(x: Expr, layout: Format) -> Expr:
    """Return the float32 numbers that ``x`` becomes when it passes through a format."""
    return _decode(bind(_encode(bind(x), layout)), layout)


def power_of_two(x: Expr, saturate: bool, round_mode: str) -> Expr:
    """Return the float32 numbers that ``x`` becomes when it passes through the format of scales."""
    return _decode_scale(bind(_encode_scale(bind(x), saturate, round_mode)))


def _decode_scale(code: Expr) -> Expr:
    bits = select(code.equal(like(0, code)), like(0x00400000, code), code << like(23, code))
    return bitcast(select(code.equal(like(255, code)), like(_NAN, code), bits), "float32")


def _encode_scale(x: Expr, saturate: bool, round_mode: str) -> Expr:
    # Subnormal numbers are scaled up, so that all have their exponent in the same bits; 0 then has one below 0.
    is_small = x < like(2.0**-126, x)
    bits = bind(bitcast(select(is_small, x * like(2.0**24, x), x), "int32"))
    fraction = bind(tirx.bitwise_and(bits, like(0x7FFFFF, bits)))
    exponent = tirx.bitwise_and(bits >> like(23, bits), like(0xFF, bits))
    code = bind(exponent - select(is_small, like(24, bits), like(0, bits)))
    if round_mode != "down":
        least = like(1 if round_mode == "up" else 0x400000, fraction)
        code = bind(code + select(fraction >= least, like(1, code), like(0, code)))
    if saturate:
        code = tirx.max(tirx.min(code, like(254, code)), like(0, code))
    else:
        code = select(code < like(0, code), like(255, code), tirx.min(code, like(255, code)))
    return select(tir.either(tir.is_nan(x), x < like(0, x)), like(255, code), code)


def _decode(bits: Expr, layout: Format) -> Expr:
    low = bind(tirx.bitwise_and(bits, like(0x7F, bits)))
    sign = tirx.bitwise_and(bits, like(0x80, bits)) << like(24, bits)
    shift = like(23 - layout.mantissa, bits)
    normal = (low << shift) + like((127 - layout.bias) << 23, bits)
    steps = tir.cast(low, "float32")
    subnormal = bitcast(steps * like(2.0 ** (1 - layout.bias - layout.mantissa), steps), "int32")
    found = select(low < like(1 << layout.mantissa, low), subnormal, normal)
    if layout.infinity is not None:
        special = select(low.equal(like(layout.infinity, low)), like(_INFINITY, low), like(_NAN, low))
        found = select(low < like(layout.infinity, low), found, special)
    elif not layout.unsigned_zero and not layout.is_finite:
        found = select(low.equal(like(layout.overflow, low)), like(_NAN, low), found)
    found = tirx.bitwise_or(found, sign)
    if layout.unsigned_zero:
        found = select(bits.equal(like(0x80, bits)), like(_NAN, bits), found)
    return bitcast(found, "float32")


def _encode(x: Expr, layout: Format) -> Expr:
    bits = bind(bitcast(x, "int32"))
    sign = bind(tirx.bitwise_and(bits >> like(24, bits), like(0x80, bits)))
    low = bind(tirx.bitwise_and(bits, like(0x7FFFFFFF, bits)))
    # Adding half of the last place that stays, less one where that place is even, rounds to nearest even.
    drop = 23 - layout.mantissa
    odd = tirx.bitwise_and(low >> like(drop, low), like(1, low))
    normal = ((low + odd + like((1 << (drop - 1)) - 1, low)) >> like(drop, low)) - like(
        (127 - layout.bias) << layout.mantissa, low
    )
    magnitude = bitcast(low, "float32")
    smallest = 2.0 ** (1 - layout.bias)
    in_steps = tirx.nearbyint(magnitude * like(2.0 ** (layout.bias - 1 + layout.mantissa), magnitude))
    is_small = bind(magnitude < like(smallest, magnitude))
    steps = tir.cast(select(is_small, in_steps, like(0, magnitude)), "int32")
    code = bind(select(is_small, steps, normal))
    code = select(code > like(layout.largest, code), like(layout.overflow, code), code)
    nan = 0 if layout.is_finite else layout.overflow if layout.infinity is None else 0x7F
    code = bind(select(low > like(_INFINITY, low), like(nan, low), code))
    signed = tirx.bitwise_or(code, sign)
    if not layout.unsigned_zero:
        return signed
    return select(code.equal(like(0, code)), code, signed)
