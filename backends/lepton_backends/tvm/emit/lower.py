"""From a kernel region to a TensorIR function."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import guards, rules
from lepton_backends.tvm.emit.kernel import KernelView, no_rule
from lepton_backends.tvm.schedules.registry import Template, find_template, takes_epilogue
from lepton_backends.tvm.sites import Sites
from lepton_backends.tvm.tir import Buffer, PrimFunc, Stmt
from lepton_ir.diagnostics import Diagnostic
from lepton_ir.ir import DType, Module, Value
from lepton_ir.ir.core import Operation
from lepton_ir.ir.opdef import runs_on_host
from lepton_ir.target import Target


def lower_kernel(
    kernel: Operation,
    target: Target,
    symbol: str = "main",
    constants: Mapping[Value, np.ndarray] | None = None,
    sites: Sites | None = None,
) -> PrimFunc:
    """Return the function of a kernel operation.

    Its parameters are the operands, the results, the kernel's symbols as int64 (see
    :attr:`~lepton_ir.ops.control.Kernel.symbol_names`), and the number of the site where there are several.

    Args:
        kernel: a ``kernel`` operation.
        target: the CPU to compile for.
        symbol: the function's name.
        constants: what the kernel's arguments are known to hold, by argument; of several calls, all of it.
        sites: the places that call the function; just the kernel's own by default.

    Raises:
        LeptonError: an operator in the kernel has neither a rule nor a template.
    """
    view = KernelView(kernel, constants, sites)
    return view.prim_func(tir.seq(*_Stages(view, target).build()), symbol)


def unsupported(module: Module) -> list[Diagnostic]:
    """Return what the kernels of a module hold that cannot be compiled, all at once."""
    rules.load_rules()
    found: list[Diagnostic] = []
    for kernel in module.walk():
        if kernel.name == "kernel":
            for op in kernel.regions[0].block.ops:
                found += _problems(op)
    return found


def _problems(op: Operation) -> list[Diagnostic]:
    if not op.results:
        return []
    if not rules.is_injective(op) and find_template(op.name) is None:
        return no_rule(op).diagnostics
    for value in (*op.present_operands, *op.results):
        dtype: DType = value.tensor.dtype
        if dtype is DType.C64 and runs_on_host(op):
            why = "kernels move complex numbers, as bits, and the host computes with them"
            return [Diagnostic(f"the CPU backend cannot compute {op.name} on {dtype}", op.location, why)]
        if dtype not in rules.STORAGE:
            why = f"elements of type {dtype} have no counterpart in TVM's tensor IR"
            return [Diagnostic(f"the CPU backend cannot compute {op.name} on {dtype}", op.location, why)]
    return []


class _Stages:
    """Splits a kernel into stages, each with at most one operation that is not computed element by element."""

    def __init__(self, view: KernelView, target: Target) -> None:
        self.view = view
        self.target = target
        self.stmts: list[Stmt] = []
        self.unchecked = [op for op in view.block.ops if op.name in rules.GUARDS]

    def build(self) -> list[Stmt]:
        """Return the statements of all stages."""
        anchors = [op for op in self.view.block.ops if op.results and not rules.is_injective(op)]
        pending = dict(self.view.targets)
        for position, anchor in enumerate(anchors):
            before = {v: b for v, b in pending.items() if not self.view.depends_on(v, anchors[position:])}
            self.emit(None, before)
            pending = {v: b for v, b in pending.items() if v not in before}
            last = position == len(anchors) - 1
            fits = last and takes_epilogue(anchor.name)
            if fits and self.view.stage(anchor, pending).epilogue_fits():
                self.emit(anchor, pending)
                pending = {}
                continue
            used: list[Value] = [v for v in anchor.results if v.is_used]
            own = {v: pending.pop(v) if v in pending else self.view.temporary(v) for v in used}
            self.emit(anchor, own)
        self.emit(None, pending)
        for value, buffer in self.view.copies:
            self.emit(None, {value: buffer})
        return self.stmts

    def emit(self, anchor: Operation | None, outputs: Mapping[Value, Buffer]) -> None:
        """Add the stage that computes ``outputs``; later stages read them from memory."""
        if not outputs:
            return
        stage = self.view.stage(anchor, outputs)
        self.check(stage)
        if not all(0 in value.shape for value in outputs):
            self.stmts.append(self.template(anchor)(stage, self.target))
        for value, buffer in outputs.items():
            self.view.buffers.setdefault(value, buffer)

    def check(self, stage: KernelView) -> None:
        """Add the checks of all operations whose checked operand is known before this stage."""
        for op in [*self.unchecked]:
            operand = rules.GUARDS[op.name].operand(op)
            if operand is None or stage.computable(operand):
                self.unchecked.remove(op)
                self.stmts += filter(None, [guards.check(stage, op)])

    def template(self, anchor: Operation | None) -> Template:
        """Return the template for an anchor."""
        found = find_template("injective" if anchor is None else anchor.name)
        if found is None:
            raise no_rule(anchor if anchor is not None else self.view.op)
        return found
