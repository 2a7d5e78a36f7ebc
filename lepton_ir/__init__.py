"""Lepton: an ahead-of-time compiler for neural networks.

Everything that the command line does is a call of this package::

    import lepton_ir

    artifact = lepton_ir.compile("model.onnx", target="cpu")
    artifact.save("model.lepton")
    model = lepton_ir.runtime.load("model.lepton")
    (y,) = model(x)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lepton_ir.version import __version__

if TYPE_CHECKING:
    from lepton_ir import runtime
    from lepton_ir.compiler import compile, import_model, optimize
    from lepton_ir.diagnostics import LeptonError
    from lepton_ir.verification import verify

__all__ = ["LeptonError", "__version__", "compile", "import_model", "optimize", "runtime", "verify"]

_LAZY = {
    "LeptonError": "lepton_ir.diagnostics",
    "compile": "lepton_ir.compiler",
    "import_model": "lepton_ir.compiler",
    "optimize": "lepton_ir.compiler",
    "verify": "lepton_ir.verification",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that the runtime needs no compiler and `leptonc --version` answers at once.
    if name == "runtime":
        return import_module("lepton_ir.runtime")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'lepton_ir' has no attribute {name!r}")
