"""The generated reference is what the code says now."""

from __future__ import annotations

from pathlib import Path

import pytest

from lepton_ir.docgen import operator_reference, pass_reference
from lepton_ir.ir import REGISTRY

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize(("name", "make"), [("ops.md", operator_reference), ("passes.md", pass_reference)])
def test_the_reference_is_fresh(name: str, make: object) -> None:
    assert callable(make)
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written == make(), "run python -m lepton_ir.docgen docs/reference"


def test_every_operator_is_documented() -> None:
    own = [cls for cls in REGISTRY.values() if cls.__module__.startswith("lepton_ir.ops.")]
    assert [cls.name for cls in own if not (cls.__doc__ or "").strip().endswith(".")] == []
