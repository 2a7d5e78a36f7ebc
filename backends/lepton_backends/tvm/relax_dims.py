"""Dimensions that data decides, as Relax: names bound from tensors, and checks of what must hold.

The checks are kernels of their own that end the run with an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax, tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.failure import fail_if
from lepton_backends.tvm.relax_builder import FunctionBuilder, emits
from lepton_backends.tvm.relax_types import Symbols
from lepton_ir.ir import DType, tensor
from lepton_ir.ir.core import Operation
from lepton_ir.ir.dim import symbols
from lepton_ir.ops.runtime_dims import LARGEST, Bind, Require


@emits("dims.bind")
def _bind(b: FunctionBuilder, op: Operation) -> list[Any]:
    assert isinstance(op, Bind)
    names = op.names()
    values, out = (tirx.decl_buffer((tir.index(len(names)),), "int64", name) for name in ("in0", "out0"))
    body = []
    for i in range(len(names)):
        value = values[tir.index(i)]
        outside = tirx.Or(value < 0, value > tir.index(LARGEST))
        body.append(_fail_if(op, outside, f"a {op.what} is {{}}, but must be between 0 and 2**48", value))
        body.append(tirx.BufferStore(out, value, [tir.index(i)]))
    symbol = _add(b, op, tirx.PrimFunc([values, out], tir.seq(*body)), 1)
    checked = b.call_kernel(symbol, [b.values[op.values]], b.symbols.types([tensor((len(names),), DType.I64)]))
    shape = relax.Call(
        relax.ExternFunc("vm.builtin.tensor_to_shape"), checked, ty_args=[relax.ShapeType(ndim=len(names))]
    )
    b.symbols.bind(names)
    b.builder.match_cast(b.builder.emit(shape), relax.ShapeType([b.symbols.variable(name) for name in names]))
    return []


_FAILS: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda left, right: tirx.NE(left, right),
    "<=": lambda left, right: left > right,
    "broadcasts": lambda left, right: tirx.And(tirx.NE(left, right), tirx.NE(left, tir.index(1))),
}


@emits("dims.require")
def _require(b: FunctionBuilder, op: Operation) -> list[Any]:
    assert isinstance(op, Require)
    own = Symbols()
    left, right = own.dim(op.left), own.dim(op.right)
    names = sorted(symbols(op.left) | symbols(op.right))
    out = tirx.decl_buffer((), "int64", "out0")
    message = f"{op.left} {op.relation} {op.right} does not hold: they are {{}} and {{}}"
    body = [
        _fail_if(op, _FAILS[op.relation](left, right), message, left, right),
        tirx.BufferStore(out, tir.index(0), []),
    ]
    symbol = _add(b, op, tirx.PrimFunc([out, *(own.variable(name) for name in names)], tir.seq(*body)), 0)
    b.call_kernel(symbol, [], b.symbols.types([tensor((), DType.I64)]))
    return []


@emits("control.require")
def _check(b: FunctionBuilder, op: Operation) -> list[Any]:
    require(b, op, b.values[op.present_operands[0]], str(op.attributes["message"]))
    return []


def require(b: FunctionBuilder, op: Operation, holds: Any, message: str) -> None:
    """Emit a check that ends the run with an error of ``op`` unless the flag ``holds``."""
    condition, out = tirx.decl_buffer((), "bool", "in0"), tirx.decl_buffer((), "int64", "out0")
    failed = tirx.EQ(tir.cast(condition[()], "int8"), tir.const(0, "int8"))
    text = message.replace("{", "{{").replace("}", "}}")
    body = [_fail_if(op, failed, text), tirx.BufferStore(out, tir.index(0), [])]
    symbol = _add(b, op, tirx.PrimFunc([condition, out], tir.seq(*body)), 1)
    b.call_kernel(symbol, [holds], b.symbols.types([tensor((), DType.I64)]))


def _add(b: FunctionBuilder, op: Operation, function: tirx.PrimFunc, operands: int) -> str:
    base = op.name.replace(".", "_")
    symbol = f"{base}_{sum(1 for name in b.program.functions if name.startswith(base))}"
    function = function.with_attr("global_symbol", symbol).with_attr("tirx.noalias", True)
    b.program.add_kernel(symbol, function, operands, 1)
    return symbol


def _fail_if(op: Operation, condition: Any, message: str, *numbers: Any) -> Any:
    return fail_if(condition, message, numbers, str(op.location))
