"""Rearranging, indexing and creating operators against ONNX Runtime, the reference evaluator and numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from op_harness import assert_close, evaluate, floats, integers, make, ort, reference

from lepton_ir.ir import DType, Expr, InferenceError, TensorType, sym, tensor
from lepton_ir.ops.checks import DataError

N, S = sym("N"), sym("S")
END = 2**63 - 1


def test_reshape_transpose_expand_tile() -> None:
    x = floats(2, 3, 4)
    assert_close(evaluate("tensor.reshape", x, shape=(4, 6)), x.reshape(4, 6))
    assert_close(evaluate("tensor.transpose", x, perm=(2, 0, 1)), ort("Transpose", x, perm=(2, 0, 1)))
    assert_close(evaluate("tensor.expand", x[:, :1], shape=(5, 2, 3, 4)), np.broadcast_to(x[:, :1], (5, 2, 3, 4)))
    assert_close(evaluate("tensor.tile", x, repeats=(2, 1, 3)), np.tile(x, (2, 1, 3)))
    assert_close(evaluate("tensor.reverse", x, axes=(0, 2)), x[::-1, :, ::-1])


def test_concat_and_split() -> None:
    x, y = floats(2, 3, seed=1), floats(2, 5, seed=2)
    assert_close(evaluate("tensor.concat", [x, y], axis=-1), np.concatenate([x, y], 1))
    parts = evaluate("tensor.split", y, axis=1, sizes=(1, 0, 4))
    for part, expected in zip(parts, (y[:, :1], y[:, 1:1], y[:, 1:]), strict=True):
        assert_close(part, expected)


SLICES = [
    ((0,), (END,), (0,), (1,)),
    ((1,), (4,), (0,), (2,)),
    ((-3,), (-1,), (1,), (1,)),
    ((-1,), (-END,), (0,), (-1,)),
    ((4,), (0,), (1,), (-2,)),
    ((5,), (2,), (0,), (1,)),
    ((0, 1), (100, -1), (1, 0), (3, 1)),
    ((-100,), (100,), (0,), (1,)),
]


@pytest.mark.parametrize(("starts", "ends", "axes", "steps"), SLICES)
def test_slice(starts: Any, ends: Any, axes: Any, steps: Any) -> None:
    x = floats(6, 7)
    expected = ort("Slice", x, *(np.array(v, np.int64) for v in (starts, ends, axes, steps)))
    found = evaluate("tensor.slice", x, starts=starts, ends=ends, axes=axes, steps=steps)
    assert_close(found, expected)
    op: Any = make("tensor.slice", x, starts=starts, ends=ends, axes=axes, steps=steps)
    first, stride = op.first_indices(), op.all_steps()
    index = np.ix_(*(f + s * np.arange(n) for f, s, n in zip(first, stride, expected.shape, strict=True)))
    assert_close(x[index], expected)


@pytest.mark.parametrize(
    ("start", "end", "step", "expected"),
    [
        (0, END, 1, "S"),
        (1, END, 1, "S - 1"),
        (0, -1, 1, "S - 1"),
        (0, 1, 1, "1"),
        (-1, END, 1, "1"),
        (-2, END, 1, "2"),
        (-1, -END, -1, "S"),
        (0, S - 1, 1, "S - 1"),
        (0, 10, 1, "min(10, S)"),
        (1, -1, 1, "S - 2"),
        (0, END, 2, "floordiv(S + 1, 2)"),
        (N, N + 3, 1, "3"),
        (0, -S, 1, "0"),
    ],
)
def test_slices_of_symbolic_axes(start: Any, end: Any, step: int, expected: str) -> None:
    op = make("tensor.slice", tensor((S,)), starts=(start,), ends=(end,), axes=(0,), steps=(step,))
    assert str(op.result.shape[0]) == expected


def test_a_symbolic_end_on_a_known_axis_is_taken_to_lie_within() -> None:
    op = make("tensor.slice", tensor((1, 512)), starts=(0,), ends=(S,), axes=(1,), steps=(1,))
    assert op.result.type == tensor((1, S))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
@pytest.mark.parametrize("pads", [(1, 2, 0, 1), (0, 0, 2, 3), (-1, 1, 0, -2)])
def test_pad(mode: str, pads: tuple[int, ...]) -> None:
    x, value = floats(4, 5), np.array(1.5, np.float32)
    constant = value if mode == "constant" else None
    expected = ort("Pad", x, np.array(pads, np.int64), constant, mode=mode)
    assert_close(evaluate("tensor.pad", x, constant, pads=pads, mode=mode), expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather(axis: int) -> None:
    x, indices = floats(5, 6, 5), integers(2, 3, low=-5, high=5)
    assert_close(evaluate("tensor.gather", x, indices, axis=axis), ort("Gather", x, indices, axis=axis))
    elements = integers(5, 6, 5, low=-5, high=5)
    assert_close(
        evaluate("tensor.gather_elements", x, elements, axis=axis), ort("GatherElements", x, elements, axis=axis)
    )


@pytest.mark.parametrize(("shape", "batch_dims"), [((4, 2), 0), ((2, 3, 1), 1), ((2, 3), 0), ((2, 3, 2), 1)])
def test_gather_nd(shape: tuple[int, ...], batch_dims: int) -> None:
    x, indices = floats(2, 3, 4), integers(*shape, low=-2, high=2)
    expected = ort("GatherND", x, indices, batch_dims=batch_dims)
    assert_close(evaluate("tensor.gather_nd", x, indices, batch_dims=batch_dims), expected)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "min", "max"])
def test_scatter(reduction: str) -> None:
    x = floats(4, 5)
    indices = np.array([[0, 1, 2, 3, -1], [2, 0, 3, 1, 0]])
    updates = floats(2, 5, seed=1)
    expected = ort("ScatterElements", x, indices, updates, axis=0, reduction=reduction)
    assert_close(evaluate("tensor.scatter_elements", x, indices, updates, axis=0, reduction=reduction), expected, 1e-5)
    places, rows = np.array([[3], [0], [-2]]), floats(3, 5, seed=2)
    expected = ort("ScatterND", x, places, rows, reduction=reduction)
    assert_close(evaluate("tensor.scatter_nd", x, places, rows, reduction=reduction), expected, 1e-5)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis: int) -> None:
    indices, values = np.array([[1, -2, 7], [0, 3, -9]]), np.array([0.5, 2.0], np.float32)
    expected = ort("OneHot", indices, np.array(5), values, axis=axis)
    assert_close(evaluate("tensor.one_hot", indices, values, depth=5, axis=axis), expected)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_topk(largest: bool, dtype: Any) -> None:
    x = integers(4, 9, low=0, high=6).astype(dtype)
    expected = ort("TopK", x, np.array([4]), outputs=2, axis=1, largest=int(largest))
    for found, wanted in zip(evaluate("tensor.topk", x, k=4, axis=1, largest=largest), expected, strict=True):
        assert_close(found, wanted)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_cumsum(exclusive: bool, reverse: bool) -> None:
    x = floats(3, 5)
    expected = ort("CumSum", x, np.array(1), exclusive=int(exclusive), reverse=int(reverse))
    assert_close(evaluate("tensor.cumsum", x, axis=1, exclusive=exclusive, reverse=reverse), expected, 1e-5)


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("k", [-2, 0, 1])
def test_trilu(upper: bool, k: int) -> None:
    x = floats(2, 4, 5)
    assert_close(evaluate("tensor.trilu", x, upper=upper, k=k), ort("Trilu", x, np.array(k), upper=int(upper)))


def test_creation() -> None:
    assert_close(evaluate("tensor.iota", shape=(4,), start=3, step=2), np.arange(3, 11, 2))
    found = evaluate("tensor.iota", shape=(2, 3), axis=1, dtype=DType.F32)
    assert_close(found, np.tile(np.arange(3, dtype=np.float32), (2, 1)))
    assert_close(evaluate("tensor.full", np.float32(2).reshape(()), shape=(2, 3)), np.full((2, 3), 2, np.float32))
    assert_close(evaluate("tensor.dims", dims=(2, 3)), np.array([2, 3]))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_and_space(mode: str) -> None:
    x = floats(2, 8, 3, 4)
    assert_close(
        evaluate("nn.depth_to_space", x, blocksize=2, mode=mode), ort("DepthToSpace", x, blocksize=2, mode=mode)
    )
    y = floats(2, 3, 4, 6)
    assert_close(evaluate("nn.space_to_depth", y, blocksize=2), ort("SpaceToDepth", y, blocksize=2))


REDUCTIONS = {
    "sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd",
    "l1": "ReduceL1", "l2": "ReduceL2", "log_sum": "ReduceLogSum", "log_sum_exp": "ReduceLogSumExp",
    "sum_square": "ReduceSumSquare",
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)])
def test_reduction(name: str, keepdims: bool, axes: tuple[int, ...]) -> None:
    x = floats(2, 3, 4, low=0.1)
    expected = ort(REDUCTIONS[name], x, np.array(axes), keepdims=int(keepdims), opset=18)
    assert_close(evaluate(f"reduce.{name}", x, axes=axes, keepdims=keepdims), expected, 1e-5)


@pytest.mark.parametrize("name", ["sum", "max", "min", "prod", "mean"])
def test_integer_reduction(name: str) -> None:
    x = integers(3, 4, dtype=np.int32)
    expected = ort(REDUCTIONS[name], x, np.array([1]), opset=18)
    assert_close(evaluate(f"reduce.{name}", x, axes=(1,)), expected)


def test_log_sum_exp_of_infinities() -> None:
    x = np.array([[1000.0, 1000.0], [-np.inf, -np.inf], [np.inf, 0.0]], np.float32)
    found = evaluate("reduce.log_sum_exp", x, axes=(1,), keepdims=False)
    np.testing.assert_allclose(found, [1000 + np.log(2), -np.inf, np.inf], rtol=1e-6)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("name", "onnx_name"), [("reduce.argmax", "ArgMax"), ("reduce.argmin", "ArgMin")])
def test_arg_reduction(name: str, onnx_name: str, last: bool) -> None:
    x = integers(4, 6, low=0, high=3).astype(np.float32)
    expected = ort(onnx_name, x, axis=1, keepdims=0, select_last_index=int(last))
    assert_close(evaluate(name, x, axis=1, keepdims=False, select_last_index=last), expected)


def test_any_and_all() -> None:
    x = integers(4, 5, low=0, high=2).astype(np.bool_)
    np.testing.assert_array_equal(evaluate("reduce.any", x, axes=(1,), keepdims=False), x.any(1))
    np.testing.assert_array_equal(evaluate("reduce.all", x, axes=(0,), keepdims=False), x.all(0))


def test_inference_of_symbolic_shapes() -> None:
    x = tensor((N, S, 64))
    assert make("tensor.reshape", x, shape=(N * S, 64)).result.type == tensor((N * S, 64))
    assert make("tensor.concat", [x, tensor((N, 3, 64))], axis=1).result.type == tensor((N, S + 3, 64))
    assert make("tensor.gather", tensor((100, 8)), TensorType((N, S), DType.I64)).result.type == tensor((N, S, 8))
    assert make("reduce.mean", x, axes=(1,), keepdims=False).result.type == tensor((N, 64))
    assert make("tensor.pad", tensor((S,)), pads=(1, 2)).result.type == tensor((S + 3,))
    assert make("tensor.tile", tensor((S, 2)), repeats=(2, N)).result.type == tensor((2 * S, 2 * N))
    split = make("tensor.split", tensor((2 * S,)), sizes=(S, S))
    assert [r.type for r in split.results] == [tensor((S,)), tensor((S,))]
    assert isinstance(make("nn.depth_to_space", tensor((1, 4, S, 2)), blocksize=2).result.shape[2], Expr)


X = tensor((2, 3))


@pytest.mark.parametrize(
    ("name", "operands", "attributes", "message"),
    [
        ("tensor.reshape", (X,), {"shape": (4,)}, r"cannot reshape tensor<2x3xf32> into \[4\]: the element counts"),
        ("tensor.reshape", (X,), {"shape": (-1,)}, "tensor.reshape needs sizes"),
        ("tensor.transpose", (X,), {"perm": (0, 0)}, r"perm \[0, 0\] is no order of the 2 axes"),
        ("tensor.expand", (X,), {"shape": (4, 3)}, r"cannot expand .* to \[4, 3\]: 2 against 4"),
        ("tensor.concat", ([X, tensor((3, 3))],), {"axis": 1}, "cannot concatenate .* along axis 1"),
        ("tensor.concat", ([],), {"axis": 0}, "at least one operand"),
        ("tensor.split", (X,), {"sizes": (1, 2)}, r"the sizes \[1, 2\] do not add up to axis 0"),
        ("tensor.slice", (X,), {"starts": (0,), "ends": (1,), "axes": (0,), "steps": (0,)}, "step .* must not be 0"),
        ("tensor.slice", (X,), {"starts": (0,), "ends": (1,), "axes": (5,), "steps": (1,)}, "axes 5 is out of range"),
        ("tensor.gather", (X, X), {}, "indices of tensor.gather must hold integers"),
        ("tensor.pad", (X,), {"pads": (1, 1)}, "pads of tensor.pad needs 4 entries"),
        ("tensor.pad", (X,), {"pads": (0, 0, 0, -4)}, "cut more off"),
        ("tensor.pad", (X,), {"pads": (0, 0, 0, 1), "mode": "mirror"}, "must be constant, edge, reflect or wrap"),
        ("tensor.topk", (X,), {"k": 4}, "cannot take 4 of the 3 elements"),
        ("tensor.scatter_nd", (X, TensorType((2, 1), DType.I64), tensor((2, 4))), {}, "updates must have the shape"),
        ("reduce.sum", (X,), {"axes": (0, 0)}, "name an axis twice"),
        ("reduce.any", (X,), {"axes": (0,)}, "needs an operand of kind bool"),
        ("tensor.full", (X,), {"shape": (2,)}, "repeats a tensor of rank 0"),
        ("nn.depth_to_space", (tensor((1, 6, 2, 2)),), {"blocksize": 2}, "6 channels cannot be split"),
    ],
)
def test_errors(name: str, operands: Any, attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(InferenceError, match=message):
        make(name, *operands, **attributes)


def test_an_index_out_of_range_is_reported() -> None:
    with pytest.raises(DataError, match=r"the index 5 is outside of \[-2, 2\)"):
        evaluate("tensor.gather_elements", floats(2, 2), np.array([[5, 0]]))


def test_reference_and_runtime_agree_on_upper_triangles() -> None:
    x = floats(3, 3)
    assert_close(reference("Trilu", x), evaluate("tensor.trilu", x))
