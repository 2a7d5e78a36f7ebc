"""TVM's runtime library: finding it, loading it without importing ``tvm``, and its threads.

``import tvm`` costs seconds and the whole compiler; the virtual machine lives in ``libtvm_runtime.so`` (3 MB), which
registers its functions with ``tvm_ffi`` when it is loaded.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import sys
import tempfile
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

from lepton_ir.diagnostics import LeptonError

LIBRARY_VARIABLE = "LEPTON_TVM_RUNTIME"
DEVICE_TYPES = {"cpu": 1, "cuda": 2, "opencl": 4, "rocm": 10}
"""DLPack's numbers of the devices."""
POOLED_ALLOCATOR = 2
_ANY_CORES = 1
_SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
_configured = threading.local()


@functools.cache
def tvm_ffi() -> ModuleType:
    """Return the ``tvm_ffi`` module with TVM's runtime library loaded.

    Raises:
        LeptonError: a part is missing.
    """
    # TVM starts half as many threads as there are processors, and pins the caller's own thread to the first of them,
    # for good. Neither suits a library, so both are set here, unless the user did. Pools start later, one per caller.
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    os.environ.setdefault("TVM_NUM_THREADS", str(max(usable_cpus(), default_threads())))
    ffi = _import_ffi()
    _load(runtime_library(), ctypes.RTLD_GLOBAL)
    return ffi


def _import_ffi() -> ModuleType:
    # tvm_ffi imports torch first wherever torch is installed, only to work around an old problem on Windows; that
    # takes a second. What it needs of torch it also finds when torch is imported later.
    hide = "torch" not in sys.modules and sys.platform != "win32"
    if hide:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import tvm_ffi
    except ImportError as error:
        raise LeptonError(
            "the package apache-tvm-ffi is not installed", why=str(error), help="pip install apache-tvm"
        ) from error
    finally:
        if hide:
            del sys.modules["torch"]
    return tvm_ffi


def runtime_library(part: str = "") -> Path:
    """Return the path of TVM's runtime library, or of the part of it for a device ("cuda").

    Raises:
        LeptonError: it is not there.
    """
    name = f"libtvm_runtime{'_' + part if part else ''}{_SUFFIX}"
    chosen = os.environ.get(LIBRARY_VARIABLE)
    if chosen:
        path = Path(chosen) if not part else Path(chosen).with_name(name)
        if path.is_file():
            return path
        raise LeptonError("TVM's runtime library is missing", where=str(path), why=f"{LIBRARY_VARIABLE} names it")
    spec = importlib.util.find_spec("tvm")
    folders = [Path(place, "lib") for place in (spec.submodule_search_locations or ())] if spec else []
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise LeptonError(
        f"TVM's runtime library {name} is missing",
        why=f"it is not in {folders[0]}" if folders else "the package apache-tvm is not installed",
        help=f"pip install apache-tvm, or set {LIBRARY_VARIABLE} to the path of libtvm_runtime{_SUFFIX}",
    )


def _load(path: Path, mode: int) -> None:
    try:
        ctypes.CDLL(str(path), mode)
    except OSError as error:
        raise LeptonError("TVM's runtime library cannot be loaded", where=str(path), why=str(error)) from error


@functools.cache
def load_device(kind: str) -> None:
    """Load what the device ``kind`` needs beside the core.

    Raises:
        LeptonError: the runtime has no support for it, or this machine has no such device.
    """
    ffi = tvm_ffi()
    if kind == "cpu":
        return
    why = "TVM's runtime finds none"
    try:
        if ffi.get_global_func(f"device_api.{kind}", allow_missing=True) is None:
            _load(runtime_library(kind), ctypes.RTLD_GLOBAL)
        if ffi.get_global_func("runtime.GetDeviceAttr")(DEVICE_TYPES[kind], 0, 0):
            return
    except LeptonError as error:
        why = error.diagnostics[0].why
    raise LeptonError(f"this machine has no {kind} device", why=why, help="run the artifact where there is one")


def load_library(library: bytes | memoryview) -> Any:
    """Load a compiled shared library from memory.

    Raises:
        LeptonError: the system does not accept it.
    """
    ffi = tvm_ffi()
    with tempfile.TemporaryDirectory(prefix="lepton-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, f"model{_SUFFIX}")
        try:
            path.write_bytes(library)
            return ffi.load_module(str(path))
        except (OSError, RuntimeError) as error:
            raise LeptonError(
                "the compiled code cannot be loaded",
                where=str(path),
                why=str(error).strip().splitlines()[-1],
                help="set TMPDIR to a folder with free space on a file system that allows execution",
            ) from error


def use_threads(count: int) -> None:
    """Let kernels that the calling thread runs use ``count`` threads (its own among them)."""
    if getattr(_configured, "count", None) != count:
        tvm_ffi().get_global_func("runtime.config_threadpool")(_ANY_CORES, count)
        _configured.count = count


def usable_cpus() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def default_threads() -> int:
    """Return how many threads to use: as the environment says, else one per physical core that may be used."""
    for variable in ("LEPTON_NUM_THREADS", "TVM_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(variable, "")
        if text.isdigit() and int(text):
            return int(text)
    if not hasattr(os, "sched_getaffinity"):
        return usable_cpus()
    return len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})


def _siblings(cpu: int) -> str:
    """Return a text that is the same for the processors of one core."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text(encoding="ascii")
    except OSError:
        return str(cpu)
