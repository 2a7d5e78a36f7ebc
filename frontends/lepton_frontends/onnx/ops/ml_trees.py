"""Tree ensembles of ai.onnx.ml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.ops.ml_linear import second_class
from lepton_frontends.onnx.rules import ML, onnx_op
from lepton_frontends.onnx.scores import (
    best_class,
    constant,
    either_label,
    features_of,
    labelled,
    labels_of,
    rows_of,
    transformed,
    two_scores,
)
from lepton_frontends.onnx.trees import Forest, forest_of_lists, forest_of_places
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType

Ints = Sequence[int]
Floats = Sequence[float]


def _evaluated(b: OnnxBuilder, x: Value, forest: Forest, targets: int, aggregate: str) -> Value:
    """Return what the trees vote for each target, [N, targets], in the type of the rows."""
    features_of(x, forest.features_needed)
    dtype = x.tensor.dtype.numpy
    if ((forest.targets < 0) | (forest.targets >= targets)).any():
        raise UnsupportedError(f"a leaf votes for a target that is none of {targets}", "the model is not valid ONNX")
    arrays = [
        forest.roots, forest.features, forest.splits.astype(dtype), forest.children, forest.leaves, forest.targets,
        forest.weights.astype(dtype), forest.modes if forest.modes.any() else None,
        forest.missing if forest.missing.any() else None,
    ]  # fmt: skip
    operands = [None if a is None else b.const(a) for a in arrays]
    return b.ml_tree_ensemble(x, *operands, targets=targets, depth=forest.depth, aggregate=aggregate)


def _row_type(x: Value) -> DType:
    return DType.F64 if x.tensor.dtype is DType.F64 else DType.F32


def _array(b: OnnxBuilder, tensor: TensorProto | None, values: Sequence[float]) -> np.ndarray:
    """Return numbers that an attribute holds as a tensor (of f64) or as a list (of f32)."""
    return np.asarray(values, np.float32) if tensor is None else b.importer.reader.read(tensor).array


@onnx_op("TreeEnsembleRegressor", since=1, domain=ML)
def tree_ensemble_regressor(
    b: OnnxBuilder,
    x: Value,
    *,
    aggregate_function: str = "SUM",
    base_values: Floats = (),
    base_values_as_tensor: TensorProto | None = None,
    n_targets: int = 1,
    nodes_falsenodeids: Ints = (),
    nodes_featureids: Ints = (),
    nodes_hitrates: Floats = (),
    nodes_hitrates_as_tensor: TensorProto | None = None,
    nodes_missing_value_tracks_true: Ints = (),
    nodes_modes: Sequence[str] = (),
    nodes_nodeids: Ints = (),
    nodes_treeids: Ints = (),
    nodes_truenodeids: Ints = (),
    nodes_values: Floats = (),
    nodes_values_as_tensor: TensorProto | None = None,
    post_transform: str = "NONE",
    target_ids: Ints = (),
    target_nodeids: Ints = (),
    target_treeids: Ints = (),
    target_weights: Floats = (),
    target_weights_as_tensor: TensorProto | None = None,
) -> Value:
    forest = forest_of_lists(
        tree_ids=nodes_treeids, node_ids=nodes_nodeids, features=nodes_featureids, modes=nodes_modes,
        splits=_array(b, nodes_values_as_tensor, nodes_values), true_ids=nodes_truenodeids,
        false_ids=nodes_falsenodeids, missing=nodes_missing_value_tracks_true, vote_trees=target_treeids,
        vote_nodes=target_nodeids, vote_targets=target_ids,
        vote_weights=_array(b, target_weights_as_tensor, target_weights),
    )  # fmt: skip
    rows = rows_of(b, x, _row_type(x))
    scores = _evaluated(b, rows, forest, n_targets, _aggregate(aggregate_function))
    scores = _with_base(b, scores, _array(b, base_values_as_tensor, base_values))
    return b.cast_to(transformed(b, scores, post_transform), DType.F32)


_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")


def _aggregate(name: str) -> str:
    if name not in _AGGREGATES:
        raise UnsupportedError(f"the aggregate function {name} is not known", "the model is not valid ONNX")
    return name.lower()


@onnx_op("TreeEnsemble", since=5, domain=ML)
def tree_ensemble(
    b: OnnxBuilder,
    x: Value,
    *,
    aggregate_function: int = 1,
    leaf_targetids: Ints,
    leaf_weights: TensorProto,
    membership_values: TensorProto | None = None,
    n_targets: int = 1,
    nodes_falseleafs: Ints,
    nodes_falsenodeids: Ints,
    nodes_featureids: Ints,
    nodes_hitrates: TensorProto | None = None,
    nodes_missing_value_tracks_true: Ints = (),
    nodes_modes: TensorProto,
    nodes_splits: TensorProto,
    nodes_trueleafs: Ints,
    nodes_truenodeids: Ints,
    post_transform: int = 0,
    tree_roots: Ints,
) -> Value:
    def array(tensor: TensorProto) -> np.ndarray:
        return b.importer.reader.read(tensor).array

    transforms = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
    if not 0 <= post_transform < len(transforms) or not 0 <= aggregate_function < len(_AGGREGATES):
        raise UnsupportedError("its post_transform or aggregate_function is not known", "the model is not valid ONNX")
    forest = forest_of_places(
        roots=tree_roots, features=nodes_featureids, modes=array(nodes_modes), splits=array(nodes_splits),
        true_ids=nodes_truenodeids, true_leaves=nodes_trueleafs, false_ids=nodes_falsenodeids,
        false_leaves=nodes_falseleafs, missing=nodes_missing_value_tracks_true,
        members=None if membership_values is None else array(membership_values), leaf_targets=leaf_targetids,
        leaf_weights=array(leaf_weights),
    )  # fmt: skip
    rows = rows_of(b, x, _row_type(x))
    scores = _evaluated(b, rows, forest, n_targets, _AGGREGATES[aggregate_function].lower())
    return b.cast_to(transformed(b, scores, transforms[post_transform]), x.tensor.dtype)


@onnx_op("TreeEnsembleClassifier", since=1, domain=ML)
def tree_ensemble_classifier(
    b: OnnxBuilder,
    x: Value,
    *,
    base_values: Floats = (),
    base_values_as_tensor: TensorProto | None = None,
    class_ids: Ints = (),
    class_nodeids: Ints = (),
    class_treeids: Ints = (),
    class_weights: Floats = (),
    class_weights_as_tensor: TensorProto | None = None,
    classlabels_int64s: Ints = (),
    classlabels_strings: Sequence[str] = (),
    nodes_falsenodeids: Ints = (),
    nodes_featureids: Ints = (),
    nodes_hitrates: Floats = (),
    nodes_hitrates_as_tensor: TensorProto | None = None,
    nodes_missing_value_tracks_true: Ints = (),
    nodes_modes: Sequence[str] = (),
    nodes_nodeids: Ints = (),
    nodes_treeids: Ints = (),
    nodes_truenodeids: Ints = (),
    nodes_values: Floats = (),
    nodes_values_as_tensor: TensorProto | None = None,
    post_transform: str = "NONE",
) -> Any:
    labels = labels_of(classlabels_int64s, classlabels_strings)
    forest = forest_of_lists(
        tree_ids=nodes_treeids, node_ids=nodes_nodeids, features=nodes_featureids, modes=nodes_modes,
        splits=_array(b, nodes_values_as_tensor, nodes_values), true_ids=nodes_truenodeids,
        false_ids=nodes_falsenodeids, missing=nodes_missing_value_tracks_true, vote_trees=class_treeids,
        vote_nodes=class_nodeids, vote_targets=class_ids,
        vote_weights=_array(b, class_weights_as_tensor, class_weights),
    )  # fmt: skip
    rows = rows_of(b, x, _row_type(x))
    base = _array(b, base_values_as_tensor, base_values)
    if len(labels) > 2:
        classes, scores = _many_classes(b, rows, forest, labels, base)
        return classes, b.cast_to(transformed(b, scores, post_transform), DType.F32)
    classes, scores = _two_classes(b, rows, forest, labels, base, post_transform)
    return classes, b.cast_to(scores, DType.F32)


def _many_classes(
    b: OnnxBuilder, rows: Value, forest: Forest, labels: np.ndarray, base: np.ndarray
) -> tuple[Value, Value]:
    """Return the label of the class with the largest score, among those that got a vote, and the scores."""
    scores = _with_base(b, _evaluated(b, rows, forest, len(labels), "sum"), base)
    if base.size or forest.always_votes_for(range(len(labels))):
        return labelled(b, best_class(b, scores), labels), scores
    voted = _evaluated(b, rows, forest.counting(), len(labels), "max")
    among = b.where(b.gt(voted, b.like(voted, 0)), scores, b.like(scores, float("-inf")))
    return labelled(b, best_class(b, among), labels), scores


def _two_classes(
    b: OnnxBuilder, rows: Value, forest: Forest, labels: np.ndarray, base: np.ndarray, transform: str
) -> tuple[Value, Value]:
    """Return the label and the scores of two classes.

    Where all votes are for one class, the specification leaves open what the scores are; they are ONNX Runtime's:
    votes for the first class count for the second, and what the first one gets depends on whether weights may be
    negative. Where both classes get votes, the larger score wins.
    """
    voted = set(forest.targets.tolist())
    if len(labels) < 2 or (base.size and voted == {1}) or (base.size == 2 and len(voted) == 1):
        raise UnsupportedError(
            f"it has {len(labels)} labels, {base.size} base values, and votes for {len(voted)} classes",
            "ONNX does not say what that means; give every class its votes",
        )
    both = _evaluated(b, rows, forest, 2, "sum")
    if len(voted) > 1:
        both = _with_base(b, both, base)
        return labelled(b, best_class(b, both), labels), transformed(b, both, transform)
    first, second = b.tensor_split(both, axis=1, sizes=(1, 1))
    positive = bool((forest.weights >= 0).all())
    score = second if voted == {1} else _with_base(b, first, base)
    label = either_label(b, b.gt(score, b.like(score, 0.5 if positive else 0)), labels)
    if voted == {1}:
        return label, transformed(b, both, transform)
    if positive or transform in ("LOGISTIC", "PROBIT"):
        return label, second_class(b, score, transform)
    return label, two_scores(b, b.neg(score), score)


def _with_base(b: OnnxBuilder, scores: Value, base: np.ndarray) -> Value:
    """Return scores [N, E] with the base values, of which there are E or none."""
    if not base.size:
        return scores
    if base.size != scores.shape[1]:
        raise UnsupportedError(f"it has {base.size} base values for {scores.shape[1]} scores", "the model is not valid")
    return b.add(scores, constant(b, base, scores))
