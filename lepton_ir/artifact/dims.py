"""Dimensions in JSON: numbers as numbers, expressions as the text that ``str`` gives."""

from __future__ import annotations

import ast

from lepton_ir.ir.dim import FUNCTIONS, Dim, sym

_LONGEST = 4096
"""Python's parser goes as deep as the text tells it to."""


def dim_to_json(dim: Dim) -> int | str:
    """Return a number, or the text of an expression."""
    return dim if isinstance(dim, int) else str(dim)


def dim_from_json(value: int | str) -> Dim:
    """Return the dimension that ``value`` spells; the inverse of :func:`dim_to_json`.

    Raises:
        ValueError: it spells none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"{value!r} is not a dimension")
    if isinstance(value, int):
        return value
    if len(value) > _LONGEST:
        raise ValueError(f"a dimension is spelled in {len(value)} characters")
    try:
        return _read(ast.parse(value, mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError, ArithmeticError) as error:
        raise ValueError(f"{value!r} is not a dimension") from error


def _read(node: ast.expr) -> Dim:
    match node:
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            return number
        case ast.Name(id=name):
            return sym(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_read(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _read(left) + _read(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _read(left) - _read(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _read(left) * _read(right)
        case ast.Call(func=ast.Name(id=name), args=[left, right]) if name in FUNCTIONS:
            divisor = _read(right)
            if name not in ("min", "max") and isinstance(divisor, int) and divisor < 1:
                raise ValueError(f"{ast.unparse(node)!r} divides by {divisor}")
            return FUNCTIONS[name](_read(left), divisor)
    raise ValueError(f"{ast.unparse(node)!r} is not a dimension")
