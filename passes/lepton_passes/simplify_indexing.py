"""Slices before transpositions and reshapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lepton_ir.ir.dim import Dim, product
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import Failure, Pattern, PatternRewriter, Rewrite, rewrite_pattern
from lepton_passes.transposes import grouping


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


@register_pass("simplify-indexing")
@dataclass(frozen=True)
class SimplifyIndexing(PatternPass):
    """Take slices before transpositions and reshapes, which then have less to do."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return [slice_of_transpose, slice_of_reshape]
