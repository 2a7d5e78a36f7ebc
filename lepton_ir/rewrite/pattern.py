"""What a rewrite pattern is, and the imperative way to write one.

A pattern is stateless. ``match`` looks and touches nothing; ``rewrite`` then changes the IR through the
:class:`~lepton_ir.rewrite.rewriter.PatternRewriter`, so that the driver sees every change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from lepton_ir.ir.core import Operation, Value

if TYPE_CHECKING:
    from lepton_ir.rewrite.rewriter import PatternRewriter


@dataclass(frozen=True)
class Failure:
    """Why a pattern does not apply.

    Attributes:
        reason: what is missing, in words.
        op: the operation that it was missed at.
    """

    reason: str
    op: Operation | None = None

    def __str__(self) -> str:
        place = f" at {self.op!r}" if self.op is not None else ""
        return f"{self.reason}{place}"


Replacement: TypeAlias = Value | Sequence[Value] | None
Rewrite: TypeAlias = Callable[["PatternRewriter"], Replacement]


@dataclass(frozen=True)
class Match:
    """What a pattern found.

    Attributes:
        ops: the operations that the rewrite stands for, the root first; their locations are fused.
        bindings: what the pattern captured, by name.
        apply: the rewrite itself, where the pattern is written imperatively.
    """

    ops: tuple[Operation, ...]
    bindings: dict[str, Any] = field(default_factory=dict)
    apply: Rewrite | None = None

    def __getitem__(self, name: str) -> Any:
        return self.bindings[name]


@runtime_checkable
class Pattern(Protocol):
    """A rewrite pattern.

    Attributes:
        name: the name that statistics and match failures use.
        roots: the names of the operators that it can be rooted at; empty for any.
    """

    @property
    def name(self) -> str: ...

    @property
    def roots(self) -> tuple[str, ...]: ...

    def match(self, op: Operation) -> Match | Failure:
        """Say whether the pattern applies at ``op``, changing nothing."""
        ...

    def rewrite(self, op: Operation, match: Match, rewriter: PatternRewriter) -> None:
        """Change the IR; ``match`` is what :meth:`match` just returned for ``op``."""
        ...


Matcher: TypeAlias = Callable[[Any], Failure | Rewrite]


@dataclass(frozen=True)
class ImperativePattern:
    """A pattern made from one function, see :func:`rewrite_pattern`."""

    name: str
    roots: tuple[str, ...]
    matcher: Matcher
    __doc__: str | None = None

    def match(self, op: Operation) -> Match | Failure:
        found = self.matcher(op)
        return found if isinstance(found, Failure) else Match((op,), apply=found)

    def rewrite(self, op: Operation, match: Match, rewriter: PatternRewriter) -> None:
        if match.apply is not None:
            rewriter.finish(op, match.apply(rewriter))


def rewrite_pattern(*roots: str | type[Operation], name: str = "") -> Callable[[Matcher], ImperativePattern]:
    """Turn a function into a pattern rooted at the given operators.

    The function gets the operation. It returns a :class:`Failure`, or a function that takes the rewriter and
    returns what replaces the root's results (None where it changed the root in place)::

        @rewrite_pattern("neg")
        def neg_of_neg(op: Neg) -> Failure | Rewrite:
            inner = op.x.op
            if not isinstance(inner, Neg):
                return Failure("the operand is not a neg", op)
            return lambda rw: inner.x

    Args:
        roots: operator names or classes; none means any operator.
        name: the pattern's name; by default the function's in kebab case.
    """

    def decorate(matcher: Matcher) -> ImperativePattern:
        spelled = name or getattr(matcher, "__name__", "pattern").strip("_").replace("_", "-")
        names = tuple(root if isinstance(root, str) else root.name for root in roots)
        return ImperativePattern(spelled, names, matcher, matcher.__doc__)

    return decorate
