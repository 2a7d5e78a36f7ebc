"""Names and what they stand for while a graph is imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from onnx import NodeProto

from lepton_ir.ir.core import Value
from lepton_ir.ir.types import Type


class Failed:
    """What a name stands for whose node could not be lowered; its readers are passed over in silence."""


FAILED = Failed()


class ValueList(tuple[Value, ...]):
    """What an ONNX sequence is while a graph is imported and its length is known: its values.

    Attributes:
        element: the type of its elements where it has none, as far as that is known.
    """

    element: Type | None = None

    def __new__(cls, values: Iterable[Value] = (), element: Type | None = None) -> ValueList:
        made = super().__new__(cls, values)
        made.element = element
        return made


@dataclass(frozen=True)
class Absent:
    """What an ONNX optional is that certainly holds nothing.

    Attributes:
        element: the type of what it might hold, None where the model does not say.
    """

    element: Type | None = None


Imported: TypeAlias = "Value | ValueList | Absent"
"""What a node may give."""
Named: TypeAlias = "Imported | Failed"
"""What a name may stand for."""


@dataclass
class Scope:
    """The names of one graph; those of the graphs around it are seen too.

    Attributes:
        opsets: the opset of every domain that the graph's nodes may use.
        parent: the scope of the graph around this one.
        prefix: what stands before node names, to tell the calls of one function apart.
        nodes: the nodes that define its names, in order.
    """

    opsets: Mapping[str, int]
    parent: Scope | None = None
    prefix: str = ""
    nodes: Sequence[NodeProto] = ()
    values: dict[str, Named] = field(default_factory=dict)

    def find(self, name: str) -> Named | None:
        """Return what a name stands for, None where nothing does."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.values.get(name)
            if found is not None:
                return found
            scope = scope.parent
        return None

    def inner(self) -> Scope:
        """Return a scope for a graph inside this one."""
        return Scope(self.opsets, self, self.prefix)
