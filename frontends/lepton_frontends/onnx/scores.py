"""What the models of ai.onnx.ml share: inputs as rows, scores after their transform, labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType

_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def rows_of(b: OnnxBuilder, x: Value, dtype: DType = DType.F32) -> Value:
    """Return the input as [N, F] in the given type; a vector is one row.

    Raises:
        UnsupportedError: it has another rank.
    """
    if x.rank not in (1, 2):
        raise UnsupportedError(f"its input {x.type} is no matrix", "it needs [N, F]")
    return b.cast_to(b.reshaped(x, (1, x.shape[0])) if x.rank == 1 else x, dtype)


def features_of(x: Value, least: int) -> int:
    """Return how many features the rows have.

    Raises:
        UnsupportedError: their number is dynamic, or below ``least``.
    """
    count = x.shape[1]
    if not isinstance(count, int):
        raise UnsupportedError(f"the number of features is dynamic, {count}", 'set it, with dims={"name": size}')
    if count < least:
        raise UnsupportedError(f"it needs {least} features, the input has {count}", "the model is not valid ONNX")
    return count


def labels_of(ints: Sequence[int], strings: Sequence[str]) -> np.ndarray:
    """Return the labels of the classes, i64 or strings, as a line.

    Raises:
        UnsupportedError: there are none, or of both kinds.
    """
    if bool(ints) == bool(strings):
        raise UnsupportedError(
            "its class labels are given twice" if ints else "it has no class labels", "the model is not valid ONNX"
        )
    return np.asarray(ints, np.int64) if ints else np.asarray(strings, object)


def labelled(b: OnnxBuilder, classes: Value, labels: np.ndarray) -> Value:
    """Return the labels [N] of classes [N]."""
    return b.tensor_gather(b.const(labels), classes, axis=0)


def either_label(b: OnnxBuilder, second: Value, labels: np.ndarray) -> Value:
    """Return the second label where the condition [N, 1] holds, else the first, as [N]."""
    return labelled(b, b.reshaped(b.cast(second, to=DType.I64), (second.shape[0],)), labels)


def best_class(b: OnnxBuilder, scores: Value) -> Value:
    """Return the class with the largest score, the first of several, as [N]."""
    return b.reduce_argmax(scores, axis=1, keepdims=False)


def constant(b: OnnxBuilder, values: Sequence[float] | np.ndarray, like: Value) -> Value:
    """Return numbers as a constant in the element type of a value."""
    return b.const(np.asarray(values).astype(like.tensor.dtype.numpy))


def transformed(b: OnnxBuilder, scores: Value, transform: str) -> Value:
    """Return scores [N, E] after the transform that an attribute names.

    Of one score per row only PROBIT changes anything, as in ONNX Runtime.

    Raises:
        UnsupportedError: there is no such transform.
    """
    if transform not in _TRANSFORMS:
        raise UnsupportedError(f"the transform {transform} of the scores is not known", "the model is not valid ONNX")
    if transform == "PROBIT":
        return _probit(b, scores)
    if transform == "NONE" or scores.shape[1] == 1:
        return scores
    if transform == "LOGISTIC":
        return b.sigmoid(scores)
    return b.nn_softmax(scores, axis=1) if transform == "SOFTMAX" else _softmax_zero(b, scores)


def _softmax_zero(b: OnnxBuilder, scores: Value) -> Value:
    """The softmax over the scores that are not 0; those that are stay 0."""
    peak = b.reduce_max(scores, axes=(1,), keepdims=True)
    counts = b.gt(b.abs(scores), b.like(scores, 1e-7))
    kept = b.where(counts, b.exp(b.sub(scores, peak)), b.like(scores, 0))
    powers = b.where(counts, kept, b.mul(scores, b.exp(b.neg(peak))))
    return b.div(powers, b.reduce_sum(kept, axes=(1,), keepdims=True))


_WINITZKI = 0.147
"""The constant of Winitzki's approximation of the inverse error function, which ONNX Runtime uses."""


def _probit(b: OnnxBuilder, scores: Value) -> Value:
    """sqrt(2) * erfinv(2 * s - 1), with s. Winitzki, "A handy approximation for the error function" (2008)."""

    def number(value: float) -> Value:
        return b.like(scores, value)

    x = b.sub(b.mul(scores, number(2)), number(1))
    log = b.log1p(b.neg(b.mul(x, x)))
    v = b.add(b.mul(log, number(0.5)), number(2 / (3.14159 * _WINITZKI)))
    w = b.mul(log, number(1 / _WINITZKI))
    root = b.sqrt(b.sub(b.mul(v, v), w))
    # root - v, in the form that does not cancel.
    squared = b.where(b.gt(v, number(0)), b.div(b.neg(w), b.add(root, v)), b.sub(root, v))
    size = b.sqrt(b.mul(squared, number(2)))
    return b.where(b.lt(x, number(0)), b.neg(size), size)


def two_scores(b: OnnxBuilder, first: Value, second: Value) -> Value:
    """Return two columns as [N, 2]."""
    return b.tensor_concat((first, second), axis=1)
