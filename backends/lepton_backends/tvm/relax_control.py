"""Branches, calls and loops as Relax.

A conditional runs only the branch that is taken. Functions and loops become Relax functions of their own; these take
the symbolic dimensions (as a shape) and all that they use from outside as further arguments. A loop is a recursive
function, since Relax has no other: the arguments of every trip stay alive until the loop ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import relax, tirx

from lepton_backends.tvm.relax_builder import FunctionBuilder, captured_values, emits
from lepton_ir.ir import DType, Value, tensor
from lepton_ir.ir.core import Operation

_TRIP, _FLAG = tensor((), DType.I64), tensor((), DType.BOOL)
_NO_LIMIT = 2**63 - 1


@emits("control.if")
def _if(b: FunctionBuilder, op: Operation) -> list[Any]:
    then, other = (b.scope(lambda block=region.block: b.block(block)) for region in op.regions)  # type: ignore[misc]
    chosen = b.builder.emit(relax.If(b.values[op.present_operands[0]], then, other))
    return b.unpack(chosen, len(op.results))


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
    name = f"{op.name.replace('.', '_')}_{sum(1 for f in b.program.functions if f.startswith('control_loop_'))}"
    loop = _Callee(b, name, [trip, *carried, *captured])
    inner = loop.inner
    limit, go = inner.parameter("limit", _TRIP), inner.parameter("go", _FLAG)
    loop.params += [limit, go]
    loop.declare([inner.values[v].ty for v in carried])

    def next_trip() -> Sequence[Any]:
        proceed, *values = inner.block(block)
        following, proceed = _step(inner, inner.values[trip], limit, proceed)
        kept = [inner.values[v] for v in captured]
        return _invoke(inner, name, [following, *values, *kept, limit, proceed], len(carried))

    def body() -> Sequence[Any]:
        onward, done = inner.scope(next_trip), inner.scope(lambda: [inner.values[v] for v in carried])
        return inner.unpack(inner.builder.emit(relax.If(go, onward, done)), len(carried))

    loop.define(body)
    given = [None if v is None else b.values[v] for v in op.operands[:2]]
    most = relax.const(_NO_LIMIT, "int64") if given[0] is None else given[0]
    begin = relax.const(True, "bool") if given[1] is None else given[1]
    first, begin = _step(b, relax.const(-1, "int64"), most, begin)
    start = [b.values[v] for v in (*op.operands[2:], *captured) if v is not None]
    return _invoke(b, name, [first, *start, most, begin], len(op.results))


class _Callee:
    """A Relax function being made for a part of the program that another function calls."""

    def __init__(self, caller: FunctionBuilder, name: str, values: Sequence[Value]) -> None:
        self.program = caller.program
        self.name = name
        self.inner = FunctionBuilder(caller.program)
        # Binds every symbol, whether or not a parameter's shape has it by itself.
        names = caller.program.dims[name] = caller.symbols.names()
        dims = [self.inner.symbols.variable(symbol) for symbol in names]
        self.params = [relax.Var("dims", relax.ShapeType(dims))]
        for i, value in enumerate(values):
            self.inner.values[value] = self.inner.parameter(f"arg{i}", value.tensor)
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


def _step(b: FunctionBuilder, trip: Any, limit: Any, proceed: Any) -> list[Any]:
    """Return the number of the next trip, and whether there is one."""
    symbol = "loop_step"
    if symbol not in b.program.functions:
        b.program.add_kernel(symbol, _step_kernel(symbol), operands=3, results=2)
    return b.call_kernel(symbol, [trip, limit, proceed], b.symbols.types([_TRIP, _FLAG]))


def _step_kernel(symbol: str) -> tirx.PrimFunc:
    trip, limit, following = (tirx.decl_buffer((), "int64", name) for name in ("trip", "limit", "following"))
    proceed, go = (tirx.decl_buffer((), "bool", name) for name in ("proceed", "go"))
    number = trip[()] + tirx.IntImm("int64", 1)
    body = tirx.stmt_seq(
        tirx.BufferStore(following, number, []),
        tirx.BufferStore(go, tirx.And(proceed[()], number < limit[()]), []),
    )
    function = tirx.PrimFunc([trip, limit, proceed, following, go], body)
    return function.with_attr("global_symbol", symbol).with_attr("tirx.noalias", True)
