"""The contents of small integer tensors, as numbers and dimension expressions."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import cast

import numpy as np

import lepton_ir.ops  # noqa: F401  registers the operators whose evaluation is used here
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.opdef import InferenceError, Operation
from lepton_ir.ir.types import DType, TensorType
from lepton_ir.ops.symbolic import UndecidableError

BUDGET = 1024
"""Tensors of more elements than this are data, not shapes."""

Memo = MutableMapping[Value, "np.ndarray | None"]


def symbolic_value(value: Value, memo: Memo | None = None) -> np.ndarray | None:
    """Return the elements of an integer or bool tensor that is computed from shapes and constants.

    Args:
        value: the tensor.
        memo: results so far, to be shared by calls as long as the IR does not change.

    Returns:
        A numpy object array of ints, bools and dimension expressions in the shape of the tensor; None where the
        tensor depends on data, or is too large to be a shape.
    """
    memo = {} if memo is None else memo
    stack = [value]
    while stack:
        current = stack[-1]
        if current in memo:
            stack.pop()
            continue
        missing = [v for v in _sources(current) if v not in memo]
        if missing and all(memo.get(v, missing) is not None for v in _sources(current)):
            stack.extend(missing)
            continue
        memo[current] = _compute(current, memo)
        stack.pop()
    return memo[value]


def symbolic_dims(value: Value, memo: Memo | None = None) -> tuple[Dim, ...] | None:
    """Return the elements of a tensor of rank 0 or 1 as dimensions; None where they are not known."""
    array = symbolic_value(value, memo)
    return None if array is None or array.ndim > 1 else tuple(array.reshape(-1).tolist())


def _is_small(value: Value) -> bool:
    if not isinstance(value.type, TensorType) or not (
        value.tensor.dtype.is_integer or value.tensor.dtype is DType.BOOL
    ):
        return False
    size = product(value.shape)
    return isinstance(size, int) and size <= BUDGET


def _sources(value: Value) -> tuple[Value, ...]:
    """Return what the value is computed from; nothing where it cannot be computed."""
    op = value.op
    if not isinstance(op, Operation) or not op.is_shape_computation or op.regions or not _is_small(value):
        return ()
    return op.present_operands


def _compute(value: Value, memo: Memo) -> np.ndarray | None:
    op = value.op
    if not isinstance(op, Operation) or not op.is_shape_computation or op.regions or not _is_small(value):
        return None
    operands = [None if v is None else memo.get(v) for v in op.operands]
    if any(v is not None and known is None for v, known in zip(op.operands, operands, strict=True)):
        return None
    try:
        found = op.evaluate(
            *(None if a is None else _to_numbers(a, v) for a, v in zip(operands, op.operands, strict=True))
        )
    except (UndecidableError, InferenceError, TypeError, ZeroDivisionError, IndexError, ValueError):
        return None
    results = found if isinstance(found, tuple) else (found,)
    position = next(r.index for r in op.results if r is value)
    return np.asarray(results[position]).astype(object)


def _to_numbers(array: np.ndarray, value: Value | None) -> np.ndarray:
    """Return an object array as one of numbers where all its elements are."""
    dtype = cast(Value, value).tensor.dtype
    known = all(isinstance(x, (int, np.integer, bool, np.bool_)) for x in array.reshape(-1).tolist())
    return array.astype(dtype.numpy) if known else array
