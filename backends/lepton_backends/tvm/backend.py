"""The TVM backend as the compiler sees it."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lepton_ir.analysis.cost import cost
from lepton_ir.backend import BuildResult, KernelInfo
from lepton_ir.diagnostics import Diagnostic, LeptonError
from lepton_ir.ir import Module
from lepton_ir.ir.core import Operation, Value
from lepton_ir.rewrite import constant_array
from lepton_ir.target import GPU_ARCHS, Target

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

_QUIET = frozenset({"const", "yield"})


class TvmBackend:
    """Compiles kernels through TensorIR, the graph through Relax. TVM is imported when a method runs."""

    def supports(self, target: Target) -> bool:
        """Return whether this backend compiles for ``target``."""
        return target.kind == "cpu" or target.kind in GPU_ARCHS

    def prepare(self, target: Target) -> None:
        """Check the toolchain, and import TVM while the model is read and optimized; that takes 2 to 3 seconds."""
        if target.is_gpu:
            from lepton_backends.tvm.toolchain import check_toolchain

            check_toolchain(target.kind)
        threading.Thread(target=importlib.import_module, args=("lepton_backends.tvm.emit.lower",), daemon=True).start()

    def unsupported(self, module: Module, target: Target) -> list[Diagnostic]:
        """Return a finding for every operation without a lowering."""
        if target.is_gpu:
            from lepton_backends.tvm.schedules import gpu

            return gpu.unsupported(module)
        from lepton_backends.tvm.emit import lower

        return lower.unsupported(module)

    def build(self, module: Module, target: Target, progress: Callable[[str], None]) -> BuildResult:
        """Compile a module in kernel form; see :class:`lepton_ir.backend.Backend`."""
        from lepton_backends.tvm.build import build_library
        from lepton_backends.tvm.memory import planned_bytes
        from lepton_backends.tvm.relax_program import build_relax

        kernels = [op for op in module.walk() if op.name == "kernel"]
        functions = lower_kernels(kernels, target)
        program = build_relax(module, functions)
        progress(f"compile {len(functions)} kernels")
        texts = {"relax.txt": program.relax_text(), "tensorir.txt": program.tensorir_text()}
        if target.is_gpu:
            from lepton_backends.tvm.schedules.gpu_build import build_gpu_library

            library, device = build_gpu_library(program.module, target)
            texts["device.txt"] = device.table()
        else:
            library = build_library(program.module, target)
        infos = [kernel_info(op) for op in kernels]
        return BuildResult(library, program.weights, infos, planned_bytes(program.module), texts)


def lower_kernels(kernels: list[Operation], target: Target) -> dict[str, PrimFunc]:
    """Return the function of every kernel symbol."""
    calls: dict[str, list[Operation]] = {}
    for op in kernels:
        calls.setdefault(str(op.attributes["symbol"]), []).append(op)
    return {symbol: _lowered(ops, target, symbol) for symbol, ops in calls.items()}


def _lowered(kernels: list[Operation], target: Target, symbol: str) -> PrimFunc:
    """Return the function of kernels that are equal but for the constants that they get."""
    try:
        if target.is_gpu:
            from lepton_backends.tvm.schedules.gpu import lower_kernel_gpu

            return lower_kernel_gpu(kernels[0], target, symbol)
        from lepton_backends.tvm.emit.lower import lower_kernel
        from lepton_backends.tvm.sites import shared_by

        return lower_kernel(kernels[0], target, symbol, _constants(kernels), shared_by(kernels))
    except LeptonError:
        raise
    except Exception as error:
        # TVM's errors share no narrower base class, and do not say which of the model's nodes they are about.
        raise LeptonError(
            f"no code can be generated for the kernel {symbol}",
            kernels[0].location,
            f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1]}",
            "this is a bug in Lepton's TVM backend; please report it with the model",
        ) from error


def _constants(calls: list[Operation]) -> dict[Value, np.ndarray]:
    """Return the integers that arguments of a kernel are in all of its calls, those of the calls stacked."""
    found: dict[Value, np.ndarray] = {}
    for i, argument in enumerate(calls[0].regions[0].block.arguments):
        arrays = [constant_array(op.operands[i]) for op in calls] if argument.tensor.dtype.is_integer else [None]
        known = [a for a in arrays if a is not None]
        if len(known) == len(arrays):
            found[argument] = np.stack(known)
    return found


def kernel_info(op: Operation) -> KernelInfo:
    """Return what the artifact's manifest says of a kernel."""
    inner = tuple(o.name for o in op.regions[0].block.ops if o.name not in _QUIET)
    measured = cost(op)
    return KernelInfo(str(op.attributes["symbol"]), inner, op.location.names(), measured.flops, measured.bytes)
