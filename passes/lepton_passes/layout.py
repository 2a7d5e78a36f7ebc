"""The layout pass: channels last where that saves time, with as few transpositions as can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Any

import networkx as nx
import numpy as np

from lepton_ir.ir import Block, BlockArgument, Builder, Module, OpResult, TensorType, Value
from lepton_ir.ir.core import Operation
from lepton_ir.ir.dim import Dim, substitute, symbols
from lepton_ir.ops.folds.shape import keeps_order
from lepton_ir.passes import Pass, PassContext, register_pass
from lepton_ir.rewrite import apply_greedily, constant_array, remove_dead_ops
from lepton_passes.layout_rules import PREFERS_CHANNELS_LAST, Rewritten, rewritten, to_first, to_last
from lepton_passes.transposes import transposition_patterns

_FIRST, _LAST = "first", "last"
NOMINAL = 16
"""The value that a symbol counts as in a cost."""


@register_pass("layout")
@dataclass(frozen=True)
class Layout(Pass):
    """Make convolutions, pools and the like channels-last, and whatever else then needs fewer transpositions.

    Which of the other operations follow is decided for a whole block at once: every operation is on the
    channels-first or on the channels-last side of a minimum cut through the dataflow graph, in which an edge
    costs the bytes of the value that would have to be transposed there.
    """

    legalizes = True

    def run(self, module: Module, ctx: PassContext) -> bool:
        before = ctx.control.done
        blocks = [f.body for f in module.functions.values()]
        blocks += [r.block for op in module.walk() if op.name != "kernel" for r in op.regions]
        for block in blocks:
            plan = _plan(block)
            if plan:
                _Rewriter(block, plan, ctx, self.name).run()
        if ctx.control.done == before:
            return False
        remove_dead_ops(module)
        apply_greedily(module, transposition_patterns())
        return True


def _plan(block: Block) -> dict[Operation, Rewritten]:
    """Return the operations that are to become channels-last, with the way each does."""
    rules = {op: found for op in block.ops if (found := rewritten(op)) is not None}
    if not any(op.name in PREFERS_CHANNELS_LAST for op in rules):
        return {}
    graph = _CutGraph(rules)
    for op in block.ops:
        for value in op.results:
            graph.add_value(value)
    for argument in block.arguments:
        graph.add_value(argument)
    last_side = graph.cut()
    return {op: found for op, found in rules.items() if op in last_side}


class _CutGraph:
    """The flow network whose minimum cut separates channels-first from channels-last operations."""

    def __init__(self, rules: dict[Operation, Rewritten]) -> None:
        self.rules = rules
        self.graph = nx.DiGraph()
        self.fresh = count()
        self.graph.add_nodes_from([_FIRST, _LAST])
        for op in rules:
            if op.name in PREFERS_CHANNELS_LAST:
                self.graph.add_edge(op, _LAST, capacity=inf)

    def producer(self, value: Value) -> Any:
        op = value.op
        if op is None:
            return _FIRST
        found = self.rules.get(op)
        if found is not None and not found.plain_result:
            return op
        is_inverse = op.name == "tensor.transpose" and tuple(op.attributes["perm"]) == to_first(value.rank)
        return _LAST if is_inverse else _FIRST

    def consumer(self, op: Operation, index: int, block: Block | None) -> Any:
        found = self.rules.get(op) if op.parent is block else None
        if found is not None and (found.operands is None or index in found.operands):
            return op
        is_conversion = op.name == "tensor.transpose" and tuple(op.attributes["perm"]) == to_last(op.results[0].rank)
        return _LAST if is_conversion else _FIRST

    def add_value(self, value: Value) -> None:
        if not isinstance(value.type, TensorType) or value.rank < 3 or constant_array(value) is not None:
            return
        block = value.op.parent if value.op is not None else value.owner
        producer = self.producer(value)
        consumers = {self.consumer(op, i, block) for op, i in value.uses} - {producer}  # type: ignore[arg-type]
        if not consumers:
            return
        weight = 1 if keeps_order(value.shape, to_last(value.rank)) else max(1, nominal_bytes(value.type))
        # The value is transposed once, however many readers want it so: hence the node between.
        to_last_side, to_first_side = next(self.fresh), next(self.fresh)
        self.graph.add_edge(producer, to_last_side, capacity=weight)
        self.graph.add_edge(to_first_side, producer, capacity=weight)
        for consumer in consumers:
            self.graph.add_edge(to_last_side, consumer, capacity=inf)
            self.graph.add_edge(consumer, to_first_side, capacity=inf)

    def cut(self) -> set[Any]:
        # An edge from the sink to the source cannot be cut, and would only slow the search down.
        self.graph.remove_edges_from([*self.graph.in_edges(_FIRST), *self.graph.out_edges(_LAST)])
        _, (_, last_side) = nx.minimum_cut(self.graph, _FIRST, _LAST)
        return set(last_side)


def nominal_bytes(type: TensorType) -> int:
    """Return the bytes of a tensor, symbols counting as :data:`NOMINAL`."""
    size: Dim = type.size
    known = substitute(size, dict.fromkeys(symbols(size), NOMINAL))
    return (known if isinstance(known, int) else NOMINAL) * max(1, type.dtype.bits // 8)


@dataclass
class _Rewriter:
    """Rewrites the planned operations of one block in order."""

    block: Block
    plan: dict[Operation, Rewritten]
    ctx: PassContext
    pass_name: str
    last: dict[tuple[Value, int], Value] = field(default_factory=dict)

    def run(self) -> None:
        for op in self.block.ops:
            found = self.plan.get(op)
            if found is None:
                continue
            if not self.ctx.permit(self.pass_name, op):
                return
            self.rewrite(op, found)

    def rewrite(self, op: Operation, found: Rewritten) -> None:
        rank = max(op.present_operands[0].rank, 0 if found.plain_result else op.results[0].rank)
        operands = [
            self.channels_last(v, rank, op) if v is not None and (found.operands is None or i in found.operands) else v
            for i, v in enumerate(op.operands)
        ]
        builder = Builder.before_op(op)
        new = type(op)(operands, {**op.attributes, **found.attributes}, (), (), op.location)
        inferred = new.infer()
        types = list(inferred) if isinstance(inferred, Sequence) else [inferred]
        new.results = tuple(OpResult(t, new, i) for i, t in enumerate(types))
        builder.insert(new)
        for old, result in zip(op.results, new.results, strict=True):
            result.name = old.name
            if found.plain_result:
                old.replace_all_uses_with(result)
                continue
            plain = builder.tensor_transpose(result, perm=to_first(result.rank))
            self.last[plain, result.rank] = result
            old.replace_all_uses_with(plain)
        op.erase()

    def channels_last(self, value: Value, rank: int, user: Operation) -> Value:
        """Return ``value`` (of at most ``rank`` axes) in channels-last form."""
        if value.rank == 0 or (all(d == 1 for d in value.shape) and value.rank < rank):
            return value
        array = constant_array(value)
        if array is not None:
            full = array.reshape((1,) * (rank - array.ndim) + array.shape)
            return Builder.before_op(user).const(np.ascontiguousarray(full.transpose(to_last(rank))), name=value.name)
        if (value, rank) not in self.last:
            builder = _after(value, user)
            shaped = value
            if value.rank < rank:
                shaped = builder.tensor_reshape(value, shape=(1,) * (rank - value.rank) + tuple(value.shape))
            self.last[value, rank] = builder.tensor_transpose(shaped, perm=to_last(rank))
        return self.last[value, rank]


def _after(value: Value, user: Operation) -> Builder:
    if value.op is not None:
        return Builder.after_op(value.op)
    block = value.owner
    if not isinstance(value, BlockArgument) or not isinstance(block, Block):
        raise TypeError("the value is neither a result nor an argument")
    return Builder(block, block.first, user.location)
