"""The parts of a declarative pattern, and the ``p`` that makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.opdef import BY_BUILDER_NAME

COMMUTATIVE = frozenset(
    "add mul minimum maximum and or xor eq ne bitwise_and bitwise_or bitwise_xor".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Var:
    """Any value; the same variable twice must be the same value."""

    name: str


@dataclass(frozen=True)
class Maybe:
    """An operand that may be absent, captured as None then."""

    node: Var


@dataclass(frozen=True)
class Scalar:
    """A constant whose elements are all equal, captured as a Python number."""

    name: str


@dataclass(frozen=True)
class ConstantVar:
    """A constant of any shape, captured as its value (read it with ``constant_array``)."""

    name: str


@dataclass(frozen=True)
class Attr:
    """An attribute, captured under a name."""

    name: str


@dataclass(frozen=True, eq=False)
class OpNode:
    """An operation with operands that match, and attributes that do."""

    op_name: str
    operands: tuple[Node, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    capture: str = ""
    shared: bool = False
    result: int = 0

    @property
    def commutative(self) -> bool:
        return self.op_name in COMMUTATIVE and len(self.operands) == 2


@dataclass(frozen=True, eq=False)
class AnyOf:
    """One of several forms, tried in order."""

    forms: tuple[Node, ...]


Node: TypeAlias = Var | Maybe | Scalar | ConstantVar | OpNode | AnyOf | float | int | bool


class PatternBuilder:
    """The ``p`` of a pattern's ``before``: ``p.mul(x, p.sigmoid(x))``.

    Every operator is a method, spelled as in :class:`~lepton_ir.ir.Builder`. An operand is a variable, another
    call, or a number, which stands for a constant with that value everywhere. Operands that the call leaves
    out must be absent. Attributes that are given must be equal; the others may be anything.
    """

    def __getattr__(self, name: str) -> Callable[..., OpNode]:
        cls = BY_BUILDER_NAME.get(name)
        if cls is None:
            raise LeptonError(
                f"the pattern uses the operator {name}, which does not exist",
                help="`leptonc ops` lists the operators; dots are written as underscores",
            )

        def build(*operands: Node, **attributes: Any) -> OpNode:
            return OpNode(cls.name, operands, attributes)

        return build

    def scalar(self, name: str) -> Scalar:
        """Match a constant whose elements are all equal; capture the number."""
        return Scalar(name)

    def constant(self, name: str) -> ConstantVar:
        """Match any constant; capture the value."""
        return ConstantVar(name)

    def attr(self, name: str) -> Attr:
        """Capture an attribute: ``p.nn_softmax(x, axis=p.attr("axis"))``."""
        return Attr(name)

    def maybe(self, node: Var) -> Maybe:
        """Match an operand that may be absent."""
        return Maybe(node)

    def any_of(self, *forms: Node) -> AnyOf:
        """Match one of several forms."""
        return AnyOf(forms)

    def capture(self, name: str, node: OpNode) -> OpNode:
        """Also capture the operation that ``node`` matches."""
        return OpNode(node.op_name, node.operands, node.attributes, name, node.shared, node.result)

    def shared(self, node: OpNode) -> OpNode:
        """Let the operation's result have readers outside the match (it is computed for them still)."""
        return OpNode(node.op_name, node.operands, node.attributes, node.capture, True, node.result)
