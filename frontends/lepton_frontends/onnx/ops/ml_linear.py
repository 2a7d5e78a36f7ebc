"""Linear models of ai.onnx.ml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
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
from lepton_ir.ir.core import Value

Floats = Sequence[float]
_INVALID = "the model is not valid ONNX"


def linear_scores(b: OnnxBuilder, rows: Value, coefficients: Floats, intercepts: Floats) -> Value:
    """Return rows times the coefficients [E, F] plus the intercepts [E].

    Raises:
        UnsupportedError: the coefficients are no rows of as many features.
    """
    features = features_of(rows, 1)
    if not coefficients or len(coefficients) % features:
        raise UnsupportedError(f"its {len(coefficients)} coefficients are no rows of {features} features", _INVALID)
    matrix = np.asarray(coefficients, np.float32).reshape(-1, features).T
    if len(intercepts) not in (0, matrix.shape[1]):
        raise UnsupportedError(f"it has {len(intercepts)} intercepts for {matrix.shape[1]} scores", _INVALID)
    product: Value = b.linalg_matmul(rows, b.const(np.ascontiguousarray(matrix)))
    return b.add(product, constant(b, intercepts, product)) if intercepts else product


@onnx_op("LinearRegressor", since=1, domain=ML)
def linear_regressor(
    b: OnnxBuilder,
    x: Value,
    *,
    coefficients: Floats = (),
    intercepts: Floats = (),
    post_transform: str = "NONE",
    targets: int = 1,
) -> Value:
    scores = linear_scores(b, rows_of(b, x), coefficients, intercepts)
    if scores.shape[1] != targets:
        raise UnsupportedError(f"it has {targets} targets and coefficients for {scores.shape[1]}", _INVALID)
    return transformed(b, scores, post_transform)


@onnx_op("LinearClassifier", since=1, domain=ML)
def linear_classifier(
    b: OnnxBuilder,
    x: Value,
    *,
    classlabels_ints: Sequence[int] = (),
    classlabels_strings: Sequence[str] = (),
    coefficients: Floats,
    intercepts: Floats = (),
    multi_class: int = 0,
    post_transform: str = "NONE",
) -> Any:
    labels = labels_of(classlabels_ints, classlabels_strings)
    scores = linear_scores(b, rows_of(b, x), coefficients, intercepts)
    if len(labels) != max(2, scores.shape[1]):
        raise UnsupportedError(f"it has {len(labels)} labels for {scores.shape[1]} scores", _INVALID)
    if scores.shape[1] == 1:
        label = either_label(b, b.gt(scores, b.like(scores, 0)), labels)
        return label, second_class(b, scores, post_transform)
    return labelled(b, best_class(b, scores), labels), transformed(b, scores, post_transform)


def second_class(b: OnnxBuilder, score: Value, transform: str) -> Value:
    """Return the scores of two classes from that of the second, [N, 1], taken for a probability unless LOGISTIC.

    Raises:
        UnsupportedError: the transform is PROBIT, which has no meaning for them.
    """
    if transform == "PROBIT":
        raise UnsupportedError("ONNX does not say what PROBIT makes of one score for two classes", "use NONE")
    after = b.sigmoid(score) if transform == "LOGISTIC" else transformed(b, score, transform)
    return two_scores(b, b.sub(b.like(after, 1), after), after)
