"""Dimensions that data decides, as Relax: names bound from tensors, and checks of what must hold.

The checks are kernels of their own that end the run with an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax, tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.failure import fail_if
from lepton_backends.tvm.relax_builder import FunctionBuilder, emits, outside_kernels
from lepton_backends.tvm.relax_types import Symbols
from lepton_backends.tvm.sites import Sites
from lepton_ir.ir import DType, tensor
from lepton_ir.ir.core import Operation
from lepton_ir.ir.dim import Dim, substitute, sym, symbols
from lepton_ir.ops.runtime_dims import LARGEST, Bind, Require


@emits("dims.bind")
def _bind(b: FunctionBuilder, op: Operation) -> list[Any]:
    assert isinstance(op, Bind)
    names = op.names()
    symbol = _shared(b, op, _make_bind)
    types = b.symbols.types([tensor((len(names),), DType.I64)])
    checked = b.call_kernel(symbol, [b.values[op.values]], types, place=_words(op))
    shape = relax.Call(
        relax.ExternFunc("vm.builtin.tensor_to_shape"), checked, ty_args=[relax.ShapeType(ndim=len(names))]
    )
    b.symbols.bind(names)
    b.builder.match_cast(b.builder.emit(shape), relax.ShapeType([b.symbols.variable(name) for name in names]))
    return []


def _make_bind(count: int, sites: Sites) -> tuple[tirx.PrimFunc, int]:
    values, out = (tirx.decl_buffer((tir.index(count),), "int64", name) for name in ("in0", "out0"))
    body = []
    for i in range(count):
        value = values[tir.index(i)]
        outside = tirx.Or(value < 0, value > tir.index(LARGEST))
        body.append(_fail_if(sites, outside, value))
        body.append(tirx.BufferStore(out, value, [tir.index(i)]))
    return tirx.PrimFunc([values, out, *sites.scalars], tir.seq(*body)), 1


_FAILS: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda left, right: tirx.NE(left, right),
    "<=": lambda left, right: left > right,
    "broadcasts": lambda left, right: tirx.And(tirx.NE(left, right), tirx.NE(left, tir.index(1))),
}


@emits("dims.require")
def _require(b: FunctionBuilder, op: Operation) -> list[Any]:
    assert isinstance(op, Require)
    symbol = _shared(b, op, _make_require)
    b.call_kernel(symbol, [], b.symbols.types([tensor((), DType.I64)]), _names(op), _words(op))
    return []


def _names(op: Require) -> list[str]:
    return list(dict.fromkeys([*sorted(symbols(op.left)), *sorted(symbols(op.right))]))


def _condition(op: Require) -> tuple[Dim, str, Dim, int]:
    """Return the condition with numbers for names, so that it does not matter what dimensions are called."""
    names: dict[str, Dim] = {name: sym(f"d{i}") for i, name in enumerate(_names(op))}
    return substitute(op.left, names), op.relation, substitute(op.right, names), len(names)


def _make_require(condition: tuple[Dim, str, Dim, int], sites: Sites) -> tuple[tirx.PrimFunc, int]:
    own, (one, relation, other, count) = Symbols(), condition
    left, right = own.dim(one), own.dim(other)
    out = tirx.decl_buffer((), "int64", "out0")
    body = [_fail_if(sites, _FAILS[relation](left, right), left, right), tirx.BufferStore(out, tir.index(0), [])]
    params = [out, *(own.variable(f"d{i}") for i in range(count)), *sites.scalars]
    return tirx.PrimFunc(params, tir.seq(*body)), 0


@emits("control.require")
def _check(b: FunctionBuilder, op: Operation) -> list[Any]:
    require(b, op, b.values[op.present_operands[0]], str(op.attributes["message"]))
    return []


def require(b: FunctionBuilder, op: Operation, holds: Any, message: str) -> None:
    """Emit a check that ends the run with an error of ``op`` unless the flag ``holds``."""
    condition, out = tirx.decl_buffer((), "bool", "in0"), tirx.decl_buffer((), "int64", "out0")
    failed = tirx.EQ(tir.cast(condition[()], "int8"), tir.const(0, "int8"))
    # The message may hold names of the model's; a pair of braces would be taken for a number's place.
    text = message.replace("{}", "{ }").replace("{", "{{").replace("}", "}}")
    sites = Sites.of([(text, str(op.location))])
    body = [_fail_if(sites, failed), tirx.BufferStore(out, tir.index(0), [])]
    symbol = _add(b, op, tirx.PrimFunc([condition, out], tir.seq(*body)), 1, sites)
    b.call_kernel(symbol, [holds], b.symbols.types([tensor((), DType.I64)]))


def _words(op: Operation) -> tuple[str, str]:
    """Return what is wrong where the check of an operation fails, and where."""
    if isinstance(op, Bind):
        return f"a {op.what} is {{}}, but must be between 0 and 2**48", str(op.location)
    assert isinstance(op, Require)
    return f"{op.left} {op.relation} {op.right} does not hold: they are {{}} and {{}}", str(op.location)


def _shared(b: FunctionBuilder, op: Operation, make: Callable[[Any, Sites], tuple[tirx.PrimFunc, int]]) -> str:
    """Return the kernel that checks ``op`` and all operations of its kind that are alike but for their words."""
    key = _key(op)
    whole = (op.name, key)
    if whole not in b.program.shared:
        alike = [o for o in outside_kernels(b.program.module) if o.name == op.name and _key(o) == key]
        sites = Sites.of(map(_words, alike))
        function, operands = make(key, sites)
        b.program.shared[whole] = _add(b, op, function, operands, sites)
    return b.program.shared[whole]


def _key(op: Operation) -> Any:
    if isinstance(op, Bind):
        return len(op.names())
    assert isinstance(op, Require)
    return _condition(op)


def _add(b: FunctionBuilder, op: Operation, function: tirx.PrimFunc, operands: int, sites: Sites) -> str:
    base = f"check_{op.name.replace('.', '_')}"
    symbol = f"{base}_{sum(1 for name in b.program.functions if name.startswith(base))}"
    function = function.with_attr("global_symbol", symbol).with_attr("tirx.noalias", True)
    b.program.add_kernel(symbol, function, operands, 1, sites)
    return symbol


def _fail_if(sites: Sites, condition: Any, *numbers: Any) -> Any:
    return fail_if(condition, sites.column(0), numbers, sites.column(1), sites.variable)
