"""Parses the code of an archive, with the grammar in grammar.lark."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from lark import Lark, Token, Transformer_NonRecursive, UnexpectedInput, v_args
from lark.exceptions import LarkError
from lark.indenter import DedentError, Indenter

from lepton_frontends.torchscript.syntax import (
    Annotation,
    Assert,
    Assign,
    Attribute,
    Call,
    ClassDef,
    Dictionary,
    Display,
    File,
    For,
    FunctionDef,
    If,
    Index,
    Jump,
    Literal,
    Name,
    Node,
    Operator,
    Parameter,
    Pass,
    Return,
    While,
    With,
)  # fmt: skip
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.location import Location

_LONGEST_NUMBER = 60
_DEEPEST = 90
"""Expressions and statements inside of each other; each takes about five of Python's thousand frames."""


class _Indenter(Indenter):
    NL_type = "_NEWLINE"
    OPEN_PAREN_types = ["LPAR", "LSQB", "LBRACE"]  # noqa: RUF012
    CLOSE_PAREN_types = ["RPAR", "RSQB", "RBRACE"]  # noqa: RUF012
    INDENT_type = "_INDENT"
    DEDENT_type = "_DEDENT"
    tab_len = 8


def _present(items: Sequence[Any]) -> list[Any]:
    return [i for i in items if i is not None and not isinstance(i, Token)]


@v_args(meta=True)
class _Build(Transformer_NonRecursive):
    """Builds the tree, bottom-up and without recursion, which deep code would exhaust."""

    def _make(self, cls: Any, meta: Any, *values: Any) -> Any:
        node = cls(*values, line=getattr(meta, "line", 0), start=getattr(meta, "start_pos", 0))
        node.depth = 1 + max((n.depth for n in _inner(values)), default=0)
        if node.depth > _DEEPEST:
            raise LeptonError(
                f"code is nested more than {_DEEPEST} deep", Location("", line=node.line),
                help="do not trust this file, or export the model again",
            )  # fmt: skip
        return node

    def name(self, meta: Any, c: list[Any]) -> Name:
        return self._make(Name, meta, str(c[0]))

    def number(self, meta: Any, c: list[Any]) -> Literal:
        text = str(c[0])
        if len(text) > _LONGEST_NUMBER:
            raise ValueError(f"a number of {len(text)} digits")
        return self._make(Literal, meta, ast.literal_eval(text))

    def string(self, meta: Any, c: list[Any]) -> Literal:
        return self._make(Literal, meta, "".join(ast.literal_eval(str(s)) for s in c))

    def none(self, meta: Any, c: list[Any]) -> Literal:
        return self._make(Literal, meta, None)

    def true(self, meta: Any, c: list[Any]) -> Literal:
        return self._make(Literal, meta, True)

    def false(self, meta: Any, c: list[Any]) -> Literal:
        return self._make(Literal, meta, False)

    def ellipsis(self, meta: Any, c: list[Any]) -> Literal:
        return self._make(Literal, meta, ...)

    def attribute(self, meta: Any, c: list[Any]) -> Attribute:
        return self._make(Attribute, meta, c[0], str(c[1]))

    def argument(self, meta: Any, c: list[Any]) -> Node:
        return c[0]

    def keyword(self, meta: Any, c: list[Any]) -> tuple[str, Node]:
        return (str(c[0]), c[1])

    def call(self, meta: Any, c: list[Any]) -> Call:
        given = [a for a in c[1:] if a is not None]
        args = [a for a in given if isinstance(a, Node)]
        return self._make(Call, meta, c[0], args, dict(a for a in given if isinstance(a, tuple)))

    def index(self, meta: Any, c: list[Any]) -> Index:
        return self._make(Index, meta, c[0], c[1])

    def empty_tuple(self, meta: Any, c: list[Any]) -> Display:
        return self._make(Display, meta, [], False)

    def tuple_display(self, meta: Any, c: list[Any]) -> Display:
        return self._make(Display, meta, _present(c), False)

    def list_display(self, meta: Any, c: list[Any]) -> Display:
        return self._make(Display, meta, _present(c), True)

    def expr_list(self, meta: Any, c: list[Any]) -> Node:
        items = _present(c)
        return items[0] if len(items) == 1 else self._make(Display, meta, items, False)

    def pair(self, meta: Any, c: list[Any]) -> tuple[Node, Node]:
        return (c[0], c[1])

    def dict_display(self, meta: Any, c: list[Any]) -> Dictionary:
        return self._make(Dictionary, meta, [p for p in c if p is not None])

    def ternary(self, meta: Any, c: list[Any]) -> Operator:
        return self._make(Operator, meta, "if", [c[1], c[0], c[2]])

    def binary(self, meta: Any, c: list[Any]) -> Operator:
        return self._make(Operator, meta, str(c[1]), [c[0], c[2]])

    def binary_or(self, meta: Any, c: list[Any]) -> Operator:
        return self._make(Operator, meta, "or", c)

    def binary_and(self, meta: Any, c: list[Any]) -> Operator:
        return self._make(Operator, meta, "and", c)

    def not_(self, meta: Any, c: list[Any]) -> Operator:
        return self._make(Operator, meta, "not", c)

    def not_in(self, meta: Any, c: list[Any]) -> Operator:
        return self._make(Operator, meta, "not", [self._make(Operator, meta, "in", [c[0], c[-1]])])

    def is_not(self, meta: Any, c: list[Any]) -> Operator:
        return self._make(Operator, meta, "not", [self._make(Operator, meta, "is", [c[0], c[-1]])])

    def unary(self, meta: Any, c: list[Any]) -> Node:
        if isinstance(c[1], Literal) and str(c[0]) == "-" and isinstance(c[1].value, (int, float, complex)):
            return self._make(Literal, meta, -c[1].value)
        return self._make(Operator, meta, "u" + str(c[0]), [c[1]])

    def targets(self, meta: Any, c: list[Any]) -> list[Any]:
        return c

    def assign(self, meta: Any, c: list[Any]) -> Assign:
        targets = [t for t in c[0] if isinstance(t, Node)]
        return self._make(Assign, meta, targets, c[1], len(c[0]) > 1 and (len(targets) > 1 or c[0][-1] is not None))

    def typed_assign(self, meta: Any, c: list[Any]) -> Assign:
        return self._make(Assign, meta, [self._make(Name, meta, str(c[0]))], c[2])

    def expr_stmt(self, meta: Any, c: list[Any]) -> Assign:
        return self._make(Assign, meta, [], c[0])

    def if_stmt(self, meta: Any, c: list[Any]) -> If:
        return self._make(If, meta, c[0], c[1], c[2] or [])

    def while_stmt(self, meta: Any, c: list[Any]) -> While:
        return self._make(While, meta, c[0], c[1])

    def for_stmt(self, meta: Any, c: list[Any]) -> For:
        return self._make(For, meta, str(c[0]), c[1], c[2])

    def with_stmt(self, meta: Any, c: list[Any]) -> With:
        return self._make(With, meta, c[0], None if c[1] is None else str(c[1]), c[2])

    def return_stmt(self, meta: Any, c: list[Any]) -> Return:
        return self._make(Return, meta, c[0])

    def pass_stmt(self, meta: Any, c: list[Any]) -> Pass:
        return self._make(Pass, meta)

    def assert_stmt(self, meta: Any, c: list[Any]) -> Assert:
        return self._make(Assert, meta, c[0], c[1])

    def raise_stmt(self, meta: Any, c: list[Any]) -> Assert:
        return self._make(Assert, meta, None, c[0])

    def break_stmt(self, meta: Any, c: list[Any]) -> Jump:
        return self._make(Jump, meta, "break")

    def continue_stmt(self, meta: Any, c: list[Any]) -> Jump:
        return self._make(Jump, meta, "continue")

    def block(self, meta: Any, c: list[Any]) -> list[Any]:
        return c

    def parameter(self, meta: Any, c: list[Any]) -> Parameter:
        return self._make(Parameter, meta, str(c[-3]), c[-2], c[-1])

    def function_def(self, meta: Any, c: list[Any]) -> FunctionDef:
        parameters = [p for p in c[1:-2] if isinstance(p, Parameter)]
        return self._make(FunctionDef, meta, str(c[0]), parameters, c[-2], c[-1])

    def annotation(self, meta: Any, c: list[Any]) -> Annotation:
        return self._make(Annotation, meta, str(c[0]), c[1], c[2])

    def annotated_item(self, meta: Any, c: list[Any]) -> Node:
        """``__annotations__["0"] = type``: an attribute whose name is no identifier."""
        if isinstance(c[0], Index) and isinstance(c[0].index, Literal):
            return self._make(Annotation, meta, str(c[0].index.value), c[1], None)
        return self._make(Assign, meta, [c[0]], c[1])

    def class_def(self, meta: Any, c: list[Any]) -> ClassDef:
        bases = [x for x in c[1:] if type(x) in (Name, Attribute)]
        methods = {x.name: x for x in c if isinstance(x, FunctionDef)}
        annotations = {x.name: x for x in c if isinstance(x, Annotation)}
        return self._make(ClassDef, meta, str(c[0]), bases, methods, annotations)

    def file(self, meta: Any, c: list[Any]) -> File:
        return File(
            {x.name: x for x in c if isinstance(x, ClassDef)}, {x.name: x for x in c if isinstance(x, FunctionDef)}
        )


