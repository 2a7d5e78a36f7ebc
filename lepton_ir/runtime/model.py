"""The compiled model: an object to call."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from lepton_ir.artifact import Artifact, Spec, TensorSpec
from lepton_ir.artifact.tensors import aligned
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.types import is_numeric
from lepton_ir.runtime import arguments, failure, native
from lepton_ir.runtime.convert import HostValue, as_stored, dtype_of, from_stored, to_tensor, view_argument
from lepton_ir.runtime.host import check_host
from lepton_ir.runtime.worker import Worker

_NOT_KERNELS = ("vm.", "shape_func", "control_", "dims_", "loop_", "lepton.host")
"""What the virtual machine calls beside kernels: its builtins, and arithmetic on dimensions."""


@dataclass(frozen=True)
class KernelTime:
    """What one kernel took, summed over all of its calls in a profile.

    Attributes:
        symbol: the kernel's name; the manifest's ``kernels`` says which nodes of the user's model it holds.
        seconds: the time in all calls together.
        calls: how often it was called.
    """

    symbol: str
    seconds: float
    calls: int


class Outputs(tuple[np.ndarray, ...]):
    """The outputs in order, also to be had by name: ``outputs[0]``, ``outputs["scores"]``, ``a, b = outputs``."""

    names: tuple[str, ...]

    def __new__(cls, arrays: Sequence[np.ndarray], names: Sequence[str]) -> Outputs:
        outputs = super().__new__(cls, arrays)
        outputs.names = tuple(names)
        return outputs

    @overload  # type: ignore[override]
    def __getitem__(self, key: int | str) -> np.ndarray: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[np.ndarray, ...]: ...
    def __getitem__(self, key: int | str | slice) -> np.ndarray | tuple[np.ndarray, ...]:
        if isinstance(key, str):
            if key not in self.names:
                raise KeyError(key)
            return super().__getitem__(self.names.index(key))
        return super().__getitem__(key)

    def asdict(self) -> dict[str, np.ndarray]:
        """Return the outputs by name."""
        return dict(zip(self.names, self, strict=True))


class CompiledModel:
    """A model that is ready to run.

    Calling it from several threads at once is safe: every call takes a virtual machine of its own from a pool, and
    all of them share the weights. Python's lock is released while kernels run. Each calling thread has its own
    ``threads`` threads, so a server with many callers will want ``threads=1``.

    Args:
        artifact: what to run.
        threads: threads per call; by default one per physical core.

    Raises:
        LeptonError: the artifact does not fit this machine, or TVM's runtime library is missing.
    """

    def __init__(self, artifact: Artifact, *, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise LeptonError(f"a model cannot run with {threads} threads", help="give at least 1")
        check_host(artifact)
        self.artifact = artifact
        self.kind = str(artifact.manifest.target.get("kind", "cpu"))
        native.load_device(self.kind)
        self.threads = threads or native.default_threads()
        if artifact.manifest.host or not all(is_numeric(s.type) for s in (*self.inputs, *self.outputs)):
            from lepton_ir.runtime import host_ops

            host_ops.register()
        self._library = native.load_library(artifact.library)
        self._arrays = [aligned(as_stored(array)) for array in artifact.weights.values()]
        weights = [to_tensor(array) for array in self._arrays]
        self._first = Worker(self._library, weights, self.kind)
        # Where the device has memory of its own, the weights now lie there, once for all workers.
        self._weights = self._first.weights
        self._weight_pointers = frozenset(int(w.data_ptr()) for w in self._weights)
        self._idle = [self._first]

    @property
    def inputs(self) -> tuple[Spec, ...]:
        """Names and types of the inputs."""
        return self.artifact.manifest.inputs

    @property
    def outputs(self) -> tuple[Spec, ...]:
        """Names and types of the outputs."""
        return self.artifact.manifest.outputs

    def __call__(self, *args: Any, **kwargs: Any) -> Outputs:
        """Run the model.

        Args:
            args: inputs by position: numpy arrays, or anything on the CPU that speaks DLPack.
            kwargs: inputs by name.

        Returns:
            The outputs, as numpy arrays that the caller owns.

        Raises:
            LeptonError: the inputs do not fit the model.
        """
        arrays = self._check(args, kwargs)
        worker = self._take()
        try:
            results = worker.run(arrays, self._weight_pointers)
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            reported = failure.read(error)
            if reported is not None:
                raise reported from None
            raise LeptonError(
                "the model failed while it ran",
                where=self.artifact.manifest.name,
                why=str(error).strip() or type(error).__name__,
                help="most likely there was not enough memory for inputs of these sizes",
            ) from error
        # Only a worker that came through is used again.
        self._idle.append(worker)
        pairs = zip(results, self.outputs, strict=True)
        found = [from_stored(r, s.type.dtype) if isinstance(s, TensorSpec) else r for r, s in pairs]
        return Outputs(found, [spec.name for spec in self.outputs])

    def profile(self, *args: Any, repeat: int = 10, **kwargs: Any) -> list[KernelTime]:
        """Run the model ``repeat`` times (after one to warm up) and return the time of every kernel.

        Each measured call includes about a microsecond of the measuring itself.

        Returns:
            One entry per kernel symbol, the slowest first; times and calls are sums over all runs.
        """
        arrays = self._check(args, kwargs)
        native.use_threads(self.threads)
        worker = Worker(self._library, self._weights, self.kind)
        worker.run(arrays, self._weight_pointers)
        seconds: dict[str, float] = {}
        calls: dict[str, int] = {}
        begun = 0.0

        def instrument(_function: Any, symbol: str, before: bool, *_: Any) -> int:
            nonlocal begun
            now = time.perf_counter()
            if not before and not symbol.startswith(_NOT_KERNELS):
                seconds[symbol] = seconds.get(symbol, 0.0) + now - begun
                calls[symbol] = calls.get(symbol, 0) + 1
            begun = time.perf_counter()
            return 0

        worker.set_instrument(instrument)
        for _ in range(repeat):
            worker.run(arrays, self._weight_pointers)
        measured = [KernelTime(symbol, seconds[symbol], calls[symbol]) for symbol in seconds]
        return sorted(measured, key=lambda k: -k.seconds)

    def check_golden(self, tolerance: float = 1e-4) -> float:
        """Run the artifact's golden inputs and compare with its golden outputs.

        Args:
            tolerance: the largest error allowed, relative to the largest absolute value of the output.

        Returns:
            The largest relative error found.

        Raises:
            LeptonError: the artifact has no golden pair, or an output differs by more.
        """
        golden = self.artifact.golden
        if golden is None:
            raise LeptonError("the artifact holds no golden inputs and outputs", help="compile it with verification")
        outputs = self(**golden.inputs).asdict()
        worst = 0.0
        for name, expected in golden.outputs.items():
            error = relative_error(outputs[name], expected)
            if not error <= tolerance:
                raise LeptonError(
                    f"the output {name} differs from the golden output",
                    why=f"the relative error is {error:.3g}, allowed is {tolerance:.3g}",
                    help="this machine or its TVM computes something else; compile the model again here",
                )
            worst = max(worst, error)
        return worst

    def _check(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        specs = self.inputs
        values = arguments.arrange(specs, args, kwargs)
        pairs = list(zip(specs, values, strict=True))
        tensors = [(s, view_argument(s.name, v)) for s, v in pairs if isinstance(s, TensorSpec)]
        dtypes, shapes = [dtype_of(a) for _, a in tensors], [a.shape for _, a in tensors]
        arguments.check([s for s, _ in tensors], dtypes, shapes, self.artifact.manifest.conditions)
        arrays = iter(a for _, a in tensors)
        return [_staged(s, next(arrays) if isinstance(s, TensorSpec) else v) for s, v in pairs]

    def _take(self) -> Worker:
        native.use_threads(self.threads)
        try:
            return self._idle.pop()
        except IndexError:
            return Worker(self._library, self._weights, self.kind)

    def __repr__(self) -> str:
        ins, outs = ", ".join(map(str, self.inputs)), ", ".join(map(str, self.outputs))
        return f"<CompiledModel {self.artifact.manifest.name}({ins}) -> ({outs})>"


def _staged(spec: Spec, value: Any) -> Any:
    """Return a checked input as the program takes it."""
    return as_stored(value) if is_numeric(spec.type) else HostValue(arguments.check_value(spec, value))


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest absolute difference over the largest absolute expected value (at least 1e-30).

    NaN and infinity count as equal where both arrays have them; a differing shape is an infinite error.
    """
    if actual.shape != expected.shape:
        return float("inf")
    if not expected.size:
        return 0.0
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    a, b = actual.astype(wide), expected.astype(wide)
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    difference = np.abs(a[finite] - b[finite]).max()
    return float(difference / max(np.abs(b[finite]).max(), 1e-30))


def load(artifact: Artifact | str | os.PathLike[str], *, threads: int | None = None) -> CompiledModel:
    """Load an artifact to run it.

    Hashes, format, processor and TVM version are checked before any of its code is loaded.

    Args:
        artifact: a file, or an artifact in memory.
        threads: threads per call; by default one per physical core, or as LEPTON_NUM_THREADS says.

    Raises:
        LeptonError: the file is missing or damaged, or does not fit this machine.
    """
    opened = artifact if isinstance(artifact, Artifact) else Artifact.open(Path(artifact))
    return CompiledModel(opened, threads=threads)
