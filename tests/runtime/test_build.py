"""From a module in kernel form to a shared library."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import numpy as np
import pytest
from lepton_backends.tvm import build, linker
from lepton_backends.tvm.memory import planned_bytes
from lepton_backends.tvm.relax_program import RelaxProgram, build_relax
from small_model import build_module, call_kernel, prim_functions
from tvm import relax

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import Builder, Function, Module, Value, sym, tensor
from lepton_ir.target import host_target


def test_program_is_well_formed(program: RelaxProgram) -> None:
    relax.analysis.well_formed(program.module)


def test_program_text(program: RelaxProgram) -> None:
    text = program.relax_text()
    assert "def main(x: R.Tensor((N, S, 4)" in text
    assert "R.call_tir(add_bias, (gv, bias, N, S)" in text
    assert "if flag:" in text
    assert "def shifted_relu" in program.tensorir_text() and "def main" not in program.tensorir_text()


def test_equal_constants_are_one_weight(program: RelaxProgram) -> None:
    assert list(program.weights) == ["bias"]


def test_storage_is_planned() -> None:
    main = Function("main", [tensor((sym("N") * sym("S"), 4)), tensor((sym("N"), sym("S")))])
    b = Builder(main.body)
    value: Value = main.arguments[0]
    for _ in range(10):
        value = call_kernel(b, "shifted_relu", value)
    b.return_([value])
    lowered = build.lower_relax(build_relax(Module([main]), prim_functions()).module)["main"].script()
    # Two that take turns, and the result's own.
    assert lowered.count("R.vm.alloc_storage") == 3


def test_planned_bytes(program: RelaxProgram) -> None:
    # One before the branches, three in the first and one in the second, each of 16 bytes a row.
    assert planned_bytes(program.module) == "N * S * 80"


def test_names_of_weights_never_clash_with_inputs() -> None:
    main = Function("main", [tensor((2,))], ["x"], ["a", "b"])
    b = Builder(main.body)
    b.return_([b.const(np.ones(2, np.float32), name="x"), b.const(np.zeros(3, np.float32))])
    program = build_relax(Module([main]), {})
    assert list(program.weights) == ["x_2", "constant1"]
    assert build.build_library(program.module, host_target())


def test_stray_operation() -> None:
    main = Function("main", [tensor((2,))], ["x"])
    b = Builder(main.body)
    b.return_([b.relu(main.arguments[0])])
    with pytest.raises(LeptonError, match="relu stands outside of a kernel"):
        build_relax(Module([main]), {})


def test_progress_reaches_the_number_of_kernels(program: RelaxProgram) -> None:
    seen: list[tuple[int, int]] = []
    build.build_library(program.module, host_target(), workers=2, progress=lambda *counts: seen.append(counts))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] >= 2


def test_kernel_that_tvm_refuses() -> None:
    functions = prim_functions()
    broken = functions["shifted_relu"].with_attr("target", None)
    bad = build_relax(build_module(), {**functions, "shifted_relu": broken.with_attr("calling_conv", "none")})
    with pytest.raises(LeptonError) as caught:
        build.build_library(bad.module, host_target())
    assert "TVM does not compile a kernel" in str(caught.value)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LEPTON_CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(linker.importlib.util, "find_spec", lambda name: None)


@pytest.mark.usefixtures("nothing_installed")
def test_no_linker(program: RelaxProgram) -> None:
    with pytest.raises(LeptonError) as caught:
        build.build_library(program.module, host_target())
    assert "no linker found" in str(caught.value) and "ziglang" in str(caught.value)


@pytest.mark.parametrize("entry", ["part0.o", "bytecode.o"])
def test_full_disk(program: RelaxProgram, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, entry: str) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == entry:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(LeptonError) as caught:
        build.build_library(program.module, host_target())
    assert "No space left on device" in str(caught.value) and "TMPDIR" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_linker_of_the_user_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEPTON_CC", "my-cc --flag")
    assert linker.find_linker() == ["my-cc", "--flag"]
    with pytest.raises(LeptonError, match="the linker could not be run"):
        linker.link_shared([], tmp_path / "x.so")


def test_failing_linker(tmp_path: Path) -> None:
    bad = tmp_path / "bad.o"
    bad.write_bytes(b"nonsense")
    with pytest.raises(LeptonError, match="linking the machine code failed"):
        linker.link_shared([bad], tmp_path / "x.so")
