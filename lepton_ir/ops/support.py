"""What the operator definitions share: axes, broadcasting, and rounding once from a wide type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import numpy as np

from lepton_ir.ir.dim import Dim
from lepton_ir.ir.opdef import InferenceError
from lepton_ir.ir.types import DType, TensorType, broadcast_shapes

Array: TypeAlias = np.ndarray
Relation: TypeAlias = "tuple[Dim, str, Dim]"

NARROW_FLOATS = frozenset(d for d in DType if d.is_float and d not in (DType.F32, DType.F64))
"""Float types that numpy computes badly or not at all; they are computed in f32 and rounded once."""


def normalize_axis(axis: int, rank: int, what: str = "axis") -> int:
    """Return ``axis`` counted from 0.

    Raises:
        InferenceError: the axis lies outside of the rank.
    """
    if not -rank <= axis < rank:
        raise InferenceError(f"{what} {axis} is out of range for a tensor of rank {rank}")
    return axis + rank if axis < 0 else axis


def normalize_axes(axes: Iterable[int], rank: int, what: str = "axes") -> tuple[int, ...]:
    """Return the axes counted from 0, in the order given.

    Raises:
        InferenceError: an axis lies outside of the rank or appears twice.
    """
    found = tuple(normalize_axis(a, rank, what) for a in axes)
    if len(set(found)) != len(found):
        raise InferenceError(f"{what} {list(found)} name an axis twice")
    return found


_UNDECIDED: ContextVar[list[Relation] | None] = ContextVar("undecided", default=None)


@contextmanager
def undecided() -> Iterator[list[Relation]]:
    """Collect what the checks inside would have to know about symbols: (dimension, "==" or "<=", dimension)."""
    found: list[Relation] = []
    token = _UNDECIDED.set(found)
    try:
        yield found
    finally:
        _UNDECIDED.reset(token)


def _note(a: Dim, relation: str, b: Dim) -> None:
    found = _UNDECIDED.get()
    if found is not None:
        found.append((a, relation, b))


def broadcast(*shapes: Sequence[Dim], dynamic: bool = False) -> tuple[Dim, ...]:
    """Return the numpy broadcast of the shapes, as :func:`broadcast_shapes`, failing with an InferenceError.

    Where ``dynamic``, a symbolic dimension may turn out to be 1; otherwise it has to be equal to the result's.
    """
    first = tuple(shapes[0])
    if all(tuple(s) == first for s in shapes[1:]):
        return first
    try:
        result = broadcast_shapes(*shapes)
    except ValueError as error:
        raise InferenceError(str(error)) from None
    for shape in shapes:
        broadcasts_to(shape, result, dynamic)
    return result


def broadcasts_to(shape: Sequence[Dim], target: Sequence[Dim], dynamic: bool = False) -> bool:
    """Return whether a shape may be broadcast to another one, which stays what it is; see :func:`broadcast`."""
    pairs = zip(reversed(shape), reversed(target), strict=False)
    return len(shape) <= len(target) and not any(
        d != 1 and dims_differ(d, e, "broadcasts" if dynamic else "==") for d, e in pairs
    )


def require_rank(what: str, tensor: TensorType, *ranks: int) -> None:
    """Check the rank of a tensor.

    Raises:
        InferenceError: the rank is none of ``ranks``.
    """
    if tensor.rank not in ranks:
        raise InferenceError(f"{what} must have rank {' or '.join(map(str, ranks))}, got {tensor}")


def require_count(what: str, values: Sequence[object], count: int) -> None:
    """Check the length of an attribute.

    Raises:
        InferenceError: it is not ``count``.
    """
    if len(values) != count:
        raise InferenceError(f"{what} needs {count} entries, got {list(values)}")


def require_positive(what: str, values: Sequence[int]) -> None:
    """Check that every entry is at least 1.

    Raises:
        InferenceError: one is not.
    """
    if any(v < 1 for v in values):
        raise InferenceError(f"{what} must be at least 1, got {list(values)}")


def require_sizes(what: str, dims: Sequence[Dim]) -> None:
    """Check that no dimension is a negative number.

    Raises:
        InferenceError: one is.
    """
    if any(isinstance(d, int) and d < 0 for d in dims):
        raise InferenceError(f"{what} needs sizes, got {show(dims)}")


def require_known(what: str, tensor: TensorType) -> None:
    """Check that all dimensions are numbers.

    Raises:
        InferenceError: one is symbolic.
    """
    if not tensor.is_static:
        raise InferenceError(f"{what} must have known sizes, got {tensor}")


def require_same_dtype(what: str, *tensors: TensorType) -> None:
    """Check that all tensors have one element type.

    Raises:
        InferenceError: they differ.
    """
    if any(t.dtype is not tensors[0].dtype for t in tensors):
        raise InferenceError(f"{what} need one element type, got {', '.join(str(t.dtype) for t in tensors)}")


def require_integer(what: str, tensor: TensorType) -> None:
    """Check that the tensor holds integers.

    Raises:
        InferenceError: it does not.
    """
    if not tensor.dtype.is_integer:
        raise InferenceError(f"{what} must hold integers, got {tensor}")


def dims_differ(a: Dim, b: Dim, relation: str = "==") -> bool:
    """Return whether two dimensions are known to be different (symbols may take any value).

    What is not known is noted as the ``relation`` that has to hold.
    """
    difference = a - b
    if not isinstance(difference, int):
        _note(a, relation, b)
    return isinstance(difference, int) and difference != 0


def dims_exceed(a: Dim, b: Dim) -> bool:
    """Return whether ``a`` is known to be larger than ``b`` (symbols may take any value)."""
    difference = a - b
    if not isinstance(difference, int):
        _note(a, "<=", b)
    return isinstance(difference, int) and difference > 0


def show(dims: Sequence[Dim]) -> str:
    """Return a shape as text, ``[N, 3, 224]``."""
    return f"[{', '.join(map(str, dims))}]"


def ints(dims: Iterable[Dim]) -> tuple[int, ...]:
    """Return dimensions as numbers.

    Raises:
        InferenceError: one is symbolic: the operation has a value only when its symbols have.
    """
    numbers = tuple(dims)
    if not all(isinstance(d, int) for d in numbers):
        raise InferenceError(f"{show(numbers)} is not known yet: bind its symbols first")
    return numbers  # type: ignore[return-value]


def widen(array: Array) -> Array:
    """Return narrow floats as f32, everything else as it is."""
    if array.dtype.kind in "bOUS" or array.dtype in _NATIVE:
        return array
    return array.astype(np.float32 if DType.of(array).is_float else np.int32)


def narrow(array: Any, dtype: DType) -> Array:
    """Return the result in the element type it is to have; object arrays (dimensions, strings) stay."""
    array = np.asarray(array)
    if array.dtype == np.object_ or array.dtype == dtype.numpy:
        return array
    return array.astype(dtype.numpy)


_NATIVE = frozenset(
    d.numpy for d in DType if d not in NARROW_FLOATS and d not in (DType.I4, DType.U4, DType.I2, DType.U2)
)
