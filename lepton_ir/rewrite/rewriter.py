"""The only hand that changes the IR while patterns are applied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import Operation, Value
from lepton_ir.ir.location import Location
from lepton_ir.ir.types import TensorType, Type
from lepton_ir.rewrite.pattern import Replacement


class Listener(Protocol):
    """Who wants to know what the rewriter does."""

    def on_insert(self, op: Operation) -> None:
        """``op`` was inserted."""

    def on_modify(self, op: Operation) -> None:
        """Operands or attributes of ``op`` changed."""

    def on_erase(self, op: Operation) -> None:
        """``op`` is about to be erased."""


class PatternRewriter(Builder):
    """A builder that inserts before the root and can replace and erase.

    ``b.nn_conv(...)`` and the like come from :class:`~lepton_ir.ir.Builder`. What is created gets the fused
    location of everything that matched.
    """

    def __init__(self, root: Operation, listener: Listener, location: Location) -> None:
        if root.parent is None:
            raise ValueError(f"{root.name} stands in no block")
        super().__init__(root.parent, root, location)
        self.root = root
        self.listener = listener

    def insert(self, op: Operation) -> Operation:
        inserted = super().insert(op)
        self.listener.on_insert(inserted)
        return inserted

    def replace_op(self, op: Operation, values: Value | Sequence[Value]) -> None:
        """Replace all results of ``op`` and erase it.

        Raises:
            ValueError: a replacement has another element type or rank, or a different known dimension.
        """
        replacements = [values] if isinstance(values, Value) else list(values)
        if len(replacements) != len(op.results):
            raise ValueError(f"{op.name} has {len(op.results)} results, got {len(replacements)} replacements")
        for result, value in zip(op.results, replacements, strict=True):
            if not compatible(result.type, value.type):
                raise ValueError(f"{op.name} gives {result.type}, its replacement {value.type}")
            self.replace_uses(result, value)
        self.erase(op)

    def replace_uses(self, old: Value, new: Value) -> None:
        """Make all readers of ``old`` read ``new``."""
        users = old.users
        old.replace_all_uses_with(new)
        for user in users:
            self.listener.on_modify(user)

    def set_operand(self, op: Operation, index: int, value: Value | None) -> None:
        """Replace one operand of ``op``."""
        op.set_operand(index, value)
        self.listener.on_modify(op)

    def set_attribute(self, op: Operation, name: str, value: Any) -> None:
        """Set one attribute of ``op`` in place; the result types stay."""
        op.attributes[name] = value
        self.listener.on_modify(op)

    def erase(self, op: Operation) -> None:
        """Erase ``op``, whose results must be unused."""
        self.listener.on_erase(op)
        op.erase()

    def finish(self, op: Operation, replacement: Replacement) -> None:
        """End a rewrite: replace the root by what it returned, if anything."""
        if replacement is not None:
            self.replace_op(op, replacement)


def compatible(old: Type, new: Type) -> bool:
    """Whether ``new`` may stand for ``old``: the same but for dimensions of which one is symbolic."""
    if not isinstance(old, TensorType) or not isinstance(new, TensorType):
        return old == new
    if old is new or old == new:
        return True
    if old.dtype is not new.dtype or old.rank != new.rank:
        return False
    return all(
        a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in zip(old.shape, new.shape, strict=True)
    )
