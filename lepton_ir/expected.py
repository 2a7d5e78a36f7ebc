"""``// expected-error {{text}}`` comments: which errors a text should give, and where.

The comment stands on the line of the error; ``expected-error@+1`` means the line below, ``@-1`` the one above, and
``@unknown`` an error without a place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lepton_ir.diagnostics import Diagnostic
from lepton_ir.ir.location import Location

_COMMENT = re.compile(r"expected-(?P<severity>error|warning)(?:@(?P<place>[+-]\d+|unknown))?\s*\{\{(?P<text>.*?)\}\}")


def check_expected(text: str, file: str, found: Sequence[Diagnostic]) -> Iterator[Diagnostic]:
    """Yield a finding for every expected diagnostic that is missing and every other one that is there."""
    left = list(found)
    for line, severity, wanted, place in _expectations(text):
        match = next((d for d in left if _fits(d, line, severity, wanted)), None)
        if match is not None:
            left.remove(match)
            continue
        where = f"on line {line}" if line else "without a place"
        yield Diagnostic(f"expected {severity} {wanted!r} {where}, there is none", Location(file, line=place))
    for diagnostic in left:
        yield Diagnostic(f"unexpected {diagnostic.severity}: {diagnostic.message}", diagnostic.where, diagnostic.why)


def _expectations(text: str) -> Iterator[tuple[int, str, str, int]]:
    """Yield the line of the error (0 for unknown), severity, text, and line of each comment."""
    for number, line in enumerate(text.split("\n"), 1):
        for match in _COMMENT.finditer(line, max(line.find("//"), 0)):
            place = match["place"]
            at = 0 if place == "unknown" else number + int(place or 0)
            yield at, match["severity"], match["text"].strip(), number


def _fits(diagnostic: Diagnostic, line: int, severity: str, wanted: str) -> bool:
    at = diagnostic.where.line if isinstance(diagnostic.where, Location) else 0
    said = (diagnostic.message, diagnostic.why, diagnostic.help, *diagnostic.notes)
    return at == line and diagnostic.severity == severity and any(wanted in part for part in said)
