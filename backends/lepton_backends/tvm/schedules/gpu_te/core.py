"""What the tensor expressions of all GPU operators share: int64 indices, wide accumulators, checked loads.

One ``te.compute`` is one stage. Stages that only move or map elements are inlined by the GPU schedules; a stage with
a reduction becomes a loop nest of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tvm import te, tirx

Tensor: TypeAlias = Any
Expr: TypeAlias = Any
Index: TypeAlias = Any
Shape: TypeAlias = Sequence[Index]

NARROW = frozenset({"float16", "bfloat16"})


def index(value: Index) -> Expr:
    """Return an int as an int64 literal; expressions stay as they are."""
    return tirx.IntImm("int64", value) if isinstance(value, int) else value


def static(value: Index) -> int | None:
    """Return the number that an index is, None where it is not known at compile time."""
    if isinstance(value, int):
        return value
    return int(value.value) if isinstance(value, tirx.IntImm) else None


def is_one(value: Index) -> bool:
    """Return whether an extent is known to be 1."""
    return static(value) == 1


def shape_of(tensor: Tensor) -> list[Index]:
    """Return the shape with known extents as ints."""
    return [known if (known := static(extent)) is not None else extent for extent in tensor.shape]


def product(extents: Shape) -> Index:
    """Return the product of extents, 1 of none."""
    total: Index = 1
    for extent in extents:
        total = extent if is_one(total) else total if is_one(extent) else total * extent
    return total


def ceildiv(a: Index, b: int) -> Index:
    """Return ceil(a / b) of a nonnegative a."""
    return -(-a // b) if isinstance(a, int) else tirx.floordiv(a + (b - 1), index(b))


def compute(shape: Shape, body: Callable[..., Expr], name: str) -> Tensor:
    """Return one stage: the tensor of ``shape`` whose elements ``body`` gives, from one index per axis."""
    return te.compute([index(extent) for extent in shape], body, name=name)


def reduce_axes(extents: Shape, name: str = "k") -> list[Any]:
    """Return reduction axes over ``range(extent)``."""
    return [te.reduce_axis((index(0), index(extent)), name=f"{name}{i}") for i, extent in enumerate(extents)]


def accumulator(dtype: str) -> str:
    """Return the type that elements of ``dtype`` are summed in: f32 for narrower floats."""
    return "float32" if dtype in NARROW else dtype


def cast(expr: Expr, dtype: str) -> Expr:
    """Convert a scalar."""
    return expr if str(expr.ty) == dtype else expr.astype(dtype)


def rounded(stage: Tensor, dtype: str) -> Tensor:
    """Return a stage of accumulators in the element type that the operator gives."""
    if str(stage.dtype) == dtype:
        return stage
    return compute(shape_of(stage), lambda *i: stage(*i).astype(dtype), f"{stage.op.name}_rounded")


def inside(conditions: Sequence[Expr], value: Expr, otherwise: Expr) -> Expr:
    """Return ``value`` where every condition holds; it is not evaluated elsewhere."""
    return tirx.if_then_else(tirx.all(*conditions), value, otherwise) if conditions else value


def at(tensor: Tensor, indices: Shape) -> Expr:
    """Load an element of a tensor of any rank, 0 included."""
    return tensor(*[index(i) for i in indices])


def broadcast_at(tensor: Tensor, indices: Shape) -> Expr:
    """Load the element that numpy broadcasting puts at ``indices`` of a larger tensor."""
    shape = shape_of(tensor)
    own = indices[len(indices) - len(shape) :]
    return at(tensor, [0 if is_one(extent) else i for i, extent in zip(own, shape, strict=True)])
