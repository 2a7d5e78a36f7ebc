"""Matrix products that are fast for every element type."""

from __future__ import annotations

import numpy as np

from lepton_ir.ops.support import Array


def matmul(a: Array, b: Array) -> Array:
    """Return ``a @ b``; products of integers go through f64 where that is exact, as numpy has no fast integer one."""
    if a.dtype.kind not in "iu" or not a.size or not b.size:
        return np.matmul(a, b)
    bound = float(np.abs(a.astype(np.float64)).max()) * float(np.abs(b.astype(np.float64)).max()) * a.shape[-1]
    if bound >= 2**53:
        return np.matmul(a, b)
    return np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64).astype(a.dtype)
