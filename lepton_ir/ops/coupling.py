"""Probabilities of classes from probabilities of pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import InferenceError, Operation, attribute, operand, result
from lepton_ir.ir.types import DType, Type
from lepton_ir.ops.support import Array, dims_differ, require_rank

ROUNDS = 100
MARGIN = 1e-7
"""Probabilities of pairs are moved this far away from 0 and 1."""


class PairwiseCoupling(Operation):
    """The probabilities p of the classes that fit those of the pairs best.

    Minimizes the sum of (r_ji p_i - r_ij p_j)^2 by the fixed-point iteration of Wu, Lin and Weng, "Probability
    Estimates for Multi-class Classification by Pairwise Coupling" (JMLR 5, 2004), algorithm 2, as LIBSVM and ONNX
    Runtime do: at most 100 rounds, and none once p is within 0.005 / classes of the optimum's condition.
    """

    name = "ml.pairwise_coupling"
    r: Value = operand(
        "[N, pairs], f32: the probability of class i among i and j, for (0, 1), (0, 2), ..., (1, 2), ..."
    )
    classes = attribute(int)
    p: OpResult = result("[N, classes]")

    def infer(self) -> Type:
        require_rank("r of ml.pairwise_coupling", self.r.tensor, 2)
        return self.r.tensor.with_shape((self.r.shape[0], self.classes))

    def verify(self) -> None:
        pairs = self.classes * (self.classes - 1) // 2
        if self.classes < 2 or dims_differ(self.r.shape[1], pairs):
            raise InferenceError(f"{self.classes} classes have {pairs} pairs, got {self.r.type}")
        if self.r.tensor.dtype is not DType.F32:
            raise InferenceError(f"ml.pairwise_coupling needs f32, got {self.r.type}")

    def evaluate(self, r: Array) -> Array:
        return np.array([_coupled(row, self.classes) for row in r], np.float32).reshape(len(r), self.classes)


def _coupled(row: Array, classes: int) -> Array:
    q = np.zeros((classes, classes), np.float32)
    pairs = combinations(range(classes), 2)
    for value, (i, j) in zip(np.clip(row, np.float32(MARGIN), np.float32(1 - MARGIN)), pairs, strict=True):
        other = np.float32(1) - value
        q[i, i] += other * other
        q[j, j] += value * value
        q[i, j] = q[j, i] = -value * other
    p = np.full(classes, 1 / classes, np.float32)
    for _ in range(ROUNDS):
        qp = q @ p
        pqp = p @ qp
        if np.abs(qp - pqp).max() < 0.005 / classes:
            break
        for i in range(classes):
            step = (pqp - qp[i]) / q[i, i]
            p[i] += step
            pqp = (pqp + step * (step * q[i, i] + 2 * qp[i])) / (1 + step) / (1 + step)
            qp = (qp + step * q[i]) / (1 + step)
            p /= 1 + step
    return p
