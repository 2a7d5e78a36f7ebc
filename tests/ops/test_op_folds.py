"""Canonicalizations: what is left of a small function, and that it still means the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lepton_ir.ops
from lepton_ir.interp import run
from lepton_ir.ir import Block, Builder, DType, Function, Module, Region, TensorType, Value, sym, tensor
from lepton_ir.rewrite import apply_greedily, canonicalization_patterns

Build = Callable[..., Any]
X = tensor((2, 3))
SPECIAL = np.array([[0.0, -0.0, np.nan], [np.inf, -1.5, 2.5]], np.float32)


def function_of(build: Build, types: tuple[TensorType, ...]) -> Module:
    """Return a module whose main function is what ``build`` makes of its arguments."""
    function = Function("main", types)
    b = Builder(function.body)
    made = build(b, *function.arguments)
    b.create(lepton_ir.ir.REGISTRY["return"], list(made) if isinstance(made, (list, tuple)) else [made])
    return Module([function])


def names(module: Module) -> list[str]:
    """Return the operators that are left, constants and the return left out."""
    return [op.name for op in module.main.body.ops if op.name not in ("const", "return")]


def inputs_of(types: tuple[TensorType, ...]) -> list[np.ndarray]:
    """Return inputs for the types; floats hold special values."""
    out = []
    for i, t in enumerate(types):
        shape = t.static_shape
        rng = np.random.default_rng(i)
        values = rng.integers(-5, 6, shape) if t.dtype is not DType.BOOL else rng.integers(0, 2, shape)
        array = values.astype(t.dtype.numpy)
        if t.dtype.is_float and array.size >= SPECIAL.size:
            array.reshape(-1)[: SPECIAL.size] = SPECIAL.reshape(-1)
        out.append(array)
    return out


def check(build: Build, types: tuple[TensorType, ...], expected: list[str], *, exact: bool = True) -> None:
    """Canonicalize; compare the operators, the types and, where all is static, the values before and after."""
    module = function_of(build, types)
    before = module.clone()
    apply_greedily(module, canonicalization_patterns())
    assert names(module) == expected
    assert module.main.result_types == before.main.result_types
    if not all(t.is_static for t in types):
        return
    inputs = inputs_of(types)
    with np.errstate(all="ignore"):
        for a, b in zip(run(module, inputs), run(before, inputs), strict=True):
            if exact:
                np.testing.assert_array_equal(a, b)
                np.testing.assert_array_equal(np.signbit(a), np.signbit(b)) if a.dtype.kind == "f" else None
            else:
                np.testing.assert_allclose(a, b, rtol=2e-6)


I32 = TensorType((2, 3), DType.I32)
BOOL = TensorType((2, 3), DType.BOOL)
ARITHMETIC: list[tuple[Build, TensorType, list[str]]] = [
    (lambda b, x: b.add(x, b.const(np.float32(-0.0))), X, []),
    (lambda b, x: b.add(x, b.const(np.float32(0.0))), X, ["add"]),
    (lambda b, x: b.sub(x, b.const(np.float32(0.0))), X, []),
    (lambda b, x: b.sub(x, b.const(np.float32(-0.0))), X, ["sub"]),
    (lambda b, x: b.add(b.const(np.int32(0)), x), I32, []),
    (lambda b, x: b.mul(x, b.const(np.ones((1, 3), np.float32))), X, []),
    (lambda b, x: b.mul(x, b.const(np.ones((4, 2, 3), np.float32))), X, ["mul"]),
    (lambda b, x: b.div(x, b.const(np.float32(1))), X, []),
    (lambda b, x: b.pow(x, b.const(np.float32(1))), X, []),
    (lambda b, x: b.pow(x, b.const(np.float32(2))), X, ["mul"]),
    (lambda b, x: b.div(x, b.const(np.float32(4))), X, ["mul"]),
    (lambda b, x: b.div(x, b.const(np.float32(0))), X, ["div"]),
    (lambda b, x: b.div(x, b.const(np.float32(3))), X, ["div"]),
    (lambda b, x: b.div(x, b.const(np.array([-0.5, 2, 1024], np.float32))), X, ["mul"]),
    (lambda b, x: b.div(x, b.const(np.int32(4))), I32, ["div"]),
    (lambda b, x: b.div(b.const(np.float32(1)), x), X, ["reciprocal"]),
    (lambda b, x: b.neg(b.neg(x)), X, []),
    (lambda b, x: b.not_(b.not_(x)), BOOL, []),
    (lambda b, x: b.and_(x, b.const(True)), BOOL, []),
    (lambda b, x: b.or_(b.const(False), x), BOOL, []),
    (lambda b, x: b.relu(b.relu(x)), X, ["relu"]),
    (lambda b, x: b.maximum(x, b.const(np.float32(0))), X, ["relu"]),
    (lambda b, x: b.clip(x, b.const(np.float32(0))), X, ["relu"]),
    (lambda b, x: b.clip(x, b.const(np.float32(-np.inf)), b.const(np.float32(2))), X, ["clip"]),
    (lambda b, x: b.clip(x, b.const(np.float32(-np.inf)), b.const(np.float32(np.inf))), X, []),
    (lambda b, x: b.clip(x, b.const(np.float32(0)), b.const(np.float32(6))), X, ["clip"]),
    (lambda b, x: b.add(x, b.neg(x)), X, ["sub"]),
    (lambda b, x: b.prelu(x, b.const(np.full((3,), 0.25, np.float32))), X, ["leaky_relu"]),
    (lambda b, x: b.where(b.const(np.full((2, 1), True)), x, b.relu(x)), X, []),
    (lambda b, x: b.where(b.gt(x, x), x, x), X, []),
    (lambda b, x: b.where(b.not_(b.isnan(x)), x, b.relu(x)), X, ["isnan", "relu", "where"]),
    (lambda b, x: b.not_(b.eq(x, b.relu(x))), X, ["relu", "ne"]),
    (lambda b, x: b.not_(b.lt(x, b.relu(x))), X, ["relu", "lt", "not"]),
    (lambda b, x: b.cast(x, to=DType.F32), X, []),
    (lambda b, x: b.cast(b.cast(x, to=DType.F64), to=DType.F32), X, []),
    (lambda b, x: b.cast(b.cast(x, to=DType.I64), to=DType.F32), I32, ["cast"]),
    (lambda b, x: b.cast(b.cast(x, to=DType.F16), to=DType.F32), X, ["cast", "cast"]),
    (lambda b, x: b.cast(b.cast(x, to=DType.I16), to=DType.I32), I32, ["cast", "cast"]),
    (lambda b, x: b.cast(b.cast(x, to=DType.F32), to=DType.I32), I32, ["cast", "cast"]),
    (lambda b, x: b.add(x, b.tensor_expand(b.const(np.arange(3, dtype=np.float32)), shape=(2, 3))), X, ["add"]),
]


@pytest.mark.parametrize("index", range(len(ARITHMETIC)))
def test_arithmetic(index: int) -> None:
    build, x, expected = ARITHMETIC[index]
    check(build, (x,), expected)


def test_roots() -> None:
    positive = lambda b, x: b.add(b.mul(x, x), b.const(np.float32(1)))  # noqa: E731
    check(lambda b, x: b.pow(positive(b, x), b.const(np.float32(0.5))), (X,), ["mul", "add", "sqrt"])
    check(lambda b, x: b.reciprocal(b.sqrt(positive(b, x))), (X,), ["mul", "add", "rsqrt"], exact=False)
    check(lambda b, x: b.pow(x, b.const(np.float32(3))), (X,), ["mul", "mul"], exact=False)


def test_log_of_softmax() -> None:
    check(lambda b, x: b.log(b.nn_softmax(x, axis=1)), (tensor((2, 2)),), ["nn.log_softmax"], exact=False)


Y = tensor((2, 3, 1, 4))
SHAPES: list[tuple[Build, TensorType, list[str]]] = [
    (lambda b, x: b.tensor_reshape(x, shape=(2, 3, 1, 4)), Y, []),
    (lambda b, x: b.tensor_reshape(b.tensor_reshape(x, shape=(24,)), shape=(4, 6)), Y, ["tensor.reshape"]),
    (lambda b, x: b.tensor_transpose(x, perm=(0, 1, 2, 3)), Y, []),
    (lambda b, x: b.tensor_transpose(x, perm=(0, 2, 1, 3)), Y, ["tensor.reshape"]),
    (lambda b, x: b.tensor_transpose(x, perm=(1, 0, 2, 3)), Y, ["tensor.transpose"]),
    (
        lambda b, x: b.tensor_transpose(b.tensor_transpose(x, perm=(3, 0, 1, 2)), perm=(2, 1, 0, 3)),
        Y,
        ["tensor.transpose"],
    ),
    (lambda b, x: b.tensor_transpose(b.tensor_transpose(x, perm=(1, 0, 2, 3)), perm=(1, 0, 2, 3)), Y, []),
    (lambda b, x: b.tensor_expand(x, shape=(2, 3, 1, 4)), Y, []),
    (lambda b, x: b.tensor_expand(x, shape=(1, 2, 3, 1, 4)), Y, ["tensor.reshape"]),
    (
        lambda b, x: b.tensor_expand(b.tensor_expand(x, shape=(2, 3, 5, 4)), shape=(6, 2, 3, 5, 4)),
        Y,
        ["tensor.expand"],
    ),
    (lambda b, x: b.tensor_slice(x, starts=(0,), ends=(9,), axes=(1,), steps=(1,)), Y, []),
    (lambda b, x: b.tensor_slice(x, starts=(-1,), ends=(-9,), axes=(1,), steps=(-1,)), Y, ["tensor.slice"]),
    (lambda b, x: b.tensor_concat([x], axis=2), Y, []),
    (lambda b, x: b.tensor_concat([x, b.const(np.zeros((2, 3, 0, 4), np.float32))], axis=2), Y, []),
    (lambda b, x: b.tensor_concat([x, b.tensor_concat([x, x], axis=-1)], axis=3), Y, ["tensor.concat"]),
    (lambda b, x: b.tensor_concat(b.tensor_split(x, axis=1, sizes=(1, 2)), axis=1), Y, []),
    (
        lambda b, x: b.tensor_concat(b.tensor_split(x, axis=1, sizes=(1, 2))[::-1], axis=1),
        Y,
        ["tensor.split", "tensor.concat"],
    ),
    (lambda b, x: b.tensor_split(x, axis=1, sizes=(3,)), Y, []),
    (lambda b, x: b.tensor_pad(x, pads=(0,) * 8), Y, []),
    (lambda b, x: b.tensor_tile(x, repeats=(1,) * 4), Y, []),
    (lambda b, x: b.tensor_gather(x, b.const(1), axis=1), Y, ["tensor.slice", "tensor.reshape"]),
    (lambda b, x: b.tensor_gather(x, b.const([-1]), axis=3), Y, ["tensor.slice"]),
    (lambda b, x: b.reduce_max(x, axes=(2,), keepdims=False), Y, ["tensor.reshape"]),
    (lambda b, x: b.reduce_mean(x, axes=(1, 2)), Y, ["reduce.mean"]),
]


@pytest.mark.parametrize("index", range(len(SHAPES)))
def test_shapes(index: int) -> None:
    build, x, expected = SHAPES[index]
    check(build, (x,), expected)


def test_symbolic_shapes() -> None:
    n, s = sym("N"), sym("S")
    x = tensor((n, s, 1))
    whole = {"starts": (0,), "ends": (s,), "axes": (1,), "steps": (1,)}
    check(lambda b, x: b.tensor_slice(x, **whole), (x,), [])
    check(lambda b, x: b.tensor_reshape(b.tensor_reshape(x, shape=(n * s,)), shape=(n, s, 1)), (x,), [])
    check(lambda b, x: b.tensor_expand(x, shape=(n, s, 1)), (x,), [])
    check(lambda b, x: b.tensor_transpose(x, perm=(0, 2, 1)), (x,), ["tensor.reshape"])
    check(lambda b, x: b.tensor_transpose(x, perm=(1, 0, 2)), (x,), ["tensor.transpose"])


def test_padding_goes_into_the_convolution() -> None:
    image = tensor((1, 2, 4, 5))
    weight = np.ones((3, 2, 2, 2), np.float32)

    def padded(*pads: int, value: float = 0.0) -> Build:
        def build(b: Builder, x: Value) -> Any:
            made = b.tensor_pad(x, b.const(np.float32(value)), pads=pads)
            return b.nn_conv(made, b.const(np.ones((3, 2 + pads[1], 2, 2), np.float32)), pads=(1, 0, 0, 0))

        return build

    assert weight.shape[1] == 2
    check(padded(0, 0, 1, 2, 0, 0, 1, 0), (image,), ["nn.conv"])
    check(padded(0, 1, 1, 2, 0, 0, 1, 0), (image,), ["tensor.pad", "nn.conv"])
    check(padded(0, 0, 1, 2, 0, 0, 1, 0, value=1.0), (image,), ["tensor.pad", "nn.conv"])


@pytest.mark.parametrize(("condition", "expected"), [(True, ["exp"]), (False, ["neg"])])
def test_decided_branches(condition: bool, expected: list[str]) -> None:
    def branch(operator: str, x: Value) -> Region:
        block = Block()
        b = Builder(block)
        b.yield_([getattr(b, operator)(x)])
        return Region(block)

    def build(b: Builder, x: Value) -> Any:
        return b.control_if(b.const(condition), regions=[branch("exp", x), branch("neg", x)])

    check(build, (X,), expected)
