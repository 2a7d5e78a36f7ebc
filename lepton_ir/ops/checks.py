"""Values of operands for which an operator has no meaning.

Types cannot rule them out, so ``evaluate`` checks, the verifier does where the operand is a constant, and compiled
code does before its loops, all with the same words.
"""

from __future__ import annotations

import numpy as np

from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.opdef import InferenceError
from lepton_ir.ops.support import Array
from lepton_ir.rewrite import constant_array

INDEX = "the index {} is outside of [-{}, {})"
ZERO_DIVISOR = "an integer is divided by zero"
EMPTY_AXIS = "axis {} has no elements, so none is the {}"
EMPTY_BORDER = "axis {} has no elements to pad with"
TOO_FEW = "{} elements are to be taken of the {} that axis {} has"


class DataError(ValueError):
    """An operand's values have no meaning for the operator."""


def out_of_range(indices: Array, size: int) -> str:
    """Return what is wrong with indices into an axis of ``size`` elements, "" where nothing is."""
    if not indices.size:
        return ""
    lowest, highest = int(indices.min()), int(indices.max())
    if lowest >= -size and highest < size:
        return ""
    return INDEX.format(lowest if lowest < -size else highest, size, size)


def check_indices(indices: Array, size: int) -> None:
    """Check indices into an axis of ``size`` elements, where negative ones count from its end.

    Raises:
        DataError: one lies outside.
    """
    problem = out_of_range(indices, size)
    if problem:
        raise DataError(problem)


def verify_indices(indices: Value, size: Dim) -> None:
    """Check indices that are constant.

    Raises:
        InferenceError: one lies outside of an axis of ``size`` elements.
    """
    array = constant_array(indices)
    if array is not None and isinstance(size, int):
        _verify(out_of_range(array, size))


def verify_vectors(indices: Value, sizes: tuple[Dim, ...]) -> None:
    """Check constant vectors of indices, the last axis of ``indices``, each entry into an axis of its own.

    Raises:
        InferenceError: one lies outside of its axis.
    """
    array = constant_array(indices)
    if array is None:
        return
    for position, size in enumerate(sizes):
        if isinstance(size, int):
            _verify(out_of_range(array[..., position], size))


def check_divisor(a: Array, b: Array) -> None:
    """Check the divisor of integers.

    Raises:
        DataError: an element is zero, and something is divided by it.
    """
    if b.dtype.kind in "iu" and not np.all(b) and np.broadcast(a, b).size:
        raise DataError(ZERO_DIVISOR)


def may_be_zero(b: Value) -> bool:
    """Return whether the divisor holds integers of which one may be zero."""
    array = constant_array(b)
    return b.tensor.dtype.is_integer and (array is None or not np.all(array))


def verify_divisor(b: Value) -> None:
    """Check a constant divisor of integers.

    Raises:
        InferenceError: an element is zero.
    """
    if constant_array(b) is not None and may_be_zero(b):
        _verify(ZERO_DIVISOR)


def _verify(problem: str) -> None:
    if problem:
        raise InferenceError(problem)
