"""Linking object files to a shared library with whatever C compiler the machine has."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lepton_ir.diagnostics import LeptonError

COMPILERS = ("cc", "gcc", "clang")
LINK_TIMEOUT_S = 600


def find_linker() -> list[str]:
    """Return the command that links: ``$LEPTON_CC``, a C compiler on the PATH, or PyPI's ziglang.

    Raises:
        LeptonError: there is none of them.
    """
    chosen = os.environ.get("LEPTON_CC")
    if chosen:
        return chosen.split()
    for name in COMPILERS:
        path = shutil.which(name)
        if path is not None:
            return [path]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    raise LeptonError(
        "no linker found",
        why=f"none of {', '.join(COMPILERS)} is on the PATH, and the Python package ziglang is not installed",
        help="install a C compiler (apt install gcc), or pip install ziglang, or set LEPTON_CC to a compiler",
    )


def link_shared(objects: Sequence[Path], output: Path) -> None:
    """Link ``objects`` to the shared library ``output``.

    Raises:
        LeptonError: there is no linker, or it fails.
    """
    command = [*find_linker(), "-shared", "-fPIC", "-o", str(output), *map(str, objects), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LINK_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LeptonError("the linker could not be run", where=command[0], why=str(error)) from error
    if done.returncode:
        raise LeptonError(
            "linking the machine code failed", where=" ".join(command[:3]), why=done.stderr.strip()[-2000:]
        )
