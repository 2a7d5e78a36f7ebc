"""Every pass, on the functions of its .lir test: what they compute stays the same."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from pass_harness import assert_same_meaning

from lepton_ir.passes import PASSES, PassContext, load_passes, parse_pipeline, run_pipeline
from lepton_ir.target import parse_target
from lepton_ir.text import parse_module

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.lir"))


def pipeline_of(path: Path) -> str:
    run_line = re.search(r"RUN: (.*)\|", path.read_text(encoding="utf-8"))
    assert run_line is not None
    option = next(word for word in shlex.split(run_line.group(1)) if word.startswith("--pipeline="))
    return option.removeprefix("--pipeline=")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_meaning_is_kept(path: Path) -> None:
    before = parse_module(path.read_text(encoding="utf-8"))
    after = before.clone()
    assert run_pipeline(after, pipeline_of(path), PassContext(parse_target("cpu -mcpu=x86-64-v3")))
    assert_same_meaning(before, after)


@pytest.mark.parametrize("level", ["O0", "O1", "O2", "O3"])
@pytest.mark.parametrize("path", [f for f in FILES if f.stem != "outline"], ids=lambda p: p.stem)
def test_standard_pipelines_keep_meaning(path: Path, level: str) -> None:
    before = parse_module(path.read_text(encoding="utf-8"))
    after = before.clone()
    run_pipeline(after, level, PassContext(parse_target("cpu -mcpu=x86-64-v3")))
    assert_same_meaning(before, after, rtol=1e-4, atol=1e-5)


def test_every_pass_has_a_test() -> None:
    load_passes()
    tested = {p.name for path in FILES for p in parse_pipeline(pipeline_of(path))}
    own = {name for name, cls in PASSES.items() if cls.__module__.startswith(("lepton_passes", "lepton_ir"))}
    assert own <= tested
