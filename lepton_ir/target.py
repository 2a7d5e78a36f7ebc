"""What the code is compiled for: instruction set, caches, threads."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass, field, replace
from pathlib import Path

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType

X86_LEVELS: dict[str, frozenset[str]] = {
    "x86-64": frozenset({"sse2"}),
    "x86-64-v2": frozenset({"sse2", "ssse3", "sse4_1", "sse4_2", "popcnt"}),
    "x86-64-v3": frozenset(
        {"sse2", "ssse3", "sse4_1", "sse4_2", "popcnt", "avx", "avx2", "fma", "f16c", "bmi1", "bmi2"}
    ),
    "x86-64-v4": frozenset(
        {"sse2", "ssse3", "sse4_1", "sse4_2", "popcnt", "avx", "avx2", "fma", "f16c", "bmi1", "bmi2"}
        | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
    ),
}
"""The microarchitecture levels of the x86-64 psABI, in the feature names of /proc/cpuinfo."""

_V3_CPUS = ("haswell", "broadwell", "skylake", "alderlake", "znver1", "znver2", "znver3")
_V4_CPUS = ("skylake-avx512", "cascadelake", "icelake-server", "sapphirerapids", "znver4", "znver5")
_VNNI_CPUS = ("cascadelake", "icelake-server", "sapphirerapids", "znver4", "znver5")
_LLVM_NAMES = {"avx512_vnni": "avx512vnni", "avx_vnni": "avxvnni"}
"""Instruction sets beyond the levels that are used where a machine has them: /proc/cpuinfo's name to LLVM's."""
GPU_ARCHS = {"cuda": "sm_90", "rocm": "gfx90a", "opencl": ""}


FEW_ROWS = 64
"""Up to this many rows, tiles are low and wide where there are registers for it."""
_TILE_SPEED_32 = {1: 0.8, 2: 1.0, 3: 0.95, 4: 1.0}
_TILE_SPEED_FMA = {1: 0.75, 2: 0.87, 3: 1.0}
_TILE_SPEED_16 = {1: 0.9, 2: 1.0}
"""Share of the peak that register tiles of so many vectors reach, by the number of registers (measured on Zen 4)."""


@dataclass(frozen=True)
class Target:
    """A compilation target.

    Attributes:
        kind: "cpu", "cuda", "rocm" or "opencl".
        mcpu: LLVM's processor name or psABI level (cpu), for code generation.
        arch: the GPU architecture, such as sm_90 or gfx90a; "" for a CPU.
        features: instruction sets that the code may use, named as in /proc/cpuinfo.
        num_threads: threads that work is split for; the artifact runs with any number.
        l1: bytes of first-level data cache per core.
        l2: bytes of second-level cache per core.
        host: for a GPU, the CPU target of the host code.
    """

    kind: str = "cpu"
    mcpu: str = "x86-64-v3"
    arch: str = ""
    features: frozenset[str] = field(default_factory=lambda: X86_LEVELS["x86-64-v3"])
    num_threads: int = 2
    l1: int = 32 * 1024
    l2: int = 512 * 1024

    @property
    def is_gpu(self) -> bool:
        return self.kind != "cpu"

    @property
    def has_avx512(self) -> bool:
        return X86_LEVELS["x86-64-v4"] <= self.features

    @property
    def has_fma(self) -> bool:
        return "fma" in self.features or "neon" in self.features

    @property
    def has_vnni(self) -> bool:
        return "avx512_vnni" in self.features or "avx_vnni" in self.features

    @property
    def llvm_processor(self) -> str:
        """The processor that LLVM generates code for: the highest psABI level within ``features``.

        LLVM uses all that a processor named by its model can do (``sapphirerapids`` has float16 arithmetic), and an
        artifact is only checked for ``features``.
        """
        return next((level for level in reversed(X86_LEVELS) if X86_LEVELS[level] <= self.features), self.mcpu)

    @property
    def llvm_attributes(self) -> list[str]:
        """What ``features`` has beyond :attr:`llvm_processor`, in LLVM's spelling."""
        return sorted(f"+{_LLVM_NAMES[f]}" for f in self.features if f in _LLVM_NAMES)

    @property
    def vector_bytes(self) -> int:
        """Width of a vector register: 64 with AVX-512, 32 with AVX2, else 16."""
        return 64 if self.has_avx512 else 32 if "avx2" in self.features else 16

    @property
    def registers(self) -> int:
        """Number of vector registers."""
        return 32 if self.has_avx512 or "neon" in self.features else 16

    def lanes(self, dtype: DType) -> int:
        """Elements of ``dtype`` in one vector register."""
        return max(1, self.vector_bytes * 8 // max(8, dtype.bits))

    def panel_width(self, m: Dim, n: int, k: int) -> int:
        """Columns of a packed weight panel for an ``m x k`` by ``k x n`` product.

        A panel is as wide as a register tile. Of the widths that tiles may have, the one is taken whose panels take
        the least time, the last one with only the columns that exist.

        Args:
            m: rows, may be symbolic.
            n: columns (output channels).
            k: the reduction length.

        Returns:
            A multiple of the vector's lanes, or ``n`` rounded up to 4 where that is smaller than a vector.
        """
        lanes = self.lanes(DType.F32)
        if n <= lanes:
            return max(4, -(-n // 4) * 4)
        few = isinstance(m, int) and m <= FEW_ROWS
        speeds = _TILE_SPEED_32 if self.registers >= 32 else _TILE_SPEED_FMA if self.has_fma else _TILE_SPEED_16
        widths = [v for v in speeds if v <= 3 or few]

        def cost(vectors: int) -> float:
            full, rest = divmod(-(-n // lanes), vectors)
            return full * vectors / speeds[vectors] + (rest / speeds[rest] if rest else 0.0)

        def padded(vectors: int) -> int:
            return -(-n // (vectors * lanes)) * vectors

        return min(widths, key=lambda v: (cost(v), padded(v), -v)) * lanes

    def with_threads(self, num_threads: int) -> Target:
        return replace(self, num_threads=num_threads)

    def to_json(self) -> dict[str, object]:
        """Return what an artifact's manifest records."""
        return {"kind": self.kind, "mcpu": self.mcpu, "arch": self.arch, "features": sorted(self.features)}

    def __str__(self) -> str:
        return f"{self.kind} -mcpu={self.mcpu}" if not self.is_gpu else f"{self.kind} -arch={self.arch}"


def parse_target(text: str = "cpu", mcpu: str | None = None, arch: str | None = None) -> Target:
    """Return the target that a command line names.

    Args:
        text: "cpu", "cuda", "rocm" or "opencl", optionally followed by ``-mcpu=NAME`` or ``-arch=NAME``.
        mcpu: an LLVM processor or psABI level ("x86-64-v3"); "native" or None detects this machine.
        arch: the GPU architecture.

    Raises:
        LeptonError: the target or the processor is unknown.
    """
    kind, *options = text.split()
    for option in options:
        key, _, value = option.lstrip("-").partition("=")
        if key not in ("mcpu", "arch") or not value:
            raise LeptonError(
                f"unknown target option {option}",
                why="a target takes -mcpu=NAME and -arch=NAME",
                help="leptonc targets",
            )
        mcpu, arch = (value, arch) if key == "mcpu" else (mcpu, value)
    cpu = host_target() if mcpu in (None, "native") else _named_cpu(str(mcpu))
    if kind in ("cpu", "llvm"):
        return cpu
    if kind not in GPU_ARCHS:
        known = ", ".join(["cpu", *GPU_ARCHS])
        raise LeptonError(
            f"unknown target {kind}", why=f"Lepton compiles for {known}", help="leptonc targets lists them"
        )
    return replace(cpu, kind=kind, arch=arch or GPU_ARCHS[kind])


def _named_cpu(mcpu: str) -> Target:
    if mcpu in X86_LEVELS:
        return replace(host_target(), mcpu=mcpu, features=X86_LEVELS[mcpu])
    if mcpu in _V4_CPUS:
        extra = {"avx512_vnni"} if mcpu in _VNNI_CPUS else set()
        return replace(host_target(), mcpu=mcpu, features=X86_LEVELS["x86-64-v4"] | extra, l2=1024 * 1024)
    if mcpu in _V3_CPUS:
        return replace(host_target(), mcpu=mcpu, features=X86_LEVELS["x86-64-v3"])
    known = ", ".join([*X86_LEVELS, *_V3_CPUS, *_V4_CPUS])
    raise LeptonError(f"unknown processor {mcpu}", why=f"known are: native, {known}", help="choose one with -mcpu=NAME")


@functools.cache
def cpu_features() -> frozenset[str]:
    """Return the instruction sets of this machine, named as in /proc/cpuinfo; empty where that is unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return frozenset(flags)


@functools.cache
def host_target() -> Target:
    """Return the CPU target of this machine: the highest psABI level that it has, its caches and cores."""
    found = cpu_features()
    level = next((name for name in reversed(X86_LEVELS) if X86_LEVELS[name] <= found), "x86-64")
    if platform.machine() in ("aarch64", "arm64"):
        level = "generic"
        features = frozenset({"neon"})
    else:
        features = X86_LEVELS[level] | (found & _LLVM_NAMES.keys())
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Target(
        "cpu", level, "", features, threads, _cache_bytes("index0", 32 * 1024), _cache_bytes("index2", 512 * 1024)
    )


def _cache_bytes(index: str, default: int) -> int:
    try:
        text = Path(f"/sys/devices/system/cpu/cpu0/cache/{index}/size").read_text(encoding="utf-8").strip()
    except OSError:
        return default
    scale = {"K": 1024, "M": 1024 * 1024}.get(text[-1:], 1)
    digits = text.rstrip("KM")
    return int(digits) * scale if digits.isdigit() else default
