"""Turning the text of a pass option into the type that its field declares."""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lepton_ir.diagnostics import LeptonError
from lepton_ir.passes.base import Pass


def make_pass(cls: type[Pass], options: Mapping[str, str]) -> Pass:
    """Create a pass from options as text, spelled in kebab case.

    Raises:
        LeptonError: an option is unknown or its text does not fit the field's type.
    """
    hints = get_type_hints(cls)
    known = {f.name.replace("_", "-"): f.name for f in fields(cls)}
    values: dict[str, Any] = {}
    for option, text in options.items():
        if option not in known:
            listed = ", ".join(known) or "none"
            raise LeptonError(
                f"the pass {cls.name} has no option {option}",
                why=f"its options are: {listed}",
                help="leptonc passes lists them",
            )
        try:
            values[known[option]] = parse_value(text, hints[known[option]])
        except ValueError as error:
            raise LeptonError(f"bad value {text!r} for the option {option} of {cls.name}", why=str(error)) from None
    return cls(**values)


def parse_value(text: str, kind: Any) -> Any:
    """Return ``text`` read as ``kind``.

    Raises:
        ValueError: it cannot be read so.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if text in ("none", "") and type(None) in arguments:
            return None
        return parse_value(text, next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        return tuple(parse_value(part.strip(), arguments[0]) for part in inner.split(",") if part.strip())
    if origin is Literal:
        if text not in arguments:
            raise ValueError(f"choose one of {', '.join(map(str, arguments))}")
        return text
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError("write true or false")
        return text == "true"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(text)
    if kind in (int, float, str):
        return kind(text)
    raise ValueError(f"options of type {kind} cannot be written as text")
