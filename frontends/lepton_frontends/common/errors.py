"""Why a part of a model cannot be imported."""

from __future__ import annotations

from collections.abc import Iterable

from lepton_ir.diagnostics import Diagnostic, LeptonError
from lepton_ir.ir.location import Location

_LISTED = 20


class UnsupportedError(Exception):
    """A node cannot be lowered: the reason, and what the user can do."""

    def __init__(self, reason: str, help: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.help = help


class TooLargeError(LeptonError):
    """The model expands into more than the limits allow, so the import ends."""


def merged(findings: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return the findings with those that differ only in their place as one."""
    groups: dict[tuple[str, str], list[Diagnostic]] = {}
    for finding in findings:
        groups.setdefault((finding.message, finding.why), []).append(finding)
    found = []
    for first, *others in groups.values():
        notes = first.notes
        if others:
            names = [", ".join(o.where.names()) if isinstance(o.where, Location) else str(o.where) for o in others]
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            notes = (*notes, f"the same holds for {', '.join(names[:_LISTED])}{more}")
        found.append(Diagnostic(first.message, first.where, first.why, first.help, notes))
    return found
