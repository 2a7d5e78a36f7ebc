"""The canonicalization patterns that operator classes declare."""

from __future__ import annotations

from lepton_ir.ir.opdef import REGISTRY
from lepton_ir.rewrite.pattern import Pattern


def canonicalization_patterns() -> list[Pattern]:
    """Return the patterns in ``canonicalizations`` of every registered operator, each once."""
    found: dict[int, Pattern] = {}
    for name in sorted(REGISTRY):
        for pattern in REGISTRY[name].canonicalizations:
            found.setdefault(id(pattern), pattern)
    return list(found.values())
