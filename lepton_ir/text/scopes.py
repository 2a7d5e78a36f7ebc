"""Which names of values are visible while parsing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lepton_ir.ir.core import Value
from lepton_ir.text.lexical import BARE_NAME
from lepton_ir.text.source import Source, did_you_mean
from lepton_ir.text.syntax import unquote


class Scopes:
    """The visible values by their spelling. Names do not shadow each other; isolated scopes start empty."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._visible: dict[str, Value] = {}
        self._inner: list[str] = []

    def define(self, value: Value, spelling: str, offset: int) -> None:
        """Make a value visible; its name becomes the spelling, unless that is a number."""
        if spelling in self._visible:
            raise self._source.error(
                f"%{spelling} is already defined", offset, help="every value is defined once; choose another name"
            )
        self._visible[spelling] = value
        self._inner.append(spelling)
        if BARE_NAME.fullmatch(spelling) or spelling[0] == '"':
            value.name = unquote(spelling)

    def lookup(self, spelling: str, offset: int) -> Value:
        """Return the value that a name means here."""
        value = self._visible.get(spelling)
        if value is None:
            raise self._source.error(
                f"%{spelling} is not defined here",
                offset,
                help=did_you_mean(spelling, self._visible, "%") or "a value is defined before its uses, or around them",
            )
        return value

    @contextmanager
    def nested(self, *, isolated: bool) -> Iterator[None]:
        """Open the scope of a region."""
        visible, inner = self._visible, self._inner
        self._inner = []
        if isolated:
            self._visible = {}
        yield
        if not isolated:
            for spelling in self._inner:
                del visible[spelling]
        self._visible, self._inner = visible, inner
