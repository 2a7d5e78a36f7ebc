"""Support vector machines of ai.onnx.ml."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.ops.ml_linear import linear_scores, second_class
from lepton_frontends.onnx.rules import ML, onnx_op
from lepton_frontends.onnx.scores import (
    best_class,
    constant,
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


def _kernel(b: OnnxBuilder, rows: Value, vectors: Floats, count: int, kernel: str, parameters: Floats) -> Value:
    """Return the kernel of each row with each support vector, [N, V].

    LINEAR is x v, POLY (gamma x v + coef0)^degree, SIGMOID tanh(gamma x v + coef0) and RBF exp(-gamma |x - v|^2).
    """
    features = features_of(rows, 1)
    if len(vectors) != count * features:
        raise UnsupportedError(f"it has {count} support vectors with {len(vectors)} numbers in all", _INVALID)
    matrix = np.asarray(vectors, np.float32).reshape(count, features)
    gamma, coef0, degree = (*parameters, 0.0, 0.0, 0.0)[:3]

    def number(value: float) -> Value:
        return b.like(rows, value)

    if kernel == "RBF":
        off = b.sub(b.reshaped(rows, (rows.shape[0], 1, features)), b.const(matrix))
        distance = b.reduce_sum(b.mul(off, off), axes=(2,), keepdims=False)
        return b.exp(b.mul(distance, number(-gamma)))
    product: Value = b.linalg_matmul(rows, b.const(np.ascontiguousarray(matrix.T)))
    if kernel == "LINEAR":
        return product
    if kernel not in ("POLY", "SIGMOID"):
        raise UnsupportedError(f"the kernel {kernel} is not known", _INVALID)
    inner = b.add(b.mul(product, number(gamma)), number(coef0))
    return b.pow(inner, number(degree)) if kernel == "POLY" else b.tanh(inner)


@onnx_op("SVMRegressor", since=1, domain=ML)
def svm_regressor(
    b: OnnxBuilder,
    x: Value,
    *,
    coefficients: Floats,
    kernel_params: Floats = (),
    kernel_type: str = "LINEAR",
    n_supports: int = 0,
    one_class: int = 0,
    post_transform: str = "NONE",
    rho: Floats,
    support_vectors: Floats = (),
) -> Value:
    """Without support vectors the coefficients are those of a linear model; transforms change no single score."""
    if post_transform == "PROBIT":
        raise UnsupportedError("PROBIT of its score is not supported", "apply it outside of the model")
    rows = rows_of(b, x)
    if n_supports:
        features = _kernel(b, rows, support_vectors, n_supports, kernel_type, kernel_params)
    else:
        features = rows
    scores = linear_scores(b, features, coefficients, rho[:1])
    if one_class:
        scores = b.where(b.gt(scores, b.like(scores, 0)), b.like(scores, 1), b.like(scores, -1))
    return scores


@onnx_op("SVMClassifier", since=1, domain=ML)
def svm_classifier(
    b: OnnxBuilder,
    x: Value,
    *,
    classlabels_ints: Sequence[int] = (),
    classlabels_strings: Sequence[str] = (),
    coefficients: Floats,
    kernel_params: Floats = (),
    kernel_type: str = "LINEAR",
    post_transform: str = "NONE",
    prob_a: Floats = (),
    prob_b: Floats = (),
    rho: Floats,
    support_vectors: Floats = (),
    vectors_per_class: Sequence[int] = (),
) -> Any:
    labels = labels_of(classlabels_ints, classlabels_strings)
    rows = rows_of(b, x)
    if len(labels) < 2:
        raise UnsupportedError("it has one class", "a classifier needs two")
    if not sum(vectors_per_class):
        return _linear(b, rows, labels, coefficients, rho, post_transform)
    kernel = _kernel(b, rows, support_vectors, sum(vectors_per_class), kernel_type, kernel_params)
    duels = _duels(b, kernel, vectors_per_class, coefficients, rho, len(labels))
    label = labelled(b, best_class(b, _votes(b, duels, len(labels))), labels)
    if prob_a:
        count = duels.shape[1]
        if (len(prob_a), len(prob_b)) != (count, count):
            raise UnsupportedError(f"prob_a and prob_b need {count} entries", _INVALID)
        won = b.sigmoid(b.neg(b.add(b.mul(duels, constant(b, prob_a, duels)), constant(b, prob_b, duels))))
        return label, transformed(b, b.ml_pairwise_coupling(won, classes=len(labels)), post_transform)
    if len(labels) > 2:
        return label, transformed(b, duels, post_transform)
    if post_transform == "NONE":
        return label, two_scores(b, b.neg(duels), duels)
    return label, second_class(b, duels, post_transform)


def _linear(
    b: OnnxBuilder, rows: Value, labels: np.ndarray, coefficients: Floats, rho: Floats, transform: str
) -> tuple[Value, Value]:
    """Return label and scores of a linear model, whose classes share one intercept.

    Of two classes the second wins where the larger score is positive (or at least 0.5, if no coefficient is
    negative), as in ONNX Runtime.
    """
    scores = linear_scores(b, rows, coefficients, tuple(rho[:1]) * len(labels))
    best = best_class(b, scores)
    if len(labels) == 2:
        peak = b.reduce_max(scores, axes=(1,), keepdims=True)
        sure = b.ge(peak, b.like(peak, 0.5)) if min(coefficients) >= 0 else b.gt(peak, b.like(peak, 0))
        best = b.where(b.reshaped(sure, (rows.shape[0],)), b.const(np.asarray(1, np.int64)), best)
    return labelled(b, best, labels), transformed(b, scores, transform)


def _duels(
    b: OnnxBuilder, kernel: Value, per_class: Sequence[int], coefficients: Floats, rho: Floats, classes: int
) -> Value:
    """Return how each pair of classes (i, j), i < j, is decided, [N, pairs]: above 0 for i.

    The coefficients [classes - 1, V] hold, in the columns of class i's vectors, row j - 1 (or j, where j < i) for the
    duel with class j.
    """
    count, pairs = sum(per_class), list(combinations(range(classes), 2))
    if len(per_class) != classes or len(coefficients) != (classes - 1) * count or len(rho) < len(pairs):
        raise UnsupportedError("its coefficients, vectors_per_class and rho do not fit its classes", _INVALID)
    given = np.asarray(coefficients, np.float32).reshape(classes - 1, count)
    starts = np.concatenate([[0], np.cumsum(per_class)])
    weights = np.zeros((count, len(pairs)), np.float32)
    for column, (i, j) in enumerate(pairs):
        own, other = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
        weights[own, column] = given[j - 1, own]
        weights[other, column] = given[i, other]
    product: Value = b.linalg_matmul(kernel, b.const(weights))
    return b.add(product, constant(b, rho[: len(pairs)], product))


def _votes(b: OnnxBuilder, duels: Value, classes: int) -> Value:
    """Return how many duels each class wins, [N, classes]."""
    pairs = list(combinations(range(classes), 2))
    first, second = (np.eye(classes, dtype=np.float32)[[p[side] for p in pairs]] for side in (0, 1))
    won = b.cast(b.gt(duels, b.like(duels, 0)), to=duels.tensor.dtype)
    return b.add(b.linalg_matmul(won, b.const(first - second)), b.const(second.sum(0)))
