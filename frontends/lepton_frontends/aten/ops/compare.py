"""Whether tensors are alike, and neighbours and common divisors of numbers."""

from __future__ import annotations

import math
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.arithmetic import isclose
from lepton_frontends.aten.ops.complex import angle_of, is_complex
from lepton_frontends.aten.ops.opmath import refuse_complex
from lepton_frontends.aten.rules import Scalar, aten_op
from lepton_frontends.aten.types import Number, category, promoted
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import product
from lepton_ir.ir.types import DType


@aten_op("allclose")
def allclose(
    b: AtenBuilder, self: Value, other: Value, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: Any = False
) -> Scalar:
    close = isclose(b, self, other, rtol, atol, equal_nan)
    return Scalar(b.reduce_all(close, axes=tuple(range(close.rank)), keepdims=False))


@aten_op("isin")
def isin(
    b: AtenBuilder, elements: Value | Number, test_elements: Value | Number, *, assume_unique: Any = False,
    invert: Any = False,
) -> Value:  # fmt: skip
    x, y = promoted(b, elements, test_elements)
    line = b.reshaped(y, (product(y.shape),))
    found = b.reduce_any(b.eq(b.reshaped(x, (*x.shape, 1)), line), axes=(x.rank,), keepdims=False)
    return b.not_(found) if invert else found


@aten_op("isreal")
def isreal(b: AtenBuilder, self: Value) -> Value:
    refuse_complex(self)
    return b.full(self.shape, True, DType.BOOL)


@aten_op("angle")
def angle(b: AtenBuilder, self: Value) -> Value:
    """Of a real number: pi where it is negative; NaN stays."""
    if is_complex(self):
        return angle_of(b, self)
    x = b.convert(self, DType.F32) if category(self.tensor.dtype) < 2 else self
    y = b.where(b.lt(x, b.like(x, 0)), b.like(x, math.pi), b.like(x, 0))
    return b.where(b.isnan(x), x, y)


@aten_op("gcd", "lcm")
def divisor(b: AtenBuilder, self: Value, other: Value) -> Value:
    """The greatest common divisor by Euclid's algorithm, or the least common multiple."""
    x, y = promoted(b, self, other)
    if not x.tensor.dtype.is_integer:
        raise UnsupportedError(f"PyTorch has no common divisors of {x.tensor.dtype}")
    zero, one = b.like(x, 0), b.like(x, 1)
    large, small = (b.abs(v) if x.tensor.dtype.is_signed else v for v in (x, y))
    first, second = large, small
    # The numbers for which this takes longest are Fibonacci's, each 1.618 times the one before.
    for _ in range(math.ceil(x.tensor.dtype.bits / math.log2((1 + math.sqrt(5)) / 2)) + 1):
        done = b.eq(small, zero)
        rest = b.mod(large, b.where(done, one, small))
        large, small = b.where(done, large, small), b.where(done, zero, rest)
    if b.op == "gcd":
        return large
    quotient = b.div(first, b.where(b.eq(large, zero), one, large))
    return b.mul(quotient, second)


_BITS = {DType.F64: DType.I64, DType.F32: DType.I32, DType.F16: DType.I16, DType.BF16: DType.I16}


@aten_op("nextafter")
def nextafter(b: AtenBuilder, self: Value, other: Value) -> Value:
    """Floats of one sign follow each other as their bits do, read as integers."""
    x, y = promoted(b, self, other)
    bits_type = _BITS.get(x.tensor.dtype)
    if bits_type is None:
        raise UnsupportedError(f"PyTorch has no neighbours of {x.tensor.dtype}")
    zero, bits = b.like(x, 0), b.bitcast(x, to=bits_type)
    one = b.const(1, dtype=bits_type)
    outwards = b.eq(b.gt(y, x), b.gt(x, zero))
    moved = b.bitcast(b.where(outwards, b.add(bits, one), b.sub(bits, one)), to=x.tensor.dtype)
    least = b.bitcast(one, to=x.tensor.dtype)
    moved = b.where(b.eq(x, zero), b.where(b.gt(y, zero), least, b.neg(least)), moved)
    unordered = b.where(b.isnan(x), x, y)
    return b.where(b.or_(b.eq(x, y), b.or_(b.isnan(x), b.isnan(y))), unordered, moved)


@aten_op("frexp")
def frexp(b: AtenBuilder, self: Value) -> tuple[Value, Value]:
    """A number as mantissa * 2^exponent, the mantissa from 1/2 to 1."""
    if not self.tensor.dtype.is_float:
        raise UnsupportedError(f"PyTorch takes no exponents of {self.tensor.dtype}")
    x = b.convert(self, DType.F64)
    tiny = b.lt(b.abs(x), b.like(x, 2.0**-1000))
    scaled = b.where(tiny, b.mul(x, b.like(x, 2.0**200)), x)
    bits = b.bitcast(scaled, to=DType.I64)

    def number(n: int) -> Value:
        return b.const(n, dtype=DType.I64)

    raised = b.bitwise_and(b.shift_right(bits, number(52)), number(0x7FF))
    exponent = b.sub(b.sub(raised, number(1022)), b.where(tiny, number(200), number(0)))
    kept = b.bitwise_or(b.bitwise_and(bits, number(~(0x7FF << 52))), number(1022 << 52))
    plain = b.or_(b.eq(x, b.like(x, 0)), b.or_(b.isnan(x), b.isinf(x)))
    mantissa = b.where(plain, x, b.bitcast(kept, to=DType.F64))
    return b.convert(mantissa, self.tensor.dtype), b.convert(b.where(plain, number(0), exponent), DType.I32)
