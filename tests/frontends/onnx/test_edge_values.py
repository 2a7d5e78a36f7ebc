"""Sizes of zero, NaN and odd types in single nodes: compiled code and the interpreter against ONNX's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lepton_frontends.onnx.load import import_model
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import lepton_ir
import lepton_ir.runtime
from lepton_ir.diagnostics import LeptonError
from lepton_ir.interp import run

NAN, INF = np.nan, np.inf


def model(op: str, inputs: dict[str, Any], constants: dict[str, np.ndarray], output: np.ndarray, **attributes: Any):
    """Return a model of one node; ``inputs`` are (array, dims), given in order, then the constants."""
    node = helper.make_node(op, [*inputs, *constants], ["y"], **attributes)
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), dims)
        for n, (a, dims) in inputs.items()
    ]
    kind = helper.np_dtype_to_tensor_dtype(output.dtype)
    graph = helper.make_graph(
        [node],
        "edge",
        infos,
        [helper.make_tensor_value_info("y", kind, [None] * output.ndim)],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


ROW = np.array([[5, NAN, 1, -INF, NAN, 2]], np.float32)[None]
CASES = {
    "max_pool passes over NaN": ("MaxPool", {"x": (ROW, [1, 1, 6])}, {}, ROW, {"kernel_shape": [2]}),
    "shrink of integers": (
        "Shrink", {"x": (np.arange(-4, 5), [9])}, {}, i64(0), {"bias": 1.5, "lambd": 1.5},
    ),
    "shrink of unsigned integers": (
        "Shrink", {"x": (np.arange(9, dtype=np.uint32), [9])}, {}, np.zeros(1, np.uint32), {"bias": 1.5, "lambd": 1.5},
    ),
    "tile of nothing": (
        "Tile", {"x": (np.zeros((1, 0), np.float32), [1, 0])}, {"r": i64(2, 1)}, np.zeros((1, 1), np.float32), {},
    ),
    "softmax of nothing": ("Softmax", {"x": (np.zeros(0, np.float32), ["N"])}, {}, np.zeros(1, np.float32), {}),
    "log_softmax of nothing": ("LogSoftmax", {"x": (np.zeros(0, np.float32), ["N"])}, {}, np.zeros(1, np.float32), {}),
    "slice whose end comes first": (
        "Slice", {"x": (np.arange(10), ["N"])}, {"s": i64(5), "e": i64(3), "a": i64(0)}, i64(0), {},
    ),
    "slice to the far left": (
        "Slice", {"x": (np.arange(10), ["N"])}, {"s": i64(2), "e": i64(-(2**63)), "a": i64(0)}, i64(0), {},
    ),
    "sum of nothing": ("ReduceSum", {"x": (np.zeros((2, 0), np.float32), [2, "N"])}, {"a": i64(1)}, ROW[0], {}),
    "max of nothing": ("ReduceMax", {"x": (np.zeros((2, 0), np.float32), [2, "N"])}, {"a": i64(1)}, ROW[0], {}),
    "mean of nothing": ("ReduceMean", {"x": (np.zeros((2, 0), np.float32), [2, "N"])}, {"a": i64(1)}, ROW[0], {}),
    "product over nothing": (
        "MatMul", {"x": (np.zeros((2, 0), np.float32), [2, "N"]), "w": (np.zeros((0, 3), np.float32), ["N", 3])},
        {}, ROW[0], {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_edges(name: str) -> None:
    op, inputs, constants, output, attributes = CASES[name]
    proto = model(op, inputs, constants, output, **attributes)
    feeds = {n: a for n, (a, _) in inputs.items()}
    if op == "ReduceMax":
        wanted = np.full((2, 1), -INF, np.float32)  # As opset 20 says.
    else:
        with np.errstate(all="ignore"):
            (wanted,) = ReferenceEvaluator(proto).run(None, feeds)
    module = import_model(proto)
    compiled = lepton_ir.runtime.load(lepton_ir.compile(module.clone(), verify=False))
    for got in (compiled(*feeds.values())[0], run(module, list(feeds.values()))[0]):
        np.testing.assert_array_equal(np.asarray(got), wanted)


def test_integer_mean_of_nothing_is_zero() -> None:
    x = np.zeros((2, 0), np.int64)
    proto = model("ReduceMean", {"x": (x, [2, "N"])}, {"a": i64(1)}, np.zeros((2, 1), np.int64))
    module = import_model(proto)
    compiled = lepton_ir.runtime.load(lepton_ir.compile(module.clone(), verify=False))
    assert compiled(x)[0].tolist() == run(module, [x])[0].tolist() == [[0], [0]]


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("InstanceNormalization", {"x": [2, "C", 3], "s": ["D"], "b": [4]}, {}),
        ("LayerNormalization", {"x": [2, "C"], "s": ["D"]}, {}),
        ("Conv", {"x": [1, "C", 5], "w": [2, 3, 1]}, {}),
        ("GatherND", {"x": ["C", 2], "i": ["D", 1]}, {"batch_dims": 1}),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(op: str, inputs: dict, attributes: dict) -> None:
    """Compiled code would read beyond the smaller operand."""
    sizes = {"C": 4, "D": 2}
    arrays = {
        n: (np.ones([sizes.get(d, d) for d in dims], np.int64 if n == "i" else np.float32) * 0, dims)
        for n, dims in inputs.items()
    }
    proto = model(
        op, arrays, {}, np.zeros([1] * (1 if op == "GatherND" else len(inputs["x"])), np.float32), **attributes
    )
    compiled = lepton_ir.runtime.load(lepton_ir.compile(import_model(proto), verify=False))
    with pytest.raises(LeptonError, match="must hold"):
        compiled(*(a for a, _ in arrays.values()))


def test_convolutions_need_weights_of_known_sizes() -> None:
    x, w = np.ones((1, 3, 5), np.float32), np.ones((2, 3, 1), np.float32)
    proto = model("Conv", {"x": (x, [1, 3, 5]), "w": (w, ["M", 3, 1])}, {}, x)
    with pytest.raises(LeptonError, match="must have known sizes"):
        import_model(proto)
