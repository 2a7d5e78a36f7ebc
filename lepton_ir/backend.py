"""What a backend is, and how one is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Protocol

from lepton_ir.artifact.dims import dim_to_json
from lepton_ir.diagnostics import Diagnostic, LeptonError
from lepton_ir.ir import Constant, Module
from lepton_ir.ir.dim import Dim
from lepton_ir.target import Target

Progress = Callable[[str], None]


@dataclass(frozen=True)
class KernelInfo:
    """One call of a kernel in the compiled program.

    Attributes:
        symbol: the function in the library; several calls may share one.
        ops: the operators inside, in order.
        nodes: the nodes of the user's model that it computes.
        flops: arithmetic operations of one call, an expression where dimensions are symbolic.
        bytes: bytes that it must read and write at least.
    """

    symbol: str
    ops: tuple[str, ...]
    nodes: tuple[str, ...]
    flops: Dim
    bytes: Dim

    def to_json(self) -> dict[str, object]:
        return {
            "symbol": self.symbol,
            "ops": list(self.ops),
            "nodes": list(self.nodes),
            "flops": dim_to_json(self.flops),
            "bytes": dim_to_json(self.bytes),
        }


@dataclass
class BuildResult:
    """Machine code and what belongs to it.

    Attributes:
        library: the bytes of the shared library.
        weights: the constants that the entry function takes after the inputs, in that order.
        kernels: the kernel calls in order of execution.
        activation_bytes: what one run allocates for results, an expression where sizes are symbolic.
        texts: the program in the backend's own forms, by file name.
    """

    library: bytes
    weights: Mapping[str, Constant]
    kernels: Sequence[KernelInfo]
    activation_bytes: int | str = 0
    texts: Mapping[str, str] = field(default_factory=dict)


class Backend(Protocol):
    """Turns a module in kernel form into machine code."""

    def supports(self, target: Target) -> bool:
        """Return whether this backend compiles for ``target``."""

    def prepare(self, target: Target) -> None:
        """Check the toolchain for ``target``, and begin to load what :meth:`build` will need, in the background.

        Raises:
            LeptonError: part of the toolchain is missing; everything that is missing is named.
        """

    def unsupported(self, module: Module, target: Target) -> list[Diagnostic]:
        """Return a finding for every operation that cannot be compiled."""

    def build(self, module: Module, target: Target, progress: Progress) -> BuildResult:
        """Compile a module in kernel form.

        Raises:
            LeptonError: part of the toolchain is missing, or an operation is not supported.
        """


def find_backend(target: Target) -> Backend:
    """Return the first installed backend (entry point ``lepton.backends``) that supports ``target``.

    Raises:
        LeptonError: no backend does.
    """
    points = entry_points(group="lepton.backends")
    for point in points:
        backend: Backend = point.load()()
        if backend.supports(target):
            return backend
    names = ", ".join(p.name for p in points) or "none"
    raise LeptonError(
        f"no backend compiles for {target}", why=f"installed backends: {names}", help="install lepton-ir anew with pip"
    )
