"""Normalizations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.opdef import (
    FusionKind,
    InferenceError,
    Operation,
    attribute,
    operand,
    optional_operand,
    result,
)
from lepton_ir.ir.types import DType, Type
from lepton_ir.ops.support import Array, broadcasts_to, dims_differ, narrow, normalize_axis, require_same_dtype, widen
from lepton_ir.ops.window import layout_attribute


class Normalization(Operation):
    """Base class: the result has x's type."""

    fusion = FusionKind.ANCHOR
    x: Value = operand()

    def infer(self) -> Type:
        if not self.x.tensor.dtype.is_float:
            raise InferenceError(f"{self.name} needs floats, got {self.x.type}")
        return self.x.type

    def check_per_channel(self, channels: Dim, **values: Value | None) -> None:
        """Check that each value is a vector with one element per channel."""
        for what, value in values.items():
            if value is not None and (value.rank != 1 or dims_differ(value.shape[0], channels)):
                raise InferenceError(f"{what} of {self.name} must have {channels} elements, got {value.type}")

    def check_affine(self, axis: int, **values: Value | None) -> None:
        """Check that each value broadcasts to the normalized axes."""
        shape = self.x.shape[normalize_axis(axis, self.x.rank) :]
        for what, value in values.items():
            if value is None:
                continue
            require_same_dtype(f"x and {what} of {self.name}", self.x.tensor, value.tensor)
            if not broadcasts_to(value.shape, shape):
                raise InferenceError(f"{what} of {self.name} must broadcast to {list(shape)}, got {value.type}")


class BatchNorm(Normalization):
    """(x - mean) / sqrt(var + epsilon) * scale + bias, each per channel; inference form."""

    name = "nn.batch_norm"
    scale: Value = operand("[C]")
    bias: Value = operand("[C]")
    mean: Value = operand("[C]")
    var: Value = operand("[C]")
    epsilon = attribute(float, default=1e-5)
    layout = layout_attribute()
    y: OpResult = result()

    @property
    def channel_axis(self) -> int:
        """The axis of the channels."""
        return self.x.rank - 1 if self.layout == "NHWC" else min(1, self.x.rank - 1)

    def verify(self) -> None:
        channels = self.x.shape[self.channel_axis]
        self.check_per_channel(channels, scale=self.scale, bias=self.bias, mean=self.mean, var=self.var)

    def _per_channel(self) -> list[int]:
        return [-1 if i == self.channel_axis else 1 for i in range(self.x.rank)]

    def evaluate(self, x: Array, scale: Array, bias: Array, mean: Array, var: Array) -> Array:
        shape = self._per_channel()
        factor = widen(scale) / np.sqrt(widen(var) + np.float32(self.epsilon))
        offset = widen(bias) - widen(mean) * factor
        return narrow(widen(x) * factor.reshape(shape) + offset.reshape(shape), self.x.tensor.dtype)

    def decompose(self, b: Builder) -> Sequence[Value]:
        dtype = self.var.tensor.dtype
        factor = b.mul(self.scale, b.rsqrt(b.add(self.var, b.const(self.epsilon, dtype=dtype))))
        offset = b.sub(self.bias, b.mul(self.mean, factor))
        shape = [self.x.shape[self.channel_axis] if n == -1 else 1 for n in self._per_channel()]
        y, (factor, offset) = self.x, (_cast(b, v, self.x) for v in (factor, offset))
        return [b.add(b.mul(y, b.tensor_reshape(factor, shape=shape)), b.tensor_reshape(offset, shape=shape))]


