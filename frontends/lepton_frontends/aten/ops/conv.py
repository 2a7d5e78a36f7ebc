"""Convolutions, and the blocks that they read (im2col, col2im)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import dims_of, int_of, ints_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, floordiv, product
from lepton_ir.ir.types import DType

Ints = tuple[int, ...]


def as_batch(b: AtenBuilder, x: Value, spatial: int) -> tuple[Value, bool]:
    """Return ``x`` with a batch axis before its channels, and whether it had none.

    Raises:
        UnsupportedError: it has neither the rank of one image nor that of a batch.
    """
    if x.rank == spatial + 2:
        return x, False
    if x.rank != spatial + 1:
        raise UnsupportedError(f"it takes a batch of {spatial + 2} axes or one of {spatial + 1}, got {x.type}")
    return b.reshaped(x, (1, *x.shape)), True


def without_batch(b: AtenBuilder, y: Value, alone: bool) -> Value:
    """Return ``y`` without its batch axis where :func:`as_batch` made it."""
    return b.reshaped(y, y.shape[1:]) if alone else y


def _paddings(padding: Any, kernel: Sequence[Dim], dilation: Ints) -> Ints:
    """Return the padding before each spatial axis, then after each; "same" puts the odd one behind."""
    rank = len(dilation)
    if not isinstance(padding, str):
        amounts = ints_of(padding, "padding", rank)
        return (*amounts, *amounts)
    if padding == "valid":
        return (0,) * (2 * rank)
    totals = [(int_of(k, "kernel size") - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    before = [t // 2 for t in totals]
    return (*before, *(t - p for t, p in zip(totals, before, strict=True)))


@aten_op("conv1d", "conv2d", "conv3d")
def conv(
    b: AtenBuilder,
    input: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
) -> Value:
    rank = weight.rank - 2
    x, alone = as_batch(b, input, rank)
    spread = ints_of(dilation, "dilation", rank)
    y = b.nn_conv(
        x, weight, bias, strides=ints_of(stride, "stride", rank), pads=_paddings(padding, weight.shape[2:], spread),
        dilations=spread, group=int_of(groups, "number of groups"),
    )  # fmt: skip
    return without_batch(b, y, alone)


@aten_op("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def conv_transpose(
    b: AtenBuilder,
    input: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: Any = 1,
    dilation: Any = 1,
) -> Value:
    rank = weight.rank - 2
    x, alone = as_batch(b, input, rank)
    spread = ints_of(dilation, "dilation", rank)
    y = b.nn_conv_transpose(
        x, weight, bias, strides=ints_of(stride, "stride", rank), pads=_paddings(padding, weight.shape[2:], spread),
        dilations=spread, group=int_of(groups, "number of groups"),
        output_padding=ints_of(output_padding, "output padding", rank),
    )  # fmt: skip
    return without_batch(b, y, alone)


@aten_op("convolution", "_convolution", "convolution_overrideable")
def convolution(
    b: AtenBuilder,
    input: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: Any,
    *_: Any,
) -> Value:
    if transposed:
        return conv_transpose(b, input, weight, bias, stride, padding, output_padding, groups, dilation)
    return conv(b, input, weight, bias, stride, padding, dilation, groups)


@aten_op("_convolution_mode")
def convolution_mode(
    b: AtenBuilder,
    input: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Value:
    return conv(b, input, weight, bias, stride, padding, dilation, groups)


@aten_op("mkldnn_convolution")
def mkldnn_convolution(
    b: AtenBuilder,
    self: Value,
    weight: Value,
    bias: Value | None,
    padding: Any,
    stride: Any,
    dilation: Any,
    groups: Any,
) -> Value:
    return conv(b, self, weight, bias, stride, padding, dilation, groups)


@aten_op("conv_tbc")
def conv_tbc(b: AtenBuilder, self: Value, weight: Value, bias: Value, pad: Any = 0) -> Value:
    """A convolution of [time, batch, channels] with a weight [kernel, inputs, outputs]."""
    x = b.tensor_transpose(self, perm=(1, 2, 0))
    w = b.tensor_transpose(weight, perm=(2, 1, 0))
    return b.tensor_transpose(conv(b, x, w, bias, padding=pad), perm=(2, 0, 1))


def windows(b: AtenBuilder, x: Value, kernel: Ints, stride: Ints, dilation: Ints) -> Value:
    """Return what each window sees of the trailing axes of ``x``: [..., *kernel, *windows]."""
    rank = len(kernel)
    lead = x.rank - rank
    for i, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        # Each axis becomes two, so the next one stands where twice as many have been.
        axis = lead + 2 * i
        size = floordiv(x.shape[axis] - (k - 1) * d - 1, s) + 1
        taps = b.mul(b.tensor_iota(shape=(k, 1), axis=0), b.const(d, dtype=DType.I64))
        steps = b.mul(b.tensor_iota(shape=(1, size), axis=1), b.const(s, dtype=DType.I64))
        x = b.tensor_gather(x, b.add(taps, steps), axis=axis)
    pairs = range(lead, lead + 2 * rank)
    return b.tensor_transpose(x, perm=(*range(lead), *pairs[::2], *pairs[1::2]))


@aten_op("im2col")
def im2col(b: AtenBuilder, self: Value, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Value:
    x, alone = as_batch(b, self, 2)
    kernel, spread = ints_of(kernel_size, "kernel size", 2), ints_of(dilation, "dilation", 2)
    pads, step = ints_of(padding, "padding", 2), ints_of(stride, "stride", 2)
    if any(pads):
        x = b.tensor_pad(x, None, pads=(0, 0, *pads, 0, 0, *pads))
    seen = windows(b, x, kernel, step, spread)
    flat = (seen.shape[0], seen.shape[1] * product(kernel), product(seen.shape[4:]))
    return without_batch(b, b.reshaped(seen, flat), alone)


@aten_op("col2im")
def col2im(
    b: AtenBuilder, self: Value, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Value:
    x, alone = as_batch(b, self, 1)
    pads = ints_of(padding, "padding", 2)
    y = b.nn_col2im(
        x, sizes=dims_of(b, output_size), kernel_shape=ints_of(kernel_size, "kernel size", 2),
        strides=ints_of(stride, "stride", 2), pads=(*pads, *pads), dilations=ints_of(dilation, "dilation", 2),
    )  # fmt: skip
    return without_batch(b, y, alone)
