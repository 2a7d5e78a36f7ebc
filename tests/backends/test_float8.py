"""Floats of 8 bits and fewer in kernels: every number of each format, and numbers between, against ml_dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
from kernel_cases import Case, case, check, compile_cases, run_case

from lepton_ir.ir import DType, tensor

FORMATS = [
    DType.F8E4M3FN, DType.F8E4M3FNUZ, DType.F8E5M2, DType.F8E5M2FNUZ, DType.F6E2M3, DType.F6E3M2, DType.F4E2M1,
]  # fmt: skip


def numbers() -> np.ndarray:
    """Return float32 numbers on, between and beyond those of all formats."""
    every = [np.arange(1 << d.bits, dtype=np.uint8).view(d.numpy).astype(np.float32) for d in FORMATS]
    finite = np.unique(np.concatenate(every)[np.isfinite(np.concatenate(every))])
    between = (finite[1:] + finite[:-1]) / 2
    near = np.nextafter(between, np.float32(np.inf))
    return np.concatenate([finite, between, near, np.array([0, -0.0, 1e-30, 1e30, -1e30, np.inf, -np.inf, np.nan])])


def cases(dtype: DType) -> list[Case]:
    every = np.arange(1 << dtype.bits, dtype=np.uint8).view(dtype.numpy)
    x = numbers().astype(np.float32)
    t = tensor(x.shape)
    return [
        case(
            f"widen {dtype}",
            [tensor(every.shape, dtype)],
            lambda b, x: b.cast(x, to=DType.F32),
            {0: every},
            tolerance=0,
        ),
        case(f"narrow {dtype}", [t], lambda b, x: b.cast(x, to=dtype, saturate=False), {0: x}, tolerance=0),
        case(f"saturate {dtype}", [t], lambda b, x: b.cast(x, to=dtype), {0: x}, tolerance=0),
        case(f"round {dtype}", [t], lambda b, x: b.cast(b.cast(x, to=dtype), to=DType.F32), {0: x}, tolerance=0),
    ]


def test_conversions() -> None:
    check([c for dtype in FORMATS for c in cases(dtype)])


def scales() -> np.ndarray:
    """Return float32 numbers on, between and beyond the powers of two that f8e8m0fnu holds."""
    powers = np.ldexp(np.float32(1), np.arange(-149, 128)).astype(np.float32)
    between = np.concatenate([powers * np.float32(f) for f in (1, 1.25, 1.5, 1.75)])
    return np.concatenate([between, np.nextafter(between, np.float32(0)), np.array([0, -1, np.inf, -np.inf, np.nan])])


def power_of_two(x: np.ndarray, mode: str, saturate: bool) -> np.ndarray:
    """Return what Cast-24's table says of numbers, computed with logarithms."""
    wide = np.float64(x)
    with np.errstate(all="ignore"):
        down = 2.0 ** np.floor(np.log2(wide))
        above = wide > down
        up = np.where(above, 2 * down, down)
        found = {"up": up, "down": down, "nearest": np.where(wide - down >= up - wide, up, down)}[mode]
    if saturate:
        found = np.clip(found, 2.0**-127, 2.0**127)
    found = np.where((found < 2.0**-127) | (found > 2.0**127) | (wide < 0), np.nan, found)
    return found.astype(np.float32)


def test_scales() -> None:
    every = np.arange(256, dtype=np.uint8).view(DType.F8E8M0FNU.numpy)
    t = tensor(every.shape, DType.F8E8M0FNU)
    cases = [
        case("widen a scale", [t], lambda b, x: b.cast(x, to=DType.F32), {0: every}, tolerance=0),
        case("move a scale", [t], lambda b, x: b.tensor_concat([x, x], axis=0), {0: every}, tolerance=0),
    ]
    x = scales().astype(np.float32)
    for mode in ("up", "down", "nearest"):
        for saturate in (False, True):

            def build(b: Any, x: Any, mode: str = mode, saturate: bool = saturate) -> Any:
                return b.cast(b.cast(x, to=DType.F8E8M0FNU, saturate=saturate, round_mode=mode), to=DType.F32)

            def short(b: Any, x: Any, mode: str = mode, saturate: bool = saturate) -> Any:
                return b.cast(x, to=DType.F8E8M0FNU, saturate=saturate, round_mode=mode)

            wanted = power_of_two(x, mode, saturate)
            for make, expected in ((build, [wanted]), (short, [wanted.astype(DType.F8E8M0FNU.numpy)]), (short, None)):
                name = f"{mode}, saturate={saturate}"
                cases.append(case(name, [tensor(x.shape)], make, {0: x}, expected=expected, tolerance=0))
    check(cases)


def test_a_scale_keeps_its_smallest_number() -> None:
    x = np.float32([2.0**-127, 2.0**-126])
    made = case("pass", [tensor((2,))], lambda b, x: b.cast(b.cast(x, to=DType.F8E8M0FNU), to=DType.F32), {0: x})
    (found,) = run_case(compile_cases([made]), 0, made)
    np.testing.assert_array_equal(found, x)
