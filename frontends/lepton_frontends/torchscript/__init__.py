"""The TorchScript frontend: reads archives that ``torch.jit.save`` wrote, without PyTorch.

``load`` lowers a file; its options are those of :func:`lepton_frontends.torchscript.load.load_torchscript`.
"""

from __future__ import annotations

from os import PathLike
from typing import Any

from lepton_ir.frontend import Frontend
from lepton_ir.ir.module import Module


def load(path: str | PathLike[str], **options: Any) -> Module:
    """Read a TorchScript archive; see :func:`lepton_frontends.torchscript.load.load_torchscript`."""
    from lepton_frontends.torchscript.load import load_torchscript

    return load_torchscript(path, **options)


FRONTEND = Frontend(
    "torchscript", (".pt", ".pth", ".ptl", ".jit", ".ts"), "TorchScript archives", load, options=frozenset({"inputs"})
)
