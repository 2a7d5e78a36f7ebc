"""Simplification of transpositions and reshapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_ir.ir import Dim
from lepton_ir.ir.dim import product
from lepton_ir.ops.folds import shape
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import Failure, Pattern, Rewrite, constant_of, rewrite_pattern


@rewrite_pattern("tensor.transpose", "tensor.reshape")
def move_constant(op: Any) -> Failure | Rewrite:
    """A constant is transposed or reshaped at compile time."""
    constant = constant_of(op.x)
    if constant is None or not op.y.tensor.is_static or constant.array.dtype == np.object_:
        return Failure("the operand is not a constant", op)
    return lambda rw: rw.const(np.ascontiguousarray(op.evaluate(constant.array)), name=constant.name)


def grouping(before: Sequence[Dim], after: Sequence[Dim]) -> list[tuple[list[int], list[int]]] | None:
    """Return which runs of axes a reshape turns into which, as finely as the sizes tell; None if they do not."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        left, right = list(range(i, min(i + 1, len(before)))), list(range(j, min(j + 1, len(after))))
        i, j = i + len(left), j + len(right)
        while (a := product(before[k] for k in left)) != (b := product(after[k] for k in right)):
            # Symbolic sizes are compared by what they consist of: take more of the side that has less.
            if i < len(before) and (j >= len(after) or _less(a, b)):
                left.append(i)
                i += 1
            elif j < len(after):
                right.append(j)
                j += 1
            else:
                return None
        groups.append((left, right))
    return groups


def _less(a: Dim, b: Dim) -> bool:
    if isinstance(a, int) and isinstance(b, int):
        return a < b
    return isinstance(a, int) and not isinstance(b, int)


@rewrite_pattern("tensor.reshape")
def transpose_below_reshape(op: Any) -> Failure | Rewrite:
    """A transposition moves below a reshape that keeps its axes together, to meet another one there."""
    inner = op.x.op
    if inner is None or inner.name != "tensor.transpose":
        return Failure("the operand is not transposed", op)
    if not op.y.is_used or any(user.name != "tensor.transpose" for user in op.y.users):
        return Failure("no transposition follows", op)
    groups = grouping(op.x.shape, op.y.shape)
    if groups is None:
        return Failure("the reshape mixes axes", op)
    perm = inner.perm
    sources = []
    for taken, made in groups:
        axes = [perm[k] for k in taken if not _is_one(op.x.shape[k])] or [perm[k] for k in taken]
        if axes and axes != list(range(axes[0], axes[0] + len(axes))):
            return Failure("the reshape joins axes that the transposition brought together", op)
        sources.append((axes[0] if axes else -1, made))
    order = sorted(range(len(sources)), key=lambda g: sources[g][0])
    sizes = [op.y.shape[k] for g in order for k in sources[g][1]]
    places = {k: n for n, k in enumerate(k for g in order for k in sources[g][1])}
    new_perm = tuple(places[k] for k in range(op.y.rank))
    return lambda rw: rw.tensor_transpose(rw.tensor_reshape(inner.x, shape=sizes), perm=new_perm)


@rewrite_pattern("linalg.matmul")
def transpose_into_matmul(op: Any) -> Failure | Rewrite:
    """A product reads a matrix transposed as well as straight."""
    for index, flag in enumerate(("transpose_a", "transpose_b")):
        inner: Any = op.operands[index].op
        if inner is None or inner.name != "tensor.transpose" or inner.y.rank < 2:
            continue
        rank = inner.y.rank
        if tuple(inner.perm) == (*range(rank - 2), rank - 1, rank - 2):
            operands = [inner.x if i == index else v for i, v in enumerate(op.operands)]
            attributes = {**op.attributes, flag: not op.attribute_values()[flag]}
            return lambda rw: rw.linalg_matmul(*operands, **attributes)
    return Failure("no operand is a transposed matrix", op)


def _is_one(dim: Dim) -> bool:
    return isinstance(dim, int) and dim == 1


def transposition_patterns() -> list[Pattern]:
    """Return the patterns of this pass."""
    return [
        shape.same_shape,
        shape.transpose_in_order,
        shape.transpose_of_transpose,
        shape.reshape_of_reshape,
        move_constant,
        transpose_below_reshape,
        transpose_into_matmul,
    ]


@register_pass("simplify-transposes")
@dataclass(frozen=True)
class SimplifyTransposes(PatternPass):
    """Join transpositions and reshapes, drop those that do nothing, and apply them to constants."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return transposition_patterns()
