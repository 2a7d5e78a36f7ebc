"""The spelling of names, strings, numbers and attribute values in the text form."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.constant import Constant
from lepton_ir.ir.dim import Expr
from lepton_ir.ir.location import Location
from lepton_ir.ir.opdef import RegionField
from lepton_ir.ir.types import DType, Type

BARE_NAME = re.compile(r"[A-Za-z_$][\w$.-]*")
"""A name after ``%``, ``@`` or as an attribute's key that needs no quotes."""

SYMBOL_ATTRIBUTES = ("callee", "symbol")
"""Attributes that are written as ``@name`` after the operator."""

DTYPES: dict[str, DType] = {d.value: d for d in DType}
RESERVED = frozenset(DTYPES) | {"true", "false", "none", "inf", "nan"}
"""Words that mean something else than a dimension; a dimension of such a name stands in parentheses."""


def quote(text: str) -> str:
    """Return ``text`` as a string literal (JSON's escapes)."""
    return json.dumps(text, ensure_ascii=False)


def format_name(name: str) -> str:
    """Return a name as written after ``%`` or ``@``: bare where possible, else quoted."""
    return name if BARE_NAME.fullmatch(name) else quote(name)


def region_label(field: RegionField) -> str:
    """Return the word before a region of an operator that has several: ``else`` for ``else_region``."""
    return field.name.removesuffix("_region")


def format_expr(expr: Expr) -> str:
    """Return a symbolic dimension as an attribute value."""
    text = str(expr)
    word = text.removeprefix("-")
    return f"{text[: -len(word)]}({word})" if word in RESERVED else text


def format_location(location: Location) -> str:
    """Return ``loc("file":"node":line:column)``, ``loc(fused[...])`` or ``loc(unknown)``."""
    if not location.is_known:
        return "loc(unknown)"
    if location.fused:
        return f"loc(fused[{', '.join(map(_place, location.fused))}])"
    return f"loc({_place(location)})"


def _place(location: Location) -> str:
    return f"{quote(location.file)}:{quote(location.node)}:{location.line}:{location.column}"


def format_attributes(attributes: Mapping[str, Any], constant: Callable[[Constant], str]) -> str:
    """Return ``{key = value, ...}``; ``constant`` spells the constants inside."""
    entries = [f"{format_name(key)} = {format_value(value, constant)}" for key, value in attributes.items()]
    return "{" + ", ".join(entries) + "}"


def format_value(value: Any, constant: Callable[[Constant], str]) -> str:
    """Return an attribute value as text.

    Raises:
        LeptonError: the value is of a kind that attributes cannot hold.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join([format_value(v, constant) for v in value]) + "]"
    if isinstance(value, Expr):
        return format_expr(value)
    if isinstance(value, (DType, Type)):
        return str(value)
    if value is None:
        return "none"
    if isinstance(value, Constant):
        return f"{constant(value)} : {value.type}"
    if isinstance(value, Mapping):
        return format_attributes(value, constant)
    raise LeptonError(
        f"cannot print an attribute value of type {type(value).__name__}",
        help="attributes hold numbers, bool, str, dtypes, types, dimensions, constants, and tuples or dicts of those",
    )
