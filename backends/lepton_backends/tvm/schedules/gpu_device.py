"""From scheduled GPU functions to one shared library with machine code for the device inside.

TVM generates device code as source (CUDA) or as an object (ROCm) and leaves the rest to callbacks. Here the callbacks
are those of the toolchain that :mod:`lepton_backends.tvm.toolchain` finds, and code generation never looks for a GPU,
so the result does not depend on the machine that compiles.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi

from lepton_backends.tvm.toolchain import (
    CudaToolchain,
    KernelResources,
    RocmToolchain,
    find_cuda,
    find_rocm,
    parse_amdgpu_metadata,
)

FORCE_FALLBACK = "TVM_COMPILE_FORCE_FALLBACK"
MODULE_KINDS = {"cuda": "cuda", "rocm": "hip", "opencl": "opencl"}
_LENGTH = struct.Struct("<Q")


@dataclass
class DeviceCode:
    """The device half of a build, open while TVM builds and exports a library.

    Attributes:
        kind: cuda, rocm or opencl.
        arch: the GPU architecture.
        resources: what each kernel takes, filled while machine code is made.
        source: the device source (CUDA C++, AMDGPU assembly, OpenCL C), by module.
    """

    kind: str
    arch: str
    toolchain: CudaToolchain | RocmToolchain | None
    resources: list[KernelResources] = field(default_factory=list)
    source: list[str] = field(default_factory=list)

    def pack_imports(self, mod: Any, is_system_lib: bool, prefix: str, folder: str) -> str:
        """Write the object file that carries the imported modules of ``mod``, as ``export_library`` asks for it.

        CUDA source is compiled to machine code on the way; other modules go in as they are.
        """
        blob = bytes(tvm.get_global_func("runtime.ModulePackImportsToTensor")(mod).numpy())
        for module in _device_modules(mod, self.kind):
            blob = self._embed(blob, module)
        target = _host_target(mod)
        packed = tvm.get_global_func("codegen.codegen_blob")(blob, is_system_lib, target, prefix)
        path = Path(folder, f"{prefix}device.o")
        packed.write_to_file(str(path))
        return str(path)

    def table(self) -> str:
        """Return what each kernel takes on the device, to read."""
        rows = [f"{'kernel':40} {'registers':>9} {'spills':>6} {'shared bytes':>12}"]
        rows += [f"{r.name:40} {r.registers:9} {r.spills:6} {r.shared_bytes:12}" for r in self.resources]
        return f"{self.kind} {self.arch}\n\n" + "\n".join(rows) + "\n"

    def _embed(self, blob: bytes, module: Any) -> bytes:
        if self.kind == "rocm":
            assembly = module.inspect_source("asm")
            self.source.append(assembly)
            self.resources += parse_amdgpu_metadata(assembly)
            return blob
        source = module.inspect_source()
        self.source.append(source)
        if not isinstance(self.toolchain, CudaToolchain):
            return blob
        machine_code, resources = self.toolchain.compile(source, self.arch)
        self.resources += resources
        return replace_cuda_source(blob, source.encode(), machine_code)


@contextmanager
def device_code(kind: str, arch: str) -> Iterator[DeviceCode]:
    """Open a build for a GPU: inside the block, TVM makes device code with the toolchain of this machine.

    Args:
        kind: cuda, rocm or opencl.
        arch: the GPU architecture, such as sm_90 or gfx90a.

    Raises:
        LeptonError: part of the toolchain is missing; the message names all of it.
    """
    toolchain = find_cuda() if kind == "cuda" else find_rocm() if kind == "rocm" else None
    before = os.environ.get(FORCE_FALLBACK)
    os.environ[FORCE_FALLBACK] = "1"
    if isinstance(toolchain, RocmToolchain):
        _register_rocm(toolchain, arch)
    try:
        yield DeviceCode(kind, arch, toolchain)
    finally:
        if before is None:
            del os.environ[FORCE_FALLBACK]
        else:
            os.environ[FORCE_FALLBACK] = before


def replace_cuda_source(blob: bytes, source: bytes, machine_code: bytes) -> bytes:
    """Put machine code in the place of CUDA source in the packed imports of a library.

    Args:
        blob: the byte length of the rest, then the import tree and the modules, as TVM packs them. A CUDA module is
            its kind, its length, the format of its code, a table of functions, and the code.
        source: the CUDA source in it.
        machine_code: a fatbin or cubin.

    Returns:
        The packed imports with the code and its format exchanged.
    """
    header = _string(b"cuda")
    start = blob.index(header, _LENGTH.size)
    while not _holds(blob, start + len(header), source):
        start = blob.index(header, start + 1)
    start += len(header)
    (length,) = _LENGTH.unpack_from(blob, start)
    module = blob[start + _LENGTH.size : start + _LENGTH.size + length]
    functions = module[len(header) : -len(source) - _LENGTH.size]
    changed = _string(_string(b"fatbin") + functions + _string(machine_code))
    body = blob[_LENGTH.size : start] + changed + blob[start + _LENGTH.size + length :]
    return _string(body)


def _holds(blob: bytes, start: int, source: bytes) -> bool:
    """Return whether a CUDA module in source form, of exactly this source, begins at ``start``."""
    (length,) = _LENGTH.unpack_from(blob, start)
    module = blob[start + _LENGTH.size : start + _LENGTH.size + length]
    return len(module) == length and module.startswith(_string(b"cuda")) and module.endswith(_string(source))


def _string(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


def _device_modules(mod: Any, kind: str) -> list[Any]:
    found, stack = [], [mod]
    while stack:
        for module in stack.pop().imports:
            stack.append(module)
            if module.kind == MODULE_KINDS[kind]:
                found.append(module)
    return found


def _host_target(mod: Any) -> str:
    """Return LLVM's description of the host code that ``mod`` is or imports."""
    stack = [mod]
    while stack:
        module = stack.pop()
        if module.kind == "llvm":
            return str(module.get_function("_get_target_string")())
        stack.extend(module.imports)
    return str(tvm.target.Target("llvm"))


def _register_rocm(toolchain: RocmToolchain, arch: str) -> None:
    callbacks: dict[str, Callable[..., Any]] = {
        "tvm_callback_rocm_bitcode_path": lambda: toolchain.bitcode_files(arch),
        "tvm_callback_rocm_link": lambda code: toolchain.link(bytes(code)),
    }
    for name, function in callbacks.items():
        tvm_ffi.register_global_func(name, function, override=True)
