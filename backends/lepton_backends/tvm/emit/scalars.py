"""Arithmetic, rounding, comparison, logic and bits, element by element."""

from __future__ import annotations

import math

from tvm import tirx
from tvm_ffi import structural_equal

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import vector_math as vm
from lepton_backends.tvm.emit import wrapping
from lepton_backends.tvm.emit.rules import scalar
from lepton_backends.tvm.emit.vector_math import like
from lepton_backends.tvm.tir import Expr, bind, dtype_of, select


def is_float(x: Expr) -> bool:
    """Return whether the elements are floats."""
    return dtype_of(x).startswith("float")


@scalar("add")
def add(a: Expr, b: Expr) -> Expr:
    return wrapping.add(a, b)


@scalar("sub")
def sub(a: Expr, b: Expr) -> Expr:
    return wrapping.sub(a, b)


@scalar("mul")
def mul(a: Expr, b: Expr) -> Expr:
    return wrapping.mul(a, b)


def _safe_divisor(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """Return integers that can be divided without a trap (by 0, or the lowest number by -1)."""
    a, b = tir.match(a, bind(b))
    traps = b.equal(like(0, b))
    if not dtype_of(b).startswith("uint"):
        traps = traps | (b.equal(like(-1, b)) & wrapping.is_lowest(a))
    return bind(a), bind(select(traps, like(1, b), b))


@scalar("div")
def div(a: Expr, b: Expr) -> Expr:
    if is_float(a) and isinstance(b, tirx.FloatImm) and b.value == 0:
        # TVM refuses to divide by a constant 0; times infinity gives the same infinities and NaN.
        return a * like(math.copysign(math.inf, b.value), a)
    if is_float(a):
        return a / b
    dividend, divisor = _safe_divisor(a, b)
    return select(b.equal(like(0, b)), like(0, a), tirx.truncdiv(dividend, divisor))


@scalar("floordiv")
def floordiv(a: Expr, b: Expr) -> Expr:
    if is_float(a):
        return _float_floordiv(bind(a), bind(b))
    dividend, divisor = _safe_divisor(a, b)
    return select(b.equal(like(0, b)), like(0, a), tirx.floordiv(dividend, divisor))


def _float_floordiv(a: Expr, b: Expr) -> Expr:
    """Return the largest whole number below a / b by the exact remainder: rounding must not carry over one."""
    zero, one = like(0, a), like(1, a)
    plain = bind(div(a, b))
    if isinstance(b, tirx.FloatImm) and b.value == 0:
        return plain
    rest = bind(tir.call_c("fmod", a, b))
    below = ~rest.equal(zero) & ((rest < zero) ^ (b < zero))
    exact = bind((a - rest) / b - select(below, one, zero))
    whole = bind(tirx.floor(exact))
    nearest = select(exact - whole > like(0.5, a), whole + one, whole)
    return select(b.equal(zero), plain, nearest)


@scalar("mod")
def mod(a: Expr, b: Expr, *, fmod: bool) -> Expr:
    if is_float(a):
        a, b = bind(a), bind(b)
        remainder = bind(tir.call_c("fmod", a, b))
        other_sign = ~remainder.equal(like(0, a)) & ((remainder < like(0, a)) ^ (b < like(0, b)))
        return remainder if fmod else select(other_sign, remainder + b, remainder)
    dividend, divisor = _safe_divisor(a, b)
    divide = tirx.truncmod if fmod else tirx.floormod
    traps = ~divisor.equal(b)
    return select(traps, like(0, a), divide(dividend, divisor))


@scalar("pow")
def pow_(a: Expr, b: Expr) -> Expr:
    literal = b.value if isinstance(b, (tirx.FloatImm, tirx.IntImm)) else None
    if literal is not None and float(literal) in (1, 2, 3):
        a = bind(a)
        power = a
        for _ in range(int(literal) - 1):
            power = wrapping.mul(power, a)
        return power
    if not is_float(a) and not is_float(b):
        return _integer_power(a, b, None if literal is None else int(literal))
    if not is_float(a):
        return to_integer(tirx.trunc(tirx.pow(tir.cast(a, "float64"), tir.cast(b, "float64"))), dtype_of(a))
    if literal is not None and float(literal) == 0.5:
        return tirx.sqrt(a)
    return vm.power(a, tir.cast(b, dtype_of(a)))


def _integer_power(a: Expr, b: Expr, literal: int | None) -> Expr:
    """Return a**b of integers by repeated squaring, wrapped; 1 / a**-b truncated where b is negative."""
    a, b = bind(a), bind(b)
    one, zero, nothing = like(1, a), like(0, a), like(0, b)
    value, base = one, a
    is_unsigned = dtype_of(b).startswith("uint")
    bits = _width(b) - (not is_unsigned) if literal is None or literal < 0 else literal.bit_length()
    for bit in range(bits):
        taken = (b & like(1 << bit, b)).equal(nothing)
        value = bind(wrapping.mul(value, select(taken, one, base)))
        base = bind(wrapping.mul(base, base))
    if is_unsigned:
        return value
    odd = ~(b & like(1, b)).equal(nothing)
    minus = like(-1, a) if not dtype_of(a).startswith("uint") else zero
    inverse = select(a.equal(one), one, select(a.equal(minus), select(odd, minus, one), zero))
    # 1 / 0 is the lowest number, as a conversion of infinity has it.
    inverse = select(a.equal(zero), tir.broadcast(tirx.min_value(dtype_of(a)), tir.lanes_of(a)), inverse)
    return select(b < nothing, inverse, value)


@scalar("minimum")
def minimum(a: Expr, b: Expr) -> Expr:
    a, b = bind(a), bind(b)
    lower = select(b < a, b, a)
    return select(tir.is_nan(b), b, lower) if is_float(a) and not isinstance(b, tirx.FloatImm) else lower


@scalar("maximum")
def maximum(a: Expr, b: Expr) -> Expr:
    a, b = bind(a), bind(b)
    higher = select(b > a, b, a)
    return select(tir.is_nan(b), b, higher) if is_float(a) and not isinstance(b, tirx.FloatImm) else higher


@scalar("clip")
def clip(x: Expr, low: Expr | None = None, high: Expr | None = None) -> Expr:
    x = x if low is None else maximum(x, low)
    return x if high is None else minimum(x, high)


@scalar("neg")
def neg(x: Expr) -> Expr:
    return wrapping.sub(like(0, x), x) if not is_float(x) else -x


@scalar("abs")
def abs_(x: Expr) -> Expr:
    if is_float(x):
        return tirx.abs(x)
    x = bind(x)
    # LLVM's absolute value leaves that of the lowest number open.
    return x if dtype_of(x).startswith("uint") else select(x < like(0, x), neg(x), x)


@scalar("sign")
def sign(x: Expr) -> Expr:
    x = bind(x)
    positive = select(x > like(0, x), like(1, x), x)
    return positive if dtype_of(x).startswith("uint") else select(x < like(0, x), like(-1, x), positive)


@scalar("reciprocal")
def reciprocal(x: Expr) -> Expr:
    return like(1, x) / x


@scalar("sqrt")
def sqrt(x: Expr) -> Expr:
    return tirx.sqrt(x)


@scalar("rsqrt")
def rsqrt(x: Expr) -> Expr:
    return like(1, x) / tirx.sqrt(x)


@scalar("floor")
def floor(x: Expr) -> Expr:
    return tirx.floor(x)


@scalar("ceil")
def ceil(x: Expr) -> Expr:
    return tirx.ceil(x)


@scalar("round")
def round_(x: Expr) -> Expr:
    return tirx.nearbyint(x)


@scalar("trunc")
def trunc(x: Expr) -> Expr:
    return tirx.trunc(x)


@scalar("isnan")
def isnan(x: Expr) -> Expr:
    return tir.is_nan(x)


@scalar("isinf")
def isinf(x: Expr, *, detect_negative: bool, detect_positive: bool) -> Expr:
    x = bind(x)
    found = tir.broadcast(tir.const(False, "bool"), tir.lanes_of(x))
    if detect_negative:
        found = found | x.equal(like(-math.inf, x))
    return found | x.equal(like(math.inf, x)) if detect_positive else found


@scalar("not")
def not_(x: Expr) -> Expr:
    # TVM makes `not a < b` into `a >= b`, which is another thing where one of them is not a number.
    number = tir.cast(x, "int8")
    return tirx.EQ(*tir.match(number, like(0, number)))


@scalar("bitwise_not")
def bitwise_not(x: Expr) -> Expr:
    return tirx.bitwise_not(x)


@scalar("and")
def and_(a: Expr, b: Expr) -> Expr:
    return tirx.And(*tir.match(a, b))


@scalar("or")
def or_(a: Expr, b: Expr) -> Expr:
    return tirx.Or(*tir.match(a, b))


def _comparable(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """Return operands that can be compared; LLVM compares no truth values."""
    a, b = tir.match(a, b)
    return (tir.cast(a, "int8"), tir.cast(b, "int8")) if dtype_of(a) == "bool" else (a, b)


def _is_itself(a: Expr, b: Expr) -> bool:
    """Return whether floats are compared with themselves: TVM takes them for equal, which NaN is not."""
    return is_float(a) and bool(structural_equal(a, b))


def _is_lowest_literal(x: Expr) -> bool:
    literal = x.value if isinstance(x, tirx.Broadcast) else x
    return isinstance(literal, tirx.IntImm) and dtype_of(x) == "int32" and literal.value == -(2**31)


@scalar("eq")
def eq(a: Expr, b: Expr) -> Expr:
    if _is_itself(a, b):
        return not_(tir.is_nan(a))
    if _is_lowest_literal(a) or _is_lowest_literal(b):
        return wrapping.is_lowest(b if _is_lowest_literal(a) else a)
    return tirx.EQ(*_comparable(a, b))


@scalar("ne", "xor")
def ne(a: Expr, b: Expr) -> Expr:
    # TVM's comparison is false where one side is not a number.
    return not_(eq(a, b)) if is_float(a) else tirx.NE(*_comparable(a, b))


@scalar("lt")
def lt(a: Expr, b: Expr) -> Expr:
    return a < b


@scalar("le")
def le(a: Expr, b: Expr) -> Expr:
    if _is_itself(a, b):
        return not_(tir.is_nan(a))
    return wrapping.is_lowest(a) if _is_lowest_literal(b) else a <= b


@scalar("gt")
def gt(a: Expr, b: Expr) -> Expr:
    return a > b


@scalar("ge")
def ge(a: Expr, b: Expr) -> Expr:
    if _is_itself(a, b):
        return not_(tir.is_nan(a))
    return wrapping.is_lowest(b) if _is_lowest_literal(a) else a >= b


@scalar("where")
def where(condition: Expr, x: Expr, y: Expr) -> Expr:
    return select(condition, x, y)


@scalar("bitwise_and")
def bitwise_and(a: Expr, b: Expr) -> Expr:
    return tirx.bitwise_and(a, b)


@scalar("bitwise_or")
def bitwise_or(a: Expr, b: Expr) -> Expr:
    return tirx.bitwise_or(a, b)


@scalar("bitwise_xor")
def bitwise_xor(a: Expr, b: Expr) -> Expr:
    return tirx.bitwise_xor(a, b)


def _width(x: Expr) -> int:
    return int(dtype_of(x).lstrip("uint"))


def _shift_distance(x: Expr, b: Expr) -> tuple[Expr, Expr]:
    """Return whether a shift stays below the width (a negative one does not), and a distance that is safe."""
    b = bind(b)
    inside = tir.both(b >= like(0, b), b < like(_width(x), b))
    return inside, select(inside, b, like(0, b))


@scalar("shift_left")
def shift_left(a: Expr, b: Expr) -> Expr:
    inside, distance = _shift_distance(a, b)
    return select(inside, a << distance, like(0, a))


@scalar("shift_right")
def shift_right(a: Expr, b: Expr) -> Expr:
    a = bind(a)
    inside, distance = _shift_distance(a, b)
    beyond = like(0, a) if dtype_of(a).startswith("uint") else a >> like(_width(a) - 1, a)
    return select(inside, a >> distance, beyond)


def to_integer(x: Expr, to: str) -> Expr:
    """Convert to integers; floats truncate.

    Negative floats wrap in unsigned types. What no number of the type that it passes through is (NaN, infinities,
    numbers beyond) gives the lowest of that, as processors of the x86 family have it, and with them numpy and ONNX
    Runtime: int64 for the 32-bit unsigned and the 64-bit types, else int32, whose low bits remain.
    """
    if not is_float(x):
        return tir.cast(x, to)
    if to == "uint64":
        half = like(2.0**63, x)
        x = bind(x)
        above = x >= half
        low = bind(to_integer(select(above, x - half, x), "int64"))
        return tir.bitcast(select(above, low ^ tirx.min_value("int64"), low), to)
    through = "int64" if to in ("int64", "uint32") else "int32"
    limit = like(2.0 ** (63 if through == "int64" else 31), x)
    x = bind(x)
    # For LLVM, a conversion of what does not fit may give anything, and differently at each use.
    fits = tirx.abs(x) < limit
    return tir.cast(tir.cast(select(fits, x, -limit), through), to)
