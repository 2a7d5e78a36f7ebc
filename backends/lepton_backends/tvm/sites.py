"""Functions that several places of a model share, and that may fail at each of them.

Such a function takes one more scalar than it computes with, the number of the place that calls it, and picks the words
of its error by it. So the copies of one part of a model need no code of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lepton_backends.tvm import tir
from lepton_backends.tvm.tir import Expr
from lepton_ir.ir.core import Operation
from lepton_ir.ir.opdef import Operation as DeclaredOperation

NAME = "site$"
"""The name of the scalar; no dimension is called so."""


@dataclass(frozen=True)
class Sites:
    """The places that share a function.

    Attributes:
        texts: for each place what tells it from the others, such as the locations of the operations that may fail.
    """

    texts: tuple[tuple[str, ...], ...] = ((),)
    variable: Expr = field(default_factory=lambda: tir.var(NAME))

    @staticmethod
    def of(places: Iterable[tuple[str, ...]]) -> Sites:
        """Return the sites of some places, the equal ones of which are one."""
        return Sites(tuple(dict.fromkeys(places)))

    @property
    def scalars(self) -> list[Any]:
        """The parameters that say which place calls: one, or none where there is just one place."""
        return [self.variable] if len(self.texts) > 1 else []

    def number(self, place: tuple[str, ...]) -> list[int]:
        """Return what a call from a place gives for :attr:`scalars`."""
        return [self.texts.index(place)] if len(self.texts) > 1 else []

    def column(self, index: int) -> list[str]:
        """Return one of the texts for each place."""
        return [texts[index] for texts in self.texts]


def failing(kernel: Operation) -> list[Operation]:
    """Return the operations of a kernel that may fail, in order."""
    return [op for op in kernel.regions[0].block.ops if isinstance(op, DeclaredOperation) and op.may_fail()]


def place_of(kernel: Operation) -> tuple[str, ...]:
    """Return the locations of the operations of a kernel that may fail."""
    return tuple(str(op.location) for op in failing(kernel))


def shared_by(calls: Sequence[Operation]) -> Sites:
    """Return the sites of kernels with one symbol."""
    return Sites.of(map(place_of, calls))


def locations(kernel: Operation, sites: Sites) -> Mapping[Operation, list[str]]:
    """Return for each operation that may fail its location at each of the sites."""
    return {op: sites.column(i) for i, op in enumerate(failing(kernel))}
