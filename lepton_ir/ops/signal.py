"""Fourier transforms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim, floordiv
from lepton_ir.ir.opdef import InferenceError, Operation, attribute, dim_attribute, operand, result
from lepton_ir.ir.types import Type
from lepton_ir.ops import fourier
from lepton_ir.ops.support import Array, ints, narrow, normalize_axis, widen


class Dft(Operation):
    """The discrete Fourier transform along an axis: ``y[k] = sum_n x[n] exp(-2 pi i k n / length)``.

    The inverse has the opposite sign and is divided by ``length``. The last axis holds the real part and, where it
    has two elements, the imaginary part. x is cut or filled with zeros to the length. As ONNX's DFT defines it.
    """

    name = "signal.dft"
    x: Value = operand("[..., 1] or [..., 2]")
    length = dim_attribute(doc="points of the transform")
    axis = attribute(int, default=-2, doc="any axis but the last")
    inverse = attribute(bool, default=False)
    onesided = attribute(bool, default=False, doc="only the first length // 2 + 1 frequencies, of a real signal")
    y: OpResult = result("[..., 2]; [..., 1] for the inverse of a one-sided spectrum")

    @property
    def signal_axis(self) -> int:
        """The axis of the transform, counted from 0."""
        return normalize_axis(self.axis, self.x.rank)

    @property
    def half(self) -> Dim:
        """The number of frequencies of a one-sided spectrum."""
        return floordiv(self.length, 2) + 1

    def infer(self) -> Type:
        x, parts = self.x.tensor, self.x.shape[-1] if self.x.rank else 0
        if x.rank < 2 or parts not in (1, 2) or not x.dtype.is_float:
            raise InferenceError(f"signal.dft needs floats whose last axis holds 1 or 2 parts, got {x}")
        if self.signal_axis == x.rank - 1:
            raise InferenceError(f"axis {self.axis} of signal.dft holds the parts of complex numbers in {x}")
        if isinstance(self.length, int) and self.length < 1:
            raise InferenceError(f"a transform needs at least 1 point, length of signal.dft is {self.length}")
        if self.onesided and parts != (2 if self.inverse else 1):
            kind = "the inverse of a one-sided spectrum needs complex" if self.inverse else "a one-sided one needs real"
            raise InferenceError(f"{kind} numbers, got {x}")
        points = self.half if self.onesided and not self.inverse else self.length
        shape = [*x.shape[:-1], 1 if self.onesided and self.inverse else 2]
        shape[self.signal_axis] = points
        return x.with_shape(shape)

    def evaluate(self, x: Array) -> Array:
        (length,) = ints((self.length,))
        wide = widen(x)
        signal = wide[..., 0] + 1j * wide[..., 1] if x.shape[-1] == 2 else wide[..., 0]
        axis = self.signal_axis
        dtype = self.x.tensor.dtype
        if self.inverse and self.onesided:
            return narrow(np.fft.irfft(signal, length, axis)[..., None].astype(wide.dtype), dtype)
        y = (np.fft.ifft if self.inverse else np.fft.fft)(signal, length, axis)
        if self.onesided:
            y = np.take(y, np.arange(length // 2 + 1), axis)
        return narrow(np.stack([y.real, y.imag], -1).astype(wide.dtype), dtype)

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [fourier.decompose(self, b)]
