"""From a Relax module to the bytes of a shared library.

The Relax part becomes bytecode for TVM's virtual machine (0.15 microseconds per kernel call), with storage planned
ahead; the kernels become LLVM object files, compiled in as many threads as there are cores, since neither TVM nor
LLVM holds Python's lock while it works.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tvm
from tvm import relax
from tvm.ir import IRModule
from tvm.relax import _ffi_api as relax_ffi
from tvm.runtime import _ffi_api as runtime_ffi

from lepton_backends.tvm.linker import find_linker, link_shared
from lepton_backends.tvm.pipeline import register_cpu_pipeline
from lepton_ir.diagnostics import LeptonError
from lepton_ir.target import Target

PARTS_PER_WORKER = 3
"""Object files per thread: enough that threads finish together, few enough that fixed costs (20 ms each) stay small."""

Progress = Callable[[int, int], None]


def tvm_target(target: Target) -> tvm.target.Target:
    """Return TVM's description of a CPU target."""
    processor = {"mcpu": target.llvm_processor, "mattr": target.llvm_attributes}
    return tvm.target.Target({"kind": "llvm", **processor, "num-cores": target.num_threads})


def lower_relax(module: IRModule) -> IRModule:
    """Run the Relax passes: destination passing, static memory planning, runtime calls."""
    passes = relax.transform
    pipeline = [
        passes.ToNonDataflow(),
        passes.RemovePurityChecking(),
        passes.CallTIRRewrite(),
        passes.StaticPlanBlockMemory(),
        passes.LowerAllocTensor(),
        passes.KillAfterLastUse(),
        passes.LowerRuntimeBuiltin(),
        passes.ComputePrimValue(),
        passes.VMShapeLower(),
        passes.AttachGlobalSymbol(),
    ]
    return tvm.transform.Sequential(pipeline)(module)


def build_library(
    module: IRModule,
    target: Target,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Compile a Relax module with its kernels to a shared library for a CPU.

    Args:
        module: ``main`` in Relax and the kernels that it calls, as :func:`relax_program.build_relax` makes it.
        target: what to compile for.
        workers: threads to compile with; as many as there are cores by default.
        progress: called with (kernels done, kernels in total) as object files get ready.

    Returns:
        The library, to be loaded with ``tvm_ffi`` (see :mod:`lepton_ir.runtime`).

    Raises:
        LeptonError: a kernel does not compile, there is no linker, or no space for temporary files.
    """
    find_linker()
    cpu = tvm_target(target)
    with cpu:
        lowered = lower_relax(module)
        builder = relax.ExecBuilder()
        leftover = relax_ffi.VMCodeGen(builder, lowered)
        try:
            with tempfile.TemporaryDirectory(prefix="lepton-build-") as folder:
                return _compile_and_link(builder, leftover, cpu, Path(folder), workers or _cores(), progress)
        except OSError as error:
            raise LeptonError(
                "the machine code cannot be written to a temporary file",
                where=error.filename or "",
                why=error.strerror or str(error),
                help="free some space, or set TMPDIR to a folder that has some",
            ) from error


def _compile_and_link(
    builder: relax.ExecBuilder,
    leftover: IRModule,
    target: tvm.target.Target,
    folder: Path,
    workers: int,
    progress: Progress | None,
) -> bytes:
    kernels = [(gv, fn) for gv, fn in leftover.functions.items() if isinstance(fn, tvm.tirx.PrimFunc)]
    parts = _split(kernels, workers * PARTS_PER_WORKER)
    objects: list[Path] = []
    first: Any = None
    done = 0
    with ThreadPoolExecutor(min(workers, max(1, len(parts)))) as pool:
        jobs = [
            pool.submit(_compile_part, dict(part), leftover.attrs, target, folder / f"part{i}.o")
            for i, part in enumerate(parts)
        ]
        try:
            for part, job in zip(parts, jobs, strict=True):
                library, path = job.result()
                first = first or library
                objects.append(path)
                done += len(part)
                if progress is not None:
                    progress(done, len(kernels))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    executable = relax_ffi.VMLink(builder, target, first, [], {})
    objects.append(_pack(executable, target, folder))
    output = folder / "lib.so"
    link_shared(objects, output)
    return output.read_bytes()


def _split(kernels: Sequence[Any], parts: int) -> list[list[Any]]:
    """Deal the kernels out, so that neighbours, which tend to cost the same, land in different parts."""
    count = max(1, min(parts, len(kernels)))
    return [list(kernels[i::count]) for i in range(count)] if kernels else []


def _compile_part(functions: dict[Any, Any], attrs: Any, target: tvm.target.Target, path: Path) -> tuple[Any, Path]:
    try:
        pipeline = "default" if "gpu" in target.keys else register_cpu_pipeline()
        library = tvm.tirx.build(IRModule(functions, attrs=attrs), target=target, pipeline=pipeline)
        _write_object(library, path)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        names = ", ".join(gv.name_hint for gv in functions)
        raise LeptonError(
            "TVM does not compile a kernel",
            where=names if len(names) < 400 else f"{names[:400]} ...",
            why=str(error).strip()[-2000:],
            help="this is a bug in Lepton's TVM backend; please report it with the model",
        ) from error
    return library, path


def _write_object(module: Any, path: Path) -> None:
    """Write the object file of a compiled module.

    LLVM ends the process where a disk is full. So it writes to memory, and Python, which raises, to the disk.
    """
    if not hasattr(os, "memfd_create"):
        module.write_to_file(str(path))
        return
    with open(os.memfd_create(path.name), "rb") as file:  # noqa: PTH123 - a descriptor has no path
        module.write_to_file(f"/proc/self/fd/{file.fileno()}", "o")
        path.write_bytes(file.read())


def _pack(executable: Any, target: tvm.target.Target, folder: Path) -> Path:
    """Write the bytecode as data in an object file."""
    path = folder / "bytecode.o"
    packed = runtime_ffi.ModulePackImportsToLLVM(executable, False, str(target), "")
    _write_object(packed, path)
    return path


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
