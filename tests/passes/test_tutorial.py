"""The pass-authoring tutorial: its files are written to a folder and its commands are run there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial-passes.md"


def blocks(kind: str) -> list[tuple[str, str]]:
    """Return the (file name, text) of every fenced block of a kind."""
    text = TUTORIAL.read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}(?: file=(\S+))?\n(.*?)^```$", text, re.M | re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files of the tutorial; blocks of the same file follow each other."""
    where = tmp_path_factory.mktemp("tutorial")
    for name, text in [*blocks("python"), *blocks("text")]:
        with (where / name).open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    return where


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command)
    program = {"leptonc": [sys.executable, "-m", "lepton_ir.cli.main"], "python": [sys.executable]}[words[0]]
    return subprocess.run([*program, *words[1:]], cwd=folder, capture_output=True, text=True, env={**os.environ})


@pytest.mark.parametrize("block", [text for _, text in blocks("console")], ids=lambda b: b.splitlines()[0][2:40])
def test_commands_print_what_the_tutorial_shows(block: str, folder: Path) -> None:
    command, *expected = block.splitlines()
    done = run(command.removeprefix("$ "), folder)
    assert done.returncode == 0, done.stdout + done.stderr
    if expected:
        assert done.stdout.splitlines() == expected


def test_meaning_is_kept(folder: Path) -> None:
    done = run("python -m pytest -q test_meaning.py", folder)
    assert done.returncode == 0, done.stdout + done.stderr
