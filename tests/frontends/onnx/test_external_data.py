"""Weights in files of their own: mapped, not copied; and what may be named as such a file."""

import os
from pathlib import Path

import numpy as np
import pytest
from lepton_frontends.onnx.load import load_onnx
from onnx import TensorProto
from onnx_cases import info, model, node_model

import lepton_ir
from lepton_ir.cli.main import main
from lepton_ir.diagnostics import LeptonError
from lepton_ir.interp import run

W = np.arange(8, dtype=np.float32).reshape(2, 4)


def write(folder, location, shape=(2, 4), **entries):
    """Write a model that adds the external tensor ``w`` to its input."""
    proto = node_model("Add", {"x": np.zeros(shape, np.float32), "w": np.zeros((1,), np.float32)}, weights=("w",))
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.dims[:] = shape
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def resident(name):
    """Return the kilobytes of this process's memory that a line of /proc/self/status gives."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        return int(next(line for line in status if line.startswith(name)).split()[1])


def test_weights_of_3_gb_are_mapped(tmp_path):
    size = 3 << 30
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(size)  # A hole: no disk is used until something is written.
    path = write(tmp_path, "w.bin", (3 << 10, 1 << 18))
    before = resident("VmRSS")
    module = load_onnx(path, memory_budget=size)
    array = next(op for op in module.walk() if op.name == "const").attributes["value"].array
    assert array.nbytes == size and not array.flags.owndata
    assert resident("VmRSS") - before < 64 << 10
    assert (tmp_path / "w.bin").stat().st_blocks == 0


def test_another_folder(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "w.bin").write_bytes(W.tobytes())
    (tmp_path / "inner").mkdir()
    path = write(tmp_path / "inner", "w.bin")
    with pytest.raises(LeptonError, match=r"tensor w cannot be read"):
        load_onnx(path)
    module = load_onnx(path, external_data_root=data)
    np.testing.assert_array_equal(run(module, [np.zeros((2, 4), np.float32)])[0], W)
    artifact = lepton_ir.compile(path, external_data_root=data)
    np.testing.assert_array_equal(lepton_ir.runtime.load(artifact)(np.zeros((2, 4), np.float32))[0], W)


def test_another_folder_on_the_command_line(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(W.tobytes())
    (tmp_path / "inner").mkdir()
    path, out = write(tmp_path / "inner", "w.bin"), tmp_path / "m.lepton"
    root = ["--external-data-root", str(tmp_path / "data")]
    assert main(["compile", str(path), "-o", str(out)]) == 3
    assert "--external-data-root" in capsys.readouterr().err
    assert main(["compile", str(path), "-o", str(out), *root]) == 0
    assert main(["inspect", str(path), *root]) == 0
    assert main(["verify", str(out), str(path), *root]) == 0


def test_a_model_that_is_a_link_has_its_data_beside_what_it_links_to(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    write(blobs, "w.bin").rename(blobs / "1234")
    (blobs / "5678").write_bytes(W.tobytes())
    (snapshot / "m.onnx").symlink_to("../blobs/1234")
    (snapshot / "w.bin").symlink_to("../blobs/5678")
    module = load_onnx(snapshot / "m.onnx")
    np.testing.assert_array_equal(run(module, [np.zeros((2, 4), np.float32)])[0], W)


@pytest.mark.parametrize("kind", ["hard link", "fifo", "folder", "link out"])
def test_what_is_no_file_of_the_folder(tmp_path, kind):
    secret, inner = tmp_path / "secret", tmp_path / "inner"
    inner.mkdir()
    secret.write_bytes(W.tobytes())
    name = inner / "w.bin"
    {
        "hard link": lambda: os.link(secret, name),
        "fifo": lambda: os.mkfifo(name),
        "folder": name.mkdir,
        "link out": lambda: name.symlink_to(secret),
    }[kind]()
    with pytest.raises(LeptonError) as error:
        load_onnx(write(inner, "w.bin"))
    assert "tensor w cannot be read" in str(error.value) and "m.onnx" in str(error.value)


def test_tensors_that_nothing_uses_are_checked_too(tmp_path):
    proto = model([], [info("x", [2])], ["x"])
    tensor = proto.graph.initializer.add(name="unused", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(LeptonError, match="does not lie in the model's folder"):
        load_onnx(path)
