"""Errors and warnings as the user sees them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lepton_ir.ir.location import Location

_LONGEST = 2000


def printable(text: str, longest: int | None = None) -> str:
    """Return ``text`` fit for a terminal.

    Names come out of files of strangers: whatever is no visible character (terminal escapes, line ends, marks that
    turn the direction of writing) is spelled out, and the middle of very long text is left out.
    """
    if longest is not None and len(text) > longest:
        text = f"{text[: longest * 2 // 3]} ... ({len(text)} characters) ... {text[-longest // 4 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True)
class Diagnostic:
    """One finding: what is wrong, where, why, and what to do.

    Attributes:
        message: what is wrong, one line.
        where: the place: a location, or words.
        why: the reason, or "".
        help: what the user can do, or "".
        notes: further lines.
        severity: "error" or "warning".
        source: the line of text that ``where`` points into, shown with a caret under its column.
    """

    message: str
    where: Location | str = ""
    why: str = ""
    help: str = ""
    notes: tuple[str, ...] = ()
    severity: str = "error"
    source: str = ""

    def __str__(self) -> str:
        place = _line(str(self.where)) if self.where and str(self.where) != "unknown" else ""
        message = _line(self.message)
        lines = [f"{place}: {self.severity}: {message}" if place else f"{self.severity}: {message}"]
        if self.source:
            column = self.where.column if isinstance(self.where, Location) else 0
            lines.append(f"  {printable(self.source)}")
            if column:
                lines.append("  " + " " * (column - 1) + "^")
        if self.why:
            lines.append(f"  because: {_lines(self.why)}")
        lines += [f"  note: {_lines(note)}" for note in self.notes]
        if self.help:
            lines.append(f"  help: {_lines(self.help)}")
        return "\n".join(lines)


def _line(text: str) -> str:
    return printable(text, _LONGEST)


def _lines(text: str) -> str:
    # Further lines are indented, so that none looks like a diagnostic of its own.
    return "\n    ".join(map(_line, text.splitlines()))


class LeptonError(Exception):
    """A failure to report to the user, holding one or more diagnostics.

    Args:
        message: what is wrong.
        where: the place.
        why: the reason.
        help: what to do.
        notes: further lines.
        source: the source line for a caret.
    """

    def __init__(
        self,
        message: str,
        where: Location | str | None = None,
        why: str | None = None,
        help: str | None = None,
        notes: Sequence[str] = (),
        source: str = "",
    ) -> None:
        self.diagnostics: list[Diagnostic] = [
            Diagnostic(message, where or "", why or "", help or "", tuple(notes), source=source)
        ]
        super().__init__(message)

    @classmethod
    def of(cls, diagnostics: Iterable[Diagnostic]) -> LeptonError:
        """Return one error that reports all of ``diagnostics`` at once."""
        found = list(diagnostics)
        error = cls(found[0].message)
        error.diagnostics = found
        return error

    def __str__(self) -> str:
        return "\n".join(map(str, self.diagnostics))


@dataclass
class DiagnosticSink:
    """Collects findings so that all of them can be reported at once."""

    diagnostics: list[Diagnostic] = field(default_factory=list)

    def add(self, diagnostic: Diagnostic) -> None:
        self.diagnostics.append(diagnostic)

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self.diagnostics if d.severity == "error"]

    def raise_if_errors(self) -> None:
        """Raise one :class:`LeptonError` that holds every error found, if there is one."""
        if self.errors:
            raise LeptonError.of(self.errors)
