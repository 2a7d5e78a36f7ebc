"""A text that is parsed, and the errors that point into it."""

from __future__ import annotations

import difflib
from bisect import bisect_right
from collections.abc import Iterable
from functools import cached_property

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.location import Location


class Source:
    """A text and the name of its file."""

    def __init__(self, text: str, file: str = "") -> None:
        self.text = text
        self.file = file

    @cached_property
    def _line_starts(self) -> list[int]:
        starts, position = [0], self.text.find("\n")
        while position >= 0:
            starts.append(position + 1)
            position = self.text.find("\n", position + 1)
        return starts

    def location(self, offset: int) -> Location:
        """Return the line and the column of a character."""
        line = bisect_right(self._line_starts, offset)
        return Location(self.file, line=line, column=offset - self._line_starts[line - 1] + 1)

    def error(self, message: str, offset: int, *, why: str = "", help: str = "") -> LeptonError:
        """Return an error about the character at ``offset``, with its line and a caret."""
        where = self.location(offset)
        end = self.text.find("\n", offset)
        line = self.text[self._line_starts[where.line - 1] : end if end >= 0 else None].rstrip()
        return LeptonError(message, where, why, help, source=line)


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Return ``did you mean x?`` for a misspelt word, "" where nothing known comes close."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    # The last part alone decides where only the namespace is wrong: conv for nn.conv.
    close = close or [k for k in known if k.rpartition(".")[2] == word.rpartition(".")[2]][:1]
    return f"did you mean {prefix}{close[0]}?" if close else ""
