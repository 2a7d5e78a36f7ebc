"""nn.resize against the ONNX reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from op_harness import assert_close, evaluate, floats, make, ort, reference

from lepton_ir.ir import InferenceError, sym, tensor

MODES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]
SIZES = [(10, 9), (3, 4), (1, 14)]


def compare(x: np.ndarray, sizes: tuple[int, int], **attributes: Any) -> None:
    """Compare one resize, given the result's sizes, in both layouts."""
    onnx_names = {"coordinate_mode": "coordinate_transformation_mode", "cubic_coeff": "cubic_coeff_a"}
    given = {onnx_names.get(k, k): int(v) if isinstance(v, bool) else v for k, v in attributes.items()}
    target = np.array([*x.shape[:2], *sizes])
    # The reference evaluator departs from the specification for a single result in this mode.
    run = ort if attributes.get("coordinate_mode") == "pytorch_half_pixel" else reference
    expected = run("Resize", x, None, None, target, **given)
    assert_close(evaluate("nn.resize", x, sizes=sizes, **attributes), expected, 1e-5, 1e-5)
    last = evaluate(
        "nn.resize", np.ascontiguousarray(x.transpose(0, 2, 3, 1)), sizes=sizes, layout="NHWC", **attributes
    )
    assert_close(last.transpose(0, 3, 1, 2), expected, 1e-5, 1e-5)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("coordinate_mode", MODES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_interpolation(mode: str, coordinate_mode: str, sizes: tuple[int, int]) -> None:
    compare(floats(1, 2, 5, 7), sizes, mode=mode, coordinate_mode=coordinate_mode)


@pytest.mark.parametrize("nearest_mode", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("coordinate_mode", ["half_pixel", "asymmetric", "align_corners"])
def test_nearest(nearest_mode: str, coordinate_mode: str) -> None:
    compare(floats(1, 2, 4, 6), (8, 9), nearest_mode=nearest_mode, coordinate_mode=coordinate_mode)


def test_cubic_coefficient_and_excluded_borders() -> None:
    compare(floats(1, 1, 5, 5), (9, 8), mode="cubic", cubic_coeff=-0.5, exclude_outside=True)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_antialias(mode: str) -> None:
    compare(floats(1, 1, 12, 10), (5, 6), mode=mode, antialias=True)


@pytest.mark.parametrize("scales", [(0.8, 0.8), (2.3, 1.5)])
def test_scales_define_the_coordinates(scales: tuple[float, float]) -> None:
    x = floats(1, 1, 6, 5)
    given = np.array([1, 1, *scales], np.float32)
    expected = reference("Resize", x, None, given, mode="linear")
    found = evaluate("nn.resize", x, sizes=expected.shape[2:], scales=scales, mode="linear")
    assert_close(found, expected, 1e-5, 1e-5)


def test_crop_and_resize() -> None:
    x = floats(1, 1, 5, 6)
    roi = np.array([0, 0, 0.4, -0.2, 1, 1, 1.2, 0.9], np.float32)
    attributes: dict[str, Any] = {"mode": "linear", "extrapolation_value": 7.0}
    expected = reference(
        "Resize",
        x,
        roi,
        None,
        np.array([1, 1, 4, 8]),
        coordinate_transformation_mode="tf_crop_and_resize",
        **attributes,
    )
    regions = (0.4, -0.2, 1.2, 0.9)
    found = evaluate("nn.resize", x, sizes=(4, 8), coordinate_mode="tf_crop_and_resize", roi=regions, **attributes)
    assert_close(found, expected, 1e-4, 1e-5)


def test_inference_and_errors() -> None:
    n, h = sym("N"), sym("H")
    assert make("nn.resize", tensor((n, 3, h, 8)), sizes=(2 * h, 16)).result.type == tensor((n, 3, 2 * h, 16))
    with pytest.raises(InferenceError, match=r'mode of nn.resize must be one of nearest, linear, cubic, got "area"'):
        make("nn.resize", tensor((1, 3, 8, 8)), sizes=(4, 4), mode="area")
    with pytest.raises(InferenceError, match=r"sizes of nn.resize needs 2 entries"):
        make("nn.resize", tensor((1, 3, 8, 8)), sizes=(1, 3, 4, 4))
