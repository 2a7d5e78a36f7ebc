"""``leptonc passes``."""

from __future__ import annotations

import json

import pytest

from lepton_ir.cli.main import main


def test_passes_and_pipelines_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["passes", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    fuse = next(row for row in listed["passes"] if row["name"] == "fuse")
    assert set(fuse["options"]) == {"max-ops", "max-depth"}
    assert "fuse" in listed["pipelines"]["O2"]


def test_a_pattern_selects(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["passes", "recognize-s"]) == 0
    out = capsys.readouterr().out
    assert "recognize-silu" in out and "recognize-softmax" in out and "cse" not in out
