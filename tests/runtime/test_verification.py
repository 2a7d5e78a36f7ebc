"""Who is right where ONNX Runtime and the compiled model differ by a rounding."""

from __future__ import annotations

import numpy as np
import pytest

from lepton_ir.reference import INTERPRETER, ONNX_RUNTIME, Reference
from lepton_ir.text import parse_module
from lepton_ir.verification import compare_outputs, settle

ROUNDED = """module {
  func @main(%x: tensor<4xf32>) -> (tensor<4xu8>) {
    %0 = round(%x)
    %1 = cast(%0) {to = u8}
    return %1
  }
}
"""


@pytest.mark.parametrize(
    ("got", "theirs", "source", "ok"),
    [
        ([0, 1, 2, 255], [0, 1, 3, 255], ONNX_RUNTIME, True),
        ([0, 1, 2, 255], [0, 1, 4, 255], ONNX_RUNTIME, False),
        ([0, 1, 3, 255], [0, 1, 2, 255], ONNX_RUNTIME, False),
        ([0, 1, 2, 255], [0, 1, 2, 0], ONNX_RUNTIME, False),
        ([0, 1, 2, 255], [0, 1, 2, 127], ONNX_RUNTIME, False),
        ([0, 1, 2, 255], [0, 1, 3, 255], INTERPRETER, False),
    ],
)
def test_integers_one_apart(got: list[int], theirs: list[int], source: str, ok: bool) -> None:
    x = np.array([0.25, 1, 2.5, 255], np.float32)
    reference = Reference(source, {"x": x}, {"y": np.array(theirs, np.uint8)})
    ours = [np.array(got, np.uint8)]
    (settled,) = settle(compare_outputs(ours, reference), ours, reference, lambda: parse_module(ROUNDED))
    assert settled.ok is ok
    assert bool(settled.arbitration) is ok
