"""Arithmetic on arrays of dimensions: numpy object arrays whose elements are numbers or expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lepton_ir.ir.dim import Dim, dmax, dmin, is_nonnegative
from lepton_ir.ops.support import Array


class UndecidableError(ValueError):
    """A comparison of dimensions whose outcome depends on the values of their symbols."""


def is_symbolic(*arrays: Array | None) -> bool:
    """Return whether one of the arrays holds dimensions."""
    return any(a is not None and a.dtype == np.object_ for a in arrays)


def equal(a: Dim, b: Dim) -> bool:
    """Return whether two dimensions are equal for all values of their symbols.

    Raises:
        UndecidableError: it depends on the values.
    """
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    difference = a - b
    if isinstance(difference, int):
        return difference == 0
    if is_nonnegative(difference - 1) or is_nonnegative(-difference - 1):
        return False
    raise UndecidableError(f"whether {a} equals {b} depends on its symbols")


def less(a: Dim, b: Dim) -> bool:
    """Return whether ``a < b`` for all values of the symbols.

    Raises:
        UndecidableError: it depends on the values.
    """
    difference = b - a
    if is_nonnegative(difference - 1):
        return True
    if is_nonnegative(-difference):
        return False
    raise UndecidableError(f"whether {a} is less than {b} depends on its symbols")


def _elementwise(fn: Callable[[Any, Any], Any]) -> Callable[[Array, Array], Array]:
    ufunc = np.frompyfunc(fn, 2, 1)
    return lambda a, b: np.asarray(ufunc(a, b), dtype=object)


def _predicate(fn: Callable[[Any, Any], bool]) -> Callable[[Array, Array], Array]:
    ufunc = np.frompyfunc(fn, 2, 1)
    return lambda a, b: np.asarray(ufunc(a, b), dtype=np.bool_)


minimum = _elementwise(dmin)
maximum = _elementwise(dmax)
equals = _predicate(equal)
is_less = _predicate(less)
