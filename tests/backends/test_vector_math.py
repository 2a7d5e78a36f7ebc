"""The errors of the vector mathematics, measured over the whole range of the types."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from kernel_cases import case, compile_cases, run_case

from lepton_ir.ir import DType, tensor

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-45, -1e-45, 1e-40, -1e-40, 1.1754944e-38, 3.4e38, -3.4e38,
           88.72283, 88.8, -87.4, -103.9, -104.1, 0.5, -0.5, 17.5, -17.5, 9.0, -9.0]  # fmt: skip


def samples(dtype: np.dtype) -> np.ndarray:
    """Return numbers of all magnitudes, many of them moderate."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << (dtype.itemsize * 8), 100_000, dtype=np.uint64)
    anything = bits.astype(f"u{dtype.itemsize}").view(dtype)
    moderate = [rng.standard_normal(100_000) * s for s in (0.01, 1.0, 10.0, 60.0)]
    around_one = 1 + rng.uniform(-1e-3, 1e-3, 10_000)
    return np.concatenate([*(np.asarray(part).astype(dtype) for part in (SPECIAL, *moderate, around_one)), anything])


def units(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the largest error in units in the last place; infinities and NaN must agree."""
    dtype = found.dtype
    with np.errstate(all="ignore"):
        rounded = exact.astype(dtype)
    finite = np.isfinite(rounded)
    overflow = np.isinf(rounded) & np.isfinite(found) & (np.abs(found) == np.finfo(dtype).max)
    same = (found == rounded) | (np.isnan(found) & np.isnan(rounded)) | overflow
    assert same[~finite].all(), f"{found[~finite & ~same][:4]} for {rounded[~finite & ~same][:4]}"
    # An infinite result may stand for one that rounds just below infinity.
    unit = np.spacing(np.abs(rounded[finite])).astype(exact.dtype)
    error = np.abs(found[finite].astype(exact.dtype) - exact[finite]) / unit
    return float(error.max())


def erf(x: np.ndarray) -> np.ndarray:
    return np.array([math.erf(v) for v in x], dtype=np.float64)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1 / (1 + np.exp(-x)), np.exp(x) / (1 + np.exp(x)))


FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "erf": erf,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "sqrt": np.sqrt,
}


def measure(dtype: DType, wide: Any) -> dict[str, float]:
    """Return the error of every function in units in the last place."""
    x = samples(dtype.numpy)
    cases = [
        case(n, [tensor(x.shape, dtype)], lambda b, a, n=n: getattr(b, n)(a), {0: x})  # type: ignore[misc]
        for n in FUNCTIONS
    ]
    library = compile_cases(cases)
    errors = {}
    for i, c in enumerate(cases):
        with np.errstate(all="ignore"):
            exact = FUNCTIONS[c.name](x.astype(wide))
        errors[c.name] = units(run_case(library, i, c)[0], exact.astype(wide))
    return errors


def test_float32() -> None:
    errors = measure(DType.F32, np.float64)
    limits = dict.fromkeys(FUNCTIONS, 4.0) | {"sinh": 6.0, "cosh": 6.0, "asinh": 6.0}
    assert {n: e for n, e in errors.items() if e > limits[n]} == {}, errors


def test_float64() -> None:
    errors = measure(DType.F64, np.longdouble)
    limits = dict.fromkeys(FUNCTIONS, 4.0) | {"sinh": 8.0, "cosh": 8.0, "asinh": 8.0}
    assert {n: e for n, e in errors.items() if e > limits[n]} == {}, errors


def test_gelu_and_silu_have_small_absolute_errors() -> None:
    x = np.linspace(-20, 20, 200_003, dtype=np.float32)
    names = ("gelu", "silu", "mish")
    cases = [case(n, [x.shape], lambda b, a, n=n: getattr(b, n)(a), {0: x}) for n in names]  # type: ignore[misc]
    library = compile_cases(cases)
    wide = x.astype(np.float64)
    exact = [wide * 0.5 * (1 + erf(wide / math.sqrt(2))), wide * sigmoid(wide), wide * np.tanh(np.logaddexp(wide, 0))]
    for i, (c, want) in enumerate(zip(cases, exact, strict=True)):
        error = np.abs(run_case(library, i, c)[0] - want)
        assert error.max() <= 2e-6, f"{c.name} {error.max()}"
        assert (error <= 4e-7 * np.maximum(1, np.abs(wide))).all(), c.name


def test_power() -> None:
    rng = np.random.default_rng(0)
    a = np.concatenate([rng.uniform(0, 100, 20_000), rng.uniform(-9, 9, 20_000), np.exp(rng.uniform(-80, 80, 20_000))])
    b = np.concatenate([rng.uniform(-20, 20, 20_000), rng.integers(-20, 20, 20_000), rng.uniform(-2, 2, 20_000)])
    corners = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0, -3.0, np.inf, -np.inf, np.nan]
    left, right = (m.reshape(-1) for m in np.meshgrid(corners, corners))
    a, b = (np.concatenate([p, q]).astype(np.float32) for p, q in ((a, left), (b, right)))
    c = case("pow", [a.shape, b.shape], lambda bld, x, y: bld.pow(x, y), {0: a, 1: b})
    with np.errstate(all="ignore"):
        exact = np.power(a.astype(np.float64), b.astype(np.float64))
    assert units(run_case(compile_cases([c]), 0, c)[0], exact) <= 2
