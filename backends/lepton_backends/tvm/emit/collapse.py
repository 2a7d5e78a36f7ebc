"""Element-wise kernels over fewer, longer axes."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import rules
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.tir import Buffer, Expr, Index
from lepton_ir.ir import Value
from lepton_ir.ir.core import Operation


def _axis_signature(value: Value, axis: int, rank: int) -> bool:
    """Return whether the value has own elements along an axis of the result (it broadcasts otherwise)."""
    own = axis - (rank - value.rank)
    return own >= 0 and value.shape[own] != 1


def leaves(view: KernelView, value: Value) -> list[Value] | None:
    """Return the values in memory that an element-wise computed value reads, None where it is not element-wise."""
    found: dict[Value, None] = {}
    seen: set[Value] = set()
    work = [value]
    while work:
        v = work.pop()
        if v in seen:
            continue
        seen.add(v)
        if v in view.buffers:
            found[v] = None
        elif v.op is not None and _is_elementwise(v.op):
            work.extend(v.op.present_operands)
        else:
            return None
    return list(found)


def _is_elementwise(op: Operation) -> bool:
    """Return whether elements depend only on those at the same place (a constant: on nothing)."""
    if op.name in rules.SCALARS:
        return all(_is_aligned(v, op.results[0]) for v in op.present_operands)
    return op.name == "const" and op.result.tensor.size == 1


def _is_aligned(value: Value, result: Value) -> bool:
    """Return whether it is certain along which axes an operand broadcasts: a dynamic dimension may turn out to be 1."""
    wanted = result.shape[result.rank - value.rank :]
    return all(d in (1, e) for d, e in zip(value.shape, wanted, strict=True))


def collapse_groups(shape: Sequence[object], values: Sequence[Value]) -> list[range]:
    """Return the runs of axes along which every value is either contiguous or broadcast, as a whole."""
    rank = len(shape)
    groups: list[range] = []
    previous: tuple[bool, ...] | None = None
    for axis in range(rank):
        signature = tuple(_axis_signature(v, axis, rank) for v in values)
        if groups and (shape[axis] == 1 or signature == previous):
            groups[-1] = range(groups[-1].start, axis + 1)
        elif groups and previous is None:
            groups[-1] = range(groups[-1].start, axis + 1)
            previous = signature
        else:
            groups.append(range(axis, axis + 1))
            previous = None if shape[axis] == 1 else signature
    return groups


class CollapsedView(KernelView):
    """A view whose indices stand for runs of axes.

    Attributes:
        groups: the axes of the result that each index stands for.
        rank: the rank of the result.
    """

    groups: list[range]
    rank: int

    @classmethod
    def of(cls, view: KernelView, groups: list[range], rank: int, values: Sequence[Value]) -> CollapsedView:
        """Return ``view`` over the groups; ``values`` are those in memory that it touches."""
        part = cls.__new__(cls)
        part.__dict__.update(copy.copy(view.__dict__))
        part.groups, part.rank = groups, rank
        part.buffers = {v: part._collapsed(v, view.buffers[v]) for v in values}
        part.targets = {v: part._collapsed(v, view.targets[v]) for v in view.outputs}
        return part

    def extents(self, value: Value) -> list[Index]:
        """Return the extents of a value along the groups, 1 where it broadcasts."""
        shape: list[Index] = [1] * (self.rank - value.rank) + self.shape(value)
        return [tir.product([shape[a] for a in group]) for group in self.groups]

    def _collapsed(self, value: Value, buffer: Buffer) -> Buffer:
        view, declaration = tir.alias(buffer, self.extents(value), f"{buffer.name}_{len(self._prologue)}")
        self._prologue.append(declaration)
        return view

    def broadcast_index(self, value: Value, indices: Sequence[Expr], result: Value | None = None) -> list[Expr]:
        own = [any(_axis_signature(value, a, self.rank) for a in group) for group in self.groups]
        return [i if has else tir.index(0) for i, has in zip(indices, own, strict=True)]
