"""A small compiled model, made by hand from two kernels, that exercises what the runtime has to do.

``y``: ``relu`` applied three times where ``flag`` holds, once where it does not, to ``x + bias``; ``echo``: ``x``
itself; ``bias``: the weight itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm import tirx

import lepton_ir.ops  # noqa: F401 - defines the operators
from lepton_ir.ir import REGISTRY, Block, Builder, DType, Function, Module, Region, Value, sym, tensor

N, S = sym("N"), sym("S")
BIAS = np.array([-0.5, 0.0, 0.25, 1.0], np.float32)


def reference(x: np.ndarray, flag: bool) -> np.ndarray:
    """Return what the model computes."""
    y = x + BIAS
    for _ in range(3 if flag else 1):
        y = np.maximum(y, 0) - np.float32(0.125)
    return y


def call_kernel(b: Builder, symbol: str, *inputs: Value) -> Value:
    body = Region(Block(v.type for v in inputs))
    inner = Builder(body.block)
    inner.yield_([inner.add(*body.block.arguments) if len(inputs) == 2 else inner.relu(*body.block.arguments)])
    return b.create(REGISTRY["kernel"], list(inputs), symbol=symbol, regions=[body]).results[0]


def build_module() -> Module:
    """Return the model in kernel form."""
    main = Function("main", [tensor((N, S, 4)), tensor((), DType.BOOL)], ["x", "flag"], ["y", "echo", "bias"])
    b = Builder(main.body)
    x, flag = main.arguments
    bias, again = b.const(BIAS, name="bias"), b.const(BIAS, name="other.bias")
    biased = call_kernel(b, "add_bias", b.tensor_reshape(x, shape=(N * S, 4)), bias)

    def branch(times: int) -> Region:
        region = Region(Block())
        inner, value = Builder(region.block), biased
        for _ in range(times):
            value = call_kernel(inner, "shifted_relu", value)
        inner.yield_([value])
        return region

    y = b.create(REGISTRY["control.if"], flag, regions=[branch(3), branch(1)]).results[0]
    b.return_([b.tensor_reshape(y, shape=(N, S, 4)), x, again])
    return Module([main])


def prim_functions() -> dict[str, tirx.PrimFunc]:
    """Return the kernels; their scalars stand last and are named like the dimensions."""

    def function(operands: int, value: Callable[..., tirx.Expr]) -> tirx.PrimFunc:
        n, s, row = tirx.Var("N", "int64"), tirx.Var("S", "int64"), tirx.Var("row", "int64")
        rows = tirx.decl_buffer((n * s, 4), "float32", "x")
        extra = [tirx.decl_buffer((4,), "float32", "bias")][: operands - 1]
        out = tirx.decl_buffer((n * s, 4), "float32", "y")
        lanes = tirx.Ramp(tirx.IntImm("int64", 0), tirx.IntImm("int64", 1), 4)
        stored = tirx.BufferStore(out, value(rows[row, lanes], *(e[lanes] for e in extra)), [row, lanes])
        body = tirx.For(row, tirx.IntImm("int64", 0), n * s, tirx.ForKind.PARALLEL, stored)
        return tirx.PrimFunc([rows, *extra, out, n, s], body).with_attr("tirx.noalias", True)

    def number(value: float) -> tirx.Expr:
        return tirx.Broadcast(tirx.FloatImm("float32", value), 4)

    functions = {
        "add_bias": function(2, lambda x, bias: x + bias),
        "shifted_relu": function(1, lambda x: tirx.max(x, number(0.0)) - number(0.125)),
    }
    return {symbol: f.with_attr("global_symbol", symbol) for symbol, f in functions.items()}
