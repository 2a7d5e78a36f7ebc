"""Choosing among boxes that overlap."""

from __future__ import annotations

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import FusionKind, InferenceError, Operation, operand, result
from lepton_ir.ir.types import DType, Type
from lepton_ir.ops.support import Array, dims_differ, require_rank, require_same_dtype


class SuppressOverlaps(Operation):
    """Which boxes a greedy choice takes: in order, each candidate that overlaps with none taken before it too much.

    Two boxes overlap too much where the area that they share is more than ``threshold`` times that of their union
    (Neubeck and Van Gool, "Efficient Non-Maximum Suppression", 2006).
    """

    name = "nn.suppress_overlaps"
    fusion = FusionKind.ANCHOR
    corners: Value = operand("[N, C, 4, S]: least y, least x, largest y, largest x; the best boxes first")
    candidates: Value = operand("[N, C, S], bool")
    threshold: Value = operand("rank 0, of the type of the corners")
    limit: Value = operand("i64 of rank 0: how many to take in each of the N * C lists")
    taken: OpResult = result("[N, C, S], bool")

    def infer(self) -> Type:
        corners, candidates = self.corners.tensor, self.candidates.tensor
        require_rank("the corners of nn.suppress_overlaps", corners, 4)
        require_rank("the candidates of nn.suppress_overlaps", candidates, 3)
        require_same_dtype("corners and threshold of nn.suppress_overlaps", corners, self.threshold.tensor)
        planes = (*candidates.shape[:2], 4, candidates.shape[2])
        if any(dims_differ(d, e) for d, e in zip(corners.shape, planes, strict=True)):
            raise InferenceError(f"the corners {corners} are none of the boxes {candidates}")
        return candidates

    def verify(self) -> None:
        if self.candidates.tensor.dtype is not DType.BOOL or self.limit.tensor.dtype is not DType.I64:
            raise InferenceError(
                f"{self.name} takes flags and an i64, got {self.candidates.type} and {self.limit.type}"
            )
        if self.threshold.rank or self.limit.rank or self.corners.tensor.dtype not in (DType.F32, DType.F64):
            raise InferenceError(f"{self.name} takes scalars and f32 or f64, got {self.threshold.type}")

    def evaluate(self, corners: Array, candidates: Array, threshold: Array, limit: Array) -> Array:
        taken = np.zeros(candidates.shape, np.bool_)
        for place in np.ndindex(*candidates.shape[:2]):
            taken[place][self._chosen(corners[place], candidates[place], threshold, int(limit))] = True
        return taken

    @staticmethod
    def _chosen(corners: Array, candidates: Array, threshold: Array, limit: int) -> list[int]:
        top, left, bottom, right = corners
        area = (bottom - top) * (right - left)
        zero, chosen = corners.dtype.type(0), list[int]()
        alive = candidates.copy()
        for i in range(len(candidates)):
            if not alive[i] or len(chosen) >= limit:
                continue
            chosen.append(i)
            height = np.maximum(np.minimum(bottom, bottom[i]) - np.maximum(top, top[i]), zero)
            width = np.maximum(np.minimum(right, right[i]) - np.maximum(left, left[i]), zero)
            shared = height * width
            alive &= ~(shared > threshold * (area + area[i] - shared))
        return chosen
