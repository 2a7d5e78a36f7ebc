"""Models with sequences and strings at the borders: sampling, verification and the commands."""

import json

import numpy as np
import onnx
import pytest
from lepton_frontends.onnx.load import import_model as import_onnx
from onnx import TensorProto, helper

import lepton_ir
from lepton_ir.cli.main import main
from lepton_ir.compiler import import_model
from lepton_ir.sampling import ELEMENTS, sample_inputs
from lepton_ir.verification import compare

F32 = TensorProto.FLOAT


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a model of a sequence and a string, compiled and verified."""
    nodes = [
        helper.make_node("SequenceInsert", ["s", "x"], ["t"], name="insert"),
        helper.make_node("StringConcat", ["w", "w"], ["v"], name="twice"),
    ]
    inputs = [
        helper.make_tensor_sequence_value_info("s", F32, ["N", 3]),
        helper.make_tensor_value_info("x", F32, ["M", 3]),
        helper.make_tensor_value_info("w", TensorProto.STRING, [2]),
    ]
    outputs = [
        helper.make_tensor_sequence_value_info("t", F32, None),
        helper.make_tensor_value_info("v", TensorProto.STRING, [2]),
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    folder = tmp_path_factory.mktemp("host")
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(proto, folder / "m.onnx")
    lepton_ir.compile(folder / "m.onnx").save(folder / "m.lepton")
    return folder / "m.onnx", folder / "m.lepton"


def command(capsys, *arguments):
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_inputs_are_drawn(saved):
    inputs = sample_inputs(import_model(import_onnx(onnx.load(saved[0]))).main)
    assert len(inputs["s"]) == ELEMENTS and inputs["s"][0].shape[1] == 3 and inputs["w"].dtype == object


def test_commands(saved, capsys):
    model, artifact = saved
    assert command(capsys, "verify", artifact, model, "--samples", "2")["ok"]
    assert command(capsys, "bench", artifact, "--seconds", "0.01")["runs"] > 0
    assert len(command(capsys, "run", artifact)["outputs"]["t"]["elements"]) == ELEMENTS + 1
    for path in saved:
        host = command(capsys, "inspect", path)["host"]
        assert [(h["op"], h["nodes"]) for h in host] == [("seq.insert", ["insert"]), ("str.concat", ["twice"])]


def test_lists_are_compared_element_by_element():
    x, y = np.ones(3, np.float32), np.zeros(2, np.float32)
    assert compare("t", [x, y], [x, y]).ok and compare("t", None, None).ok
    for other in ([x], [x, x], None, [x, y + 1]):
        assert not compare("t", other, [x, y]).ok


def test_gpus_do_not_take_them(saved):
    from lepton_backends.tvm.schedules import gpu

    module = import_model(import_onnx(onnx.load(saved[0])))
    assert [str(d.where) for d in gpu.unsupported(module)] == ["insert", "twice"]
