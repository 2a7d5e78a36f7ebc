"""Random tree ensembles, as the attributes of ONNX's operators."""

from __future__ import annotations

import numpy as np

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")


def lists(rng, trees, depth, features, targets, modes=MODES[:1], every=True, positive=False, prefix="target"):
    """Return nodes_* and target_* (or class_*) attributes of trees of at most ``depth`` levels.

    Args:
        rng: where numbers come from.
        trees: how many.
        depth: the largest number of nodes on a path.
        features: how many features the rows have; splits are small whole numbers, which rows meet exactly.
        targets: how many targets (or classes).
        modes: the comparisons to choose from.
        every: each leaf votes for each target; otherwise for one, at times for two.
        positive: no weight is negative.
        prefix: "target" or "class".
    """
    nodes, votes = [], []

    def grow(tree, level):
        own = len([n for n in nodes if n["treeids"] == tree])
        node = {"treeids": tree, "nodeids": own, "featureids": 0, "modes": "LEAF", "values": 0.0,
                "truenodeids": 0, "falsenodeids": 0, "missing_value_tracks_true": 0}  # fmt: skip
        nodes.append(node)
        if level == depth or (level and rng.random() < 0.2):
            chosen = range(targets) if every else rng.integers(0, targets, rng.integers(1, 3))
            for target in chosen:
                weight = rng.random() if positive else rng.standard_normal()
                votes.append((tree, own, int(target), float(np.float32(weight))))
            return own
        node["featureids"] = int(rng.integers(features))
        node["modes"] = str(rng.choice(modes))
        node["values"] = float(rng.integers(-3, 4))
        node["missing_value_tracks_true"] = int(rng.integers(2))
        node["truenodeids"] = grow(tree, level + 1)
        node["falsenodeids"] = grow(tree, level + 1)
        return own

    for tree in range(trees):
        grow(tree, 0)
    attributes = {f"nodes_{k}": [n[k] for n in nodes] for k in nodes[0]}
    for name, column in zip(("treeids", "nodeids", "ids", "weights"), zip(*votes, strict=True), strict=True):
        attributes[f"{prefix}_{name}"] = list(column)
    return attributes


def rows(rng, count, features, dtype=np.float32, missing=False):
    """Return rows that often meet a split exactly, some with NaN."""
    x = np.where(rng.random((count, features)) < 0.5, rng.integers(-3, 4, (count, features)), 0)
    x = x + np.where(rng.random((count, features)) < 0.5, rng.standard_normal((count, features)), 0)
    if missing:
        x[rng.random((count, features)) < 0.2] = np.nan
    return x.astype(dtype)
