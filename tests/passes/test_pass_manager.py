"""Pipelines as text, the pass manager and its instruments."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pytest

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import DType, Module
from lepton_ir.passes import (
    DumpPhases,
    Pass,
    PassContext,
    PassManager,
    PrintAfterChange,
    Timing,
    load_file,
    parse_pipeline,
    print_pipeline,
    register_pass,
    register_pipeline,
    run_pipeline,
)
from lepton_ir.passes.options import parse_value
from lepton_ir.rewrite import RewriteControl
from lepton_ir.text import load_module, parse_module

TEXT = """
module {
  func @main(%x: tensor<4xf32>) -> (tensor<4xf32>) {
    %0 = neg(%x)
    %1 = neg(%0)
    %2 = neg(%1)
    %3 = neg(%2)
    return %3
  }
}
"""


@register_pass("test-fails")
@dataclass(frozen=True)
class Fails(Pass):
    """Fail when run."""

    def run(self, module: Module, ctx: PassContext) -> bool:
        raise ZeroDivisionError("on purpose")


@register_pass("test-corrupts")
@dataclass(frozen=True)
class Corrupts(Pass):
    """Leave a module that does not verify."""

    def run(self, module: Module, ctx: PassContext) -> bool:
        module.main.return_op.erase()
        return True


@register_pass("test-options")
@dataclass(frozen=True)
class Options(Pass):
    """Have options."""

    max_ops: int = 4
    rate: float = 0.5
    fast: bool = False
    names: tuple[str, ...] = ()
    limit: int | None = None

    def run(self, module: Module, ctx: PassContext) -> bool:
        return False


def names(module: Module) -> list[str]:
    return [op.name for op in module.walk()]


def test_options_come_from_the_type_hints() -> None:
    (parsed,) = parse_pipeline("test-options{max-ops=8 rate=2 fast=true names=[a,b.c] limit=3}")
    assert parsed == Options(8, 2.0, True, ("a", "b.c"), 3)
    (other,) = parse_pipeline("test-options{max-ops=8, limit=none}")
    assert other == Options(8)


def test_pipelines_round_trip() -> None:
    text = "cse,test-options{max-ops=8 names=[a,b]},repeat{pipeline={cse,test-options{max-ops=2},dce} times=3}"
    passes = parse_pipeline(text)
    assert print_pipeline(passes) == text
    assert parse_pipeline(print_pipeline(passes)) == passes


def test_named_pipelines_expand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lepton_ir.passes.pipeline.PIPELINES", {})
    register_pipeline("test-named", "cse,dce")
    register_pipeline("test-loop", "cse,test-loop")
    assert print_pipeline(parse_pipeline("test-named,outline")) == "cse,dce,outline"
    with pytest.raises(LeptonError, match="contains itself"):
        parse_pipeline("test-loop")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("canonicalise", "did you mean canonicalize"),
        ("test-options{size=3}", "has no option size"),
        ("test-options{max-ops=many}", "bad value 'many' for the option max-ops"),
        ("test-options{max-ops}", "write name=value"),
        ("test-options{max-ops=3", "a } is missing at the end"),
        ("cse},dce", "unmatched } at column 4"),
        ("test-options{max-ops=3}x", "text follows the closing brace"),
    ],
)
def test_malformed_pipelines_are_explained(text: str, message: str) -> None:
    with pytest.raises(LeptonError) as caught:
        parse_pipeline(text)
    assert message in str(caught.value)


def test_option_values() -> None:
    assert parse_value("f16", DType) is DType.F16
    with pytest.raises(ValueError, match="write true or false"):
        parse_value("yes", bool)


def test_a_failing_pass_writes_a_reproducer(tmp_path: Path) -> None:
    file = tmp_path / "crash.lir"
    manager = PassManager(parse_pipeline("canonicalize,test-fails,dce"), reproducer=file)
    with pytest.raises(LeptonError) as caught:
        manager.run(parse_module(TEXT))
    message = str(caught.value)
    assert "the pass test-fails failed" in message and "ZeroDivisionError: on purpose" in message
    assert str(file) in message
    assert "--pipeline='test-fails,dce'" in file.read_text(encoding="utf-8").splitlines()[0]
    assert names(load_module(file)) == ["return"]


def test_a_module_that_does_not_verify_is_reported() -> None:
    with pytest.raises(LeptonError, match="the pass test-corrupts failed"):
        run_pipeline(parse_module(TEXT), "test-corrupts")


def test_requirements_are_checked() -> None:
    with pytest.raises(LeptonError) as caught:
        run_pipeline(parse_module(TEXT), "outline")
    assert "requires a module in kernel-form" in str(caught.value)
    assert "neg stands outside of a kernel" in str(caught.value)


def test_instruments(tmp_path: Path) -> None:
    stream, timing = io.StringIO(), Timing()
    dump = DumpPhases(tmp_path / "phases")
    manager = PassManager(parse_pipeline("cse,canonicalize"), instruments=[timing, PrintAfterChange((), stream), dump])
    assert manager.run(parse_module(TEXT))
    assert [r.name for r in timing.records] == ["cse", "canonicalize"]
    assert [r.changed for r in timing.records] == [False, True]
    assert "canonicalize" in timing.report() and "total" in timing.report()
    assert "after canonicalize" in stream.getvalue() and "after cse" not in stream.getvalue()
    assert sorted(p.name for p in dump.folder.iterdir()) == ["00-input.lir", "02-canonicalize.lir"]


@pytest.mark.parametrize(("limit", "left"), [(0, 4), (1, 2), (2, 0), (None, 0)])
def test_the_rewrite_limit_bisects(limit: int | None, left: int) -> None:
    module = parse_module(TEXT)
    control = RewriteControl(limit=limit)
    run_pipeline(module, "canonicalize", PassContext(control=control))
    assert names(module).count("neg") == left


def test_explanations_and_counts() -> None:
    module = parse_module(TEXT)
    ctx = PassContext(control=RewriteControl(explain=True))
    run_pipeline(module, "canonicalize", ctx)
    assert ctx.control.counts["twice-is-nothing"] == 2
    assert any("the operand is another operation" in str(failure) for _, failure in ctx.control.failures)


def test_loading_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\n"
        "from lepton_ir.passes import PatternPass, register_pass\n"
        "from lepton_ir.rewrite import rewrite_pattern, Failure\n"
        "@rewrite_pattern('neg')\n"
        "def neg_is_sub(op):\n"
        "    return lambda rw: rw.sub(rw.const(0.0, dtype=op.x.tensor.dtype), op.x)\n"
        "@register_pass('test-mine')\n"
        "@dataclass(frozen=True)\n"
        "class Mine(PatternPass):\n"
        "    def patterns(self, ctx):\n"
        "        return [neg_is_sub]\n",
        encoding="utf-8",
    )
    load_file(file)
    module = parse_module(TEXT)
    run_pipeline(module, "test-mine")
    assert names(module).count("sub") == 4


@pytest.mark.parametrize(("source", "message"), [("1 / 0", "ZeroDivisionError"), ("def", "SyntaxError")])
def test_a_broken_file_is_reported(tmp_path: Path, source: str, message: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text(source, encoding="utf-8")
    with pytest.raises(LeptonError) as caught:
        load_file(file)
    assert message in str(caught.value)
    with pytest.raises(LeptonError, match="cannot load"):
        load_file(tmp_path / "missing.py")
