"""Quantized tensors, and what the ordinary operators do with them.

PyTorch's quantized tensors are integers with a scale and a zero point, for all of the tensor or for each index of an
axis. Operators that only move elements run on the integers; others on floats, which are quantized again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.rules import Rule
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType
from lepton_ir.ops.quant import integer_range

QUANTIZED_TYPES = {12: DType.I8, 13: DType.U8, 14: DType.I32}
"""What qint8, quint8 and qint32 hold, by their codes (c10::ScalarType)."""


@dataclass
class QuantizedTensor:
    """A quantized tensor, which changes in place like :class:`~lepton_frontends.aten.call.Tensor`.

    Attributes:
        value: the integers.
        scale: f32, of rank 0, or of rank 1 with one for each index of ``axis``.
        zero_point: as many integers, or floats.
        axis: None where one scale holds for the whole tensor.
    """

    value: Value
    scale: Value
    zero_point: Value
    axis: int | None = None

    @property
    def bounds(self) -> tuple[int, int]:
        """The smallest and the largest integer."""
        return integer_range(self.value.tensor.dtype)


@dataclass(frozen=True)
class PackedParams:
    """The weights of a quantized layer, which PyTorch keeps as objects (``quantized.Conv2dPackedParamsBase``, ...).

    Attributes:
        weight: quantized, along axis 0 (axis 1 of transposed convolutions) or as a whole.
        bias: floats.
        stride: of a convolution, like what follows; a linear layer has none of them.
    """

    weight: QuantizedTensor
    bias: Value | None = None
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    output_padding: tuple[int, ...] = ()
    transposed: bool = False


def spread(b: AtenBuilder, parameter: Value, axis: int | None, rank: int, dtype: DType) -> Value:
    """Return a scale or a zero point so that it broadcasts against a tensor."""
    wide = b.convert(parameter, dtype)
    if axis is None:
        return b.reshaped(wide, ())
    shape = [parameter.shape[0] if i == axis % rank else 1 for i in range(rank)]
    return b.reshaped(wide, shape)


def steps(b: AtenBuilder, x: Value, scale: Value, zero_point: Value, axis: int | None) -> Value:
    """Return x / scale, rounded to integers, plus the zero point, as floats; PyTorch multiplies by 1 / scale."""
    dtype = x.tensor.dtype
    factor = spread(b, scale, axis, x.rank, dtype)
    rounded = b.round(b.mul(x, b.div(b.like(x, 1), factor)))
    return b.add(rounded, spread(b, zero_point, axis, x.rank, dtype))


def integers(
    b: AtenBuilder,
    x: Value,
    scale: Value,
    zero_point: Value,
    axis: int | None,
    to: DType,
    bounds: tuple[int, int] | None = None,
) -> Value:
    """Return floats as quantized integers."""
    low, high = bounds or integer_range(to)
    # f32 does not hold the bounds of 32 bits.
    wide = b.convert(x, DType.F64 if to.bits > 16 or x.tensor.dtype is DType.F64 else DType.F32)
    y = steps(b, wide, scale, zero_point, axis)
    return b.cast(b.clip(y, b.like(y, low), b.like(y, high)), to=to)


def reals(b: AtenBuilder, q: QuantizedTensor) -> Value:
    """Return the numbers that a quantized tensor stands for, in f32."""
    rank = q.value.rank
    shifted = b.sub(b.cast(q.value, to=DType.F32), spread(b, q.zero_point, q.axis, rank, DType.F32))
    return b.mul(shifted, spread(b, q.scale, q.axis, rank, DType.F32))


def quantized(b: AtenBuilder, x: Value, scale: Any, zero_point: Any, dtype: DType) -> QuantizedTensor:
    """Return floats quantized with one scale, which may be a number."""
    factor = scale if isinstance(scale, Value) else b.const(np.float32(float(scale)))
    shift = zero_point if isinstance(zero_point, Value) else b.const(int(zero_point), dtype=DType.I32)
    return QuantizedTensor(integers(b, x, factor, shift, None, dtype), factor, shift)


def like(b: AtenBuilder, x: Value, q: QuantizedTensor) -> QuantizedTensor:
    """Return floats quantized with the scale of another tensor."""
    return quantized(b, x, q.scale, q.zero_point, q.value.tensor.dtype)


_MOVES = frozenset({
    "reshape", "view", "_unsafe_view", "flatten", "unflatten", "permute", "transpose", "t", "squeeze", "unsqueeze",
    "expand", "select", "slice", "narrow", "contiguous", "clone", "detach", "alias", "chunk", "split", "unbind", "flip",
    "split_with_sizes", "max_pool1d", "max_pool2d", "max_pool3d", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact2d", "repeat",
    "index_select", "reflection_pad1d", "reflection_pad2d", "replication_pad2d", "movedim", "reshape_as", "view_as",
    "expand_as", "dropout", "size", "sym_size", "dim", "numel", "sym_numel", "stride", "is_contiguous",
})  # fmt: skip
"""Operators whose elements are elements of their operand."""

_COMPUTED = frozenset({
    "relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max", "leaky_relu", "avg_pool1d", "avg_pool2d",
    "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "mean", "upsample_bilinear2d",
    "upsample_linear1d", "upsample_trilinear3d", "cat", "stack", "threshold", "elu", "constant_pad_nd", "hardswish",
})  # fmt: skip
"""Operators whose result has the scale of their (first) operand."""

_FIXED = {"sigmoid": (8, 0.0), "hardsigmoid": (8, 0.0), "tanh": (7, 0.5)}
"""Operators whose result has a scale of its own, 2 to the minus of this, for values from this part of the range on."""


TAKES_QUANTIZED = frozenset({
    "dequantize", "int_repr", "q_scale", "q_zero_point", "q_per_channel_scales", "q_per_channel_zero_points",
    "q_per_channel_axis",
})  # fmt: skip
"""Operators outside of the namespace "quantized" whose rules are for quantized tensors."""


def call_quantized(b: AtenBuilder, rule: Rule, in_place: bool, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Lower one call of an ordinary operator for quantized tensors.

    Raises:
        UnsupportedError: Lepton does not know what it does to them.
    """
    first = next(found for a in args for found in quantized_in(a))
    if in_place and b.is_inner:
        raise UnsupportedError("it changes a quantized tensor in place inside of a branch or a loop")
    if first.axis is not None and rule.name not in ("contiguous", "clone", "detach", "size", "dim", "numel"):
        raise UnsupportedError("it takes a tensor that is quantized along an axis")
    if rule.name in _MOVES:
        plain = rule.call(b, [a.value if isinstance(a, QuantizedTensor) else a for a in args], kwargs)
        result = _with_scale_of(first, plain)
    elif rule.name in _COMPUTED or rule.name in _FIXED:
        y = rule.call(b, [_as_reals(b, a) for a in args], kwargs)
        result = _with_own_scale(b, y, first, *_FIXED[rule.name]) if rule.name in _FIXED else like(b, y, first)
    else:
        raise UnsupportedError(f"aten::{rule.name} takes a quantized tensor", "dequantize it first")
    if not in_place:
        return result
    args[0].value, args[0].scale, args[0].zero_point = result.value, result.scale, result.zero_point
    return args[0]


def quantized_in(given: Any) -> list[QuantizedTensor]:
    """Return the quantized tensors in an argument."""
    many = given if isinstance(given, (list, tuple)) else [given]
    return [g for g in many if isinstance(g, QuantizedTensor)]


def _as_reals(b: AtenBuilder, given: Any) -> Any:
    if isinstance(given, (list, tuple)):
        return [_as_reals(b, g) for g in given]
    return reals(b, given) if isinstance(given, QuantizedTensor) else given


def _with_scale_of(q: QuantizedTensor, result: Any) -> Any:
    if isinstance(result, (list, tuple)):
        return type(result)(_with_scale_of(q, r) for r in result)
    return QuantizedTensor(result, q.scale, q.zero_point, q.axis) if isinstance(result, Value) else result


def _with_own_scale(b: AtenBuilder, x: Value, q: QuantizedTensor, bits: int, start: float) -> QuantizedTensor:
    low, high = q.bounds
    return quantized(b, x, 2.0**-bits, low + int(start * (high - low + 1)), q.value.tensor.dtype)
