"""Trees and the coupling of pairs: what they mean."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from op_harness import evaluate

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("classes", [3, 6])
def test_coupling_minimizes(classes: int) -> None:
    """The sum of (r_ji p_i - r_ij p_j)^2 under sum p = 1, by solving its linear conditions in f64."""
    r = RNG.uniform(0.05, 0.95, (8, classes * (classes - 1) // 2)).astype(np.float32)
    got = evaluate("ml.pairwise_coupling", r, classes=classes)
    for row, p in zip(r.astype(np.float64), got, strict=True):
        system = np.zeros((classes + 1, classes + 1))
        system[classes, :classes] = system[:classes, classes] = 1
        for value, (i, j) in zip(row, combinations(range(classes), 2), strict=True):
            system[i, i] += (1 - value) ** 2
            system[j, j] += value**2
            system[i, j] -= value * (1 - value)
            system[j, i] -= value * (1 - value)
        wanted = np.linalg.solve(system, [0] * classes + [1])[:classes]
        np.testing.assert_allclose(p, wanted, atol=0.02)
        assert abs(p.sum() - 1) < 1e-5


def test_a_tree() -> None:
    """x0 <= 1: leaf 0 (votes 10 for target 1), else x1 > 2 or NaN: leaf 1 (no votes), else leaf 2 (1 and 2)."""
    x = np.array([[1, 0], [2, 3], [2, np.nan], [2, 2], [np.nan, 0]], np.float32)
    places = [np.array(v, np.int32) for v in ([0], [0, 1], [[1, -1], [-3, -2]], [0, 1, 1, 3], [1, 0, 1])]
    roots, features, children, leaves, targets = places
    splits, weights = np.array([1, 2], np.float32), np.array([10, 1, 2], np.float32)
    modes, missing = np.array([0, 3], np.uint8), np.array([0, 1], np.uint8)
    operands = (x, roots, features, splits, children, leaves, targets, weights, modes, missing)
    for aggregate in ("sum", "average", "min", "max"):
        got = evaluate("ml.tree_ensemble", *operands, targets=2, depth=2, aggregate=aggregate)
        np.testing.assert_array_equal(got, [[0, 10], [0, 0], [0, 0], [1, 2], [1, 2]])
