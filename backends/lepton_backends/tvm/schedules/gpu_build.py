"""From scheduled functions and a Relax program to one shared library with machine code for the device inside."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import tvm
from tvm import relax
from tvm.ir import IRModule
from tvm.relax import _ffi_api as relax_ffi

from lepton_backends.tvm.build import lower_relax, tvm_target
from lepton_backends.tvm.linker import find_linker, link_shared
from lepton_backends.tvm.schedules.gpu_device import DeviceCode, device_code
from lepton_backends.tvm.schedules.gpu_quiet import quiet
from lepton_backends.tvm.schedules.gpu_target import gpu_target
from lepton_ir.diagnostics import LeptonError
from lepton_ir.target import Target

Progress = Callable[[int, int], None]


def tvm_gpu_target(target: Target) -> tvm.target.Target:
    """Return TVM's description of a GPU target, with the CPU that runs the host code."""
    host = tvm_target(target)
    return gpu_target(target.kind, target.arch, host)


def build_gpu_library(module: IRModule, target: Target, progress: Progress | None = None) -> tuple[bytes, DeviceCode]:
    """Compile a Relax module with its kernels to a shared library for a GPU.

    Args:
        module: ``main`` in Relax and the scheduled kernels that it calls.
        target: the GPU target.
        progress: called with (kernels done, kernels in total).

    Returns:
        The library (host code, bytecode and device machine code), and what was generated for the device.

    Raises:
        LeptonError: part of the toolchain is missing, or a kernel does not compile.
    """
    find_linker()
    device = tvm_gpu_target(target)
    with device_code(target.kind, target.arch) as code, device:
        builder = relax.ExecBuilder()
        leftover = relax_ffi.VMCodeGen(builder, lower_relax(module))
        library = _build(leftover, device)
        executable = relax_ffi.VMLink(builder, device, library, [], {})
        count = len(leftover.functions)
        if progress is not None:
            progress(0, count)
        data = _link(library, executable, code)
        if progress is not None:
            progress(count, count)
    return data, code


def compile_functions(module: IRModule, target: tvm.target.Target) -> tuple[bytes, DeviceCode]:
    """Compile scheduled functions, without a graph around them, to a shared library.

    Args:
        module: functions that :func:`~lepton_backends.tvm.schedules.gpu_default.schedule_gpu` returned.
        target: the TVM target that they were scheduled for.

    Returns:
        The library, and what was generated for the device.
    """
    arch = str(target.attrs.get("arch") or target.attrs.get("mcpu") or "")
    with device_code(str(target.kind.name), arch) as code, target:
        library = _build(module, target)
        return _link(library, library, code), code


def _build(functions: IRModule, target: tvm.target.Target) -> Any:
    try:
        with quiet() if target.kind.name == "rocm" else nullcontext():
            return tvm.tirx.build(functions, target=target)
    except LeptonError:
        raise
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise LeptonError(
            f"TVM does not compile the kernels for {target.kind.name}",
            why=str(error).strip()[-2000:],
            help="this is a bug in Lepton's TVM backend; please report it with the model",
        ) from error


def _link(host: Any, root: Any, code: DeviceCode) -> bytes:
    """Link the host code of ``host`` with the bytecode and the device modules of ``root``."""
    with tempfile.TemporaryDirectory(prefix="lepton-gpu-") as folder:
        host_object, output = Path(folder, "host.o"), Path(folder, "lib.so")
        host.write_to_file(str(host_object))
        packed = code.pack_imports(root, False, "", folder)
        link_shared([host_object, Path(packed)], output)
        return output.read_bytes()
