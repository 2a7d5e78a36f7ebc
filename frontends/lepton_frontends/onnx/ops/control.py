"""Branches and loops."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from onnx import GraphProto

from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.graph import DivergingError, PartlyImportedError, Rest
from lepton_frontends.onnx.rules import UnsupportedError, onnx_op
from lepton_frontends.onnx.scope import Scope
from lepton_ir.ir.core import Block, Region, Value
from lepton_ir.ir.types import DType, TensorType, Type
from lepton_ir.ops.control import If

_UNROLLED_TRIPS = 256


def _inner(b: OnnxBuilder, block: Block) -> OnnxBuilder:
    inner = OnnxBuilder(block, b.importer)
    inner.location = b.location
    return inner


def _condition(b: OnnxBuilder, value: Value) -> Value:
    return b.cast_to(b.reshaped(value, ()), DType.BOOL)


@onnx_op("If")
def if_(b: OnnxBuilder, condition: Value, *, then_branch: GraphProto, else_branch: GraphProto) -> Any:
    holds = _condition(b, condition)
    known = b.array(holds)
    if known is not None:
        return b.importer.subgraph(then_branch if known else else_branch, (), b.scope, b)
    mark, blocks = len(b.importer.findings.diagnostics), [Block(), Block()]
    graphs = (then_branch, else_branch)
    branches = [
        _attempted(partial(b.importer.subgraph, graph, (), b.scope, _inner(b, block)))
        for block, graph in zip(blocks, graphs, strict=True)
    ]
    first, second = branches
    if first is not None and second is not None and [v.type for v in first] != [v.type for v in second]:
        outer, names = b.scope, list(b.node.output)
        raise DivergingError(lambda rest: _forked(b, holds, blocks, [first, second], outer, names, rest))
    return _joined_branches(b, holds, blocks, branches, mark)


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
    """Continue the graph in both branches, because what they give differs in type."""
    mark, ends = len(b.importer.findings.diagnostics), []
    for block, values in zip(blocks, branches, strict=True):
        inner = scope.inner()
        inner.values.update({n: v for n, v in zip(names, values, strict=False) if n})
        ends.append(_attempted(partial(rest, inner, _inner(b, block))))
    return list(_joined_branches(b, holds, blocks, ends, mark))


def _joined_branches(
    b: OnnxBuilder, holds: Value, blocks: Sequence[Block], branches: Sequence[Sequence[Value] | None], mark: int
) -> Sequence[Value]:
    """Make the branch operation, or raise the reason why there is none."""
    types = [None if values is None else [v.type for v in values] for values in branches]
    whole = next((t for t in types if t is not None), None)
    if whole is None or (None in types and not b.importer.is_misfit_since(mark)):
        raise PartlyImportedError
    for i, (block, values) in enumerate(zip(blocks, branches, strict=True)):
        inner = _inner(b, block)
        if values is None:
            _warn(b, ("then", "else")[i], mark)
            block.erase_all()
            values = [_not_a_number(inner, t) for t in whole]
        elif types[i] != whole:
            raise UnsupportedError(
                f"its branches lead to {', '.join(map(str, whole))} and {', '.join(map(str, types[i] or ()))}",
                'fix what the condition depends on: an input, with constants={"name": value}, or a dynamic '
                'dimension, with dims={"name": size}',
            )
        inner.yield_(list(values))
    return b.create(If, holds, regions=[Region(block) for block in blocks]).results


def _not_a_number(b: OnnxBuilder, kind: Type) -> Value:
    """Return what a branch gives that cannot run: NaN, so that nobody mistakes it for a result."""
    if not isinstance(kind, TensorType) or not kind.dtype.is_float:
        raise UnsupportedError(
            "one of its branches fits no input of these shapes",
            'take the other one for good: fix the input that decides, with constants={"name": value}',
        )
    return b.tensor_full(b.const(np.asarray(np.nan).astype(kind.dtype.numpy)), shape=kind.shape)


def _warn(b: OnnxBuilder, which: str, mark: int) -> None:
    findings = b.importer.findings.diagnostics
    reason = findings[mark]
    del findings[mark:]
    warnings.warn(
        f"{b.location}: the {which} branch can run for no input of these shapes, and gives NaN when it is taken "
        f"({reason.where}: {reason.why})",
        stacklevel=2,
    )


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
    inner = _inner(b, block)
    results = b.importer.subgraph(body, [number, inner.const(np.True_), *arguments], b.scope, inner)
    for before, after in zip(carried, results[1:], strict=True):
        if before.type != after.type:
            raise UnsupportedError(
                f"a value that it carries is {before.type} before and {after.type} after a trip",
                "carried values must keep their shape; make the trip count a constant, so that the loop is unrolled",
            )
    inner.yield_([_condition(inner, results[0]), *results[1:]])
    limit = None if trips is None else b.reshaped(trips, ())
    start = None if condition is None else _condition(b, condition)
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
