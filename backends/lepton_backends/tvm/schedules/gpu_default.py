"""Default GPU schedules: the rules of TVM's dlight, tried function by function and checked.

A rule may decline a function, fail half way, or give something that a device cannot launch (too many threads, too
much shared memory, a loop left outside the threads). Each candidate is therefore lowered to device code before it is
taken, and the next rule is tried when that fails. The last rule, ``Fallback``, maps one output element to one thread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import SBlock, Schedule
from tvm.s_tir import dlight as dl
from tvm.target import Target

from lepton_backends.tvm.schedules.gpu_target import cuda_target
from lepton_ir.diagnostics import LeptonError

THREAD_AXES = ("threadIdx.x", "threadIdx.y", "threadIdx.z")
SCHEDULED = "tirx.is_scheduled"


class UnlaunchableError(Exception):
    """A scheduled function that the device could not run; the text says why."""


WITHOUT_TENSOR_CORES = "sm_60"
"""The architecture that the rules see on CUDA: their schedules with tensor cores, taken for f16 and i8 products, end
the process with a segmentation fault in TVM 0.27 where the loads of an operand compute something."""

SMALL_REDUCTION = 128
"""A reduction of at most this many elements is done by one thread: a block of threads would mostly wait."""


def default_rules(func: tirx.PrimFunc) -> Sequence[Any]:
    """Return the dlight rules to try for a function, in order."""
    gpu = dl.gpu
    if _reduces_little(func):
        return (gpu.Matmul(), gpu.Fallback())
    return (gpu.Matmul(), gpu.GEMV(), gpu.Reduction(), gpu.GeneralReduction(), gpu.Transpose(), gpu.Fallback())


def schedule_gpu(mod: tvm.IRModule, target: Target) -> tvm.IRModule:
    """Bind every loop nest of ``mod`` to GPU threads.

    Args:
        mod: a module whose ``PrimFunc``s were made from tensor expressions; other functions are kept as they are.
        target: a TVM target of kind cuda, rocm or opencl, with a host.

    Returns:
        A new module in which each ``PrimFunc`` is scheduled for the target.

    Raises:
        LeptonError: no rule gives a function that the device can launch.
    """
    scheduled = {
        var: schedule_function(func, target) if isinstance(func, tirx.PrimFunc) else func
        for var, func in mod.functions_items()
    }
    return tvm.IRModule(scheduled, attrs=mod.attrs)


def schedule_function(func: tirx.PrimFunc, target: Target) -> tirx.PrimFunc:
    """Return ``func`` bound to GPU threads by the first rule that gives a launchable function."""
    if func.attrs is not None and func.attrs.get(SCHEDULED):
        return func
    reasons = []
    for rule in default_rules(func):
        name = type(rule).__name__
        try:
            candidate = _apply(rule, func, target)
            if candidate is None:
                continue
            check_launchable(candidate, target)
        # A rule that does not fit may fail in any way, from a failed assertion to an error inside TVM's C++.
        except Exception as error:
            reasons.append(f"{name}: {_last_line(error)}")
            continue
        return candidate
    symbol = func.attrs.get("global_symbol", "a kernel") if func.attrs is not None else "a kernel"
    raise LeptonError(
        f"{symbol} has no schedule for {target.kind.name}",
        why="; ".join(reasons) or "no rule takes it",
        help="compile for the cpu, or report the operators of this kernel",
    )


def _reduces_little(func: tirx.PrimFunc) -> bool:
    """Return whether the function's only reduction is a small one."""
    blocks: list[Any] = []
    tvm_ffi.structural_walk(func.body, [(SBlock, blocks.append)])
    reducing = [[v.dom.extent for v in b.iter_vars if v.iter_type == tirx.IterVar.CommReduce] for b in blocks]
    sizes = [extents for extents in reducing if extents]
    if len(sizes) != 1 or not all(isinstance(e, tirx.IntImm) for e in sizes[0]):
        return False
    return math.prod(int(e) for e in sizes[0]) <= SMALL_REDUCTION


def _apply(rule: Any, func: tirx.PrimFunc, target: Target) -> tirx.PrimFunc | None:
    seen = cuda_target(WITHOUT_TENSOR_CORES) if target.kind.name == "cuda" else target
    with seen:
        found = rule.apply(func, seen, False)
    if found is None:
        return None
    schedule: Schedule = found[0] if isinstance(found, list) else found
    return schedule.mod["main"].with_attr(SCHEDULED, True)


def check_launchable(func: tirx.PrimFunc, target: Target) -> list[str]:
    """Lower ``func`` and check its kernels against the limits of ``target``.

    Returns:
        The names of the device kernels that it launches.

    Raises:
        UnlaunchableError: a loop runs outside the GPU threads, or a kernel exceeds a limit of the device.
    """
    lower, _, _ = tvm.tirx.get_default_tir_pipeline(target)
    mod = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    with target:
        lowered = lower(tirx.transform.BindTarget(target)(mod))
    kernels = {var.name_hint: f for var, f in lowered.functions_items() if _is_device(f)}
    if not kernels:
        raise UnlaunchableError("nothing runs on the device")
    for var, host in lowered.functions_items():
        if var.name_hint not in kernels and _count(host.body, tirx.For):
            raise UnlaunchableError("a loop is left outside the GPU threads")
    for kernel in kernels.values():
        _check_kernel(kernel, target)
    return list(kernels)


def _is_device(func: tirx.PrimFunc) -> bool:
    return int(func.attrs.get("calling_conv", 0)) == 2


def _check_kernel(kernel: tirx.PrimFunc, target: Target) -> None:
    threads: dict[str, int] = {}
    shared = 0

    def attr(node: tirx.AttrStmt) -> None:
        if node.attr_key == "thread_extent" and node.node.thread_tag in THREAD_AXES:
            if not isinstance(node.value, tirx.IntImm):
                raise UnlaunchableError(f"the extent of {node.node.thread_tag} is not constant")
            threads[node.node.thread_tag] = int(node.value)

    def alloc(node: tirx.AllocBuffer) -> None:
        nonlocal shared
        if str(node.buffer.scope()).startswith("shared"):
            elements = 1
            for dim in node.buffer.shape:
                elements *= int(dim)
            shared += elements * tvm.runtime.DataType(str(node.buffer.dtype)).itemsize

    tvm_ffi.structural_walk(kernel.body, [(tirx.AttrStmt, attr), (tirx.AllocBuffer, alloc)])
    block = 1
    for extent in threads.values():
        block *= extent
    limit = int(target.attrs["max_threads_per_block"])
    if not threads:
        raise UnlaunchableError("a kernel has no threads")
    if block > limit:
        raise UnlaunchableError(f"a block of {block} threads; {target.kind.name} allows {limit}")
    memory = int(target.attrs["max_shared_memory_per_block"])
    if shared > memory:
        raise UnlaunchableError(f"{shared} bytes of shared memory; {target.kind.name} allows {memory}")


def _count(stmt: Any, kind: type) -> int:
    found: list[Any] = []
    tvm_ffi.structural_walk(stmt, [(kind, found.append)])
    return len(found)


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else type(error).__name__
