"""The few names of TVM's tensor IR that kernels are written with, and small helpers over them.

Everything that emits TensorIR imports from here, so that TVM's own names enter in one place. Indices are int64
throughout: bounds that TVM can prove to fit are narrowed by its NarrowDataType pass, and sizes above 2**31 stay
right where it cannot.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from tvm import tirx
from tvm.ir import TensorLoad
from tvm.tirx import ForKind

from lepton_backends.tvm.tir_expr import INDEX as INDEX
from lepton_backends.tvm.tir_expr import Expr as Expr
from lepton_backends.tvm.tir_expr import Index as Index
from lepton_backends.tvm.tir_expr import bitcast as bitcast
from lepton_backends.tvm.tir_expr import both as both
from lepton_backends.tvm.tir_expr import broadcast as broadcast
from lepton_backends.tvm.tir_expr import call_c as call_c
from lepton_backends.tvm.tir_expr import cast as cast
from lepton_backends.tvm.tir_expr import ceildiv as ceildiv
from lepton_backends.tvm.tir_expr import const as const
from lepton_backends.tvm.tir_expr import dtype_of as dtype_of
from lepton_backends.tvm.tir_expr import either as either
from lepton_backends.tvm.tir_expr import equal as equal
from lepton_backends.tvm.tir_expr import flat_index as flat_index
from lepton_backends.tvm.tir_expr import floordiv as floordiv
from lepton_backends.tvm.tir_expr import floormod as floormod
from lepton_backends.tvm.tir_expr import index as index
from lepton_backends.tvm.tir_expr import is_nan as is_nan
from lepton_backends.tvm.tir_expr import lanes_of as lanes_of
from lepton_backends.tvm.tir_expr import match as match
from lepton_backends.tvm.tir_expr import maximum as maximum
from lepton_backends.tvm.tir_expr import minimum as minimum
from lepton_backends.tvm.tir_expr import negated as negated
from lepton_backends.tvm.tir_expr import product as product
from lepton_backends.tvm.tir_expr import ramp as ramp
from lepton_backends.tvm.tir_expr import select as select
from lepton_backends.tvm.tir_expr import simplify as simplify
from lepton_backends.tvm.tir_expr import split_index as split_index
from lepton_backends.tvm.tir_expr import static as static
from lepton_backends.tvm.tir_expr import var as var
from lepton_backends.tvm.tir_expr import vector_type as vector_type

Stmt: TypeAlias = Any
Buffer: TypeAlias = Any
PrimFunc: TypeAlias = Any

MAX_STACK_BYTES = 64 * 1024
"""Scratch buffers up to this size live on the stack of the thread, larger ones in a workspace."""


# Bindings: values that several expressions share --------------------------------------------------------------------


class _Lets(list[tuple[Expr, Expr]]):
    """Values named by variables, for use inside one expression."""

    def add(self, expr: Expr, name: str) -> Expr:
        bound = tirx.Var(name, str(expr.ty))
        self.append((bound, expr))
        return bound


class _Temporaries(list[Stmt]):
    """Values kept in local buffers, which become registers.

    They are not variables, since TVM's arithmetic analyzer would put the value of each variable into the next one's:
    a polynomial of ten steps took it seconds.
    """

    def add(self, expr: Expr, name: str) -> Expr:
        if isinstance(expr, TensorLoad) and expr.source.name.startswith("reg_"):
            return expr
        lanes = lanes_of(expr)
        # Small buffers of scope "global" lie on the stack and become registers; "local" ones are allocated in memory.
        buffer = tirx.decl_buffer([index(lanes)], dtype_of(expr), f"reg_{name}", scope="global")
        at = [ramp(0, lanes)]
        self += [tirx.AllocBuffer(buffer), tirx.BufferStore(buffer, expr, at)]
        return tirx.BufferLoad(buffer, at)


class _Scopes(threading.local):
    def __init__(self) -> None:
        self.stack: list[_Lets | _Temporaries] = []


_SCOPES = _Scopes()


def bind(expr: Expr, name: str = "t") -> Expr:
    """Compute a value that is used more than once a single time, within the enclosing scope.

    Comparisons are left as they are, since a vector of truth values costs more to keep than to compute.
    """
    simple = isinstance(expr, (tirx.Var, tirx.IntImm, tirx.FloatImm, tirx.Broadcast, int, float))
    if not _SCOPES.stack or simple or dtype_of(expr) == "bool":
        return expr
    return _SCOPES.stack[-1].add(expr, name)


def real_of_index(i: Expr, dtype: str = "float64") -> Expr:
    """Return an index as a float.

    It passes through a register: TVM's analysis of common subexpressions fails on a converted loop variable.
    """
    return cast(_SCOPES.stack[-1].add(i, "index") if _SCOPES.stack else i, dtype)


@contextmanager
def bindings() -> Iterator[list[tuple[Expr, Expr]]]:
    """Collect the values named inside by :func:`bind` as variables, to wrap an expression in."""
    _SCOPES.stack.append(_Lets())
    try:
        yield _SCOPES.stack[-1]
    finally:
        _SCOPES.stack.pop()


def let(bound: Sequence[tuple[Expr, Expr]], body: Expr) -> Expr:
    """Return ``body`` with the bindings around it."""
    for name, value in reversed(bound):
        body = tirx.Let(name, value, body)
    return body


def let_stmts(bound: Sequence[tuple[Expr, Expr]]) -> list[Stmt]:
    """Return variables (of indices) and their values as statements that go before those that use them."""
    return [tirx.Bind(name, value) for name, value in bound]


def bound_expr(make: Callable[[], Expr]) -> Expr:
    """Evaluate ``make``; what it binds belongs to the enclosing scope, or to the expression where there is none."""
    if _SCOPES.stack:
        return make()
    with bindings() as bound:
        body = make()
    return let(bound, body)


def scoped(make: Callable[[], Stmt]) -> Stmt:
    """Return the statement that ``make`` gives, after the statements that compute what it binds."""
    before = _Temporaries()
    _SCOPES.stack.append(before)
    try:
        stmt = make()
    finally:
        _SCOPES.stack.pop()
    return seq(*before, stmt)


# Statements ---------------------------------------------------------------------------------------------------------


def seq(*stmts: Stmt | None) -> Stmt:
    """Return the statements in order; None is left out."""
    kept = [s for s in stmts if s is not None]
    return tirx.stmt_seq(*kept) if kept else tirx.Evaluate(0)


def store(buffer: Buffer, indices: Sequence[Index], value: Expr) -> Stmt:
    """Store a scalar, or a vector where the last index is a ramp."""
    lanes = lanes_of(indices[-1]) if indices else 1
    return tirx.BufferStore(buffer, broadcast(value, lanes), [index(i) for i in indices])


def if_then(condition: Expr, then: Stmt, other: Stmt | None = None) -> Stmt:
    """Return a conditional statement; a condition known at compile time leaves only its branch."""
    known = condition if isinstance(condition, bool) else None
    if not isinstance(condition, bool):
        simple = simplify(condition)
        known = bool(simple.value) if isinstance(simple, tirx.IntImm) else None
    if known is not None:
        return then if known else other if other is not None else tirx.Evaluate(0)
    return tirx.IfThenElse(condition, then, other)


def loop(extent: Index, body: Callable[[Expr], Stmt], kind: Any = ForKind.SERIAL, name: str = "i") -> Stmt:
    """Return a loop over ``range(extent)``; a single iteration is no loop."""
    if static(extent) == 1:
        return body(index(0))
    if static(extent) == 0:
        return tirx.Evaluate(0)
    i = tirx.Var(name, INDEX)
    return tirx.For(i, index(0), index(extent), kind, body(i))


def serial(extent: Index, body: Callable[[Expr], Stmt], name: str = "i") -> Stmt:
    """Return a sequential loop."""
    return loop(extent, body, ForKind.SERIAL, name)


def parallel(extent: Index, body: Callable[[Expr], Stmt], name: str = "p") -> Stmt:
    """Return a loop whose iterations the threads share, in contiguous chunks."""
    return loop(extent, body, ForKind.PARALLEL, name)


def alloc(
    shape: Sequence[Index], dtype: str, body: Callable[[Buffer], Stmt], name: str = "scratch", local: bool | None = None
) -> Stmt:
    """Return ``body`` of a scratch buffer, private to the iteration of the loop around it.

    Args:
        shape: its extents.
        dtype: TVM's name of the element type.
        body: makes the statements that use it.
        name: its name.
        local: keep it on the stack (or in registers); by default where its size is known and small.
    """
    size = static(product(shape))
    if local is None:
        local = size is not None and size * 8 <= MAX_STACK_BYTES
    extents = [index(e) for e in shape]
    buffer = tirx.decl_buffer(extents, dtype, name, scope="global")
    return seq(tirx.AllocBuffer(buffer), body(buffer))


def alias(buffer: Buffer, shape: Sequence[Index], name: str = "") -> tuple[Buffer, Stmt]:
    """Return a view of the buffer's memory with another shape, and the statement that declares it."""
    data = tirx.buffer_data(buffer)
    view = tirx.decl_buffer([index(e) for e in shape], str(buffer.ty.dtype), name or f"{buffer.name}_view", data=data)
    return view, tirx.DeclBuffer(view, data=data)


