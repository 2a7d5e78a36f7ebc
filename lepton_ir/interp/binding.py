"""Giving symbolic dimensions their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lepton_ir.ir.core import Operation, Value
from lepton_ir.ir.dim import Dim, Expr, Sym, substitute, symbols
from lepton_ir.ir.types import DType, TensorType, Type

Env = dict[str, int]


class BindingError(ValueError):
    """A value does not have the type that it should have."""


def bind_value(type: Type, value: Any, env: Env) -> None:
    """Check a value against its type and add to ``env`` the symbols that its shape decides.

    Raises:
        BindingError: dtype, rank or a dimension is another one.
    """
    if not isinstance(type, TensorType):
        return
    if not isinstance(value, np.ndarray):
        raise BindingError(f"expected {type}, got {value!r:.60}")
    try:
        dtype = DType.of(value)
    except KeyError:
        raise BindingError(f"expected {type}, got an array of {value.dtype}") from None
    if dtype is not type.dtype or value.ndim != type.rank:
        raise BindingError(f"expected {type}, got {TensorType(tuple(value.shape), dtype)}")
    # Plain symbols first: they decide the expressions over them.
    for dim, size in sorted(zip(type.shape, value.shape, strict=True), key=lambda pair: _complexity(pair[0])):
        if not _bind(dim, size, env):
            wanted = substitute(dim, dict(env))
            given = f" ({dim} is {wanted} here)" if wanted != dim else ""
            raise BindingError(f"expected {type}{given}, got the shape {list(value.shape)}")


def _complexity(dim: Dim) -> int:
    return 0 if isinstance(dim, int) else len(str(dim))


def _bind(dim: Dim, size: int, env: Env) -> bool:
    """Return whether ``dim`` can be ``size``; a single unknown symbol is solved for."""
    rest = substitute(dim, dict(env))
    if isinstance(rest, int):
        return rest == size
    solved = _solve(rest, size)
    if solved is None:
        return True  # Several unknowns: nothing to hold against it.
    name, value = solved
    if value < 0 or substitute(rest, {name: value}) != size:
        return False
    env[name] = value
    return True


def _solve(expr: Expr, size: int) -> tuple[str, int] | None:
    """Return the symbol and its value where ``expr`` is linear in one symbol, None elsewhere."""
    unknown = symbols(expr)
    if len(unknown) != 1:
        return None
    coefficient, constant = 0, 0
    for monomial, factor in expr.terms:
        if not monomial:
            constant = factor
        elif len(monomial) == 1 and isinstance(monomial[0][0], Sym) and monomial[0][1] == 1:
            coefficient = factor
        else:
            return None
    return next(iter(unknown)), (size - constant) // coefficient


def bind_operation(op: Operation, operands: Sequence[Any], env: Mapping[str, int]) -> Operation:
    """Return ``op`` with numbers for the symbols that ``env`` knows; ``op`` itself where it has none.

    The copy stands in no block; its operands are placeholders of the types that the values really have.
    """
    static = all(_is_static(v.type) for v in (*op.present_operands, *op.results))
    if static and not op.attribute_symbols:
        return op
    dims = dict(env)
    placeholders = [
        None if old is None else Value(_actual_type(old.type, value))
        for old, value in zip(op.operands, operands, strict=True)
    ]
    attributes = {name: _substituted(value, dims) for name, value in op.attributes.items()}
    types = [t.substitute(dims) if isinstance(t, TensorType) else t for t in (r.type for r in op.results)]
    return type(op)(placeholders, attributes, types, (), op.location)


def _is_static(type: Type) -> bool:
    return not isinstance(type, TensorType) or type.is_static


def _actual_type(type: Type, value: Any) -> Type:
    return TensorType(tuple(value.shape), DType.of(value)) if isinstance(value, np.ndarray) else type


def _substituted(value: Any, env: Mapping[str, Dim]) -> Any:
    if isinstance(value, Expr):
        return substitute(value, env)
    if isinstance(value, tuple):
        return tuple(_substituted(v, env) for v in value)
    return value
