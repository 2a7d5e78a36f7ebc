"""Fusion: which operations share a kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import networkx as nx

from lepton_ir.ir import Block, FusionKind, Module
from lepton_ir.ir.core import Operation
from lepton_ir.ir.opdef import runs_on_host
from lepton_ir.passes import Pass, PassContext, register_pass, register_property
from lepton_passes.fuse_kernels import make_kernel
from lepton_passes.fuse_rules import (
    BIJECTIVE,
    GENERATORS,
    INDEX_MAPS,
    Prologue,
    admits,
    crowds,
    is_elementwise,
    kind_of,
    prologue_of,
    reads_planes,
    recomputes,
    same_size,
)

OUTSIDE = frozenset(
    {"const", "kernel", "tensor.reshape", "control.if", "control.loop", "call", "return", "yield"}
    | {"dims.bind", "dims.require", "control.require"}
)
"""What stands beside kernels in kernel form."""

_BODY = Prologue.ANY
"""What may stand before a member that is not before an anchor."""


class _Exit:
    """The node that all paths end in."""


@register_property("kernel-form")
def kernel_form(module: Module) -> str | None:
    """Every operation is inside a kernel, or one that needs none."""
    for function in module.functions.values():
        for block in _blocks(function.body):
            for op in block.ops:
                if op.name not in OUTSIDE and not runs_on_host(op):
                    return f"{op.name} stands outside of a kernel"
    return None


def _blocks(block: Block) -> Iterator[Block]:
    yield block
    for op in block.ops:
        if op.name != "kernel":
            for region in op.regions:
                yield from _blocks(region.block)


@register_pass("fuse")
@dataclass(frozen=True)
class Fuse(Pass):
    """Group operations into kernels.

    An anchor (a convolution, a product, a pool, a norm, a reduction) takes the element-wise operations that follow
    it up to where all paths from it meet again, its post-dominator, and so on from there. What is left is taken
    into the kernel that reads it, if only one does and it is no more work there, and stands alone otherwise.

    Attributes:
        max_ops: operations in one kernel, at most.
        max_depth: how many post-dominators an anchor climbs.
    """

    ensures = ("kernel-form",)

    max_ops: int = 48
    max_depth: int = 24

    def run(self, module: Module, ctx: PassContext) -> bool:
        changed = False
        for function in list(module.functions.values()):
            for block in list(_blocks(function.body)):
                changed |= self._fuse(block, ctx)
        return changed

    def _fuse(self, block: Block, ctx: PassContext) -> bool:
        groups = _Grouping(block, self.max_ops, self.max_depth).groups()
        for group in groups:
            if len(group.members) > 1 and not ctx.permit(self.name, group.sink):
                # At the rewrite limit, what is left is not fused any more.
                for alone in _Grouping(block, 1, 0).groups():
                    make_kernel(alone.members, alone.sink)
                break
            make_kernel(group.members, group.sink)
            ctx.count(self.name, "kernels")
        return bool(groups)


@dataclass(eq=False)
class Group:
    """The operations of one kernel.

    Attributes:
        sink: the operation whose result leaves the kernel.
        members: all of them.
        anchor: the operation whose template makes the kernel, if there is one.
        levels: what may be computed before a member that stands before the anchor.
    """

    sink: Operation
    members: set[Operation]
    anchor: Operation | None = None
    levels: dict[Operation, Prologue] = field(default_factory=dict)


class _Grouping:
    """Decides the groups of one block."""

    def __init__(self, block: Block, max_ops: int, max_depth: int) -> None:
        self.block = block
        self.max_ops = max_ops
        self.max_depth = max_depth
        inside = (op for op in block.ops if op.name not in OUTSIDE or op.name == "tensor.reshape")
        self.ops = [op for op in inside if not runs_on_host(op)]
        self.order = {op: i for i, op in enumerate(self.ops)}
        self.of: dict[Operation, list[Group]] = {}
        self.post = self._post_dominators()

    def groups(self) -> list[Group]:
        """Return all groups in the order of their sinks."""
        for op in self.ops:
            if kind_of(op) >= FusionKind.REDUCTION:
                self._open(self._epilogue(op), op)
        for op in reversed(self.ops):
            if op not in self.of:
                self._place(op)
        found = dict.fromkeys(g for groups in self.of.values() for g in groups)
        return sorted((g for g in found if not _is_view(g)), key=lambda g: self.order[g.sink])

    def _post_dominators(self) -> dict[Operation, Operation | None]:
        graph = nx.DiGraph()
        graph.add_node(_Exit)
        for op in self.ops:
            users = self._users(op)
            for user in users:
                graph.add_edge(_Exit if user is None else user, op)
            if not users:
                graph.add_edge(_Exit, op)
        found = nx.immediate_dominators(graph, _Exit)
        return {op: None if found.get(op) is _Exit else found.get(op) for op in self.ops}

    def _users(self, op: Operation) -> list[Operation | None]:
        """Return the readers in this block; None stands for anything that ends fusion."""
        users: dict[Operation | None, None] = {}
        for result in op.results:
            for user in result.users:
                users[user if user in self.order else None] = None
        return list(users)

    def _open(self, members: list[Operation], anchor: Operation | None) -> None:
        group = Group(members[-1], set(members), anchor)
        for op in members:
            self.of[op] = [group]

    # Epilogues ------------------------------------------------------------------------------------------------------

    def _epilogue(self, anchor: Operation) -> list[Operation]:
        """Return the anchor and what may follow it in its kernel, in order, the last one its only way out."""
        members = [anchor]
        if kind_of(anchor) is FusionKind.OPAQUE or len(anchor.results) != 1:
            return members
        current = anchor
        for _ in range(self.max_depth):
            end = self.post.get(current)
            if end is None or end not in self.order:
                break
            between = self._between(current, end)
            if between is None or len(members) + len(between) + 1 > self.max_ops:
                break
            if not all(self._may_follow(op, current) for op in between) or not self._may_end(end, current, between):
                break
            members += [*between, end]
            current = end
        return self._trim(members)

    def _between(self, start: Operation, end: Operation) -> list[Operation] | None:
        """Return the operations on the paths from ``start`` to ``end``, in order, None if they are too many."""
        found: set[Operation] = set()
        pending = [start]
        while pending:
            for user in self._users(pending.pop()):
                if user is None:
                    return None
                if user is end or user in found:
                    continue
                if len(found) >= self.max_ops or not is_elementwise(user):
                    return None
                found.add(user)
                pending.append(user)
        return sorted(found, key=self.order.__getitem__)

    def _may_follow(self, op: Operation, current: Operation) -> bool:
        return op not in self.of and is_elementwise(op) and same_size(op.results[0], current.results[0])

    def _may_end(self, end: Operation, current: Operation, between: list[Operation]) -> bool:
        if self._may_follow(end, current):
            return True
        if between or end in self.of or end.name not in BIJECTIVE:
            return False
        # Vectors are stored whole where the innermost axis stays innermost.
        return end.name == "tensor.reshape" or end.attributes["perm"][-1] == end.results[0].rank - 1

    def _trim(self, members: list[Operation]) -> list[Operation]:
        """Drop what the readers do as well: reshapes, which are views, and index maps that they take in."""
        while len(members) > 1:
            last = members[-1]
            if last.name == "tensor.reshape" or (last.name == "tensor.transpose" and self._readers_map(last)):
                members.pop()
                continue
            break
        return members

    def _readers_map(self, op: Operation) -> bool:
        """Whether every reader takes ``op``, an index map, into its own kernel, through reshapes if need be."""
        for result in op.results:
            for user, index in result.uses:
                if user.name in BIJECTIVE and user in self.order:
                    if not self._readers_map(user):
                        return False
                elif user not in self.order or prologue_of(user, index) < Prologue.INDEX:
                    return False
        return bool(op.results[0].uses)

    # Prologues and element-wise groups --------------------------------------------------------------------------------

    def _place(self, op: Operation) -> None:
        """Take ``op`` into the kernel of its readers, or open one for it."""
        groups = self._reader_groups(op)
        copies = op.name in INDEX_MAPS or op.name in GENERATORS
        if not groups or (len(groups) > 1 and not copies) or len(groups) > 4:
            self._open([op], None)
            return
        levels = [self._level(group, op) for group in groups]
        if any(level is None for level in levels):
            self._open([op], None)
            return
        self.of[op] = groups
        for group, level in zip(groups, levels, strict=True):
            group.members.add(op)
            if level is not None and level is not _BODY:
                group.levels[op] = level

    def _reader_groups(self, op: Operation) -> list[Group]:
        """Return the kernels that read ``op``; none where something else reads it, too."""
        if kind_of(op) > FusionKind.INJECTIVE:
            return []
        groups: dict[Group, None] = {}
        for user in self._users(op):
            if user is None:
                return []
            groups.update(dict.fromkeys(self.of[user]))
        return list(groups)

    def _level(self, group: Group, op: Operation) -> Prologue | None:
        """Return what may stand before ``op`` if it joins the group, None if it may not."""
        if len(group.members) >= self.max_ops or kind_of(group.sink) is FusionKind.OPAQUE:
            return None
        if group.anchor is None and _is_view(group):
            return None
        lowest = _BODY
        for user, index in op.results[0].uses:
            if user not in group.members:
                continue
            level = prologue_of(user, index) if user is group.anchor else group.levels.get(user, _BODY)
            if level is not _BODY and not admits(level, op) and not (user is group.anchor and reads_planes(user, op)):
                return None
            if recomputes(op, user) or crowds(op, user):
                return None
            lowest = min(lowest, level)
        return lowest


def _is_view(group: Group) -> bool:
    return all(op.name == "tensor.reshape" for op in group.members)
