"""Shapes, axes, counts and bounds that arrive as tensors at run time, against the ONNX reference evaluator."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from lepton_frontends.onnx.load import import_model as import_onnx
from onnx import helper, parser
from onnx.reference import ReferenceEvaluator

import lepton_ir
from lepton_ir.compiler import import_model
from lepton_ir.diagnostics import LeptonError
from lepton_ir.interp import run

X = np.arange(60, dtype=np.float32).reshape(3, 4, 5)


def ints(*values):
    return np.array(values, np.int64)


def single_node(op, arrays, attributes, outputs):
    names = [f"i{k}" if a is not None else "" for k, a in enumerate(arrays)]
    node = helper.make_node(op, names, [f"o{k}" for k in range(outputs)], name="the_node", **attributes)
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in zip(names, arrays, strict=True)
        if a is not None
    ]
    results = [helper.make_empty_tensor_value_info(o) for o in node.output]
    graph = helper.make_graph([node], "g", infos, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


CASES = {
    "Reshape": [
        ([X, ints(0, -1)], {}),
        ([X, ints(5, 12)], {}),
        ([X, ints(2, -1, 3, 2)], {}),
        ([X[:0], ints(0, 5, 4)], {"allowzero": 1}),
    ],
    "Slice": [
        ([X, ints(1, -3), ints(3, 100), ints(0, 2), ints(1, 2)], {}),
        ([X, ints(-1), ints(-100), ints(1), ints(-2)], {}),
        ([X, ints(3), ints(1)], {}),
        ([X, ints(2**62), ints(-(2**62)), ints(-1), ints(-3)], {}),
    ],
    "Pad": [
        ([X, ints(1, 0, 2, 0, 3, 0), np.float32(7)], {}),
        ([X, ints(0, 1, 0, 0, 1, 1)], {"mode": "reflect"}),
        ([X, ints(2, 1), None, ints(1)], {"mode": "edge"}),
    ],
    "Expand": [([X[:, :1], ints(2, 1, 4, 1)], {})],
    "Tile": [([X, ints(1, 2, 3)], {})],
    "Range": [
        ([np.float32(1), np.float32(7.5), np.float32(1.5)], {}),
        ([np.int64(10), np.int64(3), np.int64(-2)], {}),
        ([np.int64(3), np.int64(3), np.int64(1)], {}),
    ],
    "ReduceSum": [([X, ints(1)], {}), ([X, ints(0, -1)], {"keepdims": 0}), ([X, ints(2, 0, 1)], {})],
    "ReduceMax": [([X, ints(-2)], {"keepdims": 0})],
    "CumSum": [([X, np.int64(-1)], {})],
    "Squeeze": [([X[:, :1], ints(1)], {}), ([X[:1, :, :1], ints(-1, 0)], {})],
    "Unsqueeze": [([X, ints(0, 2)], {})],
    "TopK": [([X, ints(2)], {})],
    "Split": [([X, ints(1, 3)], {"axis": 1})],
    "Trilu": [([X, np.int64(1)], {}), ([X, np.int64(-1)], {"upper": 0})],
    "ConstantOfShape": [([ints(2, 3)], {})],
    "OneHot": [([np.array([0, 2]), np.int64(4), np.array([0, 1], np.float32)], {})],
}
OUTPUTS = {"TopK": 2, "Split": 2}


@pytest.mark.parametrize(
    ("op", "arrays", "attributes"),
    [pytest.param(op, *case, id=f"{op}{i}") for op, cases in CASES.items() for i, case in enumerate(cases)],
)
def test_values_known_at_run_time(op, arrays, attributes):
    model = single_node(op, arrays, attributes, OUTPUTS.get(op, 1))
    given = [a for a in arrays if a is not None]
    feeds = dict(zip([i.name for i in model.graph.input], given, strict=True))
    wanted = ReferenceEvaluator(model).run(None, feeds)
    module = import_model(import_onnx(model))
    compiled = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False), threads=1)
    for results in (compiled(*given), run(module, given)):
        for got, want in zip(results, wanted, strict=True):
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("op", "arrays", "bad", "message"),
    [
        ("Reshape", [X, ints(6, 10)], [X, ints(6, 11)], "does not hold"),
        ("Tile", [X, ints(1, 1, 1)], [X, ints(1, -1, 1)], "negative|between"),
        ("ReduceSum", [X, ints(0)], [X, ints(3)], "out of range"),
        ("Unsqueeze", [X, ints(0, 1)], [X, ints(1, 1)], "out of range"),
        ("TopK", [X, ints(5)], [X, ints(6)], "does not hold"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_values_that_do_not_fit_are_errors(op, arrays, bad, message):
    module = import_model(import_onnx(single_node(op, arrays, {}, OUTPUTS.get(op, 1))))
    compiled = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False), threads=1)
    for runs in (compiled, lambda *given: run(module, given)):
        with pytest.raises(LeptonError, match=message) as error:
            runs(*bad)
        assert "the_node" in str(error.value)
    assert compiled(*arrays)[0].size


@pytest.mark.parametrize(
    ("op", "arrays", "attributes"),
    [("Split", [X, ints(3, 1)], {"axis": 1}), ("TopK", [X, ints(5)], {}), ("Tile", [X, ints(1, 2, 3)], {})],
)
def test_inputs_that_fit_are_found_for_the_verification(op, arrays, attributes, tmp_path):
    """Few numbers are sizes that fit: they are drawn until the model runs."""
    path = tmp_path / "model.onnx"
    onnx.save(single_node(op, arrays, attributes, OUTPUTS.get(op, 1)), path)
    golden = lepton_ir.compile(path).golden
    assert golden is not None


def test_places_in_constants_that_follow_from_sizes():
    """A slice of a constant whose place is a dynamic size is known only at run time, though its size is not."""
    text = """<ir_version: 8, opset_import: ["" : 18]> g (float[N] x) => (float[1] y) {
      table = Constant<value_floats = [1.0, 2.0, 4.0, 8.0]>()
      end = Shape(x)
      one = Constant<value_ints = [1]>()
      start = Sub(end, one)
      y = Slice(table, start, end)
    }"""
    model = lepton_ir.runtime.load(lepton_ir.compile(import_onnx(parser.parse_model(text))))
    assert [model(np.zeros(n, np.float32))[0].tolist() for n in (1, 3, 4)] == [[1.0], [4.0], [8.0]]


def test_broadcasting_is_decided_at_run_time():
    infos = [helper.make_tensor_value_info(n, 1, dims) for n, dims in (("a", ["N", 3]), ("b", ["M", 3]))]
    node = helper.make_node("Add", ["a", "b"], ["y"], name="sum")
    graph = helper.make_graph([node], "g", infos, [helper.make_empty_tensor_value_info("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    compiled = lepton_ir.runtime.load(lepton_ir.compile(import_model(import_onnx(model)), verify=False), threads=1)
    rng = np.random.default_rng(0)
    for n, m in ((1, 1), (4, 1), (1, 5), (7, 7)):
        a, b = rng.standard_normal((n, 3), np.float32), rng.standard_normal((m, 3), np.float32)
        np.testing.assert_array_equal(compiled(a, b)[0], a + b)
    with pytest.raises(LeptonError, match="broadcasts"):
        compiled(np.zeros((2, 3), np.float32), np.zeros((3, 3), np.float32))
