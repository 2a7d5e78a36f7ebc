"""``leptonc opt``: its options."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lepton_ir.cli.main import main

MODULE = """module {
  func @main(%x: tensor<4xf32>) -> (tensor<4xf32>) {
    %a = relu(%x) : tensor<4xf32>
    %dead = neg(%x) : tensor<4xf32>
    return %a : tensor<4xf32>
  }
}
"""
PASS = """
from dataclasses import dataclass
from lepton_ir.ir import Builder
from lepton_ir.passes import Pass, register_pass

@register_pass("relu-to-abs")
@dataclass(frozen=True)
class ReluToAbs(Pass):
    break_it: bool = False

    def run(self, module, ctx):
        for op in list(module.walk()):
            if op.name == "relu" and ctx.permit("relu-to-abs", op):
                op.replace_with([Builder.before_op(op).abs(op.x)])
        if self.break_it:
            raise RuntimeError("broken")
        return True
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.lir"
    path.write_text(MODULE)
    return path


def opt(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    assert main(["opt", *map(str, arguments)]) == code
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_passes_run_in_the_order_given(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert opt(capsys, file)[0] == MODULE
    assert "neg" not in opt(capsys, file, "-p", "dce")[0]


def test_the_ir_is_shown_after_each_change(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = opt(capsys, file, "-p", "dce,dce", "--print-ir-after-change", "--timing", "--statistics")
    assert err.count("// ----- after dce -----") == 1
    assert "total" in err
    opt(capsys, file, "-p", "dce,dce", "--dump-dir", tmp_path / "dump")
    assert sorted(p.name for p in (tmp_path / "dump").iterdir()) == ["00-input.lir", "01-dce.lir"]


def test_a_pass_from_a_file_and_a_rewrite_limit(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "my_pass.py"
    source.write_text(PASS)
    assert "abs" in opt(capsys, file, "--load", source, "-p", "relu-to-abs")[0]
    out, err = opt(capsys, file, "--load", source, "-p", "relu-to-abs", "--rewrite-limit", 0)
    assert "abs" not in out and err == ""
    out, err = opt(capsys, file, "--load", source, "-p", "relu-to-abs", "--rewrite-limit", 1)
    assert "abs" in out and f"the last of 1 rewrites: relu-to-abs at {file}:3:5" in err


def test_a_failing_pass_leaves_a_reproducer(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "my_pass.py"
    source.write_text(PASS)
    reproducer = tmp_path / "r.lir"
    arguments = ["--load", source, "-p", "dce,relu-to-abs{break-it=true}", "--reproducer", reproducer]
    _, err = opt(capsys, file, *arguments, code=3)
    assert "the pass relu-to-abs failed" in err and str(reproducer) in err
    assert "relu-to-abs{break-it=true}" in reproducer.read_text()
    assert "%dead" not in reproducer.read_text()
    opt(capsys, reproducer)


def test_weights_stand_beside_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lepton_ir.ir import Builder, Function, Module
    from lepton_ir.text import load_module, save_module

    function = Function("main")
    b = Builder(function.body)
    b.return_([b.const(np.arange(99, dtype=np.float32), name="w")])
    save_module(Module([function]), tmp_path / "m.lir")
    assert "const @w" in opt(capsys, tmp_path / "m.lir")[0]
    opt(capsys, tmp_path / "m.lir", "-p", "dce", "-o", tmp_path / "out.lir")
    (op,) = [op for op in load_module(tmp_path / "out.lir").walk() if op.name == "const"]
    assert op.attributes["value"].array.tolist() == list(range(99))


def test_split_modules_are_printed_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.lir"
    path.write_text(f"{MODULE}// -----\n{MODULE}")
    assert opt(capsys, path, "--split-input-file")[0] == f"{MODULE}// -----\n{MODULE}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.lir"], "cannot read gone.lir"),
        (["{file}", "-p", "no-such-pass"], "no-such-pass"),
        (["{file}", "-o", "{file}/x"], "cannot write"),
    ],
)
def test_wrong_usage_is_one_message(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    _, err = opt(capsys, *[a.format(file=file) for a in arguments], code=3)
    assert message in err and "Traceback" not in err
