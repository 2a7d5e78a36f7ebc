"""Parameters that are known only while the program runs, and are no sizes.

A number that must be
known to make the operation at all, such as an axis, becomes a choice: the node is lowered once for each value that it
can have, in branches of which one runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import TYPE_CHECKING

from lepton_ir.ir.core import Value

if TYPE_CHECKING:
    pass

MOST_CHOICES = 64
"""A node is lowered at most so many times for the values of a parameter."""


class ChoiceNeededError(Exception):
    """Raised by a rule that needs the numbers in a tensor which only the running program knows.

    Attributes:
        value: the tensor, of integers.
        what: what it holds, to name in errors.
        among: what each of its elements may be, neighbouring numbers.
        wrap: added to negative elements, so that these count from the end; no two may be the same then.
        only: those ``among`` which are possible here; all of them where it is empty.
        choices: all that it may hold, each as the numbers of the tensor, flat.
    """

    def __init__(
        self, value: Value, what: str, among: range, wrap: int, length: int, only: Collection[int] = ()
    ) -> None:
        super().__init__(what)
        self.value, self.what, self.among, self.wrap = value, what, among, wrap
        self._length = length
        possible = set(only or among)
        self.choices = {n for n in self.numbered() if possible.issuperset(n) and (not wrap or len(set(n)) == len(n))}

    def numbered(self) -> list[tuple[int, ...]]:
        """Return all combinations of elements, in lexicographic order, those that are no choice included."""
        return list(itertools.product(self.among, repeat=self._length))
