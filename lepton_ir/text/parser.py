"""Parsing text into modules."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

import lepton_ir.ops  # noqa: F401 - registers the operators
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.module import Module
from lepton_ir.text.build import ModuleBuilder
from lepton_ir.text.source import Source
from lepton_ir.text.syntax import ModuleSyntax, parse_syntax
from lepton_ir.text.weights import load_weights

Weights = str | os.PathLike[str] | Mapping[str, np.ndarray] | None


def parse_module(text: str, weights: Weights = None, file: str = "") -> Module:
    """Return the module that a text means.

    Args:
        text: the text.
        weights: the constants that the text only names: a safetensors file, or arrays by name.
        file: the text's file, for locations and messages.

    Raises:
        LeptonError: the text is no module; the message points at the place.
    """
    source = Source(text, file)
    arrays = load_weights(weights) if isinstance(weights, (str, os.PathLike)) else weights
    return ModuleBuilder(source, arrays).build(_parse(source))


def load_module(path: str | os.PathLike[str], weights: Weights = None) -> Module:
    """Return the module in a ``.lir`` file; ``<stem>.safetensors`` beside it holds the weights unless given.

    Raises:
        LeptonError: the file cannot be read, or is no module.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise LeptonError(f"cannot read {path}", why=str(e)) from e
    return parse_module(text, weights if weights is not None else weights_beside(path), str(path))


def weights_beside(path: Path) -> Path | None:
    """Return the side file of a ``.lir`` file, None where there is none."""
    beside = path.with_suffix(".safetensors")
    return beside if beside.is_file() else None


def _parse(source: Source) -> ModuleSyntax:
    try:
        return parse_syntax(source.text)
    except UnexpectedInput as e:
        raise _syntax_error(source, e) from None


def _syntax_error(source: Source, error: UnexpectedInput) -> LeptonError:
    if isinstance(error, UnexpectedToken):
        expected = _spell(error.accepts or error.expected)
        if error.token.type == "$END":
            return source.error("the text ends too early", max(len(source.text.rstrip()) - 1, 0), why=expected)
        if error.token.type == "LPAR" and "OPERANDS" in error.expected:
            help = "write (%a, %b), none where an operand is absent"
            return source.error("cannot read the operands", error.token.start_pos or 0, help=help)
        return source.error(f"unexpected {str(error.token)[:40]!r}", error.token.start_pos or 0, why=expected)
    position = error.pos_in_stream or 0
    allowed = error.allowed if isinstance(error, UnexpectedCharacters) else None
    word = source.text[position : position + 20].split("\n")[0]
    return source.error(f"cannot read {word!r}", position, why=_spell(allowed or ()))


_READABLE = {
    "ATTRIBUTES": "attributes {name = value}",
    "RESULTS": "%name =",
    "OPERANDS": "operands (%a, %b)",
    "VALUES": "values %a, %b",
    "VALUE": "a value %name",
    "SYMBOL": "@name",
    "DENSE": "dense<...>",
    "RESULT_TYPES": "': type'",
    "TYPE": "a type such as tensor<4xf32>",
    "LOCATION": "loc(...)",
    "LABEL": "a region",
    "NAME": "an operator",
    "OUTPUT_NAME": "an output's name",
    "LBRACE": "'{'",
    "RBRACE": "'}'",
    "LPAR": "'('",
    "RPAR": "')'",
    "COLON": "':'",
    "COMMA": "','",
    "MODULE": "'module'",
    "FUNC": "'func'",
    "CIRCUMFLEX": "'^('",
    "__ANON_0": "'->'",
    "$END": "the end",
}


def _spell(terminals: object) -> str:
    names = sorted(terminals) if isinstance(terminals, (set, frozenset, list)) else []
    words = dict.fromkeys(_READABLE.get(name, name) for name in names)
    return f"expected {' or '.join(words)}" if words else ""
