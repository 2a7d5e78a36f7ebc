"""Values of shape tensors, and the structural operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_ir.analysis.shape_value import symbolic_dims, symbolic_value
from lepton_ir.ir import REGISTRY, Block, Builder, DType, InferenceError, Region, TensorType, Value, sym, tensor
from lepton_ir.ir.dim import Dim, evaluate

N, S = sym("N"), sym("S")


def builder() -> tuple[Builder, Value]:
    """Return a builder and the dimensions [N, S, 3, 224] as a value."""
    b = Builder(Block())
    return b, b.tensor_dims(dims=(N, S, 3, 224))


def part(b: Builder, x: Value, index: int) -> Value:
    """Return one element."""
    y: Value = b.tensor_gather(x, b.const(index), axis=0)
    return y


CASES: list[tuple[Callable[[Builder, Value], Any], list[Any]]] = [
    (lambda b, d: b.tensor_slice(d, starts=(1,), ends=(-1,), axes=(0,), steps=(1,)), [S, 3]),
    (lambda b, d: b.tensor_concat([b.mul(d, b.const([2, 1, 1, 1])), b.const([-1])], axis=0), [2 * N, S, 3, 224, -1]),
    (lambda b, d: b.reduce_prod(d, axes=(0,)), [N * S * 672]),
    (lambda b, d: b.div(b.reduce_prod(d, axes=(0,), keepdims=False), part(b, d, 1)), [N * 672]),
    (lambda b, d: b.minimum(d, b.const(0)), [0, 0, 0, 0]),
    (lambda b, d: b.where(b.eq(d, b.const(3)), b.const(7), d), None),  # type: ignore[list-item]
    (lambda b, d: b.where(b.eq(d, b.const(-1)), b.const(7), d), [N, S, 3, 224]),
    (lambda b, d: b.where(b.ge(d, b.const(0)), d, b.const(1)), [N, S, 3, 224]),
    (lambda b, d: b.cast(b.cast(d, to=DType.I32), to=DType.I64), [N, S, 3, 224]),
    (lambda b, d: b.tensor_reshape(b.tensor_expand(part(b, d, 0), shape=(2,)), shape=(2,)), [N, N]),
    (lambda b, d: b.tensor_full(part(b, d, 1), shape=(3,)), [S, S, S]),
    (lambda b, d: b.tensor_iota(shape=(3,), start=N, step=S), [N, N + S, N + 2 * S]),
    (lambda b, d: b.tensor_split(d, axis=0, sizes=(3, 1))[0], [N, S, 3]),
    (lambda b, d: b.tensor_gather(d, b.const([3, 0]), axis=0), [224, N]),
    (lambda b, d: b.sub(b.add(d, d), b.neg(d)), [3 * N, 3 * S, 9, 672]),
    (lambda b, d: b.mod(b.mul(d, b.const(4)), b.const(2)), [0, 0, 0, 0]),
    (lambda b, d: b.mul(d, b.tensor_dims(dims=(2, 2, 2, 2))), [2 * N, 2 * S, 6, 448]),
]


@pytest.mark.parametrize("index", range(len(CASES)))
def test_values(index: int) -> None:
    build, expected = CASES[index]
    b, dims = builder()
    found = symbolic_value(build(b, dims))
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert found.reshape(-1).tolist() == expected


def test_data_has_no_value() -> None:
    block = Block([TensorType((2,), DType.I64), tensor((2,))])
    b = Builder(block)
    ids, floats = block.arguments
    assert symbolic_value(ids) is None
    assert symbolic_value(b.add(ids, b.const([1, 2]))) is None
    assert symbolic_value(floats) is None
    assert symbolic_value(b.const(np.zeros(5000, np.int64))) is None


def test_dims_of_a_scalar_and_a_shared_memo() -> None:
    b, dims = builder()
    memo: dict[Value, Any] = {}
    product = b.mul(part(b, dims, 0), part(b, dims, 1))
    assert symbolic_dims(product, memo) == (N * S,)
    assert memo[product] is not None and dims in memo


def test_long_chains_need_no_recursion() -> None:
    b, x = builder()
    for _ in range(3000):
        x = b.add(x, b.const(1))
    assert symbolic_dims(x) == (N + 3000, S + 3000, 3003, 3224)


OPERATORS = ["add", "sub", "mul", "minimum", "maximum", "floordiv", "mod"]


@given(
    st.lists(st.tuples(st.sampled_from(OPERATORS), st.integers(0, 3), st.integers(1, 5)), max_size=6),
    st.fixed_dictionaries({"N": st.integers(1, 20), "S": st.integers(1, 20)}),
)
@settings(max_examples=60, deadline=None)
def test_values_agree_with_evaluation(steps: list[tuple[str, int, int]], env: dict[str, int]) -> None:
    b, dims = builder()
    x, numbers = dims, np.array([env["N"], env["S"], 3, 224])
    for name, index, number in steps:
        mix = name in ("floordiv", "mod")
        other = b.const(number) if mix else part(b, dims, index)
        value = np.array(number) if mix else numbers_of(env)[index]
        x = getattr(b, name)(x, other)
        numbers = REGISTRY[name].build(tensor_like(numbers), tensor_like(value)).evaluate(numbers, value)
    found = symbolic_dims(x)
    assert found is not None
    assert [evaluate(d, env) for d in found] == numbers.tolist()


def numbers_of(env: dict[str, int]) -> np.ndarray:
    """Return [N, S, 3, 224] as numbers."""
    return np.array([env["N"], env["S"], 3, 224])


def tensor_like(array: np.ndarray) -> Value:
    """Return a stand-in of an array's type."""
    return Block([TensorType(tuple(array.shape), DType.I64)]).arguments[0]


def region(values: Callable[[Builder], list[Value]], arguments: tuple[TensorType, ...] = ()) -> Region:
    """Return a region that yields values."""
    block = Block(arguments)
    b = Builder(block)
    b.yield_(values(b))
    return Region(block)


def test_structure_infers_what_its_regions_yield() -> None:
    x: Dim = N
    block = Block([TensorType((), DType.BOOL), tensor((x, 4))])
    b = Builder(block)
    condition, value = block.arguments
    branches = [region(lambda b: [b.relu(value)]), region(lambda b: [b.neg(value)])]
    assert b.control_if(condition, regions=branches).type == tensor((x, 4))
    with pytest.raises(InferenceError, match="yield 1 and 0 values"):
        b.control_if(condition, regions=[region(lambda b: [value]), region(lambda b: [])])
    with pytest.raises(InferenceError, match="in one place"):
        b.control_if(condition, regions=[region(lambda b: [value]), region(lambda b: [condition])])


def test_kernels_and_loops_check_their_arguments() -> None:
    block = Block([tensor((4,))])
    b = Builder(block)
    (x,) = block.arguments
    body = Block([tensor((5,))])
    Builder(body).yield_([body.arguments[0]])
    kernel = b.create(REGISTRY["kernel"], [x], symbol="k", regions=[Region(body)])
    with pytest.raises(InferenceError, match=r"the body of kernel @k takes \(tensor<5xf32>\)"):
        kernel.verify()
    loop = b.create(REGISTRY["control.loop"], None, None, [x], regions=[region(lambda b: [])])
    with pytest.raises(InferenceError, match="takes the trip's number and the carried values"):
        loop.verify()
