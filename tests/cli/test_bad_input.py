"""Bad input gets one message and a non-zero exit, and leaves nothing behind."""

import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lepton_ir.cli.main import main

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.onnx"
LEPTONC = [sys.executable, "-m", "lepton_ir.cli.main"]


def compile_error(capsys, model, *flags):
    out = Path(model).parent / "out.lepton"
    code = main(["compile", str(model), "-o", str(out), *flags])
    captured = capsys.readouterr()
    assert not out.exists() and not list(out.parent.glob(".*.part"))
    assert "Traceback" not in captured.err
    return code, captured.err


def test_no_such_file(tmp_path, capsys):
    code, message = compile_error(capsys, tmp_path / "missing.onnx")
    assert code == 3 and "no such file" in message and "missing.onnx" in message


@pytest.mark.parametrize(
    "content", [b"", b"hello, I am a text\n" * 50, np.random.default_rng(0).bytes(4096)], ids=["empty", "text", "noise"]
)
def test_no_model(tmp_path, capsys, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    code, message = compile_error(capsys, path)
    assert code == 3 and "bad.onnx" in message


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_truncated_model(tmp_path, capsys, keep):
    data = DIGITS.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(len(data) * keep)])
    code, message = compile_error(capsys, path)
    assert code == 3 and "cut.onnx" in message


def test_missing_external_data(tmp_path, capsys):
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 4]) for n in "xy")
    model = helper.make_model(
        helper.make_graph([node], "g", [x], [y], [weight]), opset_imports=[helper.make_opsetid("", 18)]
    )
    path = tmp_path / "external.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    code, message = compile_error(capsys, path)
    assert code == 3 and "weights.bin" in message


def test_unknown_target_and_processor(tmp_path, capsys):
    model = tmp_path / "digits.onnx"
    shutil.copy(DIGITS, model)
    code, message = compile_error(capsys, model, "--target", "quantum")
    assert code == 3 and "quantum" in message and "cuda" in message
    code, message = compile_error(capsys, model, "-mcpu=z80")
    assert code == 3 and "z80" in message and "x86-64-v2" in message


def test_bad_dim_and_pipeline(tmp_path, capsys):
    model = tmp_path / "digits.onnx"
    shutil.copy(DIGITS, model)
    assert compile_error(capsys, model, "--dim", "N")[0] == 3
    code, message = compile_error(capsys, model, "--pipeline", "canonicalise")
    assert code == 3 and "canonicalize" in message


def test_wrong_usage(capsys):
    assert main(["compile"]) == 2
    assert main(["frobnicate"]) == 2


def test_output_folder_missing(tmp_path, capsys):
    code = main(["compile", str(DIGITS), "-o", str(tmp_path / "no" / "where.lepton"), "--no-verify"])
    assert code == 3 and "where.lepton" in capsys.readouterr().err


def limit_file_size():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_full_disk(tmp_path):
    out = tmp_path / "d.lepton"
    done = subprocess.run(
        [*LEPTONC, "compile", str(DIGITS), "-o", str(out), "--no-verify"],
        capture_output=True,
        text=True,
        preexec_fn=limit_file_size,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "error" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_interrupt(tmp_path):
    out, log = tmp_path / "d.lepton", tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen([*LEPTONC, "compile", str(DIGITS), "-o", str(out)], stderr=stderr)
        while "import" not in log.read_text() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)
    message = log.read_text()
    assert process.returncode == 130, message
    assert "interrupted" in message and "Traceback" not in message
    assert list(tmp_path.iterdir()) == [log]


def test_artifact_for_another_machine(tmp_path, capsys):
    from dataclasses import replace

    import lepton_ir
    from lepton_ir.target import host_target

    artifact = lepton_ir.compile(DIGITS, verify=False)
    target = replace(host_target(), features=host_target().features | {"avx1024"})
    manifest = replace(artifact.manifest, target=target.to_json())
    replace(artifact, manifest=manifest).save(tmp_path / "foreign.lepton")
    code = main(["run", str(tmp_path / "foreign.lepton")])
    assert code == 3 and "avx1024" in capsys.readouterr().err


def test_wrong_inputs_at_run_time(tmp_path, capsys):
    path = tmp_path / "d.lepton"
    assert main(["compile", str(DIGITS), "-o", str(path), "--no-verify"]) == 0
    capsys.readouterr()
    for name, array in {"image": np.zeros((2, 1, 8, 8)), "picture": np.zeros((2, 1, 8, 8), np.float32)}.items():
        inputs = tmp_path / "in.npz"
        np.savez(inputs, **{name: array})
        code = main(["run", str(path), "--inputs", str(inputs)])
        message = capsys.readouterr().err
        assert code == 3 and name in message and "Traceback" not in message
