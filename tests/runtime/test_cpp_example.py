"""The C++ example, built with the commands of its README, runs an artifact."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lepton_ir
from lepton_ir.text import parse_module

SOURCE = Path(__file__).parents[2] / "examples" / "cpp"


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def _compiler() -> list[str]:
    found = next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)
    return [found] if found else [sys.executable, "-m", "ziglang", "c++"]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("cpp") / "run_artifact"
    runtime, ffi = _package("tvm") / "lib", _package("tvm_ffi")
    command = [*_compiler(), "-std=c++17", "-Wall", "-Wextra", "-Werror", str(SOURCE / "run_artifact.cpp")]
    command += ["-o", str(output), "-isystem", str(ffi / "include"), "-Wl,--no-as-needed"]
    command += [str(runtime / "libtvm_runtime.so"), str(ffi / "lib" / "libtvm_ffi.so")]
    command += [f"-Wl,-rpath,{runtime}", f"-Wl,-rpath,{ffi / 'lib'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return output


def _run(example: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(example), *args], capture_output=True, text=True, timeout=60)


def test_runs_the_golden_input(example: Path, saved: Path) -> None:
    done = _run(example, str(saved), "5")
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()[:3]] == ["y", "echo", "bias"]
    assert "as expected, fastest of 5 runs" in done.stdout


def test_damaged_file_is_a_message(example: Path, saved: Path) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: len(data) // 2])
    done = _run(example, str(saved))
    assert done.returncode == 1
    assert "not a Lepton artifact, or truncated" in done.stderr


def test_usage(example: Path) -> None:
    done = _run(example)
    assert done.returncode == 2
    assert "usage: run_artifact" in done.stderr


def test_work_of_the_host_is_a_message(example: Path, tmp_path: Path) -> None:
    text = "module { func @main(%x: tensor<2xstr>) -> (tensor<2xbool>) { %0 = eq(%x, %x) return %0 } }"
    path = tmp_path / "strings.lepton"
    lepton_ir.compile(parse_module(text), verify=False).save(path)
    done = _run(example, str(path))
    assert done.returncode == 1
    assert "run on the host" in done.stderr
