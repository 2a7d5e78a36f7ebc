"""Loops of which only the running program knows the trips, with values whose sizes change and results of every trip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.runtime_dims import bound_dims, fresh_dims
from lepton_frontends.onnx.branches import condition_of, inner_builder
from lepton_frontends.onnx.scope import Imported
from lepton_frontends.onnx.sequences import as_type, as_value, widened
from lepton_ir.ir.core import Block, Region, Value
from lepton_ir.ir.dim import symbols
from lepton_ir.ir.types import DType, OptionalType, TensorType, Type
from lepton_ir.ops.control import Loop

if TYPE_CHECKING:
    from lepton_frontends.onnx.builder import OnnxBuilder


class Trip(NamedTuple):
    """What one trip gives: whether to go on, the carried values, and a row for each collected result."""

    again: Value
    carried: Sequence[Imported]
    rows: Sequence[Value]


Body = Callable[["OnnxBuilder", Value, Sequence[Value]], Trip]


def runtime_loop(
    b: OnnxBuilder, limit: Value | None, begin: Value | None, carried: Sequence[Imported], body: Body
) -> list[Value]:
    """Make a loop.

    Args:
        b: where it goes.
        limit: the most trips, one i64; unlimited where absent.
        begin: whether to begin, one bool; true where absent.
        carried: the values before the first trip.
        body: makes one trip, given a builder, the trip's number and the carried values.

    Returns:
        The carried values after the last trip, then each collected result, its rows along a new first axis.

    Raises:
        UnsupportedError: a carried value changes its rank or element type.
    """
    outside = frozenset(b.importer.symbols)
    given = [as_value(b, v) for v in carried]
    block, arguments, trip = _settled(b, [v.type for v in given], body)
    inner = inner_builder(b, block)
    collectors = [_collector(row, outside) for row in trip.rows]
    starts = [as_type(b, v, a.type) for v, a in zip(given, arguments, strict=True)]
    nexts = [as_type(inner, as_value(inner, v), a.type) for v, a in zip(trip.carried, arguments, strict=True)]
    for collector, row in zip(collectors, trip.rows, strict=True):
        first, following = collector.extend(b, inner, block, row)
        starts += first
        nexts += following
    inner.yield_([condition_of(inner, trip.again), *nexts])
    types = [_after(b, a.type, outside) for a in block.arguments[1:]]
    op = Loop.build(
        None if limit is None else b.cast_to(b.reshaped(limit, ()), DType.I64),
        None if begin is None else condition_of(b, begin),
        starts,
        result_types=types,
        regions=[Region(block)],
        location=b.location,
    )
    b.insert(op)
    results = list(op.results)
    found, rest = results[: len(arguments)], results[len(arguments) :]
    for collector in collectors:
        used, rest = rest[: collector.count], rest[collector.count :]
        found.append(collector.finish(b, used))
    return found


def _settled(b: OnnxBuilder, types: Sequence[Type], body: Body) -> tuple[Block, list[Value], Trip]:
    """Make the body with arguments of types that hold before and after every trip."""
    types, own = list(types), set[str]()
    while True:
        block = Block()
        number = block.add_argument(TensorType((), DType.I64))
        arguments = [block.add_argument(t) for t in types]
        trip = body(inner_builder(b, block), number, arguments)
        inner = inner_builder(b, block)
        after = [as_value(inner, v).type for v in trip.carried]
        wider = [_widened(b, t, a, own) for t, a in zip(types, after, strict=True)]
        if wider == types:
            return block, list(arguments), trip
        block.erase_all()
        types = wider


def _widened(b: OnnxBuilder, before: Type, after: Type, own: set[str]) -> Type:
    """Return the type of a carried value with names for the sizes that change, which are added to ``own``."""
    if before == after:
        return before
    if isinstance(before, OptionalType) or isinstance(after, OptionalType):
        one, two = (t.element if isinstance(t, OptionalType) else t for t in (before, after))
        return OptionalType(widened(one, two))
    if not isinstance(before, TensorType) or not isinstance(after, TensorType):
        return widened(before, after)
    if before.dtype is not after.dtype or before.rank != after.rank:
        raise UnsupportedError(
            f"a value that it carries is {before} before and {after} after a trip",
            "carried values must keep their rank and element type; make the trip count a constant, so that the loop "
            "is unrolled",
        )
    shape = list(before.shape)
    for i, (d, e) in enumerate(zip(before.shape, after.shape, strict=True)):
        if d != e and str(d) not in own:
            shape[i] = fresh_dims(b, 1)[0]
            own.add(str(shape[i]))
    return TensorType(tuple(shape), before.dtype)


def _after(b: OnnxBuilder, type_: Type, outside: frozenset[str]) -> Type:
    """Return the type that a carried value has after the loop: names that only its body knows are replaced."""
    if not isinstance(type_, TensorType):
        return type_
    return type_.with_shape([d if symbols(d) <= outside else fresh_dims(b, 1)[0] for d in type_.shape])


class _Rows:
    """Collects rows whose shape is known before the loop: a tensor that grows by a row with every trip."""

    count = 1

    def extend(self, b: OnnxBuilder, inner: OnnxBuilder, block: Block, row: Value) -> tuple[list[Value], list[Value]]:
        kind = row.tensor
        start = b.tensor_full(b.const(np.zeros((), kind.dtype.numpy)), shape=(0, *kind.shape))
        so_far = block.add_argument(TensorType((*fresh_dims(b, 1), *kind.shape), kind.dtype))
        return [start], [inner.tensor_concat([so_far, inner.reshaped(row, (1, *kind.shape))], axis=0)]

    def finish(self, b: OnnxBuilder, results: Sequence[Value]) -> Value:
        return results[0]


class _FlatRows:
    """Collects rows whose shape the body decides: their elements in one line, beside their number and shape."""

    count = 2

    def extend(self, b: OnnxBuilder, inner: OnnxBuilder, block: Block, row: Value) -> tuple[list[Value], list[Value]]:
        kind = row.tensor
        starts = [b.const(np.zeros(0, kind.dtype.numpy)), b.const(np.zeros(kind.rank + 1, np.int64))]
        so_far = block.add_argument(TensorType(fresh_dims(b, 1), kind.dtype))
        shape = block.add_argument(TensorType((kind.rank + 1,), DType.I64))
        longer = inner.tensor_concat([so_far, inner.reshaped(row, (kind.size,))], axis=0)
        number = inner.tensor_slice(shape, starts=(0,), ends=(1,), axes=(0,), steps=(1,))
        more = inner.add(number, inner.const(np.ones(1, np.int64)))
        sizes = [inner.tensor_dims(dims=kind.shape)] if kind.rank else []
        return starts, [longer, inner.tensor_concat([more, *sizes], axis=0) if sizes else more]

    def finish(self, b: OnnxBuilder, results: Sequence[Value]) -> Value:
        line, shape = results
        sizes = bound_dims(b, shape, [None] * int(shape.tensor.static_shape[0]), "size of what a loop collects")
        return b.reshaped(line, sizes)


def _collector(row: Value, outside: frozenset[str]) -> _Rows | _FlatRows:
    return _Rows() if row.tensor.symbols() <= outside else _FlatRows()
