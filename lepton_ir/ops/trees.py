"""Ensembles of decision trees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import InferenceError, Operation, attribute, operand, optional_operand, result
from lepton_ir.ir.types import DType, TensorType, Type
from lepton_ir.ops.support import Array, dims_differ, require_rank, require_same_dtype

COMPARISONS = ("le", "lt", "ge", "gt", "eq", "ne")
"""What a node may ask, ``feature <comparison> split``; ``modes`` holds positions in here."""

AGGREGATES = ("sum", "average", "min", "max")

_COMPARE = (np.less_equal, np.less, np.greater_equal, np.greater, np.equal, np.not_equal)


class TreeEnsemble(Operation):
    """What the leaves that a row reaches, one in each tree, vote for each target; 0 where none votes.

    A place p >= 0 is a node, a place p < 0 the leaf -1 - p. The votes of leaf l are those from ``leaves[l]`` up to
    ``leaves[l + 1]``. Places, features and targets have to exist, and paths to end: whoever builds the operation sees
    to that.
    """

    name = "ml.tree_ensemble"
    x: Value = operand("[N, F], f32 or f64")
    roots: Value = operand("[T], i32: the place where each tree begins")
    features: Value = operand("[M], i32: the feature that each node looks at")
    splits: Value = operand("[M], the type of x: what it is compared with")
    children: Value = operand("[M, 2], i32: the place to go on from if that does not hold, and if it does")
    leaves: Value = operand("[L + 1], i32")
    vote_targets: Value = operand("[V], i32: the target of each vote")
    vote_weights: Value = operand("[V], the type of x")
    modes: Value | None = optional_operand('[M], u8: the comparisons (le, lt, ge, gt, eq, ne); all are "le" without')
    missing: Value | None = optional_operand("[M], u8: 1 where NaN passes for what holds; nowhere without")
    targets = attribute(int)
    depth = attribute(int, doc="the length of the longest path")
    aggregate = attribute(str, default="sum", doc='"sum", "average" (over all trees), "min" or "max"')
    y: OpResult = result("[N, targets]")

    def infer(self) -> Type:
        require_rank("x of ml.tree_ensemble", self.x.tensor, 2)
        return self.x.tensor.with_shape((self.x.shape[0], self.targets))

    def verify(self) -> None:
        x = self.x.tensor
        if x.dtype not in (DType.F32, DType.F64):
            raise InferenceError(f"ml.tree_ensemble needs f32 or f64, got {x}")
        require_same_dtype("x, splits and weights of ml.tree_ensemble", x, self.splits.tensor, self.vote_weights.tensor)
        if self.aggregate not in AGGREGATES:
            raise InferenceError(f'ml.tree_ensemble has no aggregate "{self.aggregate}"')
        if self.targets < 1 or self.depth < 0:
            raise InferenceError("ml.tree_ensemble needs at least one target and no negative depth")
        nodes, votes = self.features.shape[0], self.vote_targets.shape[0]
        self._check(DType.I32, (nodes,), features=self.features)
        self._check(DType.I32, (nodes, 2), children=self.children)
        self._check(DType.I32, (votes,), vote_targets=self.vote_targets)
        self._check(DType.U8, (nodes,), modes=self.modes, missing=self.missing)
        self._check(x.dtype, (nodes,), splits=self.splits)
        self._check(x.dtype, (votes,), vote_weights=self.vote_weights)
        self._check(DType.I32, (None,), roots=self.roots, leaves=self.leaves)

    def _check(self, dtype: DType, shape: Sequence[object], **values: Value | None) -> None:
        for what, value in values.items():
            if value is None:
                continue
            t: TensorType = value.tensor
            fits = t.rank == len(shape) and not any(
                d is not None and dims_differ(d, e)  # type: ignore[arg-type]
                for d, e in zip(shape, t.shape, strict=True)
            )
            if t.dtype is not dtype or not fits:
                wanted = "x".join("?" if d is None else str(d) for d in shape)
                raise InferenceError(f"{what} of {self.name} must be tensor<{wanted}x{dtype}>, got {t}")

    def evaluate(
        self,
        x: Array,
        roots: Array,
        features: Array,
        splits: Array,
        children: Array,
        leaves: Array,
        vote_targets: Array,
        vote_weights: Array,
        modes: Array | None = None,
        missing: Array | None = None,
    ) -> Array:
        start = {"min": np.inf, "max": -np.inf}.get(self.aggregate, 0.0)
        combine = {"min": np.minimum, "max": np.maximum}.get(self.aggregate, np.add)
        y = np.full((len(x), self.targets), start, x.dtype)
        every = np.arange(len(x))
        for root in roots:
            place = np.full(len(x), root, np.int64)
            for _ in range(self.depth):
                node = np.maximum(place, 0)
                value = x[every, features[node]]
                holds = _holds(value, splits[node], None if modes is None else modes[node])
                if missing is not None:
                    holds |= np.isnan(value) & (missing[node] != 0)
                place = np.where(place >= 0, children[node, holds.astype(np.int64)], place)
            first, end = leaves[-1 - place], leaves[-place]
            for k in range(int((end - first).max(initial=0))):
                rows = np.flatnonzero(first + k < end)
                votes = first[rows] + k
                combine.at(y, (rows, vote_targets[votes]), vote_weights[votes])
        y = np.where(np.isinf(y), 0, y) if self.aggregate in ("min", "max") else y
        return (y / x.dtype.type(len(roots)) if self.aggregate == "average" else y).astype(x.dtype)


def _holds(value: Array, split: Array, modes: Array | None) -> Array:
    """Return whether the comparison of each row's node holds."""
    if modes is None:
        return np.asarray(value <= split)
    return np.asarray(np.select([modes == i for i in range(len(_COMPARE))], [c(value, split) for c in _COMPARE]) != 0)
