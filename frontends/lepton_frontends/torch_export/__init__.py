"""The torch.export frontend: reads archives that ``torch.export.save`` wrote, without PyTorch.

``load`` lowers a file; its options are those of :func:`lepton_frontends.torch_export.load.load_torch_export`.
"""

from __future__ import annotations

from os import PathLike
from typing import Any

from lepton_ir.frontend import Frontend
from lepton_ir.ir.module import Module


def load(path: str | PathLike[str], **options: Any) -> Module:
    """Read a torch.export archive; see :func:`lepton_frontends.torch_export.load.load_torch_export`."""
    from lepton_frontends.torch_export.load import load_torch_export

    return load_torch_export(path, **options)


FRONTEND = Frontend("torch-export", (".pt2",), "torch.export archives", load)
