"""Regular expressions of RE2, evaluated by Python's ``re`` where both mean the same.

The syntaxes are https://github.com/google/re2/wiki/Syntax and the documentation of ``re``. What only one of them has is
refused. Python's engine goes back and tries again where RE2's does not, so a pattern such as ``(a*)*b`` may take a time
exponential in the length of the text.
"""

from __future__ import annotations

import functools
import re
import warnings

_MOST_REPEATS = 1000
_SPACE = r"\t\n\f\r "
"""What ``\\s`` of RE2 stands for; Python's has the vertical tab too."""
_SAME = frozenset("abBdDwWfnrtvA")
"""Letters that mean the same after a backslash."""
_GROUP = re.compile(r"\?(?:P<[A-Za-z_]\w*>|[ims]*(?:-[ims]+)?[:)])", re.ASCII)
_COUNT = re.compile(r"\{(\d+)(?:,(\d*))?\}", re.ASCII)
_HEX = re.compile(r"\\x[0-9A-Fa-f]{2}")
_POSIX = re.compile(r"\[:\^?\w+:\]")


class RegexError(ValueError):
    """A pattern that is not valid, or that RE2 and Python do not understand alike."""


@functools.lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return a Python pattern whose ``fullmatch`` finds what RE2 finds.

    Raises:
        RegexError: there is none.
    """
    text = _Translation(pattern).text()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # Of doubled marks in sets, which RE2 has no meaning for.
            return re.compile(text, re.ASCII)
    except (re.error, OverflowError) as error:
        raise RegexError(f"the pattern {pattern!r} is not valid: {error}") from None


class _Translation:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.multiline = re.search(r"\(\?[is]*m", pattern) is not None

    def text(self) -> str:
        parts: list[str] = []
        while self.at < len(self.pattern):
            parts.append(self._next(self.pattern[self.at]))
        return "".join(parts)

    def _next(self, mark: str) -> str:
        if mark == "\\":
            return self._escape(in_set=False)
        if mark == "[":
            return self._set()
        if mark == "(" and self.pattern.startswith("(?", self.at):
            found = _GROUP.match(self.pattern, self.at + 1)
            if found is None:
                raise self._error("a group that RE2 or Python does not have")
            return self._take(1 + len(found[0]))
        if mark in "*+?{":
            return self._repeat(mark)
        if mark == "$" and not self.multiline:
            # Python's matches before a last line break too.
            self._take(1)
            return r"\Z"
        return self._take(1)

    def _repeat(self, mark: str) -> str:
        found = _COUNT.match(self.pattern, self.at) if mark == "{" else None
        if mark == "{" and found is None:
            raise self._error("a brace that counts nothing")
        if found is not None and max(int(n) for n in found.groups() if n) > _MOST_REPEATS:
            raise self._error(f"more than {_MOST_REPEATS} repetitions")
        taken = self._take(1 if found is None else len(found[0]))
        if self.pattern.startswith("?", self.at):
            taken += self._take(1)
        if self.at < len(self.pattern) and self.pattern[self.at] in "*+?{":
            raise self._error("a repetition of a repetition")
        return taken

    def _set(self) -> str:
        taken = self._take(1)
        if self.pattern.startswith("^", self.at):
            taken += self._take(1)
        first = True
        while first or not self.pattern.startswith("]", self.at):
            if self.at >= len(self.pattern):
                raise self._error("a set that is not closed")
            if _POSIX.match(self.pattern, self.at):
                raise self._error("a POSIX class")
            taken += self._escape(in_set=True) if self.pattern[self.at] == "\\" else self._take(1)
            first = False
        return taken + self._take(1)

    def _escape(self, in_set: bool) -> str:
        letter = self.pattern[self.at + 1 : self.at + 2]
        if letter in ("s", "S") and not (in_set and letter == "S"):
            self._take(2)
            inner = _SPACE if in_set else f"[{'^' if letter == 'S' else ''}{_SPACE}]"
            return inner
        if letter == "z" and not in_set:
            self._take(2)
            return r"\Z"
        if letter == "x" and _HEX.match(self.pattern, self.at):
            return self._take(4)
        if letter in _SAME and letter and not (in_set and letter in "AbB"):
            return self._take(2)
        if letter and not letter.isalnum():
            return self._take(2)
        raise self._error(f"\\{letter}")

    def _take(self, count: int) -> str:
        start = self.at
        self.at += count
        return self.pattern[start : self.at]

    def _error(self, what: str) -> RegexError:
        return RegexError(f"the pattern {self.pattern!r} holds {what} at position {self.at}, which is not supported")
