"""Branches and loops."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from onnx import GraphProto

from lepton_frontends.onnx.branches import condition_of, inner_builder, make_if
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.graph import DivergingError, PartlyImportedError, Rest
from lepton_frontends.onnx.rules import UnsupportedError, onnx_op
from lepton_frontends.onnx.scope import Imported, Scope
from lepton_ir.ir.core import Block, Region, Value
from lepton_ir.ir.dim import symbols
from lepton_ir.ir.types import DType, TensorType, Type, UnrankedType

_UNROLLED_TRIPS = 256


@onnx_op("If")
def if_(b: OnnxBuilder, condition: Value, *, then_branch: GraphProto, else_branch: GraphProto) -> Any:
    holds = condition_of(b, condition)
    known = b.array(holds)
    if known is not None:
        return b.importer.subgraph(then_branch if known else else_branch, (), b.scope, b)
    outside = frozenset(b.importer.symbols)
    mark, blocks = len(b.importer.findings.diagnostics), [Block(), Block()]
    graphs = (then_branch, else_branch)
    branches = [
        _attempted(partial(b.importer.subgraph, graph, (), b.scope, inner_builder(b, block)))
        for block, graph in zip(blocks, graphs, strict=True)
    ]
    first, second = branches
    if first is not None and second is not None and not _alike(first, second):
        outer, names = b.scope, list(b.node.output)
        raise DivergingError(lambda rest: _forked(b, holds, blocks, [first, second], outer, names, rest))
    return _joined_branches(b, holds, blocks, branches, mark, outside)


def _alike(first: Sequence[Imported], second: Sequence[Imported]) -> bool:
    """Return whether what two branches give differs in sizes at most."""
    return all(map(_can_join, first, second))


def _can_join(one: Imported, two: Imported) -> bool:
    if isinstance(one, Value) and isinstance(two, Value):
        types = one.type, two.type
        if isinstance(types[0], TensorType) and isinstance(types[1], TensorType):
            return types[0].dtype is types[1].dtype and types[0].rank == types[1].rank
    return not all(isinstance(v, Value) and isinstance(v.type, (TensorType, UnrankedType)) for v in (one, two))


def _attempted(run: Callable[[], list[Value]]) -> list[Value] | None:
    """Import a branch; return None where that fails, with the reasons among the findings."""
    try:
        return run()
    except PartlyImportedError:
        return None


def _forked(
    b: OnnxBuilder,
    holds: Value,
    blocks: Sequence[Block],
    branches: Sequence[Sequence[Value]],
    scope: Scope,
    names: Sequence[str],
    rest: Rest,
) -> list[Value]:
    """Continue the graph in both branches, because what they give differs in rank or element type."""
    outside = frozenset(b.importer.symbols)
    mark, ends = len(b.importer.findings.diagnostics), []
    for block, values in zip(blocks, branches, strict=True):
        inner = scope.inner()
        inner.values.update({n: v for n, v in zip(names, values, strict=False) if n})
        ends.append(_attempted(partial(rest, inner, inner_builder(b, block))))
    return list(_joined_branches(b, holds, blocks, ends, mark, outside))


def _joined_branches(
    b: OnnxBuilder,
    holds: Value,
    blocks: Sequence[Block],
    branches: Sequence[Sequence[Value] | None],
    mark: int,
    outside: frozenset[str],
) -> Sequence[Value]:
    """Make the branch operation, or raise the reason why there is none."""
    whole = next((values for values in branches if values is not None), None)
    if whole is None or (None in branches and not b.importer.is_misfit_since(mark)):
        raise PartlyImportedError
    ends = []
    for i, (block, values) in enumerate(zip(blocks, branches, strict=True)):
        if values is None:
            reason = _impossible(b, ("then", "else")[i], mark)
            block.erase_all()
            types = [v.type if isinstance(v, Value) else None for v in whole]
            values = _dead_end(inner_builder(b, block), reason, types, outside)
        ends.append(values)
    return make_if(b, holds, blocks, ends, outside)


def _dead_end(b: OnnxBuilder, reason: str, types: Sequence[Type | None], outside: frozenset[str]) -> list[Value]:
    """End the run in a branch that fits no input of these shapes; return values of the types that it would give."""
    b.control_require(b.const(np.False_), message=reason)
    values = []
    for kind in types:
        if not isinstance(kind, TensorType) or kind.dtype is DType.STR:
            raise UnsupportedError(
                "one of its branches fits no input of these shapes",
                'take the other one for good: fix the input that decides, with constants={"name": value}',
            )
        shape = [d if symbols(d) <= outside else 0 for d in kind.shape]
        values.append(b.tensor_full(b.const(np.zeros((), kind.dtype.numpy)), shape=tuple(shape)))
    return values


def _impossible(b: OnnxBuilder, which: str, mark: int) -> str:
    """Warn of a branch that can run for no input, and return why; the findings are taken back."""
    findings = b.importer.findings.diagnostics
    reason = findings[mark]
    del findings[mark:]
    text = f"the {which} branch fits no input of these shapes ({reason.where}: {reason.why})"
    warnings.warn(f"{b.location}: {text}; it is an error when it is taken", stacklevel=2)
    return text


@onnx_op("Loop")
def loop(
    b: OnnxBuilder, trips: Value | None = None, condition: Value | None = None, *carried: Value, body: GraphProto
) -> Any:
    start = True if condition is None else b.array(condition)
    count = None if trips is None else b.array(trips)
    scans = len(body.output) - 1 - len(carried)
    if count is not None and start is not None and int(count.reshape(())) <= _UNROLLED_TRIPS:
        unrolled = _unrolled(b, int(count.reshape(())) if start else 0, carried, body, scans)
        if unrolled is not None:
            return unrolled
    if scans:
        raise UnsupportedError(
            "it collects results of every trip, and the number of trips is known only at run time",
            "make the trip count a constant, or carry the results through the loop in a tensor of fixed size",
        )
    return _runtime_loop(b, trips, condition, carried, body)


def _unrolled(b: OnnxBuilder, count: int, carried: Sequence[Value], body: GraphProto, scans: int) -> list[Value] | None:
    """Repeat the body; None where it can end the loop early, at run time."""
    values, collected = list(carried), [[] for _ in range(scans)]  # type: list[Value], list[list[Value]]
    for trip in range(count):
        b.importer.spend(len(body.node))
        inputs = [b.const(np.int64(trip)), b.const(np.True_), *values]
        again, *results = b.importer.subgraph(body, inputs, b.scope, b)
        values = results[: len(values)]
        for i, scanned in enumerate(results[len(values) :]):
            collected[i].append(scanned)
        known = b.array(again)
        if known is None:
            return None
        if not known:
            break
    if scans and not collected[0]:
        raise UnsupportedError("it never runs, so the shape of what it collects is unknown")
    return [*values, *(_stacked(b, each) for each in collected)]


def _stacked(b: OnnxBuilder, values: Sequence[Value]) -> Value:
    rows = [b.reshaped(v, (1, *v.shape)) for v in values]
    return rows[0] if len(rows) == 1 else b.tensor_concat(rows, axis=0)


def _runtime_loop(
    b: OnnxBuilder, trips: Value | None, condition: Value | None, carried: Sequence[Value], body: GraphProto
) -> Any:
    block = Block()
    number = block.add_argument(b.const(np.int64(0)).type)
    arguments = [block.add_argument(v.type) for v in carried]
    inner = inner_builder(b, block)
    results = b.importer.subgraph(body, [number, inner.const(np.True_), *arguments], b.scope, inner)
    for before, after in zip(carried, results[1:], strict=True):
        if before.type != after.type:
            raise UnsupportedError(
                f"a value that it carries is {before.type} before and {after.type} after a trip",
                "carried values must keep their shape; make the trip count a constant, so that the loop is unrolled",
            )
    inner.yield_([condition_of(inner, results[0]), *results[1:]])
    limit = None if trips is None else b.reshaped(trips, ())
    start = None if condition is None else condition_of(b, condition)
    return b.control_loop(limit, start, list(carried), regions=[Region(block)])


@onnx_op("Scan", since=9)
def scan(
    b: OnnxBuilder,
    *inputs: Value,
    body: GraphProto,
    num_scan_inputs: int,
    scan_input_axes: Sequence[int] | None = None,
    scan_input_directions: Sequence[int] | None = None,
    scan_output_axes: Sequence[int] | None = None,
    scan_output_directions: Sequence[int] | None = None,
) -> list[Value]:
    states, scanned = list(inputs[: len(inputs) - num_scan_inputs]), inputs[len(inputs) - num_scan_inputs :]
    axes = [b.axis(a, x.rank) for a, x in zip(scan_input_axes or [0] * num_scan_inputs, scanned, strict=True)]
    length = scanned[0].shape[axes[0]]
    if not isinstance(length, int) or length > _UNROLLED_TRIPS or length == 0:
        raise UnsupportedError(
            f"it scans over {length} elements; loops of 1 to {_UNROLLED_TRIPS} trips are unrolled",
            'give the dimension a size, with dims={"name": size}',
        )
    outputs = len(body.output) - len(states)
    collected: list[list[Value]] = [[] for _ in range(outputs)]
    backwards = scan_input_directions or [0] * num_scan_inputs
    for trip in range(length):
        b.importer.spend(len(body.node))
        rows = [
            _row(b, x, axis, length - 1 - trip if back else trip)
            for x, axis, back in zip(scanned, axes, backwards, strict=True)
        ]
        results = b.importer.subgraph(body, [*states, *rows], b.scope, b)
        states = results[: len(states)]
        for i, value in enumerate(results[len(states) :]):
            collected[i].append(value)
    reversed_outputs = scan_output_directions or [0] * outputs
    ordered = [each[::-1] if back else each for each, back in zip(collected, reversed_outputs, strict=True)]
    out_axes = scan_output_axes or [0] * outputs
    return [*states, *(_joined(b, each, axis) for each, axis in zip(ordered, out_axes, strict=True))]


def _row(b: OnnxBuilder, x: Value, axis: int, index: int) -> Value:
    cut = b.tensor_slice(x, starts=(index,), ends=(index + 1,), axes=(axis,), steps=(1,))
    return b.reshaped(cut, [d for i, d in enumerate(x.shape) if i != axis])


def _joined(b: OnnxBuilder, values: Sequence[Value], axis: int) -> Value:
    at = b.axis(axis, values[0].rank + 1)
    rows = [b.reshaped(v, (*v.shape[:at], 1, *v.shape[at:])) for v in values]
    return rows[0] if len(rows) == 1 else b.tensor_concat(rows, axis=at)
