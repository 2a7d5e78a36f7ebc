"""From a module in kernel form to a Relax program that calls the kernels.

``main`` takes the inputs and then the weights. Kernels are called by ``call_tir``, that is, they write into storage
that the caller planned; the symbolic dimensions that they need come along as int64 scalars. Reshapes are views.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvm import relax, tirx
from tvm.ir import IRModule

from lepton_backends.tvm import relax_control, relax_dims, relax_host  # noqa: F401 - register what stands outside of kernels
from lepton_backends.tvm.relax_builder import FunctionBuilder, Program, outside_kernels
from lepton_backends.tvm.sites import shared_by
from lepton_ir.ir import Constant, Module
from lepton_ir.ir.core import Operation
from lepton_ir.ir.types import is_numeric

ENTRY = "main"


@dataclass(frozen=True)
class RelaxProgram:
    """A Relax module with its kernels, and the weights that its ``main`` takes after the inputs, in order."""

    module: IRModule
    weights: dict[str, Constant]

    def relax_text(self) -> str:
        """Return the Relax functions, to read."""
        return self._text(relax.Function)

    def tensorir_text(self) -> str:
        """Return the kernels in TensorIR, to read."""
        return self._text(tirx.PrimFunc)

    def _text(self, kind: type[Any]) -> str:
        functions = {gv: f for gv, f in self.module.functions.items() if isinstance(f, kind)}
        return "\n\n".join(str(f.script(name=gv.name_hint)) for gv, f in functions.items()) + "\n"


def build_relax(module: Module, kernels: Mapping[str, tirx.PrimFunc]) -> RelaxProgram:
    """Build the Relax program of a module in kernel form.

    Args:
        module: only constants, kernels, reshapes, branches, loops and calls stand outside of kernel regions.
        kernels: kernel symbol to its function, whose parameters are operands, results, then one int64 scalar per
            symbolic dimension that it needs, and one for the site where several share it.

    Raises:
        LeptonError: an operation stands outside of a kernel that only a kernel can compute.
    """
    program = Program(module)
    calls: dict[str, list[Operation]] = {}
    for op in outside_kernels(module):
        if op.name == "kernel":
            calls.setdefault(str(op.attributes["symbol"]), []).append(op)
    for symbol, ops in calls.items():
        operands, results = len(ops[0].present_operands), len(ops[0].results)
        program.add_kernel(symbol, kernels[symbol], operands, results, shared_by(ops))
    b = FunctionBuilder(program)
    taken: set[str] = set()
    arguments = module.main.arguments
    inputs = [b.parameter(_unique(a.name or f"input{a.index}", taken), a.type) for a in arguments]
    b.values.update(zip(arguments, inputs, strict=True))
    weights, parameters = _weights(module, b, taken)

    def body() -> list[Any]:
        for argument, given in zip(arguments, inputs, strict=True):
            b.named(given, argument.type)
        return b.block(module.main.body)

    function = b.function(ENTRY, [*inputs, *parameters], body)
    program.builder.add_func(function, ENTRY)
    return RelaxProgram(program.builder.finalize(), weights)


def _weights(module: Module, b: FunctionBuilder, taken: set[str]) -> tuple[dict[str, Constant], list[relax.Var]]:
    """Make a parameter of every constant that is read outside of kernels; equal constants share one."""
    weights: dict[str, Constant] = {}
    parameters: dict[Constant, relax.Var] = {}
    for op in outside_kernels(module):
        if op.name != "const" or not is_numeric(op.results[0].type):
            continue
        constant: Constant = op.attributes["value"]
        if constant not in parameters:
            name = _unique(constant.name or f"constant{len(weights)}", taken)
            weights[name] = constant
            parameters[constant] = b.parameter(name, constant.type)
        b.values[op.results[0]] = parameters[constant]
    return weights, list(parameters.values())


def _unique(name: str, taken: set[str]) -> str:
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate
