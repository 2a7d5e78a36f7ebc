"""Tree ensembles and the coupling of pairs, against the operators' numpy meaning and a computation in f64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import Case, case, check

from lepton_ir.ir import DType, TensorType, sym, tensor

RNG = np.random.default_rng(3)


def complete_trees(trees: int, depth: int, features: int, targets: int, dtype: DType) -> list[np.ndarray]:
    """Return the operands after x: trees of which every path has ``depth`` nodes, with 0 to 2 votes at a leaf."""
    inner, ends = 2**depth - 1, 2**depth
    nodes, leaves = trees * inner, trees * ends
    children = np.zeros((nodes, 2), np.int32)
    for tree in range(trees):
        for i in range(inner):
            for side in (0, 1):
                below = 2 * i + 1 + side
                leaf = -1 - (tree * ends + below - inner)
                children[tree * inner + i, side] = tree * inner + below if below < inner else leaf
    votes = RNG.integers(0, 3, leaves)
    splits = RNG.integers(-2, 3, nodes).astype(dtype.numpy)
    return [
        np.arange(trees, dtype=np.int32) * inner, RNG.integers(0, features, nodes).astype(np.int32), splits, children,
        np.concatenate([[0], votes.cumsum()]).astype(np.int32),
        RNG.integers(0, targets, votes.sum()).astype(np.int32), RNG.standard_normal(votes.sum()).astype(dtype.numpy),
        RNG.integers(0, 6, nodes).astype(np.uint8), RNG.integers(0, 2, nodes).astype(np.uint8),
    ]  # fmt: skip


def tree_case(dtype: DType, aggregate: str, count: int, plain: bool) -> Case:
    trees, depth, features, targets = 5, 3, 4, 3
    x = RNG.integers(-3, 4, (count, features)).astype(dtype.numpy)
    x[RNG.random(x.shape) < 0.1] = np.nan
    arrays = [x, *complete_trees(trees, depth, features, targets, dtype)]
    arrays = arrays[:-2] if plain else arrays
    types = [TensorType(tuple(a.shape), DType.of(a)) for a in arrays]
    types[0] = tensor((sym("N"), features), dtype)

    def build(b: Any, *values: Any) -> Any:
        return b.ml_tree_ensemble(*values, targets=targets, depth=depth, aggregate=aggregate)

    name = f"{dtype} {aggregate} {count} {plain}"
    return case(name, types, build, dict(enumerate(arrays)), {"N": count}, tolerance=1e-5)


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64])
def test_tree_ensembles(dtype: DType) -> None:
    cases = [tree_case(dtype, a, 70, plain) for a in ("sum", "average", "min", "max") for plain in (False, True)]
    check([*cases, *(tree_case(dtype, "sum", n, False) for n in (0, 1, 32, 33))])


def probabilities(classes: int, rows: int) -> np.ndarray:
    pairs = classes * (classes - 1) // 2
    r = RNG.random((rows, pairs)).astype(np.float32)
    r[0], r[1] = 0, 1
    return r


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_pairwise_coupling(classes: int) -> None:
    r = probabilities(classes, 20)
    types = [tensor((sym("N"), r.shape[1]), DType.F32)]
    check([case("coupling", types, lambda b, v: b.ml_pairwise_coupling(v, classes=classes), {0: r}, {"N": 20}, 1e-5)])