def _inner(values: Sequence[Any]) -> Iterator[Node]:
    for value in values:
        if isinstance(value, Node):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _inner(value)
        elif isinstance(value, dict):
            yield from _inner(list(value.values()))


@cache
def _parser() -> Lark:
    grammar = files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(
        grammar, start="file", parser="lalr", postlex=_Indenter(), propagate_positions=True,
        maybe_placeholders=True,
    )  # fmt: skip


def parse(text: str, where: str) -> File:
    """Parse one file of an archive's code.

    Args:
        text: the file.
        where: its place, to name in errors.

    Raises:
        LeptonError: it is not TorchScript.
    """
    try:
        tree = _Build().transform(_parser().parse(text if text.endswith("\n") else text + "\n"))
    except UnexpectedInput as error:
        line = text.splitlines()[error.line - 1] if 0 < error.line <= text.count("\n") + 1 else ""
        raise _wrong(where, error.line, f"unexpected {line.strip()[:60]!r}") from None
    except LeptonError as error:
        first = error.diagnostics[0]
        line_number = first.where.line if isinstance(first.where, Location) else 0
        raise _wrong(where, line_number, first.message) from None
    except (LarkError, DedentError, ValueError, SyntaxError, RecursionError, OverflowError) as error:
        raise _wrong(where, 0, f"{type(error).__name__}: {error}"[:200]) from None
    assert isinstance(tree, File)
    return tree


def _wrong(where: str, line: int, why: str) -> LeptonError:
    return LeptonError(
        "the archive's code cannot be read", Location(where, line=line), why,
        "only code that torch.jit.save wrote is read; save the model again",
    )  # fmt: skip
