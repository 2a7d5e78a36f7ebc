"""What kernels check before their loops: values of operands for which an operator has no meaning.

A rule says which operand it reads; the check then stands where that is known, and costs one pass over it in vectors.
Inner loops have no branches: they keep indices in range by clamping, as the loads of both sides of a selection must
be safe, and after the check clamping changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.emit.rules import GUARDS, guard
from lepton_backends.tvm.failure import fail_if
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt
from lepton_ir.ir.core import Operation, Value
from lepton_ir.ops import checks
from lepton_ir.ops.support import normalize_axis

_LANES = 8
_SHORT = frozenset({"int8", "int16", "int32", "uint8", "uint16"})
"""Types whose numbers int32 holds."""
_switch = {"on": True}


@contextmanager
def without_guards() -> Iterator[None]:
    """Compile without checks, to measure what they cost."""
    _switch["on"] = False
    try:
        yield
    finally:
        _switch["on"] = True


class Guards:
    """Gathers the checks of one operation.

    Attributes:
        view: the stage that they stand before.
        op: the operation.
        statements: the checks so far.
    """

    def __init__(self, view: KernelView, op: Operation) -> None:
        self.view, self.op = view, op
        self.statements: list[Stmt] = []

    def fail_if(self, condition: Expr | bool, message: str, *numbers: Index) -> None:
        """Fail where a scalar condition holds; ``message`` has ``{}`` for every number."""
        known = tir.const(condition, "bool") if isinstance(condition, bool) else tir.simplify(condition)
        if isinstance(known, tirx.IntImm) and not known.value:
            return
        values = [tir.index(n) for n in numbers]
        places = self.view.locations[self.op]
        self.statements.append(fail_if(known, [message] * len(places), values, places, self.view.sites.variable))

    def index(self, indices: Value, size: Index, *last: int) -> None:
        """Check indices into an axis of ``size`` elements; ``last`` picks an entry of their last axis."""
        extremes = self._extremes(indices, last)
        if extremes is None:
            return
        lowest, highest = extremes
        below = lowest < 0 - tir.index(size)
        number = tir.select(below, lowest, highest)
        self.fail_if(tir.either(below, highest >= size), checks.INDEX, number, size, size)

    def nonzero(self, divisor: Value) -> None:
        """Check a divisor of integers, where anything is divided by it."""
        quotients = tir.product([self.view.dim(d) for d in self.op.results[0].shape])
        array = self.view.constant(divisor)
        if array is not None:
            self.fail_if(tir.both(tir.const(not np.all(array), "bool"), quotients > 0), checks.ZERO_DIVISOR)
            return
        scan = _Scan(self.view, divisor, ())
        zero = tir.const(0, self.view.dtype(divisor))

        def marks(x: Expr) -> Expr:
            # Vectors of truth values are not kept, those of 0 and 1 are.
            return tir.select(tir.equal(x, zero), tir.const(0, "int32"), tir.const(1, "int32"))

        smallest = scan.combine("marks", tir.const(1, "int32"), tirx.min, marks)
        self.statements.append(scan.loops())
        self.fail_if(tir.both(smallest.equal(tir.const(0, "int32")), quotients > 0), checks.ZERO_DIVISOR)

    def _extremes(self, value: Value, last: tuple[int, ...]) -> tuple[Expr, Expr] | None:
        """Return the smallest element, 0 at most, and the largest, -1 at least, as int64; None where there are none."""
        array = self.view.constant(value)
        if array is not None:
            entries = np.take(array, last[0], axis=-1) if last else array
            return (tir.index(int(entries.min())), tir.index(int(entries.max()))) if entries.size else None
        dtype = "int32" if self.view.dtype(value) in _SHORT else tir.INDEX
        scan = _Scan(self.view, value, last)
        # No elements leave 0 and -1, which fit every axis, an empty one too. The type's own extremes would not: a
        # comparison with a size may become one of a sum with 0, and the sum overflow.
        low = scan.combine("lowest", tir.const(0, dtype), tirx.min, lambda x: tir.cast(x, dtype))
        high = scan.combine("highest", tir.const(-1, dtype), tirx.max, lambda x: tir.cast(x, dtype))
        self.statements.append(scan.loops())
        return tir.cast(low, tir.INDEX), tir.cast(high, tir.INDEX)


class _Scan:
    """One pass over all elements of a value, or over one entry of its last axis, in vectors."""

    def __init__(self, view: KernelView, value: Value, last: Sequence[int]) -> None:
        self.view, self.value, self.last = view, value, [tir.index(i) for i in last]
        self.extents = view.shape(value)[: value.rank - len(last)] or [1]
        self.buffer = view.buffer_of(value) if not last else None
        if self.buffer is not None:
            self.extents = [tir.product(self.extents)]
        size = tir.static(tir.product(self.extents))
        self.lanes = _LANES if size is None or size >= _LANES else 1
        self.totals: list[tuple[Buffer, Expr, Callable[[Expr, Expr], Expr], Callable[[Expr], Expr]]] = []

    def combine(
        self, name: str, start: Expr, combine: Callable[[Expr, Expr], Expr], prepare: Callable[[Expr], Expr]
    ) -> Expr:
        """Return what :meth:`loops` will leave: all elements, prepared, combined with ``start``."""
        register = rows.register(name, self.lanes, tir.dtype_of(start))
        self.totals.append((register, start, combine, prepare))
        return register[tir.index(0)]

    def loops(self) -> Stmt:
        """Return the pass."""
        everything, origin = tir.ramp(0, self.lanes), tir.index(0)
        begin: list[Stmt] = []
        end: list[Stmt] = []
        for total, start, combine, _ in self.totals:
            begin += [tirx.AllocBuffer(total), tir.store(total, [everything], tir.broadcast(start, self.lanes))]
            for lane in range(1, self.lanes):
                end.append(tir.store(total, [origin], combine(total[origin], total[tir.index(lane)])))
        *outer, last = self.extents

        def row(*at: Expr) -> Stmt:
            return rows.chunks(last, self.lanes, lambda first, width: tir.scoped(lambda: self._add(at, first, width)))

        return tir.seq(*begin, tir.nest(outer, row), *end)

    def _add(self, outer: Sequence[Expr], first: Index, width: int) -> Stmt:
        at = [*outer, tir.ramp(first, width)]
        if self.buffer is not None:
            loaded = self.view.read(self.view.flat(self.buffer), at)
        else:
            loaded = self.view.load(self.value, [*at, *self.last][-self.value.rank :] if self.value.rank else [])
        loaded, lanes = tir.bind(loaded), tir.ramp(0, width)
        return tir.seq(
            *(tir.store(t, [lanes], combine(t[lanes], prepare(loaded))) for t, _, combine, prepare in self.totals)
        )


def check(view: KernelView, op: Operation) -> Stmt | None:
    """Return the checks of an operation whose operands are known at this stage, None where there are none."""
    rule = GUARDS.get(op.name)
    if rule is None or not _switch["on"] or not getattr(op, "may_fail", bool)():
        return None
    guards = Guards(view, op)
    rule.function(guards, op)
    return tir.seq(*guards.statements) if guards.statements else None


@guard("tensor.gather", "tensor.gather_elements", "tensor.scatter_elements", reads="indices")
def along_axis(guards: Guards, op: Any) -> None:
    guards.index(op.indices, guards.view.dim(op.x.shape[normalize_axis(op.axis, op.x.rank)]))


@guard("tensor.gather_nd", "tensor.scatter_nd", reads="indices")
def vectors(guards: Guards, op: Any) -> None:
    for position, size in enumerate(op.indexed_sizes()):
        guards.index(op.indices, guards.view.dim(size), position)


@guard("div", "floordiv", "mod", reads="b")
def division(guards: Guards, op: Any) -> None:
    guards.nonzero(op.b)


@guard("reduce.argmax", "reduce.argmin")
def extreme(guards: Guards, op: Any) -> None:
    size = guards.view.dim(op.x.shape[normalize_axis(op.axis, op.x.rank)])
    guards.fail_if(tir.index(size).equal(tir.index(0)), op.no_elements())


@guard("tensor.pad")
def borders(guards: Guards, op: Any) -> None:
    for axis in op.repeated_axes():
        size = guards.view.dim(op.x.shape[axis])
        guards.fail_if(tir.index(size).equal(tir.index(0)), checks.EMPTY_BORDER, tir.index(axis))


@guard("tensor.topk")
def enough(guards: Guards, op: Any) -> None:
    axis = normalize_axis(op.axis, op.x.rank)
    k, size = guards.view.dim(op.k), guards.view.dim(op.x.shape[axis])
    guards.fail_if(tir.index(k) > tir.index(size), checks.TOO_FEW, k, size, tir.index(axis))
