"""Names for values and constants while printing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lepton_ir.ir.constant import Constant
from lepton_ir.ir.core import Value
from lepton_ir.text.lexical import format_name


class ValueNames:
    """Gives every value its own name inside the scopes that see it: its hint where free, else a number."""

    def __init__(self) -> None:
        self._names: dict[Value, str] = {}
        self._used: set[str] = set()
        self._scope: list[str] = []
        self._next = 0

    def define(self, value: Value) -> str:
        """Name a value at its definition."""
        name = value.name
        if not name:
            text = str(self._next)
            self._next += 1
        else:
            text = format_name(name)
            suffix = 0
            while text in self._used:
                suffix += 1
                text = format_name(f"{name}_{suffix}")
        self._used.add(text)
        self._scope.append(text)
        self._names[value] = text
        return text

    def of(self, value: Value) -> str:
        """Return the name of a value; one that no visible operation defines (invalid IR) shows as ``?``."""
        text = self._names.get(value)
        return text if text is not None else f"?{value.name}"

    @contextmanager
    def scope(self, *, isolated: bool) -> Iterator[None]:
        """Forget the names given inside; an isolated scope does not see those outside either."""
        used, scope, following = self._used, self._scope, self._next
        self._scope = []
        if isolated:
            self._used, self._next = set(), 0
        yield
        if not isolated:
            self._used.difference_update(self._scope)
        self._used, self._scope, self._next = used, scope, following


class ConstantNames:
    """Gives the constants that the text only names distinct names; equal constants may share one."""

    def __init__(self) -> None:
        self.named: dict[str, Constant] = {}
        self._unnamed: dict[int, str] = {}

    def name(self, constant: Constant) -> str:
        """Return the name of a constant; the same array always gets the same one."""
        if constant.name:
            return self._claim(constant.name, constant)
        known = self._unnamed.get(id(constant.array))
        if known is None:
            known = self._unnamed[id(constant.array)] = self._claim(f"const_{len(self._unnamed)}", constant)
        return known

    def _claim(self, wanted: str, constant: Constant) -> str:
        name, suffix = wanted, 0
        while self.named.setdefault(name, constant) != constant:
            suffix += 1
            name = f"{wanted}_{suffix}"
        return name