# Loop shapes --------------------------------------------------------------------------------------------------------


def tail_lanes(remainder: int, lanes: int) -> list[int]:
    """Split a remainder below ``lanes`` into descending powers of two."""
    return [1 << bit for bit in reversed(range(lanes.bit_length())) if remainder & (1 << bit)]


def vector_loop(extent: Index, lanes: int, body: Callable[[Expr], Stmt], name: str = "v", unroll: int = 1) -> Stmt:
    """Return a loop over ``range(extent)`` in vectors, with the remainder done exactly.

    A known remainder is done in shorter vectors, an unknown one element by element.

    Args:
        extent: the number of elements.
        lanes: the lanes of a vector.
        body: makes the statement for some elements, given the vector of their indices (a ramp, or one index).
        name: the loop's name.
        unroll: vectors per iteration of the main loop.
    """
    known = static(extent)
    if lanes == 1:
        return serial(extent, body, name)
    if known is None:
        main = serial(floordiv(extent, lanes), lambda o: body(ramp(o * lanes, lanes)), name + "o")
        start = floordiv(extent, lanes) * lanes
        return seq(main, serial(floormod(extent, lanes), lambda r: body(start + r), name + "t"))
    done = known // (lanes * unroll)
    parts: list[Stmt] = []
    if done:
        block = lanes * unroll
        parts.append(
            serial(done, lambda o: seq(*(body(ramp(o * block + u * lanes, lanes)) for u in range(unroll))), name + "o")
        )
    start = done * lanes * unroll
    widths = [lanes] * ((known - start) // lanes) + tail_lanes(known % lanes, lanes)
    for width in widths:
        parts.append(body(ramp(start, width)))
        start += width
    return seq(*parts)


def parallel_vector_loop(extent: Index, lanes: int, body: Callable[[Expr], Stmt], unroll: int = 1) -> Stmt:
    """Return a loop over ``range(extent)`` in vectors that the threads share, with the remainder done exactly."""
    block = lanes * unroll
    main = parallel(
        floordiv(extent, block),
        lambda o: seq(*(body(ramp(o * block + u * lanes, lanes)) for u in range(unroll))),
    )
    start = floordiv(extent, block) * block
    return seq(main, vector_loop(floormod(extent, block), lanes, lambda i: body(i + start)))


def nest(extents: Sequence[Index], body: Callable[..., Stmt], names: str = "ijklmnop") -> Stmt:
    """Return nested sequential loops; ``body`` takes one index per extent."""

    def level(depth: int, indices: list[Expr]) -> Stmt:
        if depth == len(extents):
            return body(*indices)
        return serial(extents[depth], lambda i: level(depth + 1, [*indices, i]), names[depth % len(names)])

    return level(0, [])


PARALLEL_NANOSECONDS = 30_000
"""Work below this is done by one thread: starting the others costs about a third of it."""


def parallel_if(work_ns: float, threads: int = 2) -> bool:
    """Return whether work of this many nanoseconds (on one thread) is worth sharing."""
    return threads > 1 and work_ns >= PARALLEL_NANOSECONDS


def parallel_nest(extents: Sequence[Index], work_ns: float, body: Callable[..., Stmt], threads: int = 2) -> Stmt:
    """Return loops over all of ``extents``, shared by the threads where the work is worth it.

    The loops are joined into one, so that every thread gets the same number of iterations even where the
    outermost extents are small.

    Args:
        extents: the extents; ``body`` takes one index per extent.
        work_ns: the time of the whole nest on one thread, estimated.
        body: makes the statement of one iteration.
        threads: the threads that the target has.
    """
    if not parallel_if(work_ns, threads) or static(product(extents)) == 1:
        return nest(extents, body)
    return parallel(product(extents), lambda p: body(*split_index(p, extents)))
