"""Every operator has a text test, and its canonicalizations too."""

from __future__ import annotations

from pathlib import Path

import lepton_ir.ops  # noqa: F401
from lepton_ir.ir import REGISTRY
from lepton_ir.text import parse_module

FOLDER = Path(__file__).parent / "filecheck"


def operators_in(pattern: str) -> set[str]:
    found: set[str] = set()
    for path in sorted(FOLDER.glob(pattern)):
        if not path.stem.endswith("_errors"):
            found |= {op.name for op in parse_module(path.read_text(), file=path.name).walk()}
    return found


def product_operators() -> set[str]:
    return {name for name, cls in REGISTRY.items() if cls.__module__.startswith("lepton_ir.")}


def test_every_operator_is_in_a_file() -> None:
    assert product_operators() - operators_in("*.lir") == set()


def test_every_canonicalized_operator_is_in_a_file() -> None:
    canonicalized = {name for name in product_operators() if REGISTRY[name].canonicalizations}
    assert canonicalized - operators_in("*_canonical.lir") == set()
