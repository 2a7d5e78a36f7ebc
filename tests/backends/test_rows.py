"""Reductions, softmax, norms and pools, against the operators' numpy meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
from kernel_cases import Case, case, check

from lepton_ir.ir import DType, sym, tensor

N, S = sym("N"), sym("S")
SIZES = {"N": 3, "S": 37}


def op(name: str, **attributes: Any) -> Any:
    """Return a builder of one operation."""
    return lambda b, *args: getattr(b, name)(*args, **attributes)


def test_reductions() -> None:
    cases: list[Case] = []
    nan = np.random.default_rng(0).standard_normal((5, 7, 37)).astype(np.float32)
    nan[2, 3, 4] = nan[4, 6, 36] = np.nan
    for name in ("sum", "mean", "max", "min", "prod"):
        for axes in ((0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)):
            build = op(f"reduce_{name}", axes=axes, keepdims=axes != (1,))
            cases.append(case(f"{name} {axes}", [(5, 7, 37)], build, tolerance=1e-5))
            cases.append(case(f"{name} {axes} dynamic", [(N, 7, S)], build, env=SIZES, tolerance=1e-5))
        cases.append(case(f"{name} i32", [tensor((5, 37), DType.I32)], op(f"reduce_{name}", axes=(1,))))
        cases.append(case(f"{name} f16", [tensor((5, 37), DType.F16)], op(f"reduce_{name}", axes=(0,)), tolerance=2e-3))
    for name in ("max", "min"):
        cases.append(case(f"{name} nan", [(5, 7, 37)], op(f"reduce_{name}", axes=(1,)), {0: nan}))
    for name in ("any", "all"):
        for axes in ((0,), (1,)):
            cases.append(case(f"{name} {axes}", [tensor((5, 3), DType.BOOL)], op(f"reduce_{name}", axes=axes)))
    check(cases)


def test_reductions_with_neighbours() -> None:
    def pooled(b: Any, x: Any) -> Any:
        return b.sigmoid(b.reduce_mean(b.silu(b.gelu(x)), axes=(1, 2)))

    def norm(b: Any, x: Any) -> Any:
        return b.sqrt(b.reduce_sum(b.mul(b.mish(x), b.mish(x)), axes=(1,)))

    check(
        [
            case("pooled", [(2, 7, 7, 50)], pooled, tolerance=1e-5),
            case("norm", [(N, S)], norm, env=SIZES, tolerance=1e-5),
            case("transposed", [(4, 37, 5)],
                 lambda b, x: b.reduce_sum(b.tensor_transpose(x, perm=(0, 2, 1)), axes=(1,)),
                 tolerance=1e-5),
        ]
    )  # fmt: skip


def test_softmax() -> None:
    cases = []
    for axis in (0, 1, 2):
        cases.append(case(f"{axis}", [(5, 7, 37)], op("nn_softmax", axis=axis), tolerance=1e-6))
        cases.append(case(f"{axis} dynamic", [(N, S, 3)], op("nn_softmax", axis=axis), env=SIZES, tolerance=1e-6))
    steep = np.array([[88.0, -1e30, 0, 90], [-np.inf, 0, 1, 2], [3e38, -3e38, 0, 0]], np.float32)
    cases += [
        case("steep", [(3, 4)], op("nn_softmax", axis=1), {0: steep}, tolerance=1e-6),
        case("scaled", [(6, 20)], lambda b, x: b.relu(b.nn_softmax(b.gelu(x), axis=1)), tolerance=1e-6),
        case("f64", [tensor((5, 37), DType.F64)], op("nn_softmax", axis=1), tolerance=1e-14),
        case("f16", [tensor((5, 37), DType.F16)], op("nn_softmax", axis=1), tolerance=1e-3),
    ]
    check(cases)


def test_norms() -> None:
    cases = [
        case("last", [(5, 7, 48), (48,), (48,)], op("nn_layer_norm", axis=-1), tolerance=1e-5),
        case("odd", [(5, 37), (37,), (37,)], op("nn_layer_norm", axis=1), tolerance=1e-5),
        case("two axes", [(5, 7, 37), (7, 37), (7, 37)], op("nn_layer_norm", axis=1), tolerance=1e-5),
        case("plain", [(N, S)], op("nn_layer_norm", axis=-1), env=SIZES, tolerance=1e-5),
        case("far from 0", [(5, 100)], lambda b, x: b.nn_layer_norm(b.add(x, b.const(np.float32(1e4))), axis=-1),
             tolerance=2e-3),
        case("rms", [(N, 96), (96,)], op("nn_rms_norm", axis=-1), env=SIZES, tolerance=1e-5),
        case("f16", [tensor((5, 37), DType.F16)], op("nn_layer_norm", axis=-1), tolerance=2e-3),
        case("followed", [(5, 48), (48,), (5, 48)], lambda b, x, s, y: b.gelu(b.add(b.nn_rms_norm(x, s, axis=1), y)),
             tolerance=1e-5),
    ]  # fmt: skip
    check(cases)


def test_pools() -> None:
    cases: list[Case] = []
    for name in ("nn_max_pool", "nn_avg_pool"):
        for layout, shape in (("NHWC", (2, 9, 11, 19)), ("NCHW", (2, 3, 9, 11)), ("NHWC", (N, S, S, 16))):
            build = op(name, kernel_shape=(3, 2), strides=(2, 1), pads=(1, 0, 1, 1), layout=layout)
            cases.append(case(f"{name} {shape}", [shape], build, env=SIZES, tolerance=1e-6))
        ceil = op(name, kernel_shape=(3, 3), strides=(2, 2), ceil_mode=True, layout="NHWC")
        cases.append(case(f"{name} ceil", [(1, 8, 8, 5)], ceil, tolerance=1e-6))
        cases.append(case(f"{name} dilated", [(1, 2, 20)], op(name, kernel_shape=(3,), dilations=(2,)), tolerance=1e-6))
    counted = op("nn_avg_pool", kernel_shape=(3, 3), pads=(1, 1, 1, 1), count_include_pad=True, layout="NHWC")
    cases.append(case("counted", [(1, 8, 8, 5)], lambda b, x: b.relu(counted(b, x)), tolerance=1e-6))
    check(cases)
