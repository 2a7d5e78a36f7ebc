"""Finding the programs and libraries that turn device code into machine code, on machines without a GPU.

CUDA needs ``nvcc`` and a host C++ compiler for it. ROCm needs AMD's device bitcode (the mathematical library that
kernels are linked with) and an ``ld.lld`` at least as new as the LLVM that TVM was built with. What is missing is
reported in one message, before any model is compiled.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from lepton_ir.diagnostics import LeptonError

BITCODE_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu/amdgcn/bitcode",
    "/usr/lib/aarch64-linux-gnu/amdgcn/bitcode",
    "/usr/lib/amdgcn/bitcode",
    "/opt/rocm/amdgcn/bitcode",
    "/opt/rocm/lib/llvm/lib/clang/*/lib/amdgcn/bitcode",
)
CUDA_FOLDERS = ("/usr/local/cuda", "/usr/local/cuda-*", "/opt/cuda")
TOOL_TIMEOUT_S = 1800


@dataclass(frozen=True)
class KernelResources:
    """What one GPU kernel takes on the device, as the device compiler reports it.

    Attributes:
        name: the kernel's symbol.
        registers: vector registers per thread.
        spills: bytes (CUDA) or registers (ROCm) spilled per thread.
        shared_bytes: statically allocated shared memory of one thread block.
    """

    name: str
    registers: int
    spills: int
    shared_bytes: int


@dataclass(frozen=True)
class CudaToolchain:
    """A CUDA compiler driver; :meth:`compile` runs it."""

    nvcc: str

    def compile(self, source: str, arch: str, output: str = "fatbin") -> tuple[bytes, list[KernelResources]]:
        """Compile CUDA C++ ``source`` for ``arch`` (such as ``sm_90``).

        Args:
            source: one translation unit.
            arch: the GPU architecture; the fatbin also holds its PTX, which newer GPUs can run.
            output: ``fatbin``, ``cubin`` or ``ptx``.

        Returns:
            The machine code, and what each kernel in it takes.

        Raises:
            LeptonError: nvcc rejects the source or the architecture.
        """
        virtual = arch.replace("sm_", "compute_")
        code = {"fatbin": f"[{arch},{virtual}]", "cubin": arch, "ptx": virtual}[output]
        with tempfile.TemporaryDirectory(prefix="lepton-cuda-") as folder:
            unit, target = Path(folder, "kernels.cu"), Path(folder, f"kernels.{output}")
            unit.write_text(source)
            command = [self.nvcc, f"--{output}", "-O3", "-std=c++17", "-gencode", f"arch={virtual},code={code}"]
            # Nearest rounding and IEEE division: the results are compared with those of the CPU.
            command += ["--expt-relaxed-constexpr", "-Xptxas=-v", "-o", str(target), str(unit)]
            log = _run(command, f"nvcc does not compile the kernels for {arch}")
            return target.read_bytes(), parse_ptxas(log)


@dataclass(frozen=True)
class RocmToolchain:
    """AMD device bitcode and a linker for code objects."""

    bitcode: Path
    linker: tuple[str, ...] = field(default=())

    def bitcode_files(self, arch: str) -> list[str]:
        """Return the bitcode to link with kernels for ``arch`` (such as ``gfx90a``), in link order."""
        wave64 = "on" if arch.startswith("gfx9") else "off"
        names = [
            "ocml",
            "oclc_daz_opt_off",
            "oclc_unsafe_math_off",
            "oclc_finite_only_off",
            "oclc_correctly_rounded_sqrt_on",
            f"oclc_wavefrontsize64_{wave64}",
            self._isa_bitcode(arch),
            "oclc_abi_version_500",
        ]
        return [str(path) for name in names if (path := self.bitcode / f"{name}.bc").exists()]

    def _isa_bitcode(self, arch: str) -> str:
        """Return the module that names the ISA: that of ``arch``, else the newest one before it."""
        known = [p.stem.rpartition("_")[2] for p in self.bitcode.glob("oclc_isa_version_*.bc")]
        wanted = _isa_order(arch.partition(":")[0].removeprefix("gfx"))
        older = [isa for isa in known if _isa_order(isa) <= wanted]
        return f"oclc_isa_version_{max(older, key=_isa_order, default='900')}"

    def link(self, relocatable: bytes) -> bytes:
        """Link one relocatable object to a code object that the ROCm driver loads.

        Raises:
            LeptonError: a symbol is undefined or the linker rejects the object.
        """
        with tempfile.TemporaryDirectory(prefix="lepton-rocm-") as folder:
            source, target = Path(folder, "kernels.o"), Path(folder, "kernels.co")
            source.write_bytes(relocatable)
            command = [*self.linker, "--no-undefined", "-shared", str(source), "-o", str(target)]
            _run(command, "ld.lld does not link the kernels")
            return target.read_bytes()


def find_cuda() -> CudaToolchain:
    """Return the CUDA toolchain of this machine.

    Looked for: ``$LEPTON_NVCC``, ``$CUDA_HOME/bin`` and ``$CUDA_PATH/bin``, ``$PATH``, ``/usr/local/cuda*/bin`` and
    the compiler wheels from PyPI.

    Raises:
        LeptonError: something is missing; the message names all of it.
    """
    nvcc = _find_nvcc()
    missing = []
    if nvcc is None:
        missing.append(
            "nvcc, the CUDA compiler: install the CUDA toolkit 12 or newer "
            "(https://developer.nvidia.com/cuda-downloads) and put nvcc on PATH, or set LEPTON_NVCC to it"
        )
    if not any(shutil.which(name) for name in ("g++", "c++", "clang++")):
        missing.append("a C++ compiler, which nvcc and the host code need: apt-get install g++")
    _raise_if_missing("cuda", missing)
    return CudaToolchain(str(nvcc))


def find_rocm() -> RocmToolchain:
    """Return the ROCm toolchain of this machine.

    Device bitcode is looked for in ``$LEPTON_ROCM_BITCODE``, ``$ROCM_PATH/amdgcn/bitcode``, Debian's
    ``rocm-device-libs`` and ``/opt/rocm``; the linker in ``$LEPTON_ROCM_LLD``, the PyPI package ``ziglang``,
    a ROCm installation and ``$PATH``.

    Raises:
        LeptonError: something is missing; the message names all of it.
    """
    bitcode, linker, too_old = _find_bitcode(), *_find_lld()
    missing = []
    if bitcode is None:
        missing.append(
            "ROCm device bitcode (ocml.bc): apt-get install rocm-device-libs, or install ROCm, "
            "or set LEPTON_ROCM_BITCODE to the folder that holds it"
        )
    if linker is None:
        found = f" (found, but too old: {', '.join(too_old)})" if too_old else ""
        missing.append(
            f"ld.lld of LLVM {_tvm_llvm_major()} or newer{found}: pip install 'lepton-ir[rocm]', which brings it "
            "(package ziglang), or set LEPTON_ROCM_LLD to one"
        )
    _raise_if_missing("rocm", missing)
    assert bitcode is not None and linker is not None
    return RocmToolchain(bitcode, linker)


def check_toolchain(kind: str) -> None:
    """Raise one error that names everything that compiling for target ``kind`` lacks on this machine."""
    finders = {"cuda": find_cuda, "rocm": find_rocm}
    if kind in finders:
        finders[kind]()


def parse_ptxas(log: str) -> list[KernelResources]:
    """Read the output of ``ptxas -v``."""
    pattern = re.compile(
        r"Compiling entry function '(?P<name>\w+)' for '[^']*'.*?(?P<spill>\d+) bytes spill stores.*?"
        r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
        re.DOTALL,
    )
    return [
        KernelResources(m["name"], int(m["registers"]), int(m["spill"]), _shared_bytes(m["rest"]))
        for m in pattern.finditer(log)
    ]


def parse_amdgpu_metadata(assembly: str) -> list[KernelResources]:
    """Read the kernel metadata at the end of AMDGPU assembly."""
    found = []
    for part in re.split(r"\n  - (?=\.)", assembly)[1:]:
        number = {key: int(value) for key, value in re.findall(r"\.(\w+):\s+(\d+)\n", part)}
        name = re.search(r"\n    \.name:\s+(\S+)\n    \.private", part)
        if name is None:
            continue
        spills = number.get("vgpr_spill_count", 0) + number.get("sgpr_spill_count", 0)
        shared = number.get("group_segment_fixed_size", 0)
        found.append(KernelResources(name[1], number.get("vgpr_count", 0), spills, shared))
    return found


def _shared_bytes(text: str) -> int:
    match = re.search(r"(\d+) bytes smem", text)
    return int(match[1]) if match else 0


def _find_nvcc() -> str | None:
    given = os.environ.get("LEPTON_NVCC")
    if given:
        return shutil.which(given)
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    for home in homes:
        if found := shutil.which("nvcc", path=f"{home}/bin"):
            return found
    if found := shutil.which("nvcc"):
        return found
    wheels = [folder for entry in sys.path for folder in sorted(Path(entry).glob("nvidia/cu*"))]
    installed = [folder for pattern in CUDA_FOLDERS for folder in _expand(pattern)]
    candidates = (shutil.which("nvcc", path=str(folder / "bin")) for folder in installed + wheels)
    return next((found for found in candidates if found), None)


def _expand(pattern: str) -> list[Path]:
    """Return the folders that an absolute pattern matches, the newest version first."""
    return sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)


def _find_bitcode() -> Path | None:
    given = os.environ.get("LEPTON_ROCM_BITCODE")
    rocm = os.environ.get("ROCM_PATH")
    patterns = [given] if given else [*([f"{rocm}/amdgcn/bitcode"] if rocm else []), *BITCODE_FOLDERS]
    folders = (folder for pattern in patterns for folder in _expand(pattern))
    return next((folder for folder in folders if (folder / "ocml.bc").exists()), None)


def _find_lld() -> tuple[tuple[str, ...] | None, list[str]]:
    """Return the first linker that is new enough, and the ones passed over as too old."""
    given = os.environ.get("LEPTON_ROCM_LLD")
    if given:
        return ((found,) if (found := shutil.which(given)) else None), []
    major = _tvm_llvm_major()
    candidates: list[tuple[str, ...]] = []
    if importlib.util.find_spec("ziglang") is not None:
        candidates.append((sys.executable, "-m", "ziglang", "ld.lld"))
    rocm = os.environ.get("ROCM_PATH", "/opt/rocm")
    names = (f"{rocm}/llvm/bin/ld.lld", f"ld.lld-{major}", "ld.lld")
    candidates += [(found,) for name in names if (found := shutil.which(name))]
    too_old: list[str] = []
    for command in candidates:
        version = _lld_major(command)
        if version >= major:
            return command, too_old
        too_old.append(f"{command[-1]} {version}" if len(command) == 1 else f"ziglang's ld.lld {version}")
    return None, too_old


def _lld_major(command: tuple[str, ...]) -> int:
    try:
        text = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r"LLD (\d+)", text)
    return int(match[1]) if match else 0


def _tvm_llvm_major() -> int:
    from tvm.target import codegen

    return int(codegen.llvm_version_major())


def _isa_order(isa: str) -> tuple[int, int]:
    """Return a key that orders ISA names such as 906, 90a and 1030: generation, then stepping (hexadecimal)."""
    return int(isa[:-2]), int(isa[-2:], 16)


def _raise_if_missing(kind: str, missing: list[str]) -> None:
    if not missing:
        return
    raise LeptonError(
        f"compiling for {kind} lacks {len(missing)} thing{'s' if len(missing) > 1 else ''} on this machine",
        why="the machine code of GPU kernels is made by tools that TVM's wheel does not bring",
        help="install what is missing; no GPU is needed to compile",
        notes=missing,
    )


def _run(command: list[str], failure: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LeptonError(failure, why=str(error), help=f"run it by hand: {' '.join(command)}") from error
    log = done.stdout + done.stderr
    if done.returncode:
        lines = [line for line in log.splitlines() if "error" in line.lower()] or log.splitlines()
        raise LeptonError(failure, why="; ".join(lines[:3]), help="check that the toolchain knows this architecture")
    return log
