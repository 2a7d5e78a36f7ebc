"""Sequences and optionals whose lengths and contents only the running program knows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
import pytest
from lepton_frontends.onnx.load import import_model as import_onnx
from onnx import TensorProto, helper

import lepton_ir
from lepton_ir.compiler import import_model
from lepton_ir.diagnostics import LeptonError
from lepton_ir.interp import run

node = helper.make_node
F32, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
RNG = np.random.default_rng(5)


def tensor(name, dtype, shape):
    return helper.make_tensor_value_info(name, dtype, shape)


def sequence(name, shape, dtype=F32):
    return helper.make_tensor_sequence_value_info(name, dtype, shape)


def model(nodes, inputs, outputs, opset=18):
    infos = [o if not isinstance(o, str) else helper.make_empty_tensor_value_info(o) for o in outputs]
    graph = helper.make_graph(nodes, "g", inputs, infos)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def compiled(proto):
    return lepton_ir.runtime.load(lepton_ir.compile(import_model(import_onnx(proto)), verify=False), threads=1)


def floats(*shape):
    return RNG.standard_normal(shape, np.float32)


def check_equal(got, want):
    if not isinstance(want, list):
        assert got.dtype == np.asarray(want).dtype
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        return
    assert isinstance(got, list) and len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        check_equal(g, w)


def check_with_onnxruntime(proto, feeds):
    """Compare the compiled model, twice in a row, and the interpreter with ONNX Runtime."""
    feeds = {n: v if isinstance(v, list) else np.asarray(v) for n, v in feeds.items()}
    wanted = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
    ready = compiled(proto)
    interpreted = run(import_model(import_onnx(proto)), list(feeds.values()))
    for results in (ready(**feeds), ready(**feeds), interpreted):
        check_equal(list(results), wanted)
    return ready


def pieces(*sizes):
    return [floats(n, 3) for n in sizes]


def test_positions_known_at_run_time():
    nodes = [
        node("SequenceAt", ["s", "i"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("Concat", ["b", "x"], ["c"], axis=0),
        node("SequenceErase", ["s", "i"], ["t"]),
        node("SequenceInsert", ["t", "c", "i"], ["u"]),
        node("SequenceLength", ["u"], ["n"]),
    ]
    inputs = [sequence("s", ["N", 3]), tensor("i", I64, []), tensor("x", F32, ["M", 3])]
    proto = model(nodes, inputs, ["c", sequence("u", None), "n"])
    for i in (0, 2, -1):
        check_with_onnxruntime(proto, {"s": pieces(2, 5, 1), "i": np.int64(i), "x": floats(4, 3)})


@pytest.mark.parametrize("new_axis", [0, 1])
def test_elements_are_joined(new_axis):
    nodes = [
        node("SequenceInsert", ["s", "x"], ["t"]),
        node("ConcatFromSequence", ["t"], ["y"], axis=-1 if new_axis else 0, new_axis=new_axis),
        node("ReduceSum", ["y"], ["z"], keepdims=0),
    ]
    proto = model(nodes, [sequence("s", ["N", 3]), tensor("x", F32, ["M", 3])], ["y", "z"])
    sizes = (2, 2, 2) if new_axis else (4, 1, 0)
    check_with_onnxruntime(proto, {"s": pieces(*sizes), "x": floats(2, 3)})


@pytest.mark.parametrize(
    ("split", "keepdims"), [(None, 0), (None, 1), (np.int64(2), 1), (np.array([1, 0, 4]), 1)], ids=str
)
def test_pieces_whose_number_is_known_at_run_time(split, keepdims):
    names, inputs, feeds = ["x"], [tensor("x", F32, ["N", 3])], {"x": floats(5, 3)}
    if split is not None:
        shape = [] if split.ndim == 0 else ["K"]
        names, inputs, feeds = ["x", "k"], [*inputs, tensor("k", I64, shape)], {**feeds, "k": split}
    nodes = [node("SplitToSequence", names, ["s"], axis=0, keepdims=keepdims), node("SequenceLength", ["s"], ["n"])]
    check_with_onnxruntime(model(nodes, inputs, [sequence("s", None), "n"]), feeds)


def test_sequences_from_branches():
    def branch(name, nodes):
        return helper.make_graph(nodes, name, [], [sequence(f"{name}_s", None)])

    one = branch("one", [node("Exp", ["x"], ["e"]), node("SequenceConstruct", ["e", "x"], ["one_s"])])
    two = branch("two", [node("SequenceInsert", ["s", "x"], ["two_s"])])
    nodes = [
        node("If", ["c"], ["t"], then_branch=one, else_branch=two),
        node("SequenceLength", ["t"], ["n"]),
        node("SequenceAt", ["t", "n0"], ["y"]),
        node("Neg", ["y"], ["z"]),
    ]
    inputs = [tensor("c", BOOL, []), tensor("x", F32, [3]), sequence("s", ["N"]), tensor("n0", I64, [])]
    proto = model(nodes, inputs, [sequence("t", None), "n", "z"])
    for condition in (True, False):
        feeds = {"c": np.bool_(condition), "x": floats(3), "s": [floats(2), floats(4)], "n0": np.int64(1)}
        check_with_onnxruntime(proto, feeds)


def test_elements_outlive_the_memory_they_came_from():
    nodes = [node("SequenceConstruct", ["x"], ["s0"])]
    for i in range(8):
        nodes += [node("Exp" if i % 2 else "Neg", [f"t{i}" if i else "x"], [f"t{i + 1}"])]
        nodes += [node("SequenceInsert", [f"s{i}", f"t{i + 1}", "at"], [f"s{i + 1}"])]
    proto = model(nodes, [tensor("x", F32, [4, 3]), tensor("at", I64, [])], [sequence("s8", None)])
    ready = check_with_onnxruntime(proto, {"x": floats(4, 3), "at": np.int64(0)})
    many = [floats(4, 3) for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: ready(x, np.int64(0))[0], many))
    for x, results in zip(many, found, strict=True):
        check_equal(results, run(import_model(import_onnx(proto)), [x, np.int64(0)])[0])


def optional_model(element):
    info = helper.make_value_info("o", helper.make_optional_type_proto(element))
    present = helper.make_graph([node("OptionalGetElement", ["o"], ["v"])], "present", [], [tensor("v", F32, None)])
    missing = helper.make_graph([node("Neg", ["x"], ["w"])], "missing", [], [tensor("w", F32, None)])
    nodes = [
        node("OptionalHasElement", ["o"], ["has"]),
        node("If", ["has"], ["y"], then_branch=present, else_branch=missing),
        node("Abs", ["y"], ["z"]),
    ]
    return model(nodes, [info, tensor("x", F32, [2])], ["has", "z"])


def test_optionals_may_be_absent():
    ready = compiled(optional_model(helper.make_tensor_type_proto(F32, ["N"])))
    has, z = ready(np.array([1, -2, 3], np.float32), np.array([4, 5], np.float32))
    assert has and z.tolist() == [1, 2, 3]
    has, z = ready(None, np.array([4, 5], np.float32))
    assert not has and z.tolist() == [4, 5]


def test_optional_results():
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(F32, [3]))
    some = helper.make_graph([node("Optional", ["x"], ["a"])], "some", [], [helper.make_value_info("a", kind)])
    none = node("Optional", [], ["b"], type=helper.make_tensor_type_proto(F32, [3]))
    none = helper.make_graph([none], "none", [], [helper.make_value_info("b", kind)])
    nodes = [node("If", ["c"], ["y"], then_branch=some, else_branch=none)]
    proto = model(nodes, [tensor("c", BOOL, []), tensor("x", F32, [3])], [helper.make_value_info("y", kind)])
    ready, x = compiled(proto), floats(3)
    assert ready(np.bool_(False), x)[0] is None
    check_equal(ready(np.bool_(True), x)[0], x)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("SequenceAt", ["s", "i"], ["y"], name="the_node")], "position 7 lies outside of a sequence of 2"),
        ([node("SequenceErase", ["s", "i"], ["t"], name="the_node"), node("SequenceLength", ["t"], ["y"])], "position"),
        ([node("ConcatFromSequence", ["s"], ["y"], axis=0, name="the_node")], "must match|dimension"),
    ],
)
def test_failures_name_the_node(nodes, message):
    ready = compiled(model(nodes, [sequence("s", [None, None]), tensor("i", I64, [])], ["y"]))
    for _ in range(2):
        with pytest.raises(LeptonError, match=message) as error:
            ready(s=[floats(2, 3), floats(2, 4)], i=np.int64(7))
        assert "the_node" in str(error.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((2, 3), np.float32), "a sequence is a list or tuple"),
        ([np.zeros((2, 3))], "elements must be of f32"),
        ([np.zeros((2, 4), np.float32)], r"an array of shape \[2, 4\]"),
    ],
)
def test_inputs_that_are_no_such_sequence(value, message):
    ready = compiled(model([node("SequenceLength", ["s"], ["y"])], [sequence("s", ["N", 3])], ["y"]))
    with pytest.raises(LeptonError, match=message):
        ready(value)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("SequenceAt", ["s", "i"], ["a"]), node("Relu", ["a"], ["y"])], "rank of what it reads"),
        ([node("SequenceAt", ["s", "i"], ["y"])], "the rank of the output y is unknown"),
        ([node("ConcatFromSequence", ["s"], ["y"], axis=0)], "the rank of the sequence's elements"),
        ([node("Relu", ["s"], ["y"])], "a sequence where a tensor is expected"),
        ([node("SequenceLength", ["i"], ["y"])], "which the operator does not take"),
    ],
)
def test_refused(nodes, message):
    proto = model(nodes, [sequence("s", None), tensor("i", I64, [])], ["y"])
    with pytest.raises(LeptonError, match=message):
        import_onnx(proto)


def test_a_shape_for_the_elements():
    proto = model([node("SequenceAt", ["s", "i"], ["y"])], [sequence("s", None), tensor("i", I64, [])], ["y"])
    module = import_model(import_onnx(proto, shapes={"s": [2, None]}))
    ready = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False))
    x = floats(2, 5)
    check_equal(ready([x], np.int64(0))[0], x)
