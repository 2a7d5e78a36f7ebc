"""Determinants."""

from __future__ import annotations

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import FusionKind, InferenceError, Operation, operand, result
from lepton_ir.ir.types import Type
from lepton_ir.ops.support import Array, dims_differ, narrow, widen


class Det(Operation):
    """The determinants of the square matrices in the last two axes."""

    name = "linalg.det"
    fusion = FusionKind.ANCHOR
    x: Value = operand("[..., n, n]")
    y: OpResult = result("[...]")

    def infer(self) -> Type:
        x = self.x.tensor
        if x.rank < 2 or dims_differ(x.shape[-1], x.shape[-2]) or not x.dtype.is_float:
            raise InferenceError(f"linalg.det needs square matrices of floats, got {x}")
        return x.with_shape(x.shape[:-2])

    def evaluate(self, x: Array) -> Array:
        return narrow(np.linalg.det(widen(x)), self.x.tensor.dtype)
