"""8-bit floats in kernels: every number of each format, and numbers between them, against ml_dtypes."""

from __future__ import annotations

import numpy as np
from kernel_cases import Case, case, check

from lepton_ir.ir import DType, tensor

FORMATS = [DType.F8E4M3FN, DType.F8E4M3FNUZ, DType.F8E5M2, DType.F8E5M2FNUZ]


def numbers() -> np.ndarray:
    """Return float32 numbers on, between and beyond those of all formats."""
    every = [np.arange(256, dtype=np.uint8).view(d.numpy).astype(np.float32) for d in FORMATS]
    finite = np.unique(np.concatenate(every)[np.isfinite(np.concatenate(every))])
    between = (finite[1:] + finite[:-1]) / 2
    near = np.nextafter(between, np.float32(np.inf))
    return np.concatenate([finite, between, near, np.array([0, -0.0, 1e-30, 1e30, -1e30, np.inf, -np.inf, np.nan])])


def cases(dtype: DType) -> list[Case]:
    every = np.arange(256, dtype=np.uint8).view(dtype.numpy)
    x = numbers().astype(np.float32)
    t = tensor(x.shape)
    return [
        case(f"widen {dtype}", [tensor((256,), dtype)], lambda b, x: b.cast(x, to=DType.F32), {0: every}, tolerance=0),
        case(f"narrow {dtype}", [t], lambda b, x: b.cast(x, to=dtype, saturate=False), {0: x}, tolerance=0),
        case(f"saturate {dtype}", [t], lambda b, x: b.cast(x, to=dtype), {0: x}, tolerance=0),
        case(f"round {dtype}", [t], lambda b, x: b.cast(b.cast(x, to=dtype), to=DType.F32), {0: x}, tolerance=0),
    ]


def test_conversions() -> None:
    check([c for dtype in FORMATS for c in cases(dtype)])