class LayerNorm(Normalization):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the axes from ``axis`` on."""

    name = "nn.layer_norm"
    scale: Value | None = optional_operand("broadcast to the normalized axes")
    bias: Value | None = optional_operand("broadcast to the normalized axes")
    axis = attribute(int, default=-1, doc="the first normalized axis")
    epsilon = attribute(float, default=1e-5)
    y: OpResult = result()

    def verify(self) -> None:
        self.check_affine(self.axis, scale=self.scale, bias=self.bias)

    def evaluate(self, x: Array, scale: Array | None = None, bias: Array | None = None) -> Array:
        wide = widen(x)
        axes = tuple(range(normalize_axis(self.axis, x.ndim), x.ndim))
        centered = wide - wide.mean(axes, keepdims=True)
        y = centered / np.sqrt(np.square(centered).mean(axes, keepdims=True) + wide.dtype.type(self.epsilon))
        return narrow(_affine(y, scale, bias), self.x.tensor.dtype)

    def decompose(self, b: Builder) -> Sequence[Value]:
        axes = tuple(range(normalize_axis(self.axis, self.x.rank), self.x.rank))
        x = widened(b, self.x)
        centered = b.sub(x, b.reduce_mean(x, axes=axes))
        y = _normalized(b, centered, axes, self.epsilon)
        return [_decomposed_affine(b, _cast(b, y, self.x), self.scale, self.bias)]


class RmsNorm(Normalization):
    """x / sqrt(mean(x^2) + epsilon) * scale over the axes from ``axis`` on."""

    name = "nn.rms_norm"
    scale: Value | None = optional_operand("broadcast to the normalized axes")
    axis = attribute(int, default=-1, doc="the first normalized axis")
    epsilon = attribute(float, default=1e-5)
    y: OpResult = result()

    def verify(self) -> None:
        self.check_affine(self.axis, scale=self.scale)

    def evaluate(self, x: Array, scale: Array | None = None) -> Array:
        wide = widen(x)
        axes = tuple(range(normalize_axis(self.axis, x.ndim), x.ndim))
        y = wide / np.sqrt(np.square(wide).mean(axes, keepdims=True) + wide.dtype.type(self.epsilon))
        return narrow(_affine(y, scale, None), self.x.tensor.dtype)

    def decompose(self, b: Builder) -> Sequence[Value]:
        axes = tuple(range(normalize_axis(self.axis, self.x.rank), self.x.rank))
        y = _normalized(b, widened(b, self.x), axes, self.epsilon)
        return [_decomposed_affine(b, _cast(b, y, self.x), self.scale, None)]


class GroupNorm(Normalization):
    """Normalizes each group of channels of each image to mean 0 and variance 1; then a scale and bias per channel."""

    name = "nn.group_norm"
    scale: Value = operand("[C]")
    bias: Value = operand("[C]")
    groups = attribute(int)
    epsilon = attribute(float, default=1e-5)
    y: OpResult = result()

    def verify(self) -> None:
        if self.x.rank < 2:
            raise InferenceError(f"{self.name} needs a batch and a channel axis, got {self.x.type}")
        channels = self.x.shape[1]
        if self.groups < 1 or (isinstance(channels, int) and channels % self.groups):
            raise InferenceError(f"{self.name}: {channels} channels cannot be split into {self.groups} groups")
        self.check_per_channel(channels, scale=self.scale, bias=self.bias)

    def evaluate(self, x: Array, scale: Array, bias: Array) -> Array:
        return narrow(_group_norm(widen(x), widen(scale), widen(bias), self.groups, self.epsilon), self.x.tensor.dtype)

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [_decomposed_group_norm(b, self.x, self.scale, self.bias, self.groups, self.epsilon)]


class InstanceNorm(Normalization):
    """Normalizes each channel of each image to mean 0 and variance 1; then a scale and bias per channel."""

    name = "nn.instance_norm"
    scale: Value = operand("[C]")
    bias: Value = operand("[C]")
    epsilon = attribute(float, default=1e-5)
    y: OpResult = result()

    def verify(self) -> None:
        if self.x.rank < 3:
            raise InferenceError(f"{self.name} needs a batch, a channel and a spatial axis, got {self.x.type}")
        self.check_per_channel(self.x.shape[1], scale=self.scale, bias=self.bias)

    def evaluate(self, x: Array, scale: Array, bias: Array) -> Array:
        y = _group_norm(widen(x), widen(scale), widen(bias), x.shape[1], self.epsilon)
        return narrow(y, self.x.tensor.dtype)

    def decompose(self, b: Builder) -> Sequence[Value]:
        return [_decomposed_group_norm(b, self.x, self.scale, self.bias, None, self.epsilon)]


class Lrn(Normalization):
    """x / (bias + alpha / size * s)^beta, where s sums x^2 over ``size`` neighbouring channels."""

    name = "nn.lrn"
    size = attribute(int, doc="how many channels")
    alpha = attribute(float, default=1e-4)
    beta = attribute(float, default=0.75)
    bias = attribute(float, default=1.0)
    layout = layout_attribute()
    y: OpResult = result()

    @property
    def channel_axis(self) -> int:
        """The axis of the channels."""
        return self.x.rank - 1 if self.layout == "NHWC" else 1

    def verify(self) -> None:
        if self.x.rank < 2 or self.size < 1:
            raise InferenceError(f"nn.lrn needs a channel axis and a size of at least 1, got {self.x.type}")

    def evaluate(self, x: Array) -> Array:
        wide = np.moveaxis(widen(x), self.channel_axis, -1)
        before = (self.size - 1) // 2
        squares = np.pad(np.square(wide), [(0, 0)] * (x.ndim - 1) + [(before, self.size - 1 - before)])
        total = np.lib.stride_tricks.sliding_window_view(squares, self.size, axis=-1).sum(-1)
        t = wide.dtype.type
        y = wide / (t(self.bias) + t(self.alpha / self.size) * total) ** t(self.beta)
        return narrow(np.ascontiguousarray(np.moveaxis(y, -1, self.channel_axis)), self.x.tensor.dtype)

    def decompose(self, b: Builder) -> Sequence[Value]:
        axis, rank, before = self.channel_axis, self.x.rank, (self.size - 1) // 2
        x = widened(b, self.x)
        dtype = x.tensor.dtype
        pads = [0] * 2 * rank
        pads[axis], pads[axis + rank] = before, self.size - 1 - before
        squares = b.tensor_pad(b.mul(x, x), pads=pads)
        total: Value | None = None
        for i in range(self.size):
            end = self.x.shape[axis] + i
            piece = b.tensor_slice(squares, starts=(i,), ends=(end,), axes=(axis,), steps=(1,))
            total = piece if total is None else b.add(total, piece)
        scaled = b.mul(total, b.const(self.alpha / self.size, dtype=dtype))
        base = b.add(scaled, b.const(self.bias, dtype=dtype))
        return [_cast(b, b.div(x, b.pow(base, b.const(self.beta, dtype=dtype))), self.x)]


def _cast(b: Builder, value: Value, like: Value) -> Value:
    dtype = like.tensor.dtype
    casted: Value = value if value.tensor.dtype is dtype else b.cast(value, to=dtype)
    return casted


def widened(b: Builder, x: Value) -> Value:
    """Return x, as f32 where its floats are narrower."""
    wide: Value = x if x.tensor.dtype in (DType.F32, DType.F64) else b.cast(x, to=DType.F32)
    return wide


def _affine(y: Array, scale: Array | None, bias: Array | None) -> Array:
    y = y if scale is None else y * widen(scale)
    return y if bias is None else y + widen(bias)


def _decomposed_affine(b: Builder, y: Value, scale: Value | None, bias: Value | None) -> Value:
    y = y if scale is None else b.mul(y, scale)
    return y if bias is None else b.add(y, bias)


def _normalized(b: Builder, x: Value, axes: tuple[int, ...], epsilon: float) -> Value:
    variance = b.reduce_mean(b.mul(x, x), axes=axes)
    y: Value = b.mul(x, b.rsqrt(b.add(variance, b.const(epsilon, dtype=x.tensor.dtype))))
    return y


def _group_norm(x: Array, scale: Array, bias: Array, groups: int, epsilon: float) -> Array:
    apart = x.reshape(x.shape[0], groups, int(np.prod(x.shape[1:])) // groups)
    centered = apart - apart.mean(-1, keepdims=True)
    y = centered / np.sqrt(np.square(centered).mean(-1, keepdims=True) + x.dtype.type(epsilon))
    per_channel = [-1] + [1] * (x.ndim - 2)
    return np.asarray(y.reshape(x.shape) * scale.reshape(per_channel) + bias.reshape(per_channel))


def _decomposed_group_norm(
    b: Builder, x: Value, scale: Value, bias: Value, groups: int | None, epsilon: float
) -> Value:
    """Normalize per group of channels; ``groups`` is None for one channel each."""
    shape, dtype = x.shape, x.tensor.dtype
    wide = widened(b, x)
    apart: Sequence[Dim] = shape if groups is None else (shape[0], groups, shape[1] // groups, *shape[2:])
    axes = tuple(range(2, len(apart)))
    data = b.tensor_reshape(wide, shape=apart)
    y = _normalized(b, b.sub(data, b.reduce_mean(data, axes=axes)), axes, epsilon)
    y = b.tensor_reshape(y, shape=shape)
    if y.tensor.dtype is not dtype:
        y = b.cast(y, to=dtype)
    per_channel = (shape[1], *[1] * (len(shape) - 2))
    scaled = b.mul(y, b.tensor_reshape(scale, shape=per_channel))
    done: Value = b.add(scaled, b.tensor_reshape(bias, shape=per_channel))
    return done
