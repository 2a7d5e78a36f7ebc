"""Real networks, compiled at -O3, against ONNX Runtime. The large ones are in benchmarks/."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import lepton_ir
from lepton_ir.compiler import CompileOptions, compile_with_report, import_model
from lepton_ir.target import parse_target
from lepton_ir.verification import verify

ROOT = Path(__file__).parents[2]
TRAINED = sorted((ROOT / "benchmarks" / "models").glob("*.onnx"))
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
LIGHT_SAMPLE = [LIGHT / f"light_{name}.onnx" for name in ("squeezenet", "shufflenet", "inception_v1")]


@pytest.mark.parametrize("model", [*TRAINED, *LIGHT_SAMPLE], ids=lambda p: p.stem)
def test_agrees_with_onnx_runtime(model):
    artifact = lepton_ir.compile(model, verify=False)
    report = verify(artifact, model, samples=2)
    assert report.source == "ONNX Runtime"
    assert report.ok, report.to_json()


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_every_level_gives_the_same_numbers(level):
    model = ROOT / "examples" / "digits" / "digits.onnx"
    artifact = lepton_ir.compile(model, opt_level=level)
    assert verify(artifact, model, samples=2, dims={"N": 5}).worst < 1e-5


@pytest.mark.parametrize("mcpu", ["x86-64-v2", "haswell", "native"])
def test_every_processor_level(mcpu):
    model = ROOT / "examples" / "digits" / "digits.onnx"
    artifact = lepton_ir.compile(model, mcpu=mcpu)
    assert verify(artifact, model, samples=1, dims={"N": 3}).worst < 1e-5


def test_dynamic_batch_from_one_artifact():
    data = np.load(ROOT / "examples" / "digits" / "test.npz")["image"]
    model = lepton_ir.runtime.load(lepton_ir.compile(ROOT / "examples" / "digits" / "digits.onnx"))
    whole = model(data)[0]
    for n in (1, 3, 8, 360):
        np.testing.assert_allclose(model(data[:n])[0], whole[:n], rtol=1e-5, atol=1e-5)


def test_interpreter_is_the_reference_without_onnx_runtime(monkeypatch):
    monkeypatch.setattr("lepton_ir.reference.has_onnxruntime", lambda: False)
    model = ROOT / "examples" / "digits" / "digits.onnx"
    report = verify(lepton_ir.compile(model), model, samples=1)
    assert report.source == "the interpreter" and report.ok


def test_a_wrong_kernel_is_named(monkeypatch):
    model = ROOT / "examples" / "digits" / "digits.onnx"
    from lepton_backends.tvm import backend

    genuine = backend.lower_kernels

    def broken(kernels, target):
        functions = genuine(kernels, target)
        name = next(s for s in functions if "conv" in s)
        functions[name] = _store_zero(functions[name])
        return functions

    monkeypatch.setattr(backend, "lower_kernels", broken)
    with pytest.raises(lepton_ir.LeptonError, match="does not agree"):
        lepton_ir.compile(model)
    artifact = lepton_ir.compile(model, verify=False)
    report = verify(artifact, model, samples=1)
    assert not report.ok and "conv" in report.divergence


def _store_zero(function):
    import tvm_ffi
    from tvm import tirx

    def visit(stmt):
        if not str(stmt.buffer.name).startswith("out"):
            return stmt
        return tirx.BufferStore(stmt.buffer, stmt.value - stmt.value, list(stmt.indices))

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.BufferStore, visit)))


def test_import_keeps_names_and_dynamic_dims():
    module = import_model(ROOT / "examples" / "digits" / "digits.onnx")
    assert [a.name for a in module.main.arguments] == ["image"]
    assert str(module.main.arguments[0].type) == "tensor<Nx1x8x8xf32>"
    assert module.main.result_names == ("logits",)


def test_a_model_for_another_processor_compiles_unverified(monkeypatch):
    monkeypatch.setattr("lepton_ir.runtime.host.cpu_features", lambda: frozenset({"sse2"}))
    options = CompileOptions(parse_target("cpu", mcpu="x86-64-v3"))
    compilation = compile_with_report(ROOT / "examples" / "digits" / "digits.onnx", options, lambda phase: None)
    assert compilation.report is None
    assert "avx2" in compilation.unverified and "this processor lacks" in compilation.unverified
    assert compilation.artifact.golden is not None
