"""Element types and numbers as PyTorch has them: type promotion, scalar type codes, sizes, axes.

Source: https://docs.pytorch.org/docs/stable/tensor_attributes.html#type-promotion
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.rules import Scalar
from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.runtime_dims import bound_dims, partial_dims
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, Expr
from lepton_ir.ir.types import DType

Number: TypeAlias = "int | float | bool | complex | Expr | Scalar"

SCALAR_TYPES = {
    0: DType.U8, 1: DType.I8, 2: DType.I16, 3: DType.I32, 4: DType.I64, 5: DType.F16, 6: DType.F32, 7: DType.F64,
    9: DType.C64, 10: DType.C128, 11: DType.BOOL, 15: DType.BF16, 23: DType.F8E5M2, 24: DType.F8E4M3FN,
    25: DType.F8E5M2FNUZ, 26: DType.F8E4M3FNUZ, 27: DType.U16, 28: DType.U32, 29: DType.U64,
}  # fmt: skip
"""Element types by their code, c10::ScalarType, which TorchScript writes."""

_INTEGERS = [DType.BOOL, DType.U8, DType.I8, DType.I16, DType.I32, DType.I64]
_FLOATS = [DType.F16, DType.BF16, DType.F32, DType.F64]
_COMPLEX = [DType.C64, DType.C128]
_CATEGORY = {DType.BOOL: 0, **dict.fromkeys(_FLOATS, 2), **dict.fromkeys(_COMPLEX, 3)}


def category(dtype: DType) -> int:
    """Return 0 for bool, 1 for integers, 2 for floats, 3 for complex numbers."""
    return 2 if dtype.is_float else _CATEGORY.get(dtype, 1)


def dtype_of(given: Any, default: DType | None = None) -> DType:
    """Return an element type that is given as such, as its code, or not at all.

    Raises:
        UnsupportedError: Lepton has no such element type, or none is given and there is no default.
    """
    if given is None and default is not None:
        return default
    if isinstance(given, DType):
        return given
    found = SCALAR_TYPES.get(given) if isinstance(given, int) else None
    if found is None:
        raise UnsupportedError(f"Lepton has no element type for PyTorch's scalar type {given}")
    return found


def joined(a: DType, b: DType) -> DType:
    """Return the type that two tensors of equal rank category are promoted to.

    Raises:
        UnsupportedError: PyTorch promotes them to nothing either.
    """
    if a is b:
        return a
    if category(a) < category(b):
        a, b = b, a
    if category(a) == 3:
        double = DType.C128 in (a, b) or DType.F64 in (a, b)
        return DType.C128 if double else DType.C64
    if category(a) > category(b):
        return a
    if category(a) == 2 and a in _FLOATS and b in _FLOATS:
        return DType.F32 if {a, b} == {DType.F16, DType.BF16} else max(a, b, key=_FLOATS.index)
    if a in _INTEGERS and b in _INTEGERS:
        signed = {a, b} - {DType.U8}
        if len(signed) == 1 and signed != {DType.BOOL}:
            other = signed.pop()
            return DType.I16 if other is DType.I8 else other
        return max(a, b, key=_INTEGERS.index)
    raise UnsupportedError(f"PyTorch does not promote {a} and {b} to a common type")


def result_type(*given: Value | Number) -> DType:
    """Return the element type in which PyTorch computes with tensors and numbers.

    Tensors with axes decide, unless one of rank 0 or a number is of a higher category (bool, integer, float,
    complex); among the rest tensors of rank 0 come before numbers.
    """
    groups: list[list[DType]] = [[], [], []]
    for g in given:
        if isinstance(g, Value):
            groups[0 if g.rank else 1].append(g.tensor.dtype)
        else:
            groups[2].append(number_type(g))
    found: DType | None = None
    for group in groups:
        if not group:
            continue
        best = group[0]
        for other in group[1:]:
            best = joined(best, other)
        found = best if found is None or category(best) > category(found) else found
        if group is groups[2] and found is best and category(best) == 3 and any(DType.F64 in g for g in groups[:2]):
            found = DType.C128
    if found is None:
        raise UnsupportedError("it computes with nothing")
    return found


def number_type(number: Number) -> DType:
    """Return the element type that PyTorch gives to a number by default: bool, i64, f32 or c64."""
    if isinstance(number, Scalar):
        kind = number.value.tensor.dtype
        return DType.F32 if kind.is_float else kind
    if isinstance(number, bool):
        return DType.BOOL
    if isinstance(number, (int, Expr)):
        return DType.I64
    return DType.C64 if isinstance(number, complex) else DType.F32


def tensor_of(b: AtenBuilder, given: Value | Number, dtype: DType | None = None) -> Value:
    """Return a tensor or a number as a tensor of an element type, its own by default; numbers have rank 0."""
    if isinstance(given, Value):
        return given if dtype is None else b.convert(given, dtype)
    target = dtype or number_type(given)
    if isinstance(given, Scalar):
        return b.convert(given.value, target)
    if isinstance(given, Expr):
        return b.convert(b.tensor_reshape(b.tensor_dims(dims=(given,)), shape=()), target)
    if target is DType.BOOL:
        return b.const(bool(given), dtype=target)
    if target.is_integer:
        whole = b.const(int(given.real), dtype=DType.I64)
        return whole if target is DType.I64 else b.cast(whole, to=target)
    return b.const(given, dtype=target)


def promoted(b: AtenBuilder, *given: Value | Number, floating: bool = False) -> list[Value]:
    """Return tensors and numbers in the element type of :func:`result_type`; ``floating``: at least f32."""
    dtype = result_type(*given)
    if floating and category(dtype) < 2:
        dtype = DType.F32
    return [tensor_of(b, g, dtype) for g in given]


def floats(b: AtenBuilder, x: Value) -> Value:
    """Return a tensor of integers or bools as f32, others as they are: what functions of real numbers compute in."""
    return b.convert(x, DType.F32) if category(x.tensor.dtype) < 2 else x


def number_of(given: Any, what: str = "number") -> Any:
    """Return a number that the rule needs to know.

    Raises:
        UnsupportedError: only the running program knows it.
    """
    if isinstance(given, (Scalar, Value)):
        raise UnsupportedError(f"the {what} is computed at run time", "make it a constant of the model")
    return given


def int_of(given: Any, what: str = "number") -> int:
    """Return an integer that the rule needs to know.

    Raises:
        UnsupportedError: it depends on data or on a dynamic dimension.
    """
    number = number_of(given, what)
    if isinstance(number, Expr):
        raise UnsupportedError(f"the {what} depends on the dynamic dimension {number}", "give the dimension a size")
    return int(number)


def ints_of(given: Any, what: str, count: int | None = None) -> tuple[int, ...]:
    """Return a list of integers that the rule needs to know; one number stands for ``count`` equal ones."""
    many = list(given) if isinstance(given, (list, tuple)) else [given]
    found = tuple(int_of(g, what) for g in many)
    return found * count if count is not None and len(found) == 1 else found


def dim_of(b: AtenBuilder, given: Any, what: str = "size") -> Dim:
    """Return a number as a dimension, with a fresh name where only the running program knows it."""
    if isinstance(given, Scalar):
        given = given.value
    if isinstance(given, Value):
        return bound_dims(b, given, partial_dims(b, given), what)[0]
    return given if isinstance(given, Expr) else int(given)


def dims_of(b: AtenBuilder, given: Any, what: str = "size") -> tuple[Dim, ...]:
    """Return a list of numbers as dimensions."""
    many = given if isinstance(given, (list, tuple)) else [given]
    return tuple(dim_of(b, g, what) for g in many)


def axis_of(given: Any, rank: int) -> int:
    """Return an axis counted from 0; a tensor of rank 0 has the axis 0.

    Raises:
        UnsupportedError: it lies outside of the rank.
    """
    axis, size = int_of(given, "axis"), max(rank, 1)
    if not -size <= axis < size:
        raise UnsupportedError(f"axis {axis} does not exist in a tensor of rank {rank}")
    return axis % size


def axes_of(given: Any, rank: int, empty_means_all: bool = True) -> tuple[int, ...]:
    """Return axes counted from 0, in order; all of them for None, and for an empty list unless told otherwise."""
    if given is None or (empty_means_all and isinstance(given, (list, tuple)) and not given):
        return tuple(range(rank))
    many: Sequence[Any] = given if isinstance(given, (list, tuple)) else [given]
    found = [axis_of(a, rank) for a in many]
    if len(set(found)) < len(found):
        raise UnsupportedError(f"its axes {list(many)} name one twice")
    return tuple(sorted(found)) if rank else ()
