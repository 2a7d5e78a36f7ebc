"""ai.onnx.ml's operators on strings, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from lepton_frontends.onnx.load import import_model
from onnx import TensorProto, ValueInfoProto, helper

import lepton_ir
from lepton_ir.diagnostics import LeptonError

TEXTS = np.array([["b", "a"], ["unheard", "b"]], object)
INTEGERS = np.array([[3, 1], [7, 3]], np.int64)


def built(op, array, attributes, opset):
    node = helper.make_node(op, ["x"], ["y"], name="the_node", domain="ai.onnx.ml", **attributes)
    info = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
    graph = helper.make_graph([node], "g", [info], [ValueInfoProto(name="y")])
    imports = [helper.make_opsetid("ai.onnx.ml", opset), helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return proto, lepton_ir.runtime.load(lepton_ir.compile(import_model(proto), verify=False))


@pytest.mark.parametrize(
    ("op", "array", "attributes", "opset"),
    [
        ("LabelEncoder", TEXTS, {"keys_strings": ["a", "b"], "values_int64s": [5, 6], "default_int64": -3}, 2),
        ("LabelEncoder", TEXTS, {"keys_strings": ["a", "b"], "values_strings": ["A", "B"]}, 2),
        ("LabelEncoder", INTEGERS, {"keys_int64s": [1, 3], "values_strings": ["one", "three"]}, 2),
        ("CategoryMapper", TEXTS, {"cats_strings": ["a", "b"], "cats_int64s": [8, 9], "default_int64": 4}, 1),
        ("CategoryMapper", INTEGERS, {"cats_strings": ["a", "b"], "cats_int64s": [1, 3], "default_string": "?"}, 1),
        ("OneHotEncoder", TEXTS, {"cats_strings": ["a", "b", "c"]}, 1),
    ],
)
def test_strings(op, array, attributes, opset):
    proto, compiled = built(op, array, attributes, opset)
    (wanted,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": array})
    got = compiled(array)[0]
    assert got.shape == wanted.shape
    assert got.tolist() == wanted.tolist()


def test_unknown_categories_are_an_error_where_the_model_wants_that():
    _, compiled = built("OneHotEncoder", TEXTS, {"cats_strings": ["a", "b"], "zeros": 0}, 1)
    np.testing.assert_array_equal(compiled(np.array([["a", "b"], ["b", "b"]], object))[0].argmax(-1), [[0, 1], [1, 1]])
    with pytest.raises(LeptonError, match="none of those") as error:
        compiled(TEXTS)
    assert "the_node" in str(error.value)


CLASSIFIERS = {
    "linear": ("LinearClassifier", {"coefficients": [1.0, -2.0, 0.5, -1.0, 2.0, 3.0, 0.0, 1.0, -1.0],
                                    "intercepts": [0.1, 0.2, 0.3]}),
    "one score": ("LinearClassifier", {"coefficients": [1.0, -2.0, 0.5], "intercepts": [0.1]}),
    "machine": ("SVMClassifier", {"coefficients": [1.0, -2.0, 0.5, -1.0, 2.0, 3.0], "rho": [0.1],
                                  "kernel_type": "LINEAR", "kernel_params": [0.0, 0.0, 0.0], "post_transform": "NONE"}),
    "trees": ("TreeEnsembleClassifier", {
        "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [1, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "nodes_values": [0.0, 0.0, 0.0], "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0], "class_treeids": [0, 0], "class_nodeids": [1, 2], "class_ids": [0, 1],
        "class_weights": [1.0, 1.0],
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_labels_may_be_strings(name):
    op, attributes = CLASSIFIERS[name]
    labels = {"one score": ["no", "yes"], "machine": ["no", "yes"], "trees": ["left", "right", "other"]}
    names = labels.get(name, ["a", "b", "c"])
    node = helper.make_node(op, ["x"], ["y", "s"], domain="ai.onnx.ml", classlabels_strings=names, **attributes)
    x = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    wanted, compiled = both([node], {"x": x}, ["y", "s"], opset=1)
    assert len(set(wanted[0])) > 1
    assert compiled[0].tolist() == wanted[0].tolist()
    np.testing.assert_allclose(compiled[1], wanted[1], rtol=1e-5)


def both(nodes, inputs, outputs, opset=1, types=None):
    """Return ONNX Runtime's and the compiled model's outputs."""
    types = types or {}
    infos = [
        helper.make_value_info(n, types[n]) if n in types
        else helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in inputs.items()
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "g", infos, [ValueInfoProto(name=n) for n in outputs])
    imports = [helper.make_opsetid("ai.onnx.ml", opset), helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=8)
    wanted = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, inputs)
    artifact = lepton_ir.compile(import_model(proto))
    return wanted, lepton_ir.runtime.load(artifact)(*inputs.values())


@pytest.mark.parametrize("labels", [{"classlabels_int64s": [7, -2, 9]}, {"classlabels_strings": ["b", "a", ""]}])
@pytest.mark.parametrize("shape", [(2, 3), (3,)])
def test_zip_map(labels, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    scores = helper.make_node("Softmax", ["x"], ["s"])
    node = helper.make_node("ZipMap", ["s"], ["y"], domain="ai.onnx.ml", **labels)
    ((wanted,), (got,)) = both([scores, node], {"x": x}, ["y"])
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert a == pytest.approx(b, rel=1e-6)


NUMBERS = {"str": TensorProto.STRING, "i64": TensorProto.INT64, "f32": TensorProto.FLOAT, "f64": TensorProto.DOUBLE}
MAPS = [
    ("DictVectorizer", {"string_vocabulary": ["a", "c", "b"]}, {"a": 4.0, "b": -8.0, "z": 1.0}, "str", "f32"),
    ("CastMap", {}, {3: 1.5, -2: 2.5, 10: -3.5}, "i64", "f32"),
    ("CastMap", {"cast_to": "TO_INT64"}, {3: 1.5, -2: 2.5}, "i64", "f32"),
    ("CastMap", {"map_form": "SPARSE", "max_map": 6}, {4: 1.5, 0: 2.5}, "i64", "f32"),
]


def map_type(key, value):
    return helper.make_map_type_proto(NUMBERS[key], helper.make_tensor_type_proto(NUMBERS[value], ()))


@pytest.mark.parametrize(
    ("attributes", "given", "kind", "wanted"),
    [
        ({"int64_vocabulary": [5, -1]}, {5: 2.0}, ("i64", "f64"), [[2.0, 0.0]]),
        ({"string_vocabulary": ["a", "c"]}, {"c": 3}, ("str", "i64"), [[0, 3]]),
        ({"int64_vocabulary": [1, 2]}, {2: "two"}, ("i64", "str"), [["", "two"]]),
    ],
)
def test_maps_that_onnxruntime_takes_from_no_caller(attributes, given, kind, wanted):
    node = helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    infos = [helper.make_value_info("x", map_type(*kind))], [ValueInfoProto(name="y")]
    imports = [helper.make_opsetid("ai.onnx.ml", 1), helper.make_opsetid("", 17)]
    proto = helper.make_model(helper.make_graph([node], "g", *infos), opset_imports=imports)
    artifact = lepton_ir.compile(import_model(proto))
    assert lepton_ir.runtime.load(artifact)(given)[0].tolist() == wanted


@pytest.mark.parametrize(("op", "attributes", "given", "key", "value"), MAPS)
def test_maps_become_tensors(op, attributes, given, key, value):
    node = helper.make_node(op, ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    ((wanted,), (got,)) = both([node], {"x": given}, ["y"], types={"x": map_type(key, value)})
    assert got.dtype == wanted.dtype
    assert got.tolist() == wanted.reshape(got.shape).tolist()


def test_keys_that_are_not_taken_and_values_of_another_type_are_errors():
    kind = map_type("i64", "f32")
    node = helper.make_node("CastMap", ["x"], ["y"], domain="ai.onnx.ml", map_form="SPARSE", max_map=3, name="cast")
    graph = helper.make_graph([node], "g", [helper.make_value_info("x", kind)], [ValueInfoProto(name="y")])
    imports = [helper.make_opsetid("ai.onnx.ml", 1), helper.make_opsetid("", 17)]
    model = lepton_ir.runtime.load(lepton_ir.compile(import_model(helper.make_model(graph, opset_imports=imports))))
    assert model({2: 1.0})[0].tolist() == [[0.0, 0.0, 1.0]]
    for given, why in (
        ({3: 1.0}, "the key 3"),
        ({"a": 1.0}, "'a'"),
        ({1: "b"}, "'b'"),
        ({2**70: 1.0}, "too large"),
        ([1.0], "a map is a dict"),
    ):
        with pytest.raises(LeptonError, match=why):
            model(given)


def test_maps_pass_through_a_model(tmp_path):
    path = tmp_path / "m.onnx"
    infos = [helper.make_value_info("x", map_type("i64", "f32"))], [ValueInfoProto(name="y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", *infos)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    model = lepton_ir.runtime.load(lepton_ir.compile(path))
    assert model({5: 0.5, -1: 2.0})[0] == {5: 0.5, -1: 2.0}


def test_maps_to_what_is_no_scalar_are_refused():
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, (3,)))
    infos = [helper.make_value_info("x", kind)], [ValueInfoProto(name="y")]
    graph = helper.make_graph([helper.make_node("CastMap", ["x"], ["y"], domain="ai.onnx.ml")], "g", *infos)
    imports = [helper.make_opsetid("ai.onnx.ml", 1), helper.make_opsetid("", 17)]
    with pytest.raises(LeptonError, match="maps to scalars"):
        import_model(helper.make_model(graph, opset_imports=imports))
