"""The examples of docs/text-form.md are what they claim to be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lepton_ir.testing import run_file
from lepton_ir.testing.runner import run_lines
from lepton_ir.text import parse_module, print_module
from lepton_ir.verifier import verify

PAGE = Path(__file__).parents[2] / "docs" / "text-form.md"
EXAMPLES = re.findall(r"^```\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_hold(example: str, tmp_path: Path) -> None:
    if run_lines(example):
        path = tmp_path / "example.lir"
        path.write_text(example)
        run_file(path, tmp_path)
        return
    module = parse_module(example)
    verify(module)
    assert print_module(parse_module(print_module(module))) == print_module(module)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3
