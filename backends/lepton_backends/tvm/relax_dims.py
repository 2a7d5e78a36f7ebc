"""Dimensions that data decides, as Relax: names bound from tensors, and checks of what must hold.

The checks are kernels of their own whose assertions end the run with an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax, tirx
from tvm.ir import StringImm

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
    type_ = tensor((len(names),), DType.I64)
    message = f"a {op.what} is negative or above 2**48"

    def check(values: Any, out: Any) -> list[Any]:
        read = [values[_number(i)] for i in range(len(names))]
        checks = [_assert(op, tirx.And(v >= _number(0), v <= _number(LARGEST)), message) for v in read]
        return [*checks, *(tirx.BufferStore(out, v, [_number(i)]) for i, v in enumerate(read))]

    values, out = (tirx.decl_buffer((_number(len(names)),), "int64", name) for name in ("in0", "out0"))
    symbol = _add(b, op, tirx.PrimFunc([values, out], tirx.stmt_seq(*check(values, out))), 1)
    checked = b.call_kernel(symbol, [b.values[op.values]], b.symbols.types([type_]))
    shape = relax.Call(
        relax.ExternFunc("vm.builtin.tensor_to_shape"), checked, ty_args=[relax.ShapeType(ndim=len(names))]
    )
    b.symbols.bind(names)
    b.builder.match_cast(b.builder.emit(shape), relax.ShapeType([b.symbols.variable(name) for name in names]))
    return []


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda left, right: left.equal(right),
    "<=": lambda left, right: left <= right,
    "broadcasts": lambda left, right: tirx.Or(left.equal(right), left.equal(_number(1))),
}


@emits("dims.require")
def _require(b: FunctionBuilder, op: Operation) -> list[Any]:
    assert isinstance(op, Require)
    own = Symbols()
    condition = _COMPARE[op.relation](own.dim(op.left), own.dim(op.right))
    names = sorted(symbols(op.left) | symbols(op.right))
    out = tirx.decl_buffer((), "int64", "out0")
    body = [
        _assert(op, condition, f"{op.left} {op.relation} {op.right} does not hold"),
        tirx.BufferStore(out, _number(0), []),
    ]
    symbol = _add(b, op, tirx.PrimFunc([out, *(own.variable(name) for name in names)], tirx.stmt_seq(*body)), 0)
    b.call_kernel(symbol, [], b.symbols.types([tensor((), DType.I64)]))
    return []


@emits("control.require")
def _check(b: FunctionBuilder, op: Operation) -> list[Any]:
    require(b, op, b.values[op.present_operands[0]], str(op.attributes["message"]))
    return []


def require(b: FunctionBuilder, op: Operation, holds: Any, message: str) -> None:
    """Emit a check that ends the run with an error of ``op`` unless the flag ``holds``."""
    condition, out = tirx.decl_buffer((), "bool", "in0"), tirx.decl_buffer((), "int64", "out0")
    body = [_assert(op, condition[()], message), tirx.BufferStore(out, _number(0), [])]
    symbol = _add(b, op, tirx.PrimFunc([condition, out], tirx.stmt_seq(*body)), 1)
    b.call_kernel(symbol, [holds], b.symbols.types([tensor((), DType.I64)]))


def _add(b: FunctionBuilder, op: Operation, function: tirx.PrimFunc, operands: int) -> str:
    base = op.name.replace(".", "_")
    symbol = f"{base}_{sum(1 for name in b.program.functions if name.startswith(base))}"
    function = function.with_attr("global_symbol", symbol).with_attr("tirx.noalias", True)
    b.program.add_kernel(symbol, function, operands, 1)
    return symbol


def _assert(op: Operation, condition: Any, message: str) -> Any:
    where = f"{op.location}: "
    # TVM 0.27's Python class names its first two parameters the wrong way round.
    return tirx.AssertStmt(condition, StringImm("ValueError"), [StringImm(where + message)])


def _number(value: int) -> tirx.IntImm:
    return tirx.IntImm("int64", value)
