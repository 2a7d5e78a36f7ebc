"""Element-wise kernels and kernels that move elements, against the operators' numpy meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import Case, case, check, random_array

from lepton_ir.ir import DType, TensorType, sym, tensor

N, S = sym("N"), sym("S")
RNG = np.random.default_rng(0)
POSITIVE = RNG.uniform(0.1, 3, (3, 37)).astype(np.float32)
UNIT = RNG.uniform(-0.99, 0.99, (3, 37)).astype(np.float32)

UNARY = ["neg", "abs", "exp", "expm1", "reciprocal", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "asinh",
         "erf", "floor", "ceil", "round", "trunc", "sign", "sigmoid", "relu", "leaky_relu", "elu", "selu", "celu",
         "gelu", "silu", "mish", "softplus", "softsign", "hard_sigmoid", "hard_swish", "thresholded_relu", "shrink",
         "isnan", "isinf"]  # fmt: skip
ON_POSITIVE = ["log", "log1p", "sqrt", "rsqrt", "asin", "acos", "atanh", "acosh"]
BINARY = ["add", "sub", "mul", "div", "minimum", "maximum", "eq", "ne", "lt", "le", "gt", "ge", "prelu", "atan2"]
INTEGER = ["add", "sub", "mul", "div", "floordiv", "mod", "minimum", "maximum", "eq", "lt", "bitwise_and",
           "bitwise_or", "bitwise_xor"]  # fmt: skip


def op(name: str, **attributes: Any) -> Any:
    """Return a builder of one operation."""
    return lambda b, *args: getattr(b, name)(*args, **attributes)


def scalar_cases() -> list[Case]:
    cases = [case(n, [(3, 37)], op(n), tolerance=5e-6) for n in UNARY]
    for n in ON_POSITIVE:
        x = POSITIVE + 1 if n == "acosh" else UNIT if n in ("asin", "acos", "atanh") else POSITIVE
        cases.append(case(n, [(3, 37)], op(n), {0: x}, tolerance=5e-6))
    cases += [case(n, [(3, 37), (3, 37)], op(n)) for n in BINARY]
    cases.append(case("pow", [(3, 37), (3, 37)], op("pow"), {0: POSITIVE}))
    for dtype in (DType.I32, DType.I64, DType.U8, DType.I8):
        t = tensor((5, 13), dtype)
        b = random_array(dtype, (5, 13), RNG)
        cases += [case(f"{n} {dtype}", [t, t], op(n), {1: np.where(b == 0, 3, b).astype(b.dtype)}) for n in INTEGER]
        small = {1: np.abs(random_array(dtype, (5, 13), RNG))}
        cases += [case(f"{n} {dtype}", [t, t], op(n), small) for n in ("shift_left", "shift_right", "pow")]
        cases += [case(f"{n} {dtype}", [t], op(n)) for n in ("neg", "abs", "sign", "bitwise_not", "relu")]
    flags = tensor((5, 13), DType.BOOL)
    cases += [case(n, [flags, flags], op(n)) for n in ("and_", "or_", "xor")]
    cases.append(case("not", [flags], op("not_")))
    cases.append(case("where", [flags, (5, 13), (13,)], op("where")))
    cases.append(case("mod f32", [(3, 37), (3, 37)], op("mod")))
    cases.append(case("fmod f32", [(3, 37), (3, 37)], op("mod", fmod=True)))
    cases.append(case("clip", [(3, 37), (), ()], op("clip")))
    cases.append(case("gelu tanh", [(3, 37)], op("gelu", approximate="tanh"), tolerance=5e-6))
    return cases


def test_scalar_rules() -> None:
    check(scalar_cases())


def test_the_lowest_number_divided_by_minus_one_wraps() -> None:
    cases = []
    for dtype in (DType.I8, DType.I16, DType.I32, DType.I64):
        t = tensor((37,), dtype)
        low = np.full(37, np.iinfo(dtype.numpy).min, dtype.numpy)
        divisors = np.resize(np.array([7, -1, 2], dtype.numpy), 37)
        cases += [case(f"{n} {dtype}", [t, t], op(n), {0: low, 1: divisors}) for n in ("div", "floordiv", "mod")]
        cases.append(case(f"fmod {dtype}", [t, t], op("mod", fmod=True), {0: low, 1: divisors}))
    check(cases)


def test_integers_wrap() -> None:
    """LLVM may assume what it likes of sums that overflow, so those of compiled code never do."""
    cases = []
    for dtype in (DType.I32, DType.U32, DType.I64, DType.U64):
        t = tensor((64,), dtype)
        info = np.iinfo(dtype.numpy)
        ends = np.array([info.min, info.max, info.max // 2 + 1, 0, 1, 2, info.max - 1, 3], dtype.numpy)
        a, b = np.repeat(ends, 8), np.tile(ends, 8)
        cases += [case(f"{n} {dtype}", [t, t], op(n), {0: a, 1: b}) for n in ("add", "sub", "mul")]
        if dtype in (DType.I32, DType.I64):
            cases += [case(f"{n} {dtype}", [t], op(n), {0: a}) for n in ("neg", "abs")]
        cases.append(case(f"square {dtype}", [t], lambda k, x: k.gt(k.add(x, x), x), {0: a}))
    check(cases)


def test_comparison_with_the_lowest_number() -> None:
    t = tensor((5,), DType.I32)
    low = np.iinfo(np.int32).min
    x = np.array([low, low + 1, 0, -1, low], np.int32)

    def compare(name: str, swapped: bool) -> Any:
        return lambda k, v: (
            op(name)(k, k.const(np.int32(low)), v) if swapped else op(name)(k, v, k.const(np.int32(low)))
        )

    names = ("eq", "ne", "lt", "le", "gt", "ge")
    check([case(f"{n} {s}", [t], compare(n, s), {0: x}) for n in names for s in (False, True)])


def test_comparisons_with_nan() -> None:
    """NaN differs from everything, itself included, and is true."""
    x = np.resize(np.array([1, np.nan, 2, np.nan, 0], np.float32), (3, 37))
    y = np.resize(np.array([1, np.nan, 3, 2, np.nan], np.float32), (3, 37))
    cases = [case(n, [(3, 37), (3, 37)], op(n), {0: x, 1: y}) for n in ("eq", "ne", "lt", "le", "gt", "ge")]
    check([*cases, case("cast", [(3, 37)], op("cast", to=DType.BOOL), {0: x})])


FLOATS = [DType.F16, DType.BF16, DType.F32, DType.F64]
INTEGERS = [DType.I8, DType.U8, DType.I16, DType.U16, DType.I32, DType.U32, DType.I64, DType.U64, DType.BOOL]


def cast_cases() -> list[Case]:
    cases = []
    for a in (*FLOATS, *INTEGERS):
        for b in (*FLOATS, *INTEGERS, DType.I4, DType.U4):
            x = np.abs(random_array(a, (37,), RNG)) if b in (DType.U64, DType.U4) and a.is_float else None
            cases.append(case(f"{a} to {b}", [tensor((37,), a)], op("cast", to=b), None if x is None else {0: x}))
    return cases


def test_casts_of_what_no_integer_is() -> None:
    """As on processors of the x86 family: the lowest number of the type that the conversion passes through."""
    values = np.array([np.nan, np.inf, -np.inf, 3e9, -3e9, 1e19, -1e19, 2**31, -(2**31), 1e30, 255.7, -1.5], np.float64)
    low32, low64 = -(2**31), -(2**63)
    wide = [low64, low64, low64, 3 * 10**9, -3 * 10**9, low64, low64, 2**31, low32, low64, 255, -1]
    narrow = [low32, low32, low32, low32, low32, low32, low32, low32, low32, low32, 255, -1]
    cases = []
    for dtype in (DType.I8, DType.U8, DType.I16, DType.I32, DType.U32, DType.I64):
        through = wide if dtype in (DType.U32, DType.I64) else narrow
        expected = np.array(through, np.int64).astype(dtype.numpy)
        t = tensor((12,), DType.F64)
        cases.append(case(f"{dtype}", [t], op("cast", to=dtype), {0: values}, expected=[expected]))
    above = np.array([1e19, 2.0**63, 1.5, 0], np.float64)
    t = tensor((4,), DType.F64)
    cases.append(case("u64", [t], op("cast", to=DType.U64), {0: above}, expected=[above.astype(np.uint64)]))
    check(cases)


def test_casts() -> None:
    check(cast_cases())


@pytest.mark.parametrize("dtype", [DType.F16, DType.BF16, DType.F64])
def test_other_floats(dtype: DType) -> None:
    t = tensor((3, 37), dtype)
    tolerance = {DType.F16: 1e-3, DType.BF16: 8e-3, DType.F64: 1e-14}[dtype]
    names = ["exp", "tanh", "sigmoid", "erf", "gelu", "relu", "sqrt", "neg", "expm1"]
    cases = [case(n, [t], op(n), {0: np.abs(random_array(dtype, (3, 37), RNG))}, tolerance=tolerance) for n in names]
    cases += [case(n, [t, t], op(n), tolerance=tolerance) for n in ("add", "mul", "div", "maximum", "lt")]
    check(cases)


def broadcast_case(*shapes: Any, env: Any = None) -> Case:
    return case(f"broadcast {shapes}", shapes, lambda b, x, y: b.relu(b.add(x, y)), env=env)


def moving_cases() -> list[Case]:
    sizes = {"N": 3, "S": 21}
    cases = [
        broadcast_case((7, 5, 3, 11), (5, 1, 1)),
        broadcast_case((7, 5, 3, 11), (11,)),
        broadcast_case((7, 1, 3, 1), (1, 5, 1, 11)),
        broadcast_case((1, 1), (1,)),
        broadcast_case((), ()),
        broadcast_case((N, S, 5), (5,), env=sizes),
        broadcast_case((N, 1, S), (N, S, 1), env=sizes),
        broadcast_case((1_000_003,), (1_000_003,)),
        case("two outputs", [(4, 9)], lambda b, x: (b.relu(x), b.exp(b.relu(x)))),
        case("repeated output", [(4, 9)], lambda b, x: (lambda y: (y, y, x))(b.relu(x))),
        case("literal", [(4, 9)], lambda b, x: b.mul(x, b.const(np.float32(3)))),
        case("small table", [(4, 3)], lambda b, x: b.mul(x, b.const(np.array([1, 2, 3], np.float32)))),
    ]
    perms = [(1, 0, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2), (3, 2, 1, 0), (0, 2, 1, 3)]
    for shape in ((2, 3, 33, 17), (N, 3, S, 20)):
        for p in perms:
            cases.append(
                case(f"transpose {p} {shape}", [shape], op("tensor_transpose", perm=p), env=sizes, tolerance=0)
            )
    cases += [
        case("heads", [(N, S, 24)], lambda b, x: b.tensor_transpose(b.tensor_reshape(x, shape=(N, S, 4, 6)),
                                                                    perm=(0, 2, 1, 3)), env=sizes),
        case("unheads", [(N, 4, S, 6)], lambda b, x: b.relu(b.tensor_reshape(
            b.tensor_transpose(x, perm=(0, 2, 1, 3)), shape=(N, S, 24))), env=sizes),
        case("reshape", [(6, 35)], lambda b, x: b.add(b.tensor_reshape(x, shape=(2, 7, 15)), b.const(np.float32(1)))),
        case("expand", [(3, 1, 5)], op("tensor_expand", shape=(2, 3, 4, 5))),
        case("concat", [(3, 4, 5), (3, 1, 5), (3, 9, 5)], lambda b, *xs: b.tensor_concat(xs, axis=1)),
        case("concat many", [(sym(f"D{i}"), 3) for i in range(12)], lambda b, *xs: b.tensor_concat(xs, axis=0),
             env={f"D{i}": (5 * i) % 4 for i in range(12)}),
        case("concat many last", [(2, sym(f"D{i}")) for i in range(12)], lambda b, *xs: b.tensor_concat(xs, axis=1),
             env={f"D{i}": (7 * i) % 19 for i in range(12)}),
        case("concat last", [(N, 4), (N, S)], lambda b, *xs: b.relu(b.tensor_concat(xs, axis=1)), env=sizes),
        case("slice", [(9, 30)], op("tensor_slice", starts=(7, 2), ends=(1, 29), axes=(0, 1), steps=(-2, 3))),
        case("reverse", [(9, 30)], op("tensor_reverse", axes=(1,))),
        case("tile", [(3, 5)], op("tensor_tile", repeats=(2, 3))),
        case("trilu", [(2, 9, 11)], op("tensor_trilu", upper=True, k=1)),
        case("trilu lower", [(2, 9, 11)], op("tensor_trilu", upper=False, k=-1)),
        case("iota", [(1,)], lambda b, x: b.tensor_iota(shape=(4, S), axis=1, dtype=DType.F32, start=3, step=2),
             env=sizes),
        case("dims", [(N, S)], lambda b, x: b.tensor_dims(dims=(N, S, N * S + 1)), env=sizes),
        case("full", [(), (N, S)], lambda b, v, x: b.tensor_full(v, shape=(N, S)), env=sizes),
    ]  # fmt: skip
    for mode in ("constant", "edge", "reflect", "wrap"):
        cases.append(case(f"pad {mode}", [(2, 7, 9)], op("tensor_pad", pads=(0, 2, 1, 1, 3, 0), mode=mode)))
    cases.append(case("pad value", [(2, 9), ()], op("tensor_pad", pads=(0, 2, 1, 3))))
    cases.append(case("crop", [(2, 9)], op("tensor_pad", pads=(0, -2, 0, 3))))
    return cases


def test_moving_elements() -> None:
    check(moving_cases())


def index_type(*shape: Any) -> TensorType:
    return tensor(shape, DType.I64)


def test_gathering() -> None:
    rows = np.array([[0, 6, -1], [3, 3, -7]])
    elements = RNG.integers(-5, 5, (2, 3, 4))
    pairs = RNG.integers(0, 2, (4, 3, 2))
    check(
        [
            case("gather 0", [(7, 33), index_type(2, 3)], op("tensor_gather", axis=0), {1: rows}),
            case("gather 1", [(4, 7), index_type(2, 3)], op("tensor_gather", axis=1), {1: rows}),
            case("gather scalar", [(4, 7), index_type()], op("tensor_gather", axis=0), {1: np.array(-2)}),
            case("elements", [(2, 5, 4), index_type(2, 3, 4)], op("tensor_gather_elements", axis=1), {1: elements}),
            case("nd", [(2, 2, 9), index_type(4, 3, 2)], op("tensor_gather_nd", batch_dims=0), {1: pairs}),
            case("nd batch", [(4, 2, 2, 9), index_type(4, 3, 2)], op("tensor_gather_nd", batch_dims=1), {1: pairs}),
        ]
    )


def test_what_is_not_a_number() -> None:
    """NaN equals nothing, itself included, and no comparison with it holds, negated ones do."""
    x = np.array([0, -0.0, 1, np.nan, np.inf, np.nan, -1, np.nan] * 3, np.float32)
    y = np.roll(x, 1)
    t = tensor(x.shape)
    check(
        [
            case("eq", [t, t], lambda b, x, y: b.eq(x, y), {0: x, 1: y}),
            case("ne", [t, t], lambda b, x, y: b.ne(x, y), {0: x, 1: y}),
            case("eq itself", [t], lambda b, x: b.eq(x, x), {0: x}),
            case("ne itself", [t], lambda b, x: b.ne(x, x), {0: x}),
            case("le itself", [t], lambda b, x: b.le(x, x), {0: x}),
            case("ge itself", [t], lambda b, x: b.ge(x, x), {0: x}),
            case("not lt", [t, t], lambda b, x, y: b.not_(b.lt(x, y)), {0: x, 1: y}),
            case("not ge", [t, t], lambda b, x, y: b.not_(b.ge(x, y)), {0: x, 1: y}),
            case("to bool", [t], lambda b, x: b.cast(x, to=DType.BOOL), {0: x}),
        ]
    )


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("name", ["div", "floordiv"])
def test_division_by_a_constant_zero(name: str, zero: float) -> None:
    def build(b: Any, x: Any) -> Any:
        return getattr(b, name)(b.reduce_sum(x, axes=(0,)), b.const(np.full(1, zero, np.float32)))

    numbers = (3.0, -3.0, 0.0, np.nan)
    check([case(name, [(2, 1)], build, {0: np.full((2, 1), n, np.float32)}) for n in numbers])


WHOLE = [np.int64, np.int32, np.uint8, np.int8]


@pytest.mark.parametrize("exponent", WHOLE)
def test_integer_powers_of_any_size(exponent: type) -> None:
    """Exponents beyond the width of the base, and negative ones; all products wrap."""
    limits = np.iinfo(exponent)
    powers = [
        0,
        1,
        2,
        3,
        8,
        63,
        127,
        *([256, 301, 2**20 + 1] if limits.max > 300 else []),
        *([-1, -2] if limits.min else []),
    ]
    cases = []
    for base in WHOLE:
        ends = np.iinfo(base)
        pairs = [(x, p) for x in (0, 1, 2, 3, 7, 100, ends.max, ends.min) for p in powers]
        a, b = np.array([x for x, _ in pairs], base), np.array([p for _, p in pairs], exponent)
        types = [tensor(v.shape, DType.of(v)) for v in (a, b)]
        wanted = np.array([_power(x, p, ends) for x, p in pairs]).astype(base)
        cases.append(case(f"{base.__name__}", types, op("pow"), {0: a, 1: b}, expected=[wanted]))
    check(cases)


def _power(x: int, p: int, ends: np.iinfo) -> int:
    """Return x to the power of p in a type with these ends: wrapped, or truncated where p is negative."""
    if p < 0:
        return ends.min if x == 0 else {1: 1, -1: -1 if p % 2 else 1}.get(x, 0)
    found = pow(x, p, 1 << ends.bits)
    return found - (1 << ends.bits) if found > ends.max else found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floor_division_of_floats_is_exact(dtype: type) -> None:
    a = np.array([1, -1, 1, -1, 7, -7, 7.5, -7.5, 0, 3, np.inf, -np.inf, np.nan, 1, 1, 1e30, 6], dtype)
    b = np.array([1e-8, 1e-8, np.inf, np.inf, 2, 2, -2, 2, 3, 0, 2, 2, 1, np.nan, 0.1, 3, 0.6], dtype)
    with np.errstate(all="ignore"):
        wanted = np.floor_divide(a, b)
    types = [tensor(v.shape, DType.of(v)) for v in (a, b)]
    check([case("floordiv", types, op("floordiv"), {0: a, 1: b}, expected=[wanted], tolerance=0)])
