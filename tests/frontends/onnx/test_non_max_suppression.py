"""NonMaxSuppression, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from lepton_frontends.onnx.load import import_model
from onnx import TensorProto, helper

import lepton_ir
from lepton_ir.interp import run

RNG = np.random.default_rng(3)


def built(has, center=0):
    """Return ONNX Runtime's session, the compiled model and the module; ``has`` names the optional inputs."""
    optional = {
        "most": helper.make_tensor_value_info("most", TensorProto.INT64, [1]),
        "iou": helper.make_tensor_value_info("iou", TensorProto.FLOAT, [1]),
        "least": helper.make_tensor_value_info("least", TensorProto.FLOAT, [1]),
    }
    infos = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", "S", 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", "C", "S"]),
        *(optional[name] for name in has),
    ]
    names = ["boxes", "scores", *(name if name in has else "" for name in optional)]
    node = helper.make_node("NonMaxSuppression", names, ["y"], center_point_box=center)
    results = [helper.make_tensor_value_info("y", TensorProto.INT64, ["K", 3])]
    graph = helper.make_graph([node], "g", infos, results)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    module = import_model(proto)
    artifact = lepton_ir.compile(module.clone(), verify=False)
    return onnxruntime.InferenceSession(proto.SerializeToString()), lepton_ir.runtime.load(artifact), module


def boxes_and_scores(batch, classes, count, center=0):
    sides, places = RNG.uniform(0.05, 0.6, (batch, count, 2)), RNG.uniform(0, 1, (batch, count, 2))
    boxes = np.concatenate([places, sides] if center else [places, places + sides], axis=2)
    if not center and count:
        # The corners of a box may be given in any order.
        boxes[:, ::3] = boxes[:, ::3][..., [2, 1, 0, 3]]
    scores = np.round(RNG.uniform(0, 1, (batch, classes, count)), 1)  # Many are equal: the first box comes first.
    return {"boxes": boxes.astype(np.float32), "scores": scores.astype(np.float32)}


@pytest.mark.parametrize("center", [0, 1])
def test_boxes_are_chosen_as_onnxruntime_does(center):
    session, compiled, module = built(["most", "iou", "least"], center)
    for batch, classes, count in ((1, 1, 1), (2, 3, 17), (1, 2, 64), (1, 1, 200), (1, 2, 0), (1, 0, 5)):
        for most, iou, least in ((count, 0.3, 0.2), (3, 0.5, 0.0), (0, 0.5, 0.0), (100, 0.0, 0.95), (100, 1.0, 0.5)):
            limits = {"most": np.array([most]), "iou": np.float32([iou]), "least": np.float32([least])}
            feeds = boxes_and_scores(batch, classes, count, center) | limits
            (wanted,) = session.run(None, feeds)
            for (got,) in (compiled(**feeds), run(module, list(feeds.values()))):
                assert got.tolist() == wanted.tolist()


@pytest.mark.parametrize("has", [["most"], ["most", "iou"], ["most", "least"]])
def test_thresholds_may_be_absent(has):
    session, compiled, _ = built(has)
    feeds = boxes_and_scores(1, 2, 40) | {"most": np.array([7])}
    feeds |= {name: np.float32([0.4]) for name in has[1:]}
    assert compiled(**feeds)[0].tolist() == session.run(None, feeds)[0].tolist()


def test_nothing_is_chosen_without_a_limit():
    _, compiled, _ = built([])
    assert compiled(**boxes_and_scores(1, 2, 5))[0].shape == (0, 3)
