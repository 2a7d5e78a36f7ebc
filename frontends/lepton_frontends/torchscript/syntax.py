"""The syntax tree of TorchScript code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Node:
    """A part of the tree.

    Attributes:
        line: where it begins, counted from 1.
        start: its first character's index in the text.
        depth: how many parts are inside of each other, at most.
    """

    line: int = field(default=0, kw_only=True)
    start: int = field(default=0, kw_only=True)
    depth: int = field(default=0, kw_only=True)


@dataclass
class Literal(Node):
    """A number, a string, True, False or None."""

    value: Any


@dataclass
class Name(Node):
    """A name."""

    id: str


@dataclass
class Attribute(Node):
    """``value.name``."""

    value: Node
    name: str


@dataclass
class Call(Node):
    """``function(args, name=arg)``."""

    function: Node
    args: list[Node]
    kwargs: dict[str, Node]


@dataclass
class Index(Node):
    """``value[index]``; several indices are a tuple."""

    value: Node
    index: Node


@dataclass
class Display(Node):
    """A list or a tuple display."""

    items: list[Node]
    is_list: bool


@dataclass
class Dictionary(Node):
    """A dictionary display."""

    items: list[tuple[Node, Node]]


@dataclass
class Operator(Node):
    """An operator between, or in front of, its operands."""

    op: str
    operands: list[Node]


@dataclass
class Assign(Node):
    """``targets = value``; without targets, an expression; ``unpack``: several targets, or one with a comma."""

    targets: list[Node]
    value: Node
    unpack: bool = False


@dataclass
class If(Node):
    """``if``."""

    condition: Node
    then: list[Node]
    other: list[Node]


@dataclass
class While(Node):
    """``while``."""

    condition: Node
    body: list[Node]


@dataclass
class For(Node):
    """``for``."""

    target: str
    iterable: Node
    body: list[Node]


@dataclass
class With(Node):
    """``with``: gradient modes and the like."""

    context: Node
    target: str | None
    body: list[Node]


@dataclass
class Return(Node):
    """``return``."""

    value: Node | None


@dataclass
class Assert(Node):
    """``assert``, and ``raise`` where there is no condition."""

    condition: Node | None
    message: Node | None


@dataclass
class Jump(Node):
    """``break`` or ``continue``."""

    kind: str


@dataclass
class Pass(Node):
    """``pass``."""


@dataclass
class Parameter(Node):
    """A parameter of a function."""

    name: str
    annotation: Node | None
    default: Node | None


@dataclass
class FunctionDef(Node):
    """A function or a method."""

    name: str
    parameters: list[Parameter]
    result: Node | None
    body: list[Node]


@dataclass
class Annotation(Node):
    """``name : type``, or ``name : type = value``, in a class."""

    name: str
    type: Node
    value: Node | None


@dataclass
class ClassDef(Node):
    """A class."""

    name: str
    bases: list[Node]
    methods: dict[str, FunctionDef]
    annotations: dict[str, Annotation]


@dataclass
class File:
    """A parsed file."""

    classes: dict[str, ClassDef]
    functions: dict[str, FunctionDef]
