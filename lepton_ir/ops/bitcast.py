"""Reading bits as another element type."""

from __future__ import annotations

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import InferenceError, Operation, attribute, operand, result
from lepton_ir.ir.types import DType, Type
from lepton_ir.ops.convert import convert
from lepton_ir.ops.support import Array


class Bitcast(Operation):
    """The bits of each element, read as another element type of the same width.

    A bool is a byte, 0 or 1; any other byte read as a bool is true.
    """

    name = "bitcast"
    x: Value = operand()
    to = attribute(DType, doc="the element type of the result")
    y: OpResult = result()

    def infer(self) -> Type:
        x = self.x.tensor
        if DType.STR in (x.dtype, self.to) or x.dtype.bits != self.to.bits:
            raise InferenceError(f"bitcast needs element types of one width, got {x.dtype} and {self.to}")
        return type(x)(x.shape, self.to)

    def evaluate(self, x: Array) -> Array:
        own = self.x.tensor.dtype
        if own is self.to:
            return x
        if self.to is DType.BOOL:
            return np.asarray(x.view(np.uint8) != 0)
        if own.bits >= 8:
            return np.ascontiguousarray(x).view(self.to.numpy).reshape(x.shape)
        # Numbers below a byte take a byte each, of which only the low bits count.
        codes = convert(x, DType.I8) if own.is_integer else x.view(np.uint8)
        low = codes.view(np.uint8) & np.uint8((1 << own.bits) - 1)
        return convert(low, self.to) if self.to.is_integer else low.view(self.to.numpy)
