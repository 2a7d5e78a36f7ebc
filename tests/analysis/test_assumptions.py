"""The conditions on dynamic dimensions that a module's types take for granted."""

import numpy as np
import pytest

import lepton_ir.ops  # noqa: F401 - registers the operators
from lepton_ir.analysis.assumptions import assumptions
from lepton_ir.ir import Builder, DType, Function, Location, sym, tensor

N, S = sym("N"), sym("S")


def found(shapes, build):
    """Return the assumptions, as text, of a function of f32 tensors."""
    function = Function("main", [tensor(s) for s in shapes])
    b = Builder(function.body, location=Location(node="here"))
    result = build(b, *function.arguments)
    b.return_([result] if not isinstance(result, tuple) else result)
    return [str(a) for a in assumptions(function)]


@pytest.mark.parametrize(
    ("shapes", "build", "expected"),
    [
        ([(512, 8), (S, 8)], lambda b, t, x: b.add(b.tensor_slice(t, starts=(0,), ends=(S,), axes=(0,), steps=(1,)), x),
         ["S <= 512"]),
        ([(8, 4), (S,)], lambda b, x, y: b.tensor_slice(x, starts=(S,), ends=(8,), axes=(0,), steps=(1,)),
         ["0 <= -S + 8"]),
        ([(N, 3), (1, 3)], lambda b, x, y: b.add(x, y), []),
        ([(N, 3), (4, 3)], lambda b, x, y: b.add(x, y), ["N broadcasts 4"]),
        ([(N, 3)], lambda b, x: b.tensor_expand(x, shape=(2, 5, 3)), ["N broadcasts 5"]),
        ([(N, 6)], lambda b, x: b.tensor_reshape(x, shape=(2 * N, 3)), []),
        ([(N, S)], lambda b, x: b.tensor_reshape(x, shape=(N, 2, 3)), ["N*S == 6*N"]),
        ([(N, 3), (S, 3)], lambda b, x, y: b.tensor_concat([x, y], axis=0), []),
        ([(N, 3), (4, 2)], lambda b, x, y: b.tensor_concat([x, y], axis=1), ["4 == N"]),
        ([(2, N), (3, 4)], lambda b, x, y: b.linalg_matmul(x, y), ["N == 3"]),
        ([(N, 2, 3), (5, 3, 4)], lambda b, x, y: b.linalg_matmul(x, y), ["N == 5"]),
        ([(N,)], lambda b, x: tuple(b.tensor_split(x, axis=0, sizes=(2, 3))), ["5 == N"]),
        ([(3, N)], lambda b, x: tuple(b.tensor_topk(x, k=5, axis=1)), ["5 <= N"]),
        ([(2, 3, N, 4), (S, 5, 2)], lambda b, x, g: b.nn_grid_sample(x, g), ["1 <= N", "S == 2"]),
        ([(2, 3, 4), (2, 5, N)], lambda b, x, g: b.nn_grid_sample(x, g), ["N == 1"]),
        ([(N, 3)], lambda b, x: b.linalg_det(x), ["3 == N"]),
        ([(N, 8, S)], lambda b, x: b.nn_col2im(x, sizes=(3, 3), kernel_shape=(2, 2)), ["S == 4"]),
    ],
)  # fmt: skip
def test_rules(shapes, build, expected):
    assert sorted(found(shapes, build)) == sorted(expected)


def test_conditions_can_be_checked():
    function = Function("main", [tensor((N, 3)), tensor((4, 3))])
    b = Builder(function.body, location=Location(node="sum"))
    b.return_([b.add(*function.arguments)])
    (condition,) = assumptions(function)
    assert condition.location.node == "sum"
    assert condition.holds({"N": 4}) and condition.holds({"N": 1}) and not condition.holds({"N": 5})


def test_branches_are_left_out():
    from lepton_ir.ir import Block, Region
    from lepton_ir.ops.control import If

    function = Function("main", [tensor((N, 3)), tensor((4, 3)), tensor((), DType.BOOL)])
    x, y, flag = function.arguments
    b = Builder(function.body)
    regions = []
    for _ in range(2):
        inner = Builder(Block())
        inner.yield_([inner.add(x, y)])
        regions.append(Region(inner.block))
    b.return_(b.create(If, flag, regions=regions).results)
    assert assumptions(function) == ()


def test_sizes_must_not_be_negative():
    weight = np.zeros((2, 3, 7, 7), np.float32)
    assert found([(1, 3, S, 9)], lambda b, x: b.nn_conv(x, b.const(weight))) == ["0 <= S - 6"]


def test_regions_of_images():
    function = Function("main", [tensor((N, 3, 8, 8)), tensor((S, 4)), tensor((5,), DType.I64)])
    b = Builder(function.body, location=Location(node="here"))
    b.return_([b.nn_roi_align(*function.arguments, sizes=(2, 2))])
    assert sorted(map(str, assumptions(function))) == ["1 <= N", "S == 5"]
