"""Elementwise operators against ONNX Runtime, the ONNX reference evaluator and Python."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import helper
from op_harness import assert_close, evaluate, floats, integers, make, ort, reference

from lepton_ir.ir import DType, InferenceError, TensorType, sym, tensor
from lepton_ir.ops.special import erf

UNARY = {
    "neg": "Neg", "abs": "Abs", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "reciprocal": "Reciprocal", "sin": "Sin",
    "cos": "Cos", "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh",
    "tanh": "Tanh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "erf": "Erf", "floor": "Floor",
    "ceil": "Ceil", "round": "Round", "sign": "Sign", "sigmoid": "Sigmoid", "isnan": "IsNaN",
    "relu": "Relu", "softplus": "Softplus", "softsign": "Softsign", "hard_swish": "HardSwish",
}  # fmt: skip
PARAMETERS: list[tuple[str, str, dict[str, Any]]] = [
    ("leaky_relu", "LeakyRelu", {"alpha": 0.2}),
    ("elu", "Elu", {"alpha": 1.5}),
    ("selu", "Selu", {}),
    ("celu", "Celu", {"alpha": 2.0}),
    ("hard_sigmoid", "HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
    ("thresholded_relu", "ThresholdedRelu", {"alpha": 0.7}),
    ("shrink", "Shrink", {"lambd": 1.0, "bias": 0.3}),
    ("mish", "Mish", {}),
    ("gelu", "Gelu", {}),
    ("gelu", "Gelu", {"approximate": "tanh"}),
]
SPECIAL = np.array([0.0, -0.0, 0.5, -0.5, 1.5, 2.5, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-8], np.float32)


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str) -> None:
    x = np.concatenate([SPECIAL, floats(40)])
    with np.errstate(all="ignore"):
        assert_close(evaluate(name, x), ort(UNARY[name], x), rtol=2e-5)


@pytest.mark.parametrize(("name", "onnx_name", "attributes"), PARAMETERS)
def test_activation(name: str, onnx_name: str, attributes: dict[str, Any]) -> None:
    x = np.concatenate([SPECIAL[:-4], floats(40)])
    assert_close(evaluate(name, x, **attributes), ort(onnx_name, x, **attributes), rtol=2e-5)


def test_functions_without_an_onnx_operator() -> None:
    x = floats(50)
    np.testing.assert_allclose(evaluate("silu", x), x / (1 + np.exp(-x)), rtol=1e-5)
    np.testing.assert_allclose(evaluate("expm1", x), [math.expm1(v) for v in x], rtol=1e-6)
    np.testing.assert_allclose(evaluate("log1p", np.abs(x)), [math.log1p(abs(v)) for v in x], rtol=1e-6)
    np.testing.assert_allclose(evaluate("rsqrt", np.abs(x)), [abs(v) ** -0.5 for v in x], rtol=1e-6)
    np.testing.assert_array_equal(evaluate("trunc", x), [int(v) for v in x])
    np.testing.assert_allclose(
        evaluate("atan2", x, x[::-1].copy()), [math.atan2(a, b) for a, b in zip(x, x[::-1], strict=True)], rtol=1e-6
    )


def test_erf_is_exact_to_f64() -> None:
    x = np.linspace(-7, 7, 4001)
    np.testing.assert_allclose(erf(x), [math.erf(v) for v in x], rtol=1e-14, atol=1e-300)
    assert np.isnan(erf(np.array(np.nan))) and erf(np.array(np.inf)) == 1


@pytest.mark.parametrize("negative", [True, False])
@pytest.mark.parametrize("positive", [True, False])
def test_isinf(negative: bool, positive: bool) -> None:
    found = evaluate("isinf", SPECIAL, detect_negative=negative, detect_positive=positive)
    assert_close(found, ort("IsInf", SPECIAL, detect_negative=int(negative), detect_positive=int(positive)))


BINARY = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "pow": "Pow", "minimum": "Min", "maximum": "Max",
    "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "eq": "Equal", "prelu": "PRelu",
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((3, 4), (3, 1)), ((2, 3), ())])
def test_binary(name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = floats(*shapes[0], seed=1), floats(*shapes[1], seed=2)
    if name == "pow":
        a = np.abs(a)
    assert_close(evaluate(name, a, b), ort(BINARY[name], a, b), rtol=1e-5)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow", "minimum", "maximum", "lt", "eq"])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers(name: str, dtype: Any) -> None:
    a, b = integers(50, seed=1, dtype=dtype), integers(50, seed=2, dtype=dtype)
    if name in ("div", "pow"):
        b = np.abs(b) + 1 if name == "pow" else np.where(b == 0, 3, b)
    assert_close(evaluate(name, a, b.astype(dtype)), ort(BINARY[name], a, b.astype(dtype)))


def test_integers_wrap() -> None:
    a = np.array([127, -128], np.int8)
    np.testing.assert_array_equal(evaluate("add", a, np.array([1, -1], np.int8)), [-128, 127])
    np.testing.assert_array_equal(evaluate("neg", a), [-127, -128])


def test_negative_integer_powers() -> None:
    a, b = np.array([2, 1, -1, 0], np.int32), np.array([-1, -3, -3, 2], np.int32)
    np.testing.assert_array_equal(evaluate("pow", a, b), [0, 1, -1, 0])


@pytest.mark.parametrize("fmod", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_mod(fmod: bool, dtype: Any) -> None:
    a, b = integers(40, seed=1).astype(dtype), np.abs(integers(40, seed=2)).astype(dtype) + 1
    b[::2] *= -1
    if dtype is np.float32 and not fmod:
        np.testing.assert_allclose(evaluate("mod", a, b), [p % q for p, q in zip(a, b, strict=True)])
        return
    assert_close(evaluate("mod", a, b, fmod=fmod), ort("Mod", a, b, fmod=int(fmod)))


def test_floordiv() -> None:
    a, b = integers(40, seed=1), np.where(integers(40, seed=2) == 0, 1, integers(40, seed=2))
    np.testing.assert_array_equal(evaluate("floordiv", a, b), [int(p) // int(q) for p, q in zip(a, b, strict=True)])


@pytest.mark.parametrize(("name", "onnx_name"), [("and", "And"), ("or", "Or"), ("xor", "Xor")])
def test_logic(name: str, onnx_name: str) -> None:
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert_close(evaluate(name, a, b), ort(onnx_name, a, b))
    assert_close(evaluate("not", a), ort("Not", a))


@pytest.mark.parametrize(
    ("name", "onnx_name"), [("bitwise_and", "BitwiseAnd"), ("bitwise_or", "BitwiseOr"), ("bitwise_xor", "BitwiseXor")]
)
def test_bits(name: str, onnx_name: str) -> None:
    a, b = integers(30, seed=1, dtype=np.int32), integers(30, seed=2, dtype=np.int32)
    assert_close(evaluate(name, a, b), ort(onnx_name, a, b))
    assert_close(evaluate("bitwise_not", a), ort("BitwiseNot", a))


def test_shifts() -> None:
    a, b = np.array([1, 255, 16], np.uint8), np.array([3, 1, 4], np.uint8)
    assert_close(evaluate("shift_left", a, b), ort("BitShift", a, b, direction="LEFT"))
    assert_close(evaluate("shift_right", a, b), ort("BitShift", a, b, direction="RIGHT"))


@pytest.mark.parametrize("bounds", [(None, None), (-1.0, None), (None, 1.0), (-1.0, 1.0), (1.0, -1.0)])
def test_clip(bounds: tuple[float | None, float | None]) -> None:
    x, given = floats(30), [None if v is None else np.float32(v).reshape(()) for v in bounds]
    assert_close(evaluate("clip", x, *given), reference("Clip", x, *given))


def test_where() -> None:
    c, x, y = integers(3, 1) > 0, floats(1, 4, seed=1), floats(3, 4, seed=2)
    assert_close(evaluate("where", c, x, y), ort("Where", c, x, y))


CASTS = [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int32, np.int64, np.bool_]


@pytest.mark.parametrize("source", CASTS)
@pytest.mark.parametrize("target", CASTS)
def test_cast(source: Any, target: Any) -> None:
    x = np.array([0, 1, 2.5, 3.7, 100, 42.2]).astype(source)
    to = helper.np_dtype_to_tensor_dtype(np.dtype(target))
    assert_close(evaluate("cast", x, to=DType.of(np.dtype(target))), ort("Cast", x, to=to))


@pytest.mark.parametrize("saturate", [True, False])
@pytest.mark.parametrize("target", [DType.F8E4M3FN, DType.F8E5M2, DType.F8E4M3FNUZ, DType.F8E5M2FNUZ])
def test_cast_to_8_bit_floats(target: DType, saturate: bool) -> None:
    x = np.array([0, 1, -2.5, 0.3, 448, 500, 1e6, -1e6, np.nan, 1e-3], np.float32)
    to = helper.np_dtype_to_tensor_dtype(target.numpy)
    expected = reference("Cast", x, to=to, saturate=int(saturate))
    found = evaluate("cast", x, to=target, saturate=saturate)
    np.testing.assert_array_equal(found.view(np.uint8)[:8], np.asarray(expected).view(np.uint8)[:8])


def test_cast_from_text() -> None:
    np.testing.assert_array_equal(
        evaluate("cast", np.array(["1.5", "-2", "inf"], dtype=object), to=DType.F32), np.float32([1.5, -2, np.inf])
    )


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_narrow_floats_round_once(dtype: Any) -> None:
    x, y = floats(200, seed=1).astype(dtype), floats(200, seed=2).astype(dtype)
    wide = (x.astype(np.float32) * y.astype(np.float32)).astype(dtype)
    np.testing.assert_array_equal(evaluate("mul", x, y), wide)
    np.testing.assert_array_equal(evaluate("exp", x), np.exp(x.astype(np.float32)).astype(dtype))


def test_inference_of_symbolic_shapes() -> None:
    n, s = sym("N"), sym("S")
    assert make("add", tensor((n, s, 4)), tensor((4,))).result.type == tensor((n, s, 4))
    assert make("eq", tensor((n, 1)), tensor((s,))).result.type == TensorType((n, s), DType.BOOL)
    assert make("where", TensorType((n, 1), DType.BOOL), tensor((1, s)), tensor(())).result.type == tensor((n, s))
    assert make("cast", tensor((n,)), to=DType.I32).result.type == TensorType((n,), DType.I32)


@pytest.mark.parametrize(
    ("name", "operands", "attributes", "message"),
    [
        ("add", (tensor((2, 3)), tensor((4,))), {}, r"shapes \[2, 3\] and \[4\] do not broadcast: 3 against 4"),
        ("add", (tensor((2,)), TensorType((2,), DType.I32)), {}, "operands of add need one element type, got f32, i32"),
        ("exp", (TensorType((2,), DType.I32),), {}, "exp needs operands of kind float"),
        ("and", (tensor((2,)), tensor((2,))), {}, "and needs operands of kind bool"),
        ("where", (tensor((2,)), tensor((2,)), tensor((2,))), {}, "condition of where must be bool"),
        ("clip", (tensor((2,)), tensor((2,))), {}, "bounds of clip must be scalars"),
        ("gelu", (tensor((2,)),), {"approximate": "fast"}, 'must be "none" or "tanh", got "fast"'),
        ("celu", (tensor((2,)),), {"alpha": 0.0}, "alpha of celu must not be 0"),
        ("leaky_relu", (tensor((2,)),), {"slope": 0.1}, r"has no attribute slope \(it has: alpha\)"),
    ],
)
def test_errors(name: str, operands: Any, attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(InferenceError, match=message):
        make(name, *operands, **attributes)
