"""Branches, calls and loops as Relax.

A conditional runs only the branch that is taken. Functions and loops become Relax functions of their own; these take
the symbolic dimensions (as a shape) and all that they use from outside as further arguments. Relax has no loops but
recursion, so a loop of n trips is one of n/2 and then one of the rest: that nests as deep as n has bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any

from tvm import relax, tirx

from lepton_backends.tvm.emit.rules import storage_dtype
from lepton_backends.tvm.relax_builder import FunctionBuilder, captured_values, emits
from lepton_backends.tvm.relax_dims import require
from lepton_ir.ir import Block, DType, TensorType, Value, tensor
from lepton_ir.ir.core import Operation
from lepton_ir.ir.types import Type

_TRIP, _FLAG = tensor((), DType.I64), tensor((), DType.BOOL)
_NO_LIMIT = 2**63 - 1


@emits("control.if")
def _if(b: FunctionBuilder, op: Operation) -> list[Any]:
    then, other = (_branch(b, region.block, len(op.results)) for region in op.regions)
    chosen = b.builder.emit(relax.If(b.values[op.present_operands[0]], then, other))
    return [b.named(v, r.type) for v, r in zip(b.unpack(chosen, len(op.results)), op.results, strict=True)]


def _branch(b: FunctionBuilder, block: Block, results: int) -> relax.SeqExpr:
    """Return a branch. One that computes is a function of its own.

    TVM plans the memory of a function as if all of it ran: a branch would be given storage that only the other one, or
    another conditional's branch, has allocated.
    """
    if all(op.name in ("const", "yield") for op in block.ops):
        return b.scope(lambda: b.block(block))
    captured = captured_values(block, b.values)
    name = f"control_branch_{sum(1 for f in b.program.dims if f.startswith('control_branch_'))}"
    callee = _Callee(b, name, captured)
    callee.define(lambda: callee.inner.block(block))
    return b.scope(lambda: _invoke(b, name, [b.values[v] for v in captured], results))


@emits("call")
def _call(b: FunctionBuilder, op: Operation) -> list[Any]:
    name = str(op.attributes["callee"])
    body = b.program.module.functions[name].body
    captured = captured_values(body, b.values)
    if name not in b.program.functions:
        callee = _Callee(b, name, [*body.arguments, *captured])
        callee.define(lambda: callee.inner.block(body))
    arguments = [b.values[v] for v in (*op.present_operands, *captured)]
    return _invoke(b, name, arguments, len(op.results))


@emits("control.loop")
def _loop(b: FunctionBuilder, op: Operation) -> list[Any]:
    block = op.regions[0].block
    captured = captured_values(block, b.values)
    trip, *carried = block.arguments
    name = f"control_loop_{sum(1 for f in b.program.dims if f.startswith('control_loop_'))}"
    loop = _Callee(b, name, [trip, *carried, *captured])
    inner = loop.inner
    budget, go = inner.parameter("budget", _TRIP), inner.parameter("go", _FLAG)
    loop.params += [budget, go]
    state = [go, *(inner.values[v] for v in (trip, *carried))]
    known = b.symbols.bound.keys()
    loop.declare([_between_trips(inner, t, known) for t in (_FLAG, _TRIP, *(v.type for v in carried))])

    def run(count: Any, state: Sequence[Any]) -> list[Any]:
        proceed, *values = state
        kept = [inner.values[v] for v in captured]
        return _invoke(inner, name, [*values, *kept, count, proceed], len(state))

    def one_trip() -> Sequence[Any]:
        proceed, *values = inner.block(block)
        return [proceed, *_call_own(inner, "loop_next", [state[1]]), *values]

    def some_trips() -> Sequence[Any]:
        single, half, rest = _call_own(inner, "loop_split", [budget])
        several = inner.scope(lambda: run(rest, run(half, state)))
        return inner.unpack(inner.builder.emit(relax.If(single, inner.scope(one_trip), several)), len(state))

    def body() -> Sequence[Any]:
        chosen = relax.If(go, inner.scope(some_trips), inner.scope(lambda: state))
        return inner.unpack(inner.builder.emit(chosen), len(state))

    loop.define(body)
    limit, begin = (None if v is None else b.values[v] for v in op.operands[:2])
    limit = relax.const(_NO_LIMIT, "int64") if limit is None else limit
    begin = relax.const(True, "bool") if begin is None else begin
    start = [b.values[v] for v in (*op.operands[2:], *captured) if v is not None]
    begin, allowed = _call_own(b, "loop_begin", [limit, begin, relax.const(op.budget, "int64")])  # type: ignore[attr-defined]
    again, trips, *results = _invoke(b, name, [relax.const(0, "int64"), *start, allowed, begin], len(state))
    (ended,) = _call_own(b, "loop_ended", [again, trips, limit])
    require(b, op, ended, f"the loop did not end after {op.budget} trips")  # type: ignore[attr-defined]
    return [b.named(v, r.type, certain=False) for v, r in zip(results, op.results, strict=True)]


def _between_trips(b: FunctionBuilder, type_: Type, known: Set[str]) -> Any:
    """Return the type of a carried value in Relax; sizes that the loop itself names are left open."""
    if not isinstance(type_, TensorType) or type_.symbols() <= known:
        return b.symbols.value_type(type_)
    return relax.TensorType(ndim=type_.rank, dtype=storage_dtype(type_.dtype))


class _Callee:
    """A Relax function being made for a part of the program that another function calls."""

    def __init__(self, caller: FunctionBuilder, name: str, values: Sequence[Value]) -> None:
        self.program = caller.program
        self.name = name
        self.inner = FunctionBuilder(caller.program)
        # Binds every symbol, whether or not a parameter's shape has it by itself.
        names = caller.program.dims[name] = list(caller.symbols.bound)
        dims = [self.inner.symbols.variable(symbol) for symbol in names]
        self.inner.symbols.bind(names)
        self.params = [relax.Var("dims", relax.ShapeType(dims))]
        for i, value in enumerate(values):
            self.inner.values[value] = self.inner.parameter(f"arg{i}", value.type)
            self.params.append(self.inner.values[value])

    def declare(self, types: Sequence[Any]) -> None:
        """Make the name known before the body is there, for recursion."""
        empty = relax.Function.create_empty(self.params, relax.TupleType(list(types)))
        self.program.functions[self.name] = self.program.builder.add_func(empty, self.name)

    def define(self, body: Callable[[], Sequence[Any]]) -> None:
        function = self.inner.function(self.name, self.params, body)
        if self.name in self.program.functions:
            self.program.builder.update_func(self.program.functions[self.name], function)
        else:
            self.program.functions[self.name] = self.program.builder.add_func(function, self.name)


def _invoke(b: FunctionBuilder, name: str, arguments: Sequence[Any], count: int) -> list[Any]:
    dims = relax.ShapeExpr([b.symbols.variable(symbol) for symbol in b.program.dims[name]])
    result = b.builder.emit(relax.Call(b.program.functions[name], [dims, *arguments]))
    return b.unpack(result, count)


def _call_own(b: FunctionBuilder, symbol: str, arguments: Sequence[Any]) -> list[Any]:
    """Call one of the kernels that count trips."""
    operands, results, compute = _OWN[symbol]
    if symbol not in b.program.functions:
        ins = [tirx.decl_buffer((), storage_dtype(t.dtype), f"in{i}") for i, t in enumerate(operands)]
        outs = [tirx.decl_buffer((), storage_dtype(t.dtype), f"out{i}") for i, t in enumerate(results)]
        values = compute(*(buffer[()] for buffer in ins))
        body = tirx.stmt_seq(*(tirx.BufferStore(out, v, []) for out, v in zip(outs, values, strict=True)))
        function = tirx.PrimFunc([*ins, *outs], body).with_attr("global_symbol", symbol)
        b.program.add_kernel(symbol, function.with_attr("tirx.noalias", True), len(ins), len(outs))
    return b.call_kernel(symbol, arguments, b.symbols.types(results))


def _number(value: int) -> tirx.IntImm:
    return tirx.IntImm("int64", value)


def _split(count: Any) -> list[Any]:
    half = tirx.floordiv(count, _number(2))
    return [count.equal(_number(1)), half, count - half]


_OWN: dict[str, tuple[list[TensorType], list[TensorType], Callable[..., list[Any]]]] = {
    "loop_begin": (
        [_TRIP, _FLAG, _TRIP],
        [_FLAG, _TRIP],
        lambda limit, begin, budget: [tirx.And(begin, limit > _number(0)), tirx.min(limit, budget)],
    ),
    "loop_ended": (
        [_FLAG, _TRIP, _TRIP],
        [_FLAG],
        lambda again, trips, limit: [tirx.Or(tirx.Not(again), trips >= limit)],
    ),
    "loop_next": ([_TRIP], [_TRIP], lambda trip: [trip + _number(1)]),
    "loop_split": ([_TRIP], [_FLAG, _TRIP, _TRIP], _split),
}
"""The kernels that count trips: operands, results, and how to compute them."""
