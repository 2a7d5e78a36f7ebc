"""The command line on the digits network: every command, its JSON, its exit code."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lepton_ir.cli.main import main

DIGITS = Path(__file__).parents[2] / "examples" / "digits"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits") / "digits.lepton"
    assert main(["compile", str(DIGITS / "digits.onnx"), "-o", str(path)]) == 0
    return path


def run_json(capsys, *arguments):
    code = main([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_version_loads_nothing():
    program = "import sys; from lepton_ir.cli.main import main; main(['--version']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    first, modules = done.stdout.splitlines()
    assert first.startswith("leptonc ")
    assert not {"numpy", "typer", "rich", "onnx", "tvm"} & set(modules.split())


def test_compile_reports_what_it_did(tmp_path, capsys):
    code, report = run_json(capsys, "compile", DIGITS / "digits.onnx", "-o", tmp_path / "d.lepton")
    assert code == 0
    assert report["verification"]["ok"] and report["verification"]["outputs"][0]["relative_error"] < 1e-5
    assert report["kernels"] > 3 and report["weight_bytes"] > 4 * 40_000
    assert {"import", "verify", "write"} <= set(report["phases"])
    assert (tmp_path / "d.lepton").stat().st_size == report["artifact_bytes"]


def test_run_recognizes_the_digits(artifact, capsys):
    code, report = run_json(capsys, "run", artifact, "--inputs", DIGITS / "test.npz", "--expect", DIGITS / "labels.npz")
    assert code == 0
    assert report["checks"][0]["right"] == 357 and report["checks"][0]["total"] == 360


def test_run_writes_outputs(artifact, tmp_path, capsys):
    out = tmp_path / "out.npz"
    assert main(["run", str(artifact), "--inputs", str(DIGITS / "test.npz"), "-o", str(out)]) == 0
    assert np.load(out)["logits"].shape == (360, 10)
    code, report = run_json(capsys_cleared(capsys), "run", artifact, "--inputs", DIGITS / "test.npz", "--expect", out)
    assert code == 0 and report["checks"][0]["ok"]


def capsys_cleared(capsys):
    capsys.readouterr()
    return capsys


def test_run_fails_where_expectations_fail(artifact, tmp_path, capsys):
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, logits=np.zeros((360, 10), np.float32))
    code, report = run_json(capsys, "run", artifact, "--inputs", DIGITS / "test.npz", "--expect", wrong)
    assert code == 1 and not report["checks"][0]["ok"]


def test_verify_against_the_model_and_the_golden_pair(artifact, capsys):
    code, report = run_json(capsys, "verify", artifact, DIGITS / "digits.onnx", "--samples", 2, "--dim", "N=7")
    assert code == 0 and report["reference"] == "ONNX Runtime" and report["samples"] == 2
    code, report = run_json(capsys, "verify", artifact)
    assert code == 0 and report["reference"] == "the golden pair"


def test_verify_names_what_diverges(artifact, capsys):
    code, report = run_json(capsys, "verify", artifact, DIGITS / "digits.onnx", "--samples", 1, "--tolerance", 1e-12)
    assert code == 1 and not report["ok"] and report["first_divergence"]


def test_bench_profile_covers_every_kernel(artifact, capsys):
    code, report = run_json(capsys, "bench", artifact, "--seconds", 0.2, "--profile")
    assert code == 0
    assert 0 < report["min_ms"] <= report["median_ms"] <= report["p99_ms"]
    assert sum(row["share"] for row in report["kernels"]) == pytest.approx(1)
    assert all(row["nodes"] for row in report["kernels"] if "conv" in row["kernel"])


def test_inspect_model_and_artifact(artifact, capsys):
    code, facts = run_json(capsys, "inspect", DIGITS / "digits.onnx")
    assert code == 0
    assert facts["inputs"] == ["image: tensor<Nx1x8x8xf32>"] and facts["operators"]["nn.conv"] == 6
    assert facts["parameters"] > 40_000 and facts["unsupported"] == []
    code, facts = run_json(capsys, "inspect", artifact)
    assert code == 0 and facts["dynamic_dims"] == ["N"]


def test_inspect_lists_unsupported_operators_at_once(tmp_path, capsys):
    code, facts = run_json(capsys, "inspect", unsupported_model(tmp_path))
    assert code == 1 and len(facts["unsupported"]) == 2


def unsupported_model(folder):
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Frobnicate", ["x"], ["y"], name="frob", domain="com.example"),
        helper.make_node("Twiddle", ["y"], ["z"], name="twiddle", domain="com.example"),
    ]
    x, z = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xz")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.example", 1)]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [z]), opset_imports=opsets)
    path = folder / "unsupported.onnx"
    onnx.save(model, path)
    return path


def test_compile_lists_unsupported_operators_at_once(tmp_path, capsys):
    code = main(["compile", str(unsupported_model(tmp_path)), "-o", str(tmp_path / "x.lepton")])
    message = capsys.readouterr().err
    assert code == 3
    assert "frob" in message and "twiddle" in message and "Frobnicate" in message
    assert not list(tmp_path.glob("*.lepton*"))


@pytest.mark.parametrize("command", ["compile", "run", "bench", "verify", "inspect", "opt", "ops", "targets"])
def test_help_has_an_example(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"leptonc {command}" in capsys.readouterr().out.replace("\n", " ")


def test_ops_and_targets(capsys):
    code, rows = run_json(capsys, "ops", "nn.conv")
    assert code == 0 and {"nn.conv", "nn.conv_transpose"} <= {row["name"] for row in rows}
    code, facts = run_json(capsys, "targets")
    assert code == 0 and {"cpu", "cuda", "rocm"} <= {row["kind"] for row in facts["targets"]}


def test_opt_reports_its_passes(tmp_path, capsys):
    text = tmp_path / "m.lir"
    text.write_text(
        "module {\n  func @main(%x: tensor<4xf32>) -> (tensor<4xf32>) {\n"
        "    %0 = neg(%x) : tensor<4xf32>\n    %1 = neg(%0) : tensor<4xf32>\n    return %1 : tensor<4xf32>\n  }\n}\n"
    )
    code, report = run_json(capsys, "opt", text, "--pipeline", "canonicalize,dce")
    assert code == 0 and "neg" not in report["text"]
    assert [(p["name"], p["changed"]) for p in report["runs"][0]["passes"]] == [("canonicalize", True), ("dce", False)]
