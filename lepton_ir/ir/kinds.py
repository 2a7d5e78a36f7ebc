"""The kinds of attributes: which Python values an attribute of a declared kind may hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

from lepton_ir.ir.dim import Expr

Check = Callable[[Any], bool]


@lru_cache(maxsize=256)
def kind_check(kind: Any) -> Check:
    """Return the test of whether a value is of ``kind`` (a class, ``tuple[...]`` or a union of kinds)."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        checks = [kind_check(a) for a in arguments]
        return lambda value: any(check(value) for check in checks)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        check_one = kind_check(arguments[0])
        return lambda value: isinstance(value, tuple) and all(map(check_one, value))
    if origin is tuple:
        each = [kind_check(a) for a in arguments]
        return lambda value: (
            isinstance(value, tuple) and len(value) == len(each) and all(c(v) for c, v in zip(each, value, strict=True))
        )
    if kind is int:
        return lambda value: isinstance(value, int) and not isinstance(value, bool)
    if kind is Expr:
        return lambda value: isinstance(value, (int, Expr)) and not isinstance(value, bool)
    if kind in (None, Any):
        return lambda value: True
    plain = origin or kind
    return lambda value: isinstance(value, plain)


def describe_kind(kind: Any) -> str:
    """Return a kind in words, such as ``a list of dimensions``."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(describe_kind(a) for a in arguments)
    if origin is tuple:
        return f"a list of {_WORDS.get(arguments[0], (str(arguments[0]),))[-1]}"
    return _WORDS.get(kind, (str(getattr(kind, "__name__", kind)),))[0]


_WORDS: dict[Any, tuple[str, ...]] = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "booleans"),
    str: ("a string", "strings"),
    Expr: ("a dimension", "dimensions"),
    type(None): ("none", "none"),
}


def coerce(kind: Any, value: Any) -> Any:
    """Return ``value`` with integers as floats where ``kind`` wants those; everything else as it is."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, tuple) and get_origin(kind) is tuple and float in get_args(kind):
        return tuple(coerce(float, v) for v in value)
    return value
