"""Quantization, explicit in the IR."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim, ceildiv
from lepton_ir.ir.opdef import InferenceError, Operation, attribute, operand, optional_operand, result
from lepton_ir.ir.types import DType, Type
from lepton_ir.ops.convert import convert
from lepton_ir.ops.support import Array, dims_differ, narrow, normalize_axis, widen


class Quantization(Operation):
    """Base class: maps between numbers and their quantized form.

    Scale and zero point have rank 0 (one for the tensor), rank 1 (one per index of ``axis``), or x's rank (one
    per block of ``block_size`` along the axis).
    """

    x: Value = operand()
    scale: Value = operand("floats")
    zero_point: Value | None = optional_operand("of the quantized type; 0 where absent")
    axis = attribute(int, default=1)
    block_size = attribute(int, default=0, doc="elements that share one scale along the axis; 0: not in blocks")
    to = attribute(DType, doc="the element type of the result")

    def infer(self) -> Type:
        scale, zero_point = self.scale.tensor, self.zero_point
        if zero_point is not None and tuple(zero_point.shape) != tuple(scale.shape):
            raise InferenceError(f"zero_point {zero_point.type} and scale {scale} of {self.name} differ in shape")
        if prod_is_one(scale.shape):
            return self.x.tensor.with_dtype(self.to)
        axis = normalize_axis(self.axis, self.x.rank)
        size = self.x.shape[axis]
        if scale.rank > 1 and not self.block_size:
            raise InferenceError(f"{self.name}: only a scale in blocks has more than one axis, got {scale}")
        if scale.rank == 1 and not self.block_size and dims_differ(scale.shape[0], size):
            raise InferenceError(f"{self.name}: {size} elements along axis {axis}, but the scale is {scale}")
        if self.block_size:
            self._check_blocks(axis)
        return self.x.tensor.with_dtype(self.to)

    def _check_blocks(self, axis: int) -> None:
        x, scale = self.x, self.scale.tensor
        if scale.rank != x.rank:
            raise InferenceError(f"{self.name}: a blocked scale has the rank of {x.type}, got {scale}")
        blocks = [ceildiv(d, self.block_size) if i == axis else d for i, d in enumerate(x.shape)]
        if any(map(dims_differ, scale.shape, blocks)):
            needed = scale.with_shape(blocks)
            raise InferenceError(
                f"{self.name}: blocks of {self.block_size} of {x.type} need the scale {needed}, got {scale}"
            )

    def spread(self, parameter: Array, shape: Sequence[int]) -> Array:
        """Return a scale or zero point so that it broadcasts against x."""
        if parameter.size == 1:
            return parameter.reshape(())
        axis = normalize_axis(self.axis, len(shape))
        if self.block_size:
            wide = np.repeat(parameter, self.block_size, axis)
            return np.take(wide, np.arange(shape[axis]), axis)
        return parameter.reshape([-1 if i == axis else 1 for i in range(len(shape))])

    def spread_value(self, b: Builder, parameter: Value) -> Value:
        """Return a scale or zero point as a value that broadcasts against x."""
        shape = parameter.shape
        if parameter.rank == 0 or prod_is_one(shape):
            y: Value = b.tensor_reshape(parameter, shape=())
            return y
        axis = normalize_axis(self.axis, self.x.rank)
        if not self.block_size:
            line: list[Dim] = [1] * self.x.rank
            line[axis] = shape[0]
            y = b.tensor_reshape(parameter, shape=line)
            return y
        split = (*shape[: axis + 1], 1, *shape[axis + 1 :])
        repeated = (*shape[: axis + 1], self.block_size, *shape[axis + 1 :])
        wide = b.tensor_expand(b.tensor_reshape(parameter, shape=split), shape=repeated)
        whole = (*shape[:axis], shape[axis] * self.block_size, *shape[axis + 1 :])
        joined = b.tensor_reshape(wide, shape=whole)
        y = b.tensor_slice(joined, starts=(0,), ends=(self.x.shape[axis],), axes=(axis,), steps=(1,))
        return y


class Quantize(Quantization):
    """x / scale, rounded to the nearest (halves to even), plus the zero point, clamped to the type's range.

    The quotient is rounded to ``precision`` first (ONNX's QuantizeLinear-23).
    """

    name = "quant.quantize"
    y: OpResult = result()
    precision = attribute(DType, default=DType.F32, doc="the float type that x is divided in")
    saturate = attribute(bool, default=True, doc="for 8-bit floats: clamp to the range")

    def verify(self) -> None:
        if not self.x.tensor.dtype.is_float and self.x.tensor.dtype is not DType.I32:
            raise InferenceError(f"quant.quantize takes floats or i32, got {self.x.type}")
        if not self.precision.is_float or self.precision.bits < 16:
            raise InferenceError(f"quant.quantize divides in floats of 16 bits and more, not in {self.precision}")

    @property
    def wide(self) -> DType:
        """The type that the kernel computes in."""
        return DType.F64 if DType.F64 in (self.x.tensor.dtype, self.precision) else DType.F32

    def evaluate(self, x: Array, scale: Array, zero_point: Array | None = None) -> Array:
        x, scale = (self._rounded(v.astype(self.wide.numpy)) for v in (x, scale))
        with np.errstate(all="ignore"):
            scaled = self._rounded(x / self.spread(scale, x.shape))
        if not self.to.is_integer:
            offset = 0 if zero_point is None else self.spread(zero_point.astype(np.float32), x.shape)
            return convert(np.asarray(scaled + offset, dtype=np.float32), self.to, saturate=self.saturate)
        offset = 0 if zero_point is None else self.spread(zero_point.astype(np.int64), x.shape)
        low, high = integer_range(self.to)
        return np.clip(np.rint(scaled) + offset, low, high).astype(np.int64).astype(self.to.numpy)

    def _rounded(self, x: Array) -> Array:
        return x.astype(self.precision.numpy).astype(x.dtype) if self.precision.bits < 32 else x

    def decompose(self, b: Builder) -> Sequence[Value]:
        dtype = self.wide

        def rounded(v: Value) -> Value:
            # What is computed in a narrow type stays wide inside a kernel; a cast rounds.
            if self.precision.bits < 32 and v.tensor.dtype is not self.precision:
                v = b.cast(v, to=self.precision)
            y: Value = v if v.tensor.dtype is dtype else b.cast(v, to=dtype)
            return y

        y = rounded(b.div(rounded(self.x), rounded(self.spread_value(b, self.scale))))
        if self.to.is_integer:
            y = b.round(y)
        if self.zero_point is not None:
            y = b.add(y, b.cast(self.spread_value(b, self.zero_point), to=dtype))
        if self.to.is_integer:
            low, high = integer_range(self.to)
            y = b.clip(y, b.const(low, dtype=dtype), b.const(high, dtype=dtype))
        return [b.cast(y, to=self.to, saturate=self.saturate)]


class Dequantize(Quantization):
    """(x - zero point) * scale."""

    name = "quant.dequantize"
    y: OpResult = result()

    def verify(self) -> None:
        if not self.to.is_float:
            raise InferenceError(f"quant.dequantize makes floats, not {self.to}")

    def evaluate(self, x: Array, scale: Array, zero_point: Array | None = None) -> Array:
        wide = x.astype(np.float32) if DType.of(x).is_float else x.astype(np.int64)
        if zero_point is not None:
            wide = wide - self.spread(zero_point.astype(wide.dtype), x.shape)
        factor = self.spread(widen(scale), x.shape)
        return narrow(wide.astype(factor.dtype) * factor, self.to)

    def decompose(self, b: Builder) -> Sequence[Value]:
        wide = DType.F64 if self.to is DType.F64 else DType.F32
        y = b.cast(self.x, to=wide)
        if self.zero_point is not None:
            y = b.sub(y, b.cast(self.spread_value(b, self.zero_point), to=wide))
        scale = self.spread_value(b, self.scale)
        y = b.mul(y, scale if scale.tensor.dtype is wide else b.cast(scale, to=wide))
        return [y if self.to is wide else b.cast(y, to=self.to)]


def integer_range(dtype: DType) -> tuple[int, int]:
    """Return the smallest and the largest number of an integer type."""
    if dtype.is_signed:
        return -(1 << (dtype.bits - 1)), (1 << (dtype.bits - 1)) - 1
    return 0, (1 << dtype.bits) - 1


def prod_is_one(shape: Sequence[Dim]) -> bool:
    """Return whether a shape holds exactly one element."""
    return all(isinstance(d, int) for d in shape) and prod(shape) == 1
