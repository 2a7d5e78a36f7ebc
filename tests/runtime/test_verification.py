"""Who is right where ONNX Runtime and the compiled model differ by a rounding."""

from __future__ import annotations

import numpy as np
import pytest

from lepton_ir.reference import INTERPRETER, ONNX_RUNTIME, Reference, ReferenceRunner
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
    errors = compare_outputs(ours, reference)
    # What runs the reference gives the same whatever the inputs: only the rounding is looked at.
    (settled,) = settle(errors, ours, reference, lambda: parse_module(ROUNDED), lambda: lambda inputs: reference)
    assert settled.ok is ok
    assert bool(settled.arbitration) is ok


FIRST = """module {
  func @main(%x: tensor<8xf32>, %y: tensor<8xf32>) -> (tensor<2xf32>, tensor<2xi64>, tensor<2xf32>) {
    %0, %1 = tensor.topk(%x) {k = 2}
    %2 = tensor.gather(%y, %1)
    return %0, %1, %2
  }
}
"""


@pytest.mark.parametrize(("gap", "ok"), [(1e-6, True), (1e-2, False)])
def test_the_order_of_what_is_almost_equal(gap: float, ok: bool) -> None:
    """A model that sorts jumps: only where its own order depends on the last digits may another one be right."""
    x = np.array([0, 1 - gap, 0.5, 1, 0, 0, 0, 0], np.float32)
    y = np.arange(8, dtype=np.float32)
    runner = ReferenceRunner(parse_module(FIRST))
    reference = runner({"x": x, "y": y})
    swapped = [a[::-1] for a in reference.outputs.values()]
    settled = settle(
        compare_outputs(swapped, reference), swapped, reference, lambda: parse_module(FIRST), lambda: runner
    )
    assert [o.ok for o in settled] == [ok, ok, ok]
    assert all(("inputs move" in o.arbitration) == (ok and i > 0) for i, o in enumerate(settled))


def test_a_wrong_number_is_no_jump() -> None:
    module = parse_module(FIRST)
    x, y = np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)
    runner = ReferenceRunner(module)
    reference = runner({"x": x, "y": y})
    values, places, picked = reference.outputs.values()
    wrong = [values * np.float32(1.001), places, picked + np.float32(0.01)]
    settled = settle(compare_outputs(wrong, reference), wrong, reference, lambda: module, lambda: runner)
    assert [o.ok for o in settled] == [False, True, False]
