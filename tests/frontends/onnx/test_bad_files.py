"""Files that are no models, and models that are not supported: one clear error each."""

import numpy as np
import onnx
import pytest
from lepton_frontends.onnx.load import import_model, load_onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import info, model

from lepton_ir.diagnostics import LeptonError
from lepton_ir.frontend import load_model

node = helper.make_node


def simple():
    return model(
        [node("Add", ["x", "w"], ["y"])],
        [info("x", [64, 64])],
        ["y"],
        initializers={"w": np.ones((64, 64), np.float32)},
    )


def failure(call, *arguments, **options):
    with pytest.raises(LeptonError) as error:
        call(*arguments, **options)
    return str(error.value)


def test_no_file(tmp_path):
    assert "no such file" in failure(load_model, tmp_path / "absent.onnx")


def test_a_folder(tmp_path):
    assert "folder" in failure(load_model, tmp_path)


def test_unknown_format(tmp_path):
    path = tmp_path / "model.xyz"
    path.write_bytes(b"hello, this is text")
    assert "not a model in a format that is known" in failure(load_model, path)


def test_empty_file(tmp_path):
    path = tmp_path / "m.onnx"
    path.touch()
    assert "empty" in failure(load_onnx, path)


@pytest.mark.parametrize(
    "content", [b"hello, this is text, not a model", b"\x00" * 100, b"PK\x03\x04zip", b"\xff" * 64]
)
def test_not_a_model(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    message = failure(load_onnx, path)
    assert "ONNX model" in message and str(path) in message


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_truncated_file(tmp_path, kept):
    path = tmp_path / "m.onnx"
    data = simple().SerializeToString()
    path.write_bytes(data[: int(len(data) * kept)])
    assert "model" in failure(load_onnx, path)


def test_every_single_cut_gives_a_clean_error_or_a_model(tmp_path):
    path = tmp_path / "m.onnx"
    data = model([node("Relu", ["x"], ["y"], name="r")], [info("x", ["N", 3])], ["y"]).SerializeToString()
    for size in range(1, len(data)):
        path.write_bytes(data[:size])
        try:
            load_onnx(path)
        except LeptonError:
            continue


def test_damaged_bytes_give_a_clean_error_or_a_model(tmp_path):
    path, rng = tmp_path / "m.onnx", np.random.default_rng(0)
    data = model([node("Gemm", ["x", "w"], ["y"], alpha=2.0, name="g")], [info("x", ["N", 3])], ["y"],
                 initializers={"w": np.ones((3, 2), np.float32)}).SerializeToString()  # fmt: skip
    for _ in range(300):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            load_onnx(path)
        except LeptonError:
            continue


def test_graphs_nested_without_end(tmp_path):
    def field(number, payload):
        size, out = len(payload), bytearray([number << 3 | 2])
        while size > 0x7F:
            out.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes([*out, size]) + payload

    graph = field(2, b"g" * 2000)
    for _ in range(400):
        graph = field(1, field(5, field(6, graph)))
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x08" + field(7, graph))
    assert "not an ONNX model" in failure(load_onnx, path)


class TestExternalData:
    def _saved(self, tmp_path):
        path = tmp_path / "m.onnx"
        onnx.save(simple(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
        return path

    def test_missing(self, tmp_path):
        path = self._saved(tmp_path)
        (tmp_path / "w.bin").unlink()
        message = failure(load_onnx, path)
        assert "tensor w cannot be read" in message and "'w.bin'" in message

    def test_truncated(self, tmp_path):
        path = self._saved(tmp_path)
        (tmp_path / "w.bin").write_bytes(b"too short")
        assert "truncated" in failure(load_onnx, path)

    @pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "a/../../w.bin", "", "w\0.bin"])
    def test_outside_of_the_folder(self, tmp_path, location):
        folder = tmp_path / "inner"
        folder.mkdir()
        (tmp_path / "w.bin").write_bytes(bytes(64 * 64 * 4))
        self._with(folder / "m.onnx", location=location)
        assert "does not lie in the model's folder" in failure(load_onnx, folder / "m.onnx")

    def test_link_out_of_the_folder(self, tmp_path):
        folder = tmp_path / "inner"
        folder.mkdir()
        (tmp_path / "secret").write_bytes(bytes(64 * 64 * 4))
        (folder / "w.bin").symlink_to(tmp_path / "secret")
        self._with(folder / "m.onnx", location="w.bin")
        assert "does not lie in the model's folder" in failure(load_onnx, folder / "m.onnx")

    @pytest.mark.parametrize(("offset", "length"), [("-8", "16384"), ("x", "16384"), ("0", "100"), ("8", "16384")])
    def test_wrong_bounds(self, tmp_path, offset, length):
        (tmp_path / "w.bin").write_bytes(bytes(64 * 64 * 4))
        self._with(tmp_path / "m.onnx", location="w.bin", offset=offset, length=length)
        assert "tensor w cannot be read" in failure(load_onnx, tmp_path / "m.onnx")

    def _with(self, path, **entries):
        proto = simple()
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        path.write_bytes(proto.SerializeToString())


def test_all_unsupported_operators_are_reported_at_once():
    nodes = [
        node("Gradient", ["x"], ["a"], name="find", domain="ai.onnx.preview.training", xs=["x"], y="q"),
        node("Unheard", ["x"], ["b"], name="set"),
        node("Frobnicate", ["a"], ["c"], name="frob", domain="acme"),
        node("Relu", ["c"], ["d"], name="fine"),
        node("ReduceSum", ["wide", "axes"], ["e"], name="data_axes"),
        node("MatMul", ["x", "x"], ["f"], name="misfit"),
    ]
    inputs = [info("x", [2, 3]), info("wide", [1] * 9), info("axes", [2], TensorProto.INT64)]
    with pytest.raises(LeptonError) as error:
        import_model(
            model(nodes, inputs, ["a", "b", "d", "e", "f"], opset=20, domains=["acme", "ai.onnx.preview.training"])
        )
    places = [d.where.node for d in error.value.diagnostics]
    assert places == ["find", "set", "frob", "data_axes", "misfit"]
    text = str(error.value)
    for part in ("Unheard (opset 20)", "Lepton has no lowering for it", "acme.Frobnicate (opset 1)",
                 "computed from data at run time", "does not fit", "help:"):  # fmt: skip
        assert part in text


def test_an_opset_may_be_imported_twice():
    proto = model([node("Relu", ["x"], ["y"])], [info("x", [2])], ["y"])
    proto.opset_import.append(proto.opset_import[0])
    assert import_model(proto).main.results


def test_the_same_reason_is_reported_once_with_all_places():
    nodes = [node("Unheard", ["x"], [f"y{i}"], name=f"find{i}") for i in range(4)]
    with pytest.raises(LeptonError) as error:
        import_model(model(nodes, [info("x", [2])], [f"y{i}" for i in range(4)]))
    assert len(error.value.diagnostics) == 1
    assert "find1, find2, find3" in str(error.value)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda m: m.opset_import[0].__setattr__("version", 0), "opset 0"),
        (lambda m: m.opset_import[0].__setattr__("version", 999), "opset 999"),
        (lambda m: m.__setattr__("ir_version", 99), "IR version 99"),
        (lambda m: m.ClearField("opset_import"), "imports no opset"),
        (lambda m: m.opset_import.append(helper.make_opsetid("", 11)), "opsets 18 and 11 of the domain ai.onnx"),
        (lambda m: m.graph.node[0].input.__setitem__(0, "ghost"), "nothing computes its input ghost"),
        (lambda m: m.graph.output[0].__setattr__("name", "ghost"), "nothing computes the output ghost"),
        (lambda m: m.graph.node.append(m.graph.node[0]), "a second time"),
        (lambda m: m.graph.node[0].input.__setitem__(0, "y"), "cycle"),
        (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), "rank of the input x is unknown"),
        (lambda m: m.graph.input[0].type.tensor_type.__setattr__("elem_type", 77), "element type 77"),
        (lambda m: m.graph.initializer[0].__setattr__("data_type", 7), "do not fill"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, -64), "negative dimension"),
        (lambda m: m.graph.node[0].attribute.append(helper.make_attribute("speed", 9)), "attribute speed"),
        (lambda m: m.graph.node[0].input.append("x"), "3 inputs"),
        (lambda m: m.graph.node[0].input.pop(), "needs 2 inputs"),
        (
            lambda m: m.graph.sparse_initializer.add().values.CopyFrom(numpy_helper.from_array(np.ones(1), "s")),
            "sparse",
        ),
        (lambda m: m.graph.input.append(m.graph.input[0]), "two inputs"),
    ],
    ids=lambda p: p if isinstance(p, str) else "",
)
def test_broken_models(change, part):
    proto = simple()
    change(proto)
    assert part in failure(import_model, proto)


def test_inputs_that_are_no_tensors():
    proto = simple()
    proto.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = 1
    assert "a sequence where a tensor is expected" in failure(import_model, proto)
    proto.graph.input[0].type.map_type.key_type = 7
    assert "not a tensor" in failure(import_model, proto)
