"""From text to syntax: the grammar's parser, and what its rules become."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, cast

from lark import Lark, Token, Transformer, v_args

from lepton_ir.ir.dim import FUNCTIONS, Dim, Expr, sym
from lepton_ir.ir.types import DType, MapType, OptionalType, SequenceType, TensorType, Type, UnrankedType
from lepton_ir.text.lexical import DTYPES, RESERVED

_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None, **DTYPES}


class MeaningError(ValueError):
    """The text follows the grammar but means nothing, such as ``2*true``."""


def _element_type(name: str) -> DType:
    if name not in DTYPES:
        raise MeaningError(f"{name} is no element type (those are {', '.join(DTYPES)})")
    return DTYPES[name]


class ParameterSyntax(NamedTuple):
    """``%name: type``."""

    name: Token
    type: Token


class OperationSyntax(NamedTuple):
    """One operation; ``payload`` is its OPERANDS, VALUES or DENSE token."""

    results: Token | None
    name: Token
    symbol: Token | None
    payload: Token | None
    attributes: Token | None
    regions: list[RegionSyntax]
    types: Token | None
    location: Token | None


class RegionSyntax(NamedTuple):
    """A region of an operation."""

    label: Token | None
    arguments: list[ParameterSyntax]
    operations: list[OperationSyntax]


class FunctionSyntax(NamedTuple):
    """A function; ``results`` are (name or None, type) pairs."""

    name: Token
    parameters: list[ParameterSyntax]
    results: list[tuple[Token | None, Token]]
    attributes: Token | None
    location: Token | None
    operations: list[OperationSyntax]


class ModuleSyntax(NamedTuple):
    """A module."""

    attributes: Token | None
    functions: list[FunctionSyntax]


class ConstantSyntax(NamedTuple):
    """A constant as the value of an attribute."""

    symbol: Token | None
    dense: Token | None
    type: Type


class _ToSyntax(Transformer[Token, Any]):
    """Turns rules into syntax as soon as they are recognised; stateless, so one serves every thread."""

    def module(self, children: list[Any]) -> ModuleSyntax:
        return ModuleSyntax(children[0], children[1:])

    def function(self, c: list[Any]) -> FunctionSyntax:
        return FunctionSyntax(c[0], c[1] or [], c[2] or [], c[3], c[4], c[5])

    def operation(self, children: list[Any]) -> OperationSyntax:
        return OperationSyntax(*children)

    def region(self, c: list[Any]) -> RegionSyntax:
        return RegionSyntax(c[0], c[1] or [], c[2])

    def arguments(self, children: list[Any]) -> list[ParameterSyntax]:
        return children[0] or []

    def parameter(self, children: list[Any]) -> ParameterSyntax:
        return ParameterSyntax(*children)

    def output(self, children: list[Any]) -> tuple[Token | None, Token]:
        return children[0], children[1]

    def _same(self, children: list[Any]) -> list[Any]:
        return children

    block = regions = parameters = outputs = _same

    # ---- attribute values

    def attributes(self, children: list[Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in children:
            if key in found:
                raise MeaningError(f"the attribute {key} is given twice")
            found[key] = value
        return found

    def entry(self, children: list[Any]) -> tuple[str, Any]:
        key, value = children
        return (unquote(key), value)

    def sequence(self, children: list[Any]) -> tuple[Any, ...]:
        return tuple(children)

    @v_args(inline=True)
    def string(self, token: Token) -> str:
        return str(json.loads(token))

    @v_args(inline=True)
    def nested_type(self, token: Token) -> Type:
        return parse_type(str(token))

    def constant(self, children: list[Any]) -> ConstantSyntax:
        by_type = {token.type: token for token in children}
        return ConstantSyntax(by_type.get("SYMBOL"), by_type.get("DENSE"), parse_type(str(by_type["TYPE"])))

    # ---- dimensions

    @v_args(inline=True)
    def integer(self, token: Token) -> int:
        return int(token)

    @v_args(inline=True)
    def real(self, token: Token) -> float:
        return float(token)

    def word(self, children: list[Any]) -> Any:
        text = str(children[0])
        return _WORDS[text] if text in _WORDS else sym(text)

    def call(self, children: list[Any]) -> Dim:
        name, *arguments = children
        if name not in FUNCTIONS:
            raise MeaningError(f"{name} is no function of dimensions (those are {', '.join(FUNCTIONS)})")
        return FUNCTIONS[name](*map(_dim, arguments))

    @v_args(inline=True)
    def parenthesis(self, value: Any) -> Any:
        return _dim(value)

    @v_args(inline=True)
    def negate(self, value: Any) -> Any:
        return -value if isinstance(value, float) else -_dim(value)

    @v_args(inline=True)
    def add(self, a: Any, b: Any) -> Dim:
        return _dim(a) + _dim(b)

    @v_args(inline=True)
    def subtract(self, a: Any, b: Any) -> Dim:
        return _dim(a) - _dim(b)

    @v_args(inline=True)
    def multiply(self, a: Any, b: Any) -> Dim:
        return _dim(a) * _dim(b)

    # ---- types

    def tensor(self, children: list[Any]) -> TensorType:
        *shape, element = children
        return TensorType(tuple(shape), _element_type(str(element)))

    def dimension_name(self, children: list[Any]) -> Dim:
        return sym(str(children[0]))

    @v_args(inline=True)
    def unranked(self, element: str) -> UnrankedType:
        return UnrankedType(_element_type(str(element)))

    @v_args(inline=True)
    def seq(self, element: Type) -> SequenceType:
        return SequenceType(element)

    @v_args(inline=True)
    def optional(self, element: Type) -> OptionalType:
        return OptionalType(element)

    @v_args(inline=True)
    def map(self, key: str, value: str) -> MapType:
        return MapType(_element_type(str(key)), _element_type(str(value)))


def _dim(value: Any) -> Dim:
    """Return an operand of arithmetic: there, a word is a dimension even if it means something else elsewhere."""
    if isinstance(value, Expr) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float):
        word = str(abs(value))
        if word not in RESERVED:
            raise MeaningError(f"{value} is no dimension to calculate with")
        return -sym(word) if value < 0 else sym(word)
    return sym(next(word for word, meaning in _WORDS.items() if meaning is value))


def unquote(name: str) -> str:
    """Return a name without its quotes."""
    return str(json.loads(name)) if name.startswith('"') else str(name)


@lru_cache(maxsize=1)
def _parser() -> Lark:
    grammar = Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    return Lark(
        grammar,
        parser="lalr",
        lexer="contextual",
        start=["module", "attributes", "type"],
        maybe_placeholders=True,
        transformer=_ToSyntax(),
    )


def parse_syntax(text: str) -> ModuleSyntax:
    """Return the syntax of a module.

    Raises:
        lark.exceptions.UnexpectedInput: the text does not follow the grammar.
    """
    return cast(ModuleSyntax, _parser().parse(text, start="module"))


@lru_cache(maxsize=8192)
def parse_type(text: str) -> Type:
    """Return the type that a text means.

    Raises:
        lark.exceptions.LarkError: the text is no type.
    """
    return cast(Type, _parser().parse(text, start="type"))


@lru_cache(maxsize=8192)
def parse_attributes(text: str) -> dict[str, Any]:
    """Return the attributes in ``{key = value, ...}``; the dictionary is shared, do not change it.

    Raises:
        lark.exceptions.LarkError: the text is no attribute dictionary.
    """
    return cast("dict[str, Any]", _parser().parse(text, start="attributes"))
