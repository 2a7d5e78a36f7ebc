"""The pytest plugin and the runner of RUN lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from lepton_ir.testing import RunError, run_file
from lepton_ir.testing.runner import run_lines

pytest_plugins = ["pytester"]

MODULE = """module {
  func @main(%x: tensor<4xf32>) -> (tensor<4xf32>) {
    %a = relu(%x) : tensor<4xf32>
    return %a : tensor<4xf32>
  }
}
"""


def write(folder: Path, *comments: str) -> Path:
    path = folder / "a file.lir"
    path.write_text("".join(f"// {c}\n" for c in comments) + MODULE)
    return path


def failure(tmp_path: Path, *comments: str) -> str:
    with pytest.raises(RunError) as caught:
        run_file(write(tmp_path, *comments), tmp_path)
    return str(caught.value)


def test_the_plugin_collects_runs_and_reports(pytester: pytest.Pytester) -> None:
    run = "// RUN: leptonc opt %s | filecheck %s\n"
    pytester.makefile(".lir", good=f"{run}// CHECK: relu\n{MODULE}", bad=f"{run}// CHECK: neg\n{MODULE}", none=MODULE)
    pytester.makefile(".lir", two=run * 2 + f"// CHECK: relu\n{MODULE}")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-v")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*two.lir::two*0* PASSED*", "*filecheck failed with code 1*"])


def test_run_lines_continue_after_a_backslash() -> None:
    assert run_lines("// RUN: a \\\n// RUN:   b\nx\n// RUN: c") == ["a b", "c"]


def test_substitutions_and_pipes(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "RUN: leptonc opt %s --pipeline=dce -o %t.out",
        "RUN: leptonc opt %t.out | leptonc opt - | filecheck %s --check-prefix=OUT",
        "RUN: leptonc opt %S/'a file.lir' | filecheck %s --check-prefix OUT",
        "OUT: relu",
    )
    run_file(path, tmp_path)
    assert "relu" in (tmp_path / "a file.lir.out").read_text()


def test_a_command_that_must_fail(tmp_path: Path) -> None:
    run_file(write(tmp_path, "RUN: not leptonc opt %s --pipeline=gone 2>&1 | filecheck %s", "CHECK: gone"), tmp_path)
    assert "leptonc should have failed" in failure(tmp_path, "RUN: not leptonc opt %s")


def test_failures_say_what_happened(tmp_path: Path) -> None:
    assert "failed with code 3" in failure(tmp_path, "RUN: leptonc opt %s.gone")
    assert "'rm' is none of the commands" in failure(tmp_path, "RUN: rm %s")
    text = failure(tmp_path, "RUN: leptonc opt %s | filecheck %s", "CHECK: nothing like this")
    assert "nothing like this" in text and "--- its input ---" in text and "relu" in text
