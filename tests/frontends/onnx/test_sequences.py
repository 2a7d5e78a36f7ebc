"""Sequences and optionals of known length, which vanish on import."""

import numpy as np
import pytest
from lepton_frontends.onnx.load import import_model
from onnx import helper
from onnx_cases import check_with_onnxruntime, info, model

from lepton_ir.diagnostics import LeptonError

node = helper.make_node
X = np.random.default_rng(2).standard_normal((3, 6, 2)).astype(np.float32)
NUMBERS = {
    "zero": np.array(0),
    "one": np.array(1),
    "last": np.array(-1),
    "four": np.array(4),
    "sizes": np.array([1, 5]),
}


def check(nodes, outputs=("y",)):
    proto = model(nodes, [info("x", ["N", 6, 2])], list(outputs), initializers=NUMBERS)
    module = check_with_onnxruntime(proto, {"x": X})
    assert not any("sequence" in op.name for op in module.walk())


@pytest.mark.parametrize(("split", "keepdims"), [("", 0), ("", 1), ("four", 1), ("sizes", 1)])
def test_split_and_pick(split, keepdims):
    inputs = ["x", split] if split else ["x"]
    check([node("SplitToSequence", inputs, ["s"], axis=1, keepdims=keepdims), node("SequenceAt", ["s", "last"], ["y"])])


@pytest.mark.parametrize("new_axis", [0, 1])
def test_build_change_and_join(new_axis):
    nodes = [
        node("Neg", ["x"], ["n"]),
        node("SequenceConstruct", ["x", "n"], ["a"]),
        node("Exp", ["x"], ["e"]),
        node("SequenceInsert", ["a", "e", "one"], ["b"]),
        node("SequenceInsert", ["b", "x"], ["c"]),
        node("SequenceErase", ["c", "zero"], ["d"]),
        node("SequenceLength", ["d"], ["length"]),
        node("ConcatFromSequence", ["d"], ["y"], axis=1, new_axis=new_axis),
    ]
    check(nodes, ("y", "length"))


def test_empty_and_optional():
    nodes = [
        node("SequenceEmpty", [], ["s"]),
        node("SequenceInsert", ["s", "x"], ["t"]),
        node("SequenceAt", ["t", "zero"], ["u"]),
        node("Optional", ["u"], ["o"]),
        node("OptionalHasElement", ["o"], ["has"]),
        node("OptionalGetElement", ["o"], ["y"]),
    ]
    check(nodes, ("y", "has"))


@pytest.mark.parametrize(
    ("nodes", "part"),
    [
        (
            [node("SequenceConstruct", ["x"], ["s"]), node("Relu", ["s"], ["y"])],
            "a sequence where a tensor is expected",
        ),
        ([node("SequenceConstruct", ["x"], ["s"]), node("SequenceAt", ["s", "four"], ["y"])], "element 4"),
    ],
)
def test_refused(nodes, part):
    with pytest.raises(LeptonError) as error:
        import_model(model(nodes, [info("x", ["N", 6, 2])], ["y"], initializers=NUMBERS))
    assert part in str(error.value)
