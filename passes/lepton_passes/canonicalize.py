"""Canonicalization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import Pattern, canonicalization_patterns


@register_pass("canonicalize")
@dataclass(frozen=True)
class Canonicalize(PatternPass):
    """Apply the canonicalizations that the operators declare, and remove dead operations, until nothing changes."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return canonicalization_patterns()
