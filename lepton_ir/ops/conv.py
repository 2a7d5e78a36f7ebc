"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim, ceildiv
from lepton_ir.ir.opdef import InferenceError, attribute, operand, optional_operand, result
from lepton_ir.ir.types import TensorType, Type
from lepton_ir.ops.folds import shape as shape_folds
from lepton_ir.ops.numerics import matmul
from lepton_ir.ops.support import (
    Array,
    dims_differ,
    narrow,
    require_count,
    require_known,
    require_positive,
    require_rank,
    require_same_dtype,
    require_sizes,
    widen,
)
from lepton_ir.ops.window import Windowed, layout_attribute, pad_spatial, per_axis_attribute, taps

_IM2COL_BYTES = 1 << 28
"""Above this many bytes the taps are multiplied one by one instead of gathered into one matrix."""


class Convolution(Windowed):
    """Base class of the forward convolutions: the checks and the computation that all share."""

    x: Value = operand("[N, C, spatial...] or [N, spatial..., C]")
    w: Value = operand("the weight")
    bias: Value | None = optional_operand("one per output channel")
    group = attribute(int, default=1, doc="channels are split into this many groups, convolved apart")

    def infer_channels(self, outputs: Dim, inputs_per_group: Dim, kernel: Sequence[Dim]) -> Type:
        """Return the result's type, given what the weight says."""
        require_known(f"the weight of {self.name}", self.w.tensor)
        channels = self.activation.shape[self.channel_axis] if self.spatial_rank else 0
        sizes = self.spatial_sizes(kernel)
        require_positive(f"group of {self.name}", (self.group,))
        if dims_differ(inputs_per_group * self.group, channels):
            raise InferenceError(
                f"{self.name}: the weight {self.w.type} takes {inputs_per_group} channels in {self.group} group(s), "
                f"but {self.activation} has {channels}"
            )
        if isinstance(outputs, int) and outputs % self.group:
            raise InferenceError(f"{self.name}: {outputs} output channels cannot be split into {self.group} groups")
        if self.bias is not None and (self.bias.rank != 1 or dims_differ(self.bias.shape[0], outputs)):
            raise InferenceError(f"the bias of {self.name} must have {outputs} elements, got {self.bias.type}")
        return TensorType(self.result_shape(outputs, sizes), self.activation.dtype)

    def verify(self) -> None:
        super().verify()
        require_same_dtype(f"the operands of {self.name}", *(v.tensor for v in self.present_operands))

    def convolve(self, x: Array, w: Array, bias: Array | None, sizes: Sequence[int]) -> Array:
        """Return the channels-last result for a channels-last x and a weight [*K, I/g, O]."""
        padded = pad_spatial(widen(x), self.pads, 0)
        kernel, inputs, outputs = w.shape[:-2], w.shape[-2], w.shape[-1]
        views = list(taps(padded, kernel, self.strides, self.dilations, sizes))
        rows = x.shape[0] * prod(sizes)
        groups, per_group = self.group, outputs // self.group
        if inputs == 1 and per_group == 1:
            y = sum(view * w[position].reshape(-1) for position, view in views)
        elif groups == 1 and rows * inputs * len(views) * 4 <= _IM2COL_BYTES:
            columns = np.concatenate([view.reshape(rows, inputs) for _, view in views], axis=1)
            y = matmul(columns, w.reshape(-1, outputs))
        else:
            y = sum(self._tap(view.reshape(rows, groups, inputs), w[position]) for position, view in views)
        y = np.asarray(y).reshape(x.shape[0], *sizes, outputs)
        return y if bias is None else y + widen(bias)

    def _tap(self, view: Array, w: Array) -> Array:
        """Return one tap's share, [rows, O], of x [rows, g, I/g] and w [I/g, O]."""
        inputs, outputs = w.shape
        grouped = w.reshape(inputs, self.group, outputs // self.group).transpose(1, 0, 2)
        return matmul(view.transpose(1, 0, 2), grouped).transpose(1, 0, 2).reshape(view.shape[0], outputs)


class Conv(Convolution):
    """Convolution (cross-correlation, as networks mean it) in one, two or more spatial dimensions.

    The weight is [O, C / group, *K] in either layout.
    """

    name = "nn.conv"
    canonicalizations = (shape_folds.conv_of_pad,)
    layout = layout_attribute()
    y: OpResult = result()

    def infer(self) -> Type:
        w = self.w.tensor
        require_rank("the weight of nn.conv", w, self.activation.rank)
        return self.infer_channels(w.shape[0], w.shape[1], w.shape[2:])

    def evaluate(self, x: Array, w: Array, bias: Array | None = None) -> Array:
        data = self.to_channels_last(x)
        sizes = self.result_sizes(x, w.shape[2:])
        y = self.convolve(data, np.moveaxis(widen(w), (0, 1), (-1, -2)), bias, sizes)
        return narrow(self.from_channels_last(y), self.x.tensor.dtype)

    def result_sizes(self, x: Array, kernel: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial sizes of the result for an actual x."""
        return actual_sizes(self, x, kernel)


class PackedConv(Convolution):
    """A channels-last convolution whose weight is packed for vector units.

    The weight is [ceil(O / panel), *K, C / group, panel], zero beyond channel O. A depthwise one (panel 0) is
    [*K, C].
    """

    name = "nn.conv_packed"
    channels = attribute(int, doc="output channels, O")
    kernel_shape = attribute(tuple[int, ...], doc="K")
    panel = attribute(int, doc="output channels in one panel; 0 for depthwise")
    y: OpResult = result()

    @property
    def channels_last(self) -> bool:
        """Always: there is no other packed form."""
        return True

    @property
    def is_depthwise(self) -> bool:
        """Whether the weight is in the depthwise form."""
        return self.panel == 0

    def infer(self) -> Type:
        w, kernel = self.w.tensor, self.kernel_shape
        if self.is_depthwise:
            expected: tuple[Dim, ...] = (*kernel, self.channels)
            inputs: Dim = 1
        else:
            require_rank("the packed weight of nn.conv_packed", w, len(kernel) + 3)
            inputs = w.shape[-2]
            expected = (ceildiv(self.channels, self.panel), *kernel, inputs, self.panel)
        if tuple(w.shape) != expected:
            raise InferenceError(f"the packed weight must be {list(expected)}, got {w}")
        return self.infer_channels(self.channels, inputs, kernel)

    def evaluate(self, x: Array, w: Array, bias: Array | None = None) -> Array:
        plain = w[..., None, :] if self.is_depthwise else unpack_weight(w, self.channels)
        y = self.convolve(x, widen(plain), bias, actual_sizes(self, x, self.kernel_shape))
        return narrow(y, self.x.tensor.dtype)


class ConvTranspose(Windowed):
    """The transpose of a convolution: every element of x adds its multiple of the weight to the result.

    The weight is [C, O / group, *K].
    """

    name = "nn.conv_transpose"
    x: Value = operand("[N, C, spatial...] or [N, spatial..., C]")
    w: Value = operand("[C, O / group, *K]")
    bias: Value | None = optional_operand("one per output channel")
    group = attribute(int, default=1)
    output_padding = per_axis_attribute(0, doc="elements added at the end of each spatial axis of the result")
    layout = layout_attribute()
    y: OpResult = result()

    def infer(self) -> Type:
        x, w, rank = self.activation, self.w.tensor, self.spatial_rank
        require_rank("the weight of nn.conv_transpose", w, x.rank)
        require_known("the weight of nn.conv_transpose", w)
        require_count("pads of nn.conv_transpose", self.pads, 2 * rank)
        for what, values in (("strides", self.strides), ("dilations", self.dilations)):
            require_count(f"{what} of nn.conv_transpose", values, rank)
            require_positive(f"{what} of nn.conv_transpose", values)
        require_count("output_padding of nn.conv_transpose", self.output_padding, rank)
        if dims_differ(w.shape[0], x.shape[self.channel_axis]):
            raise InferenceError(f"nn.conv_transpose: the weight {w} does not take the channels of {x}")
        sizes = [
            (x.shape[axis] - 1) * self.strides[i] + (w.shape[2 + i] - 1) * self.dilations[i] + 1
            + self.output_padding[i] - self.pads[i] - self.pads[i + rank]
            for i, axis in enumerate(self.spatial_axes)
        ]  # fmt: skip
        require_sizes(self.name, sizes)
        outputs = w.shape[1] * self.group
        if self.bias is not None and (self.bias.rank != 1 or dims_differ(self.bias.shape[0], outputs)):
            raise InferenceError(f"the bias of nn.conv_transpose must have {outputs} elements, got {self.bias.type}")
        return TensorType(self.result_shape(outputs, sizes), x.dtype)

    def verify(self) -> None:
        super().verify()
        require_same_dtype(f"the operands of {self.name}", *(v.tensor for v in self.present_operands))
        channels = self.w.shape[0]
        if self.group < 1 or (isinstance(channels, int) and channels % self.group):
            raise InferenceError(f"nn.conv_transpose: {channels} channels cannot be split into {self.group} groups")

    def evaluate(self, x: Array, w: Array, bias: Array | None = None) -> Array:
        data, weight = widen(self.to_channels_last(x)), widen(w)
        batch, *sizes, channels = data.shape
        kernel, per_group = weight.shape[2:], weight.shape[1]
        full = [
            (n - 1) * s + (k - 1) * d + 1 + o
            for n, s, k, d, o in zip(sizes, self.strides, kernel, self.dilations, self.output_padding, strict=True)
        ]
        rows = data.reshape(-1, self.group, channels // self.group).transpose(1, 0, 2)
        grouped = np.moveaxis(
            weight.reshape(self.group, channels // self.group, per_group, *kernel), (0, 1, 2), (-3, -2, -1)
        )
        y = np.zeros((batch, *full, self.group * per_group), dtype=data.dtype)
        for position, view in taps(y, kernel, self.strides, self.dilations, sizes):
            share = matmul(rows, grouped[position])
            view += share.transpose(1, 0, 2).reshape(batch, *sizes, -1)
        rank = self.spatial_rank
        kept = [slice(None), *(slice(self.pads[i], full[i] - self.pads[i + rank]) for i in range(rank))]
        y = y[tuple(kept)]
        return narrow(self.from_channels_last(y if bias is None else y + widen(bias)), self.x.tensor.dtype)


def actual_sizes(op: Windowed, x: Array, kernel: Sequence[int]) -> tuple[int, ...]:
    """Return the spatial sizes of the result for an actual x, whose type may be symbolic."""
    rank = op.spatial_rank
    return tuple(
        (x.shape[axis] + op.pads[i] + op.pads[i + rank] - (kernel[i] - 1) * op.dilations[i] - 1) // op.strides[i] + 1
        for i, axis in enumerate(op.spatial_axes)
    )


def pack_weight(w: Array, panel: int) -> Array:
    """Return a [O, I, *K] weight as [ceil(O / panel), *K, I, panel], padded with zeros."""
    outputs = w.shape[0]
    panels = -(-outputs // panel)
    padded = np.zeros((panels * panel, *w.shape[1:]), dtype=w.dtype)
    padded[:outputs] = w
    split = padded.reshape(panels, panel, *w.shape[1:])
    return np.ascontiguousarray(np.moveaxis(split, (1, 2), (-1, -2)))


def unpack_weight(w: Array, channels: int) -> Array:
    """Return the [*K, I, O] form of a weight that :func:`pack_weight` packed."""
    joined = np.moveaxis(w, 0, -2)
    return joined.reshape(*joined.shape[:-2], -1)[..., :channels]
