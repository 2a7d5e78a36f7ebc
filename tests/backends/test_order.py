"""argmax, top-k, running sums, scatters and resampling, against the operators' numpy meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
from kernel_cases import Case, case, check

from lepton_ir.ir import DType, sym, tensor

N, S = sym("N"), sym("S")
SIZES = {"N": 3, "S": 37}
RNG = np.random.default_rng(1)


def op(name: str, **attributes: Any) -> Any:
    """Return a builder of one operation."""
    return lambda b, *args: getattr(b, name)(*args, **attributes)


def with_ties(*shape: int) -> np.ndarray:
    return RNG.integers(0, 5, shape).astype(np.float32)


def test_arg_reductions() -> None:
    nan = with_ties(4, 37)
    nan[1, 20:] = np.nan
    cases: list[Case] = []
    for name in ("reduce_argmax", "reduce_argmin"):
        for last in (False, True):
            for axis in (0, 1, 2):
                x = {0: with_ties(5, 19, 37)}
                attributes = {"axis": axis, "select_last_index": last, "keepdims": axis != 1}
                cases.append(case(f"{name} {axis} {last}", [(5, 19, 37)], op(name, **attributes), x))
        cases.append(case(f"{name} dynamic", [(N, S)], op(name, axis=1), {0: with_ties(3, 37)}, SIZES))
        cases.append(case(f"{name} i64", [tensor((4, 50), DType.I64)], op(name, axis=1)))
        cases.append(case(f"{name} nan", [(4, 37)], op(name, axis=1), {0: nan}))
    check(cases)


def test_top_k() -> None:
    nan = with_ties(4, 37)
    nan[1, 20:] = np.nan
    cases: list[Case] = []
    for largest in (True, False):
        for k in (1, 5, 37):
            cases.append(case(f"{k} {largest}", [(4, 37)], op("tensor_topk", k=k, largest=largest), {0: nan}))
        cases += [
            case("all", [(3, 100)], op("tensor_topk", k=100, largest=largest), {0: with_ties(3, 100)}),
            case("axis", [(3, 40, 5)], op("tensor_topk", k=3, axis=1, largest=largest), {0: with_ties(3, 40, 5)}),
            case("dynamic", [(N, S)], op("tensor_topk", k=N, largest=largest), {0: with_ties(3, 37)}, SIZES),
            case("values only", [(4, 37)], lambda b, x, g=largest: b.relu(b.tensor_topk(x, k=4, largest=g)[0])),
            case("i32", [tensor((2, 9), DType.I32)], op("tensor_topk", k=4, largest=largest)),
        ]
    check(cases)


def test_top_k_of_long_rows() -> None:
    """A heap keeps more than a few, whatever the order in which they come."""
    n = 700
    rising = np.arange(n, dtype=np.float32)
    rows = [
        rising,
        rising[::-1],
        RNG.permutation(rising),
        with_ties(n),
        np.zeros(n),
        np.where(rising % 3, rising, np.nan),
    ]
    x = np.stack(rows).astype(np.float32)
    cases: list[Case] = []
    for largest in (True, False):
        cases += [
            case(f"{k} {largest}", [x.shape], op("tensor_topk", k=k, largest=largest), {0: x})
            for k in (33, 34, 100, 350, n - 1, n)
        ]
        for k in (0, 1, 2, 3, 64, n):
            sizes = {"N": k, "S": n}
            cases.append(case(f"dynamic {k}", [(6, S)], op("tensor_topk", k=N, largest=largest), {0: x}, sizes))
    check(cases)


def test_running_sums() -> None:
    cases: list[Case] = []
    for axis in (0, 1, 2):
        for exclusive in (False, True):
            for reverse in (False, True):
                build = op("tensor_cumsum", axis=axis, exclusive=exclusive, reverse=reverse)
                cases.append(case(f"{axis} {exclusive} {reverse}", [(4, N, 37)], build, env=SIZES, tolerance=1e-5))
    cases.append(case("i64", [tensor((4, 9), DType.I64)], op("tensor_cumsum", axis=1)))
    check(cases)


def test_scatters() -> None:
    places = RNG.integers(-4, 4, (3, 5, 6))
    vectors = RNG.integers(0, 4, (7, 2))
    cases: list[Case] = []
    for reduction in ("none", "add", "mul", "min", "max"):
        for axis in (0, 1, 2):
            index = tensor((3, 5, 6), DType.I64)
            build = op("tensor_scatter_elements", axis=axis, reduction=reduction)
            cases.append(case(f"{axis} {reduction}", [(4, 9, 7), index, (3, 5, 6)], build, {1: places}, tolerance=1e-5))
        build = op("tensor_scatter_nd", reduction=reduction)
        index = tensor((7, 2), DType.I64)
        cases.append(case(f"nd {reduction}", [(4, 5, 37), index, (7, 37)], build, {1: vectors}, tolerance=1e-5))
        cases.append(case(f"nd element {reduction}", [(4, 5), index, (7,)], build, {1: vectors}, tolerance=1e-5))
    index = tensor((N, 1), DType.I64)
    following = op("tensor_scatter_nd")
    cases.append(
        case("followed", [(9, S), index, (N, S)], lambda b, *a: b.relu(following(b, *a)),
             {1: np.array([[1], [5], [1]])}, SIZES)
    )  # fmt: skip
    check(cases)


COORDINATES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]


def test_resampling() -> None:
    cases: list[Case] = []
    for mode in ("nearest", "linear", "cubic"):
        for coordinates in COORDINATES:
            for layout, shape in (("NCHW", (2, 3, 7, 9)), ("NHWC", (2, 7, 9, 19))):
                build = op("nn_resize", sizes=(14, 5), mode=mode, coordinate_mode=coordinates, layout=layout)
                cases.append(case(f"{mode} {coordinates} {layout}", [shape], build, tolerance=1e-5))
    for nearest in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        build = op("nn_resize", sizes=(2 * S, 3), nearest_mode=nearest, coordinate_mode="asymmetric")
        cases.append(case(nearest, [(1, 2, S, 6)], build, env=SIZES))
    crop = {"coordinate_mode": "tf_crop_and_resize", "roi": (0.2, -0.3, 0.9, 1.2), "extrapolation_value": 7.0}
    cases += [
        case("crop", [(1, 2, 8, 9)], op("nn_resize", sizes=(5, 6), mode="linear", **crop), tolerance=1e-5),
        case("outside", [(1, 2, 8, 9)], op("nn_resize", sizes=(5, 12), mode="cubic", exclude_outside=True),
             tolerance=1e-5),
        case("scales", [(1, 2, 8, 9)], op("nn_resize", sizes=(12, 13), mode="linear", scales=(1.5, 1.5)),
             tolerance=1e-5),
        case("line", [(1, 2, 8)], op("nn_resize", sizes=(13,), mode="linear"), tolerance=1e-5),
        case("bytes", [tensor((1, 2, 8, 9), DType.U8)], op("nn_resize", sizes=(5, 6), mode="nearest")),
    ]  # fmt: skip
    check(cases)


def test_max_pool_with_indices() -> None:
    cases: list[Case] = []
    for storage_order in (0, 1):
        build = op(
            "nn_max_pool_indices", kernel_shape=(3, 2), strides=(2, 1), pads=(1, 0, 1, 1), storage_order=storage_order
        )
        cases.append(case(f"order {storage_order}", [(2, 3, 9, 37)], build, {0: with_ties(2, 3, 9, 37)}))
    dilated = op("nn_max_pool_indices", kernel_shape=(3,), dilations=(2,), pads=(1, 2))
    cases.append(case("dilated", [(N, 3, S)], dilated, env=SIZES))
    check(cases)
