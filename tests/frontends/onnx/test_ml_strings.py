"""ai.onnx.ml's operators on strings, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from lepton_frontends.onnx.load import import_model
from onnx import ValueInfoProto, helper

import lepton_ir
from lepton_ir.diagnostics import LeptonError

TEXTS = np.array([["b", "a"], ["unheard", "b"]], object)
NUMBERS = np.array([[3, 1], [7, 3]], np.int64)


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
        ("LabelEncoder", NUMBERS, {"keys_int64s": [1, 3], "values_strings": ["one", "three"]}, 2),
        ("CategoryMapper", TEXTS, {"cats_strings": ["a", "b"], "cats_int64s": [8, 9], "default_int64": 4}, 1),
        ("CategoryMapper", NUMBERS, {"cats_strings": ["a", "b"], "cats_int64s": [1, 3], "default_string": "?"}, 1),
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
