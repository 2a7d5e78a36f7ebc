"""Branches and loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import GraphProto

from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import UnsupportedError, onnx_op
from lepton_ir.ir.core import Block, Region, Value
from lepton_ir.ir.types import DType

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
    regions = []
    for graph in (then_branch, else_branch):
        inner = _inner(b, Block())
        values = b.importer.subgraph(graph, (), b.scope, inner)
        inner.yield_(values)
        regions.append(Region(inner.block))
    for first, second in zip(*(r.block.terminator.present_operands for r in regions), strict=True):
        if first.type != second.type:
            raise UnsupportedError(
                f"its branches give {first.type} and {second.type}, and which one is taken is known only at run time",
                'fix what the condition depends on: an input, with constants={"name": value}, or a dynamic '
                'dimension, with dims={"name": size}',
            )
    return b.control_if(holds, regions=regions)


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
