"""Derivatives of operators that move elements: each gradient goes back to where its element came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_ir.gradient.rules import NotDifferentiableError, derivative, reshaped, unbroadcast, zeros
from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product


@derivative("tensor.reshape")
def reshape(b: Builder, op: Any, dy: Value) -> Value:
    return reshaped(b, dy, op.x.shape)


@derivative("tensor.transpose")
def transpose(b: Builder, op: Any, dy: Value) -> Value:
    back = sorted(range(len(op.perm)), key=op.perm.__getitem__)
    return b.tensor_transpose(dy, perm=tuple(back))


@derivative("tensor.expand")
def expand(b: Builder, op: Any, dy: Value) -> Value:
    return unbroadcast(b, dy, op.x)


@derivative("tensor.full")
def full(b: Builder, op: Any, dy: Value) -> Value:
    return b.reduce_sum(dy, axes=tuple(range(dy.rank)), keepdims=False)


@derivative("tensor.reverse")
def reverse(b: Builder, op: Any, dy: Value) -> Value:
    return b.tensor_reverse(dy, axes=op.axes)


@derivative("tensor.trilu")
def trilu(b: Builder, op: Any, dy: Value) -> Value:
    return b.tensor_trilu(dy, upper=op.upper, k=op.k)


@derivative("tensor.concat")
def concat(b: Builder, op: Any, dy: Value) -> list[Value]:
    axis = op.axis % dy.rank
    pieces = b.tensor_split(dy, axis=axis, sizes=tuple(x.shape[axis] for x in op.xs))
    return [pieces] if isinstance(pieces, Value) else list(pieces)


@derivative("tensor.split")
def split(b: Builder, op: Any, *dys: Value | None) -> Value:
    pieces = [zeros(b, r) if d is None else d for d, r in zip(dys, op.results, strict=True)]
    return b.tensor_concat(pieces, axis=op.axis)


@derivative("tensor.pad")
def pad(b: Builder, op: Any, dy: Value) -> list[Value | None]:
    if op.mode != "constant":
        raise NotDifferentiableError(f'differentiates padding of the mode "{op.mode}", and only "constant" is known')
    inner = b.tensor_pad(dy, None, pads=tuple(-p for p in op.pads))
    if op.value is None:
        return [inner]
    every = tuple(range(dy.rank))
    whole, kept = (b.reduce_sum(v, axes=every, keepdims=False) for v in (dy, inner))
    return [inner, b.sub(whole, kept)]


@derivative("tensor.slice")
def cut(b: Builder, op: Any, dy: Value) -> Value:
    """Put the elements back, ``step`` apart, between zeros."""
    back = tuple(axis for axis, step in enumerate(op.all_steps()) if step < 0)
    y = b.tensor_reverse(dy, axes=back) if back else dy
    before: list[Dim] = []
    after: list[Dim] = []
    for axis, (first, step) in enumerate(zip(op.first_indices(), op.all_steps(), strict=True)):
        count = dy.shape[axis]
        y = _apart(b, y, axis, abs(step))
        before.append(first if step > 0 else first + (count - 1) * step)
        after.append(op.x.shape[axis] - y.shape[axis] - before[-1])
    return b.tensor_pad(y, None, pads=(*before, *after))


def _apart(b: Builder, x: Value, axis: int, step: int) -> Value:
    """Return x with ``step - 1`` zeros after each element along an axis."""
    if step == 1:
        return x
    shape = tuple(x.shape)
    column = b.tensor_reshape(x, shape=(*shape[: axis + 1], 1, *shape[axis + 1 :]))
    after = [0] * column.rank
    after[axis + 1] = step - 1
    wide = b.tensor_pad(column, None, pads=(*[0] * column.rank, *after))
    return b.tensor_reshape(wide, shape=(*shape[:axis], shape[axis] * step, *shape[axis + 1 :]))


@derivative("tensor.gather")
def gather(b: Builder, op: Any, dy: Value) -> Value:
    """Add each slice where it was taken from, the axis brought to the front."""
    axis, x = op.axis % op.x.rank, op.x
    count = op.indices.rank
    picked = range(axis, axis + count)
    rest = [i for i in range(dy.rank) if i not in picked]
    moved = b.tensor_transpose(dy, perm=(*picked, *rest))
    slices = [d for i, d in enumerate(x.shape) if i != axis]
    flat: Dim = product(op.indices.shape)
    updates = reshaped(b, moved, (flat, *slices))
    start = b.tensor_full(b.const(0, dtype=x.tensor.dtype), shape=(x.shape[axis], *slices))
    whole = b.tensor_scatter_nd(start, reshaped(b, op.indices, (flat, 1)), updates, reduction="add")
    perm = [*range(1, axis + 1), 0, *range(axis + 1, x.rank)]
    return b.tensor_transpose(whole, perm=tuple(perm))


@derivative("tensor.gather_elements")
def gather_elements(b: Builder, op: Any, dy: Value) -> Value:
    return b.tensor_scatter_elements(zeros(b, op.x), op.indices, dy, axis=op.axis, reduction="add")


@derivative("tensor.gather_nd")
def gather_nd(b: Builder, op: Any, dy: Value) -> Value:
    if op.batch_dims:
        raise NotDifferentiableError("differentiates tensor.gather_nd with batch axes")
    return b.tensor_scatter_nd(zeros(b, op.x), op.indices, dy, reduction="add")


@derivative("tensor.scatter_elements", "tensor.scatter_nd")
def scatter(b: Builder, op: Any, dy: Value) -> Sequence[Value | None]:
    if op.reduction not in ("none", "add"):
        raise NotDifferentiableError(f'differentiates {op.name} with the reduction "{op.reduction}"')
    by_element = op.name == "tensor.scatter_elements"
    picked = (
        b.tensor_gather_elements(dy, op.indices, axis=op.axis) if by_element else b.tensor_gather_nd(dy, op.indices)
    )
    if op.reduction == "add":
        return [dy, None, picked]
    nothing = zeros(b, op.updates)
    left = (
        b.tensor_scatter_elements(dy, op.indices, nothing, axis=op.axis)
        if by_element
        else b.tensor_scatter_nd(dy, op.indices, nothing)
    )
    return [left, None, picked]
