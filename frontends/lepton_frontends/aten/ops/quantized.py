"""Quantization of tensors and back: eager mode, simulated, and the explicit form of torch.ao's exports."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.quantized import QUANTIZED_TYPES, QuantizedTensor, integers, quantized, reals, spread, steps
from lepton_frontends.aten.rules import Scalar, aten_op
from lepton_frontends.aten.types import axis_of, dtype_of, int_of, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType
from lepton_ir.ops.quant import integer_range

_SMALLEST_SCALE = 6.1e-5


def quantized_type(dtype: Any) -> DType:
    """Return the integers of a quantized type.

    Raises:
        UnsupportedError: it packs several into a byte.
    """
    found = dtype if isinstance(dtype, DType) else QUANTIZED_TYPES.get(dtype)
    if found is None:
        raise UnsupportedError(f"Lepton has no element type for PyTorch's quantized type {dtype}")
    return found


@aten_op("quantize_per_tensor")
def quantize_per_tensor(b: AtenBuilder, self: Any, scale: Any, zero_point: Any, dtype: Any) -> Any:
    if isinstance(self, (list, tuple)):
        pairs = [
            [b.tensor_gather(v, b.const(i, dtype=DType.I64), axis=0) for v in (scale, zero_point)]
            for i in range(len(self))
        ]
        kind = quantized_type(dtype)
        return [quantized(b, x, s, z, kind) for x, (s, z) in zip(self, pairs, strict=True)]
    return quantized(b, self, scale, zero_point, quantized_type(dtype))


@aten_op("quantize_per_channel")
def quantize_per_channel(
    b: AtenBuilder, self: Value, scales: Value, zero_points: Value, axis: Any, dtype: Any
) -> QuantizedTensor:
    along, kind = axis_of(axis, self.rank), quantized_type(dtype)
    return QuantizedTensor(integers(b, self, scales, zero_points, along, kind), scales, zero_points, along)


@aten_op("quantize_per_tensor_dynamic")
def quantize_per_tensor_dynamic(b: AtenBuilder, self: Value, dtype: Any, reduce_range: Any) -> QuantizedTensor:
    return by_range(b, self, quantized_type(dtype), bool(reduce_range))


def by_range(b: AtenBuilder, x: Value, dtype: DType, reduce_range: bool) -> QuantizedTensor:
    """Return a tensor quantized by its own smallest and largest element."""
    low, high = integer_range(dtype)
    if reduce_range:
        low, high = int(low / 2), high // 2
    scale, zero_point = chosen(b, x, low, high, _SMALLEST_SCALE)
    return quantized(b, x, scale, zero_point, dtype)


def chosen(b: AtenBuilder, x: Value, low: int, high: int, smallest: float) -> tuple[Value, Value]:
    """Return scale, f32, and zero point, i32, that map the range of x (and 0) to integers from low to high.

    As PyTorch's ChooseQuantizationParams (aten/src/ATen/native/quantized/cpu/QuantUtils.h).
    """
    axes = tuple(range(x.rank))
    ends = [r(x, axes=axes, keepdims=False) for r in (b.reduce_min, b.reduce_max)]
    first, last = (b.convert(e, DType.F64) for e in ends)
    zero = b.like(first, 0)
    first, last = b.minimum(first, zero), b.maximum(last, zero)
    scale = b.div(b.sub(last, first), b.like(zero, high - low))
    scale = b.where(b.eq(scale, zero), b.like(zero, 0.1), scale)
    # A scale that is too small grows, and the range with it.
    grown = b.maximum(scale, b.like(zero, float(np.float32(smallest))))
    first, last = (b.mul(e, b.div(grown, scale)) for e in (first, last))
    below, above = b.div(first, grown), b.div(last, grown)
    from_low = b.lt(b.add(b.abs(below), b.like(zero, abs(low))), b.add(b.abs(above), b.like(zero, abs(high))))
    place = b.where(from_low, b.sub(b.like(zero, low), below), b.sub(b.like(zero, high), above))
    rounded = b.round(b.clip(place, b.like(zero, low), b.like(zero, high)))
    return b.cast(grown, to=DType.F32), b.cast(rounded, to=DType.I32)


@aten_op("dequantize")
def dequantize(b: AtenBuilder, self: Any) -> Any:
    if isinstance(self, (list, tuple)):
        return [dequantize(b, x) for x in self]
    return reals(b, self) if isinstance(self, QuantizedTensor) else b.convert(self, DType.F32)


@aten_op("int_repr")
def int_repr(b: AtenBuilder, self: QuantizedTensor) -> Value:
    return self.value


@aten_op("q_scale", "q_zero_point")
def parameter(b: AtenBuilder, self: QuantizedTensor) -> Any:
    value, kind = (self.scale, DType.F64) if b.op == "q_scale" else (self.zero_point, DType.I64)
    known = b.array(value)
    return Scalar(b.convert(b.reshaped(value, ()), kind)) if known is None else known.reshape(()).item()


@aten_op("q_per_channel_scales", "q_per_channel_zero_points")
def parameters(b: AtenBuilder, self: QuantizedTensor) -> Value:
    by_scale = b.op == "q_per_channel_scales"
    return b.convert(self.scale, DType.F64) if by_scale else b.convert(self.zero_point, DType.I64)


@aten_op("q_per_channel_axis")
def parameter_axis(b: AtenBuilder, self: QuantizedTensor) -> int:
    return self.axis or 0


def _simulated(
    b: AtenBuilder, x: Value, scale: Any, zero_point: Any, low: int, high: int, axis: int | None
) -> tuple[Value, Value]:
    """Return what is left of floats after quantization, and where they lay in its range."""
    dtype = x.tensor.dtype
    wide = b.convert(x, DType.F64 if dtype is DType.F64 else DType.F32)
    factor, shift = (tensor_of(b, v, DType.F32) for v in (scale, zero_point))
    level = steps(b, wide, factor, shift, axis)
    inside = b.and_(b.ge(level, b.like(level, low)), b.le(level, b.like(level, high)))
    kept = b.clip(level, b.like(level, low), b.like(level, high))
    # One scale for the whole tensor is a float in PyTorch, and so is its product, whatever the tensor holds.
    kind = DType.F32 if axis is None else wide.tensor.dtype
    back = b.sub(b.convert(kept, kind), spread(b, shift, axis, x.rank, kind))
    return b.convert(b.mul(back, spread(b, factor, axis, x.rank, kind)), dtype), inside


@aten_op("fake_quantize_per_tensor_affine", "fake_quantize_per_tensor_affine_cachemask")
def fake_quantize(b: AtenBuilder, self: Value, scale: Any, zero_point: Any, quant_min: Any, quant_max: Any) -> Any:
    low, high = int_of(quant_min, "least integer"), int_of(quant_max, "largest integer")
    found = _simulated(b, self, scale, zero_point, low, high, None)
    return found if b.op.endswith("_cachemask") else found[0]


@aten_op("_fake_quantize_per_tensor_affine_cachemask_tensor_qparams")
def fake_quantize_if_enabled(
    b: AtenBuilder, self: Value, scale: Value, zero_point: Value, fake_quant_enabled: Value, quant_min: Any,
    quant_max: Any,
) -> tuple[Value, Value]:  # fmt: skip
    low, high = int_of(quant_min, "least integer"), int_of(quant_max, "largest integer")
    y, inside = _simulated(b, self, scale, zero_point, low, high, None)
    enabled = b.convert(b.reshaped(fake_quant_enabled, ()), DType.BOOL)
    return b.where(enabled, y, self), b.or_(inside, b.not_(enabled))


@aten_op("fake_quantize_per_channel_affine", "fake_quantize_per_channel_affine_cachemask")
def fake_quantize_per_channel(
    b: AtenBuilder, self: Value, scale: Value, zero_point: Value, axis: Any, quant_min: Any, quant_max: Any
) -> Any:
    low, high = int_of(quant_min, "least integer"), int_of(quant_max, "largest integer")
    found = _simulated(b, self, scale, zero_point, low, high, axis_of(axis, self.rank))
    return found if b.op.endswith("_cachemask") else found[0]


@aten_op("quantized_decomposed::quantize_per_tensor")
def decomposed_quantize(
    b: AtenBuilder, input: Value, scale: Any, zero_point: Any, quant_min: Any, quant_max: Any, dtype: Any
) -> Value:
    factor, shift = (tensor_of(b, v) for v in (scale, zero_point))
    return integers(b, input, factor, shift, None, dtype_of(dtype), _bounds(b, quant_min, quant_max))


def _bounds(b: AtenBuilder, *given: Any) -> tuple[int, int]:
    known = [b.array(g) if isinstance(g, Value) else g for g in given]
    if any(k is None for k in known):
        raise UnsupportedError("the range of its integers is computed at run time", "make it a constant of the model")
    low, high = (int(np.asarray(k).reshape(())) for k in known)
    return low, high


@aten_op("quantized_decomposed::quantize_per_channel")
def decomposed_quantize_per_channel(
    b: AtenBuilder, input: Value, scales: Value, zero_points: Value, axis: Any, quant_min: Any, quant_max: Any,
    dtype: Any,
) -> Value:  # fmt: skip
    along = axis_of(axis, input.rank)
    return integers(b, input, scales, zero_points, along, dtype_of(dtype), _bounds(b, quant_min, quant_max))


@aten_op("quantized_decomposed::dequantize_per_tensor")
def decomposed_dequantize(
    b: AtenBuilder, input: Value, scale: Any, zero_point: Any, quant_min: Any, quant_max: Any, dtype: Any, *,
    out_dtype: Any = None,
) -> Value:  # fmt: skip
    factor, shift = (tensor_of(b, v) for v in (scale, zero_point))
    return b.convert(reals(b, QuantizedTensor(input, factor, shift)), dtype_of(out_dtype, DType.F32))


@aten_op("quantized_decomposed::dequantize_per_channel")
def decomposed_dequantize_per_channel(
    b: AtenBuilder, input: Value, scales: Value, zero_points: Value | None, axis: Any, quant_min: Any, quant_max: Any,
    dtype: Any, *, out_dtype: Any = None,
) -> Value:  # fmt: skip
    shifts = b.full(scales.shape, 0, DType.I32) if zero_points is None else zero_points
    q = QuantizedTensor(input, scales, shifts, axis_of(axis, input.rank))
    return b.convert(reals(b, q), dtype_of(out_dtype, DType.F32))


@aten_op("quantized_decomposed::choose_qparams")
def decomposed_choose(
    b: AtenBuilder, input: Value, quant_min: Any, quant_max: Any, eps: Any, dtype: Any
) -> tuple[Value, Value]:
    """As torch.ao's determine_qparams: the zero point counts from the least integer, and eps bounds the scale."""
    low, high = _bounds(b, quant_min, quant_max)
    axes = tuple(range(input.rank))
    ends = [r(b.convert(input, DType.F32), axes=axes, keepdims=False) for r in (b.reduce_min, b.reduce_max)]
    first, last = b.minimum(ends[0], b.like(ends[0], 0)), b.maximum(ends[1], b.like(ends[1], 0))
    scale = b.div(b.sub(last, first), b.like(first, high - low))
    scale = b.maximum(scale, b.like(scale, float(eps)))
    place = b.sub(b.like(first, low), b.round(b.div(first, scale)))
    kept = b.clip(place, b.like(first, low), b.like(first, high))
    return b.reshaped(b.cast(scale, to=DType.F64), (1,)), b.reshaped(b.cast(kept, to=DType.I64), (1,))
