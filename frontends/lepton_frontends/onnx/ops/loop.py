"""Loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import GraphProto

from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.loops import Trip, runtime_loop
from lepton_frontends.onnx.rules import onnx_op
from lepton_frontends.onnx.scope import Imported
from lepton_ir.ir.core import Value

_UNROLLED_TRIPS = 256


@onnx_op("Loop", takes_lists=True)
def loop(
    b: OnnxBuilder, trips: Value | None = None, condition: Value | None = None, *carried: Imported, body: GraphProto
) -> Any:
    start = True if condition is None else b.array(condition)
    count = None if trips is None else b.array(trips)
    scans = len(body.output) - 1 - len(carried)
    if count is not None and start is not None and (start or not scans):
        number = int(count.reshape(())) if start else 0
        unrolled = _unrolled(b, number, carried, body, scans) if bool(scans) <= number <= _UNROLLED_TRIPS else None
        if unrolled is not None:
            return unrolled

    def one_trip(inner: OnnxBuilder, number: Value, values: Sequence[Value]) -> Trip:
        inputs = [number, inner.const(np.True_), *values]
        again, *results = b.importer.subgraph(body, inputs, b.scope, inner)
        return Trip(again, results[: len(values)], results[len(values) :])

    return runtime_loop(b, trips, condition, carried, one_trip)


def _unrolled(
    b: OnnxBuilder, count: int, carried: Sequence[Imported], body: GraphProto, scans: int
) -> list[Any] | None:
    """Repeat the body; None where it can end the loop early, at run time."""
    values, collected = list(carried), [[] for _ in range(scans)]  # type: list[Any], list[list[Value]]
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
    return [*values, *(_joined(b, each, 0) for each in collected)]


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
    backwards = scan_input_directions or [0] * num_scan_inputs
    length = scanned[0].shape[axes[0]]
    last = b.sub(b.reshaped(b.tensor_dims(dims=(length,)), ()), b.const(np.int64(1)))

    def one_trip(inner: OnnxBuilder, number: Value, values: Sequence[Value]) -> Trip:
        places = [inner.sub(last, number) if back else number for back in backwards]
        rows = [inner.tensor_gather(x, at, axis=a) for x, at, a in zip(scanned, places, axes, strict=True)]
        results = b.importer.subgraph(body, [*values, *rows], b.scope, inner)
        return Trip(inner.const(np.True_), results[: len(values)], results[len(values) :])

    outputs = len(body.output) - len(states)
    if isinstance(length, int) and 0 < length <= _UNROLLED_TRIPS:
        results = _unrolled_scan(b, length, states, one_trip)
    else:
        results = runtime_loop(b, b.add(last, b.const(np.int64(1))), None, states, one_trip)
    final, collected = results[: len(states)], results[len(states) :]
    for i, back in enumerate(scan_output_directions or [0] * outputs):
        if back:
            collected[i] = b.tensor_reverse(collected[i], axes=(0,))
    out_axes = scan_output_axes or [0] * outputs
    return [*final, *(_moved(b, each, axis) for each, axis in zip(collected, out_axes, strict=True))]


def _unrolled_scan(b: OnnxBuilder, length: int, states: Sequence[Value], one_trip: Any) -> list[Value]:
    collected: list[list[Value]] = []
    for number in range(length):
        _, states, rows = one_trip(b, b.const(np.int64(number)), states)
        collected = collected or [[] for _ in rows]
        for each, row in zip(collected, rows, strict=True):
            each.append(row)
    return [*states, *(_joined(b, each, 0) for each in collected)]


def _joined(b: OnnxBuilder, values: Sequence[Value], axis: int) -> Value:
    at = b.axis(axis, values[0].rank + 1)
    rows = [b.reshaped(v, (*v.shape[:at], 1, *v.shape[at:])) for v in values]
    return rows[0] if len(rows) == 1 else b.tensor_concat(rows, axis=at)


def _moved(b: OnnxBuilder, x: Value, axis: int) -> Value:
    """Return x with its first axis at the place ``axis``."""
    at = b.axis(axis, x.rank)
    order = [*range(1, at + 1), 0, *range(at + 1, x.rank)]
    return x if at == 0 else b.tensor_transpose(x, perm=tuple(order))
