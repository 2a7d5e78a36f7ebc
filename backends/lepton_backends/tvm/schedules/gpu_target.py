"""TVM targets for GPUs, complete without a GPU in the machine."""

from __future__ import annotations

from tvm.target import Target

from lepton_backends.tvm.schedules.gpu_quiet import quiet


def cuda_target(arch: str, host: Target | str = "llvm") -> Target:
    """Return the target of an NVIDIA GPU such as ``sm_90``."""
    limits = {"max_threads_per_block": 1024, "max_shared_memory_per_block": 49152, "thread_warp_size": 32}
    return Target({"kind": "cuda", "arch": arch, "max_num_threads": 1024, **limits}, host=host)


def rocm_target(arch: str, host: Target | str = "llvm") -> Target:
    """Return the target of an AMD GPU such as ``gfx90a``.

    A block has at most 256 threads: TVM compiles every kernel with that bound when it sees no GPU.
    """
    name = arch.partition(":")[0]
    warp = 64 if name.startswith("gfx9") else 32
    limits = {"max_threads_per_block": 256, "max_shared_memory_per_block": 65536, "thread_warp_size": warp}
    return Target({"kind": "rocm", "mcpu": name, "max_num_threads": 256, **limits}, host=host)


def opencl_target(arch: str = "", host: Target | str = "llvm") -> Target:
    """Return a generic OpenCL 1.2 target with 32 KiB of local memory; ``arch`` is ignored."""
    limits = {"max_threads_per_block": 256, "max_shared_memory_per_block": 32768}
    return Target({"kind": "opencl", "max_num_threads": 256, **limits}, host=host)


MAKERS = {"cuda": cuda_target, "rocm": rocm_target, "opencl": opencl_target}


def gpu_target(kind: str, arch: str, host: Target | str = "llvm") -> Target:
    """Return the TVM target of ``kind`` (cuda, rocm or opencl) and ``arch``."""
    if kind != "rocm":
        return MAKERS[kind](arch, host)
    with quiet():
        return rocm_target(arch, host)
