"""Who is right where ONNX Runtime and the compiled model differ by a rounding."""

from __future__ import annotations

from collections.abc import Callable

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
    (settled,) = settle(
        errors, ours, reference, lambda: parse_module(ROUNDED), lambda optimized: lambda inputs: reference
    )
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


@pytest.mark.parametrize(("gap", "ok"), [(2e-7, True), (1e-5, False), (1e-2, False)])
def test_the_order_of_what_is_almost_equal(gap: float, ok: bool) -> None:
    """A model that sorts jumps: only where its own order depends on the last digits may another one be right."""
    x = np.array([0, 1 - gap, 0.5, 1, 0, 0, 0, 0], np.float32)
    y = np.arange(8, dtype=np.float32)
    runner = ReferenceRunner(parse_module(FIRST))
    reference = runner({"x": x, "y": y})
    swapped = [a[::-1] for a in reference.outputs.values()]
    settled = settle(
        compare_outputs(swapped, reference), swapped, reference, lambda: parse_module(FIRST), lambda optimized: runner
    )
    assert [o.ok for o in settled] == [gap < 1e-4, ok, ok]
    assert [o.jumps for o in settled] == [False, ok, ok]
    assert all(("inputs move" in o.arbitration) == o.jumps for o in settled)


def settled_of(text: str, x: np.ndarray, wrong: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Return whether a wrong output is excused."""
    module = parse_module(text)
    runner = ReferenceRunner(module)
    reference = runner({"x": x})
    ours = [wrong(a) for a in reference.outputs.values()]
    errors = compare_outputs(ours, reference)
    assert not errors[0].ok
    (settled,) = settle(errors, ours, reference, lambda: module, lambda optimized: runner)
    return settled.ok


SORTED = """module {
  func @main(%x: tensor<64xf32>) -> (tensor<64xf32>) {
    %0, %1 = tensor.topk(%x) {k = 64}
    %2 = cast(%1) {to = f32}
    return %2
  }
}
"""
CLOSE = np.linspace(0, 1, 64, dtype=np.float32)
CLOSE[10] = np.nextafter(CLOSE[11], np.float32(0))


def test_a_jump_in_one_place_excuses_no_error_in_all() -> None:
    def one(a: np.ndarray) -> np.ndarray:
        return np.where(a == 10, 11, np.where(a == 11, 10, a)).astype(np.float32)

    assert settled_of(SORTED, CLOSE, one)
    assert not settled_of(SORTED, CLOSE, lambda a: a + np.float32(1))
    assert not settled_of(SORTED, CLOSE, lambda a: np.where(a == 11, np.nan, a).astype(np.float32))
    assert not settled_of(SORTED, CLOSE, lambda a: one(a).astype(np.float64))
    assert not settled_of(SORTED, CLOSE, lambda a: a[:-1])


STEEP = """module {
  func @main(%x: tensor<4xTYPE>) -> (tensor<4xTYPE>) {
    %0 = const dense<50.0> : tensor<TYPE>
    %1 = mul(%x, %0)
    %2 = exp(%1)
    return %2
  }
}
"""


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_steep_function_is_held_to_its_tolerance(dtype: type) -> None:
    x = np.array([0.1, 0.3, 0.7, 1.0], dtype)
    text = STEEP.replace("TYPE", "f32" if dtype is np.float32 else "f64")
    wrong = dtype(1 + (3e-4 if dtype is np.float32 else 1e-6))
    assert not settled_of(text, x, lambda a: a * wrong)


SIZED = """module {
  func @main(%x: tensor<Nxf32>) -> (tensor<kxi64>) {
    %0 = const dense<0.5> : tensor<f32>
    %1 = gt(%x, %0)
    %2 = cast(%1) {to = i64}
    %3 = reduce.sum(%2) {axes = [0], keepdims = true}
    dims.bind(%3) {dims = [k]}
    %4 = tensor.iota() {shape = [k], axis = 0, dtype = i64}
    return %4
  }
}
"""


def test_a_size_is_excused_only_where_the_references_own_changes() -> None:
    clear = np.array([0.1, 0.4, 0.6, 0.9], np.float32)
    close = clear.copy()
    close[1] = np.nextafter(np.float32(0.5), np.float32(0))
    assert not settled_of(SIZED, clear, lambda a: np.arange(3))
    assert settled_of(SIZED, close, lambda a: np.arange(3))
    assert not settled_of(SIZED, close, lambda a: a + 7)


def test_a_wrong_number_is_no_jump() -> None:
    module = parse_module(FIRST)
    x, y = np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)
    runner = ReferenceRunner(module)
    reference = runner({"x": x, "y": y})
    values, places, picked = reference.outputs.values()
    wrong = [values * np.float32(1.001), places, picked + np.float32(0.01)]
    settled = settle(compare_outputs(wrong, reference), wrong, reference, lambda: module, lambda optimized: runner)
    assert [o.ok for o in settled] == [False, True, False]
