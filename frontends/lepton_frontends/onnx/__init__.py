"""The ONNX frontend: reads ``.onnx`` files, opset 7 and newer.

``load`` lowers a file; its options are those of :func:`lepton_frontends.onnx.load.load_onnx`.
"""

from __future__ import annotations

from os import PathLike
from typing import Any

from lepton_ir.frontend import Frontend
from lepton_ir.ir.module import Module


def load(path: str | PathLike[str], **options: Any) -> Module:
    """Read an ONNX file; see :func:`lepton_frontends.onnx.load.load_onnx`."""
    # Here and not above: importing onnx costs 0.2 s, which only a file of that format is worth.
    from lepton_frontends.onnx.load import load_onnx

    return load_onnx(path, **options)


def _looks_like_onnx(head: bytes) -> bool:
    # Field 1 (ir_version) as a varint, then the producer's name, an opset or the graph.
    return len(head) > 4 and head[0] == 0x08 and head[1] < 0x40 and head[2] in (0x12, 0x1A, 0x22, 0x28, 0x3A, 0x42)


FRONTEND = Frontend(
    "onnx",
    (".onnx",),
    "ONNX models, opset 7 and newer",
    load,
    _looks_like_onnx,
    frozenset({"external_data_root"}),
)
