"""Simplification of slices and gathers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lepton_ir.ir.dim import Dim, product
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import Failure, Pattern, PatternRewriter, Rewrite, constant_array, rewrite_pattern
from lepton_passes.transposes import grouping

_END = 2**63 - 1


@rewrite_pattern("tensor.gather")
def gather_of_one(op: Any) -> Failure | Rewrite:
    """A gather by one constant index is a slice."""
    indices = constant_array(op.indices)
    if indices is None or indices.size != 1:
        return Failure("the index is not one constant", op)
    index = int(indices.reshape(-1)[0])
    axis = op.axis % op.x.rank
    size = op.x.shape[axis]
    if isinstance(size, int) and not -size <= index < size:
        return Failure("the index is out of range", op)

    def rewrite(rw: PatternRewriter) -> Any:
        end = index + 1 if index != -1 else _END
        part = rw.tensor_slice(op.x, starts=(index,), ends=(end,), axes=(axis,), steps=(1,))
        return rw.tensor_reshape(part, shape=op.y.shape)

    return rewrite


@rewrite_pattern("tensor.slice")
def whole_slice(op: Any) -> Failure | Rewrite:
    """A slice that takes everything is nothing."""
    if tuple(op.y.shape) != tuple(op.x.shape) or any(s != 1 for s in op.steps):
        return Failure("elements are left out or reordered", op)
    return lambda rw: op.x


@rewrite_pattern("tensor.slice")
def slice_of_transpose(op: Any) -> Failure | Rewrite:
    """Slice first, then transpose what is left."""
    inner = op.x.op
    if inner is None or inner.name != "tensor.transpose":
        return Failure("the operand is not transposed", op)
    if any(user.name != "tensor.slice" for user in op.x.users):
        return Failure("the whole transposed value is read, too", inner)

    def rewrite(rw: PatternRewriter) -> Any:
        axes = tuple(inner.perm[axis % op.x.rank] for axis in op.axes)
        part = rw.tensor_slice(inner.x, starts=op.starts, ends=op.ends, axes=axes, steps=op.steps)
        return rw.tensor_transpose(part, perm=inner.perm)

    return rewrite


@rewrite_pattern("tensor.slice")
def slice_of_reshape(op: Any) -> Failure | Rewrite:
    """Slice first, then reshape what is left, where the sliced axis is an axis before as well or leads a split one."""
    inner = op.x.op
    if inner is None or inner.name != "tensor.reshape":
        return Failure("the operand is not reshaped", op)
    if len(op.axes) != 1 or any(user.name != "tensor.slice" for user in op.x.users):
        return Failure("several axes are cut, or the whole value is read, too", op)
    axis = op.axes[0] % op.x.rank
    before, after = inner.x.shape, op.x.shape
    for taken, made in grouping(before, after) or ():
        sources = [a for a in taken if before[a] != 1]
        parts = [a for a in made if after[a] != 1]
        if axis not in parts:
            continue
        if len(sources) != 1 or parts[0] != axis:
            return Failure("the sliced axis is mixed with others", inner)
        return _above(op, inner, sources[0], product(after[a] for a in parts[1:]))
    return Failure("the sliced axis is mixed with others", inner)


def _above(op: Any, inner: Any, source: int, stride: Dim) -> Failure | Rewrite:
    step = op.steps[0]
    if stride == 1:
        bounds = (op.starts, op.ends)
    elif step == 1:
        axis = op.axes[0] % op.x.rank
        first = op.first_indices()[axis]
        bounds = ((first * stride,), ((first + op.y.shape[axis]) * stride,))
    else:
        return Failure("the step leaves gaps in a split axis", op)

    def rewrite(rw: PatternRewriter) -> Any:
        part = rw.tensor_slice(inner.x, starts=bounds[0], ends=bounds[1], axes=(source,), steps=(step,))
        return rw.tensor_reshape(part, shape=op.y.shape)

    return rewrite


@rewrite_pattern("tensor.concat")
def concat_of_one(op: Any) -> Failure | Rewrite:
    """Concatenating one value, or only empty ones beside it, is nothing."""
    axis = op.axis % op.y.rank
    kept = [v for v in op.present_operands if v.shape[axis] != 0]
    if (len(kept) == len(op.present_operands) and len(kept) != 1) or not kept:
        return Failure("several values are joined", op)
    if len(kept) == 1:
        return lambda rw: kept[0]
    return lambda rw: rw.tensor_concat(kept, axis=op.axis)


@register_pass("simplify-indexing")
@dataclass(frozen=True)
class SimplifyIndexing(PatternPass):
    """Turn gathers by a constant into slices, and take slices before transpositions and reshapes."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return [gather_of_one, whole_slice, slice_of_transpose, slice_of_reshape, concat_of_one]
