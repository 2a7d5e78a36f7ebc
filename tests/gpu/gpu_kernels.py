"""Kernels for the GPU tests: made with the builder, run on PoCL, or taken from a whole module in kernel form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from lepton_backends.tvm.schedules.gpu import lower_kernel_gpu
from lepton_backends.tvm.schedules.gpu_target import opencl_target
from pocl import PoclProgram

import lepton_ir.ops  # noqa: F401  (registers the operators)
from lepton_ir.compiler import CompileOptions, import_model, optimize
from lepton_ir.ir import Block, Builder, Module, Region, TensorType, Value, tensor
from lepton_ir.ir.core import Operation
from lepton_ir.ir.opdef import REGISTRY
from lepton_ir.target import Target, parse_target

OPENCL = Target("opencl")


def make_kernel(types: Sequence[Any], build: Callable[..., Any], symbol: str = "main") -> Operation:
    """Return a kernel whose body ``build(builder, *arguments)`` makes; a bare shape means f32."""
    full = [t if isinstance(t, TensorType) else tensor(t) for t in types]
    block, outer = Block(full), Block(full)
    results = build(Builder(block), *block.arguments)
    values: list[Value] = list(results) if isinstance(results, (tuple, list)) else [results]
    Builder(block).create(REGISTRY["yield"], values)
    return REGISTRY["kernel"].build(list(outer.arguments), symbol=symbol, regions=[Region(block)])


def run_on_pocl(kernel: Operation, inputs: Sequence[np.ndarray], env: Mapping[str, int] | None = None) -> list[Any]:
    """Lower a kernel as for every GPU, run it on PoCL and return its results."""
    program = PoclProgram(lower_kernel_gpu(kernel, OPENCL, "main"), opencl_target())
    return call(program, kernel, inputs, env or {})


def call(program: PoclProgram, kernel: Operation, inputs: Sequence[np.ndarray], env: Mapping[str, int]) -> list[Any]:
    """Run a lowered kernel and return its results."""
    types = [r.tensor.substitute(env) for r in kernel.results]
    outputs = [np.zeros(t.static_shape, t.dtype.numpy) for t in types]
    program(*map(np.ascontiguousarray, inputs), *outputs, *(env[name] for name in kernel.symbol_names))
    return outputs


def in_kernel_form(model: Any, kind: str = "opencl") -> Module:
    """Return a model after the passes of -O3 for a GPU."""
    module = import_model(model)
    optimize(module, CompileOptions(parse_target(kind)))
    return module


def run_module(module: Module, inputs: Sequence[np.ndarray], env: Mapping[str, int] | None = None) -> list[Any]:
    """Run a whole module in kernel form on PoCL, kernel after kernel."""
    sizes = env or {}
    values: dict[Value, np.ndarray] = dict(zip(module.main.arguments, inputs, strict=True))
    programs: dict[str, PoclProgram] = {}
    for op in module.main.body.ops:
        operands = [values[v] for v in op.present_operands]
        if op.name == "const":
            values[op.results[0]] = op.attributes["value"].array
        elif op.name == "kernel":
            symbol = op.attributes["symbol"]
            if symbol not in programs:
                programs[symbol] = PoclProgram(lower_kernel_gpu(op, OPENCL, symbol), opencl_target())
            values.update(zip(op.results, call(programs[symbol], op, operands, sizes), strict=True))
        elif op.name == "tensor.reshape":
            values[op.results[0]] = operands[0].reshape(op.results[0].tensor.substitute(sizes).static_shape)
        else:
            assert op.name == "return", op.name
            return operands
    raise AssertionError("the module has no return")
