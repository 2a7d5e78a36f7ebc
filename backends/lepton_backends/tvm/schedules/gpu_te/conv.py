"""Convolutions, written as matrix products over the window (implicit GEMM), so that matmul schedules take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import te, tirx

from lepton_backends.tvm.schedules.gpu_te.core import (
    Expr,
    Index,
    Tensor,
    accumulator,
    cast,
    compute,
    inside,
    product,
    reduce_axes,
    rounded,
    shape_of,
    static,
)


@dataclass(frozen=True)
class Window:
    """How a window slides over the spatial axes.

    Attributes:
        kernel: its extent along each axis.
        strides: steps between windows.
        dilations: steps between the elements of one window.
        pads: padding before each axis, then after each.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    def outputs(self, extents: Sequence[Index], ceil_mode: bool = False) -> list[Index]:
        """Return the number of windows along each axis."""
        rank, counts = len(self.kernel), []
        for axis, extent in enumerate(extents):
            span = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            room = extent + self.pads[axis] + self.pads[axis + rank] - span
            counts.append((room + (self.strides[axis] - 1 if ceil_mode else 0)) // self.strides[axis] + 1)
        return counts

    def positions(self, outputs: Sequence[Index], offsets: Sequence[Index]) -> list[Index]:
        """Return the input index along each axis of one window element; it may lie in the padding."""
        return [
            o * s + k * d - p
            for o, s, k, d, p in zip(outputs, self.strides, offsets, self.dilations, self.pads, strict=False)
        ]

    def bounds(self, positions: Sequence[Index], extents: Sequence[Index], outputs: Sequence[Index]) -> list[Expr]:
        """Return the conditions under which ``positions`` lie inside of the input; those always true are left out."""
        conditions = []
        for axis, (at, extent, count) in enumerate(zip(positions, extents, outputs, strict=True)):
            if self.pads[axis]:
                conditions.append(at >= 0)
            last = (self.kernel[axis] - 1) * self.dilations[axis] - self.pads[axis]
            known, limit = static(count), static(extent)
            safe = known is not None and limit is not None and (known - 1) * self.strides[axis] + last < limit
            if not safe and (self.pads[axis + len(self.kernel)] or known is None or limit is None or not safe):
                conditions.append(at < extent)
        return conditions


PADDED_TO = 64
"""GPU schedules pad the columns of a matrix product to a multiple of this at most."""

Weight = Callable[[Index, Sequence[Index], Index], Expr]


def conv(
    x: Tensor, weight: Weight, out_channels: int, window: Window, *, group: int = 1, channels_last: bool = False
) -> Tensor:
    """Return the convolution of ``x`` ([N, C, *spatial], or [N, *spatial, C] where channels come last).

    Args:
        x: the input.
        weight: loads the weight at (output channel, window offsets, input channel within the group).
        out_channels: output channels of all groups.
        window: the window.
        group: groups that channels are divided in.
        channels_last: the layout of input and output.

    Returns:
        The convolution, in the layout of the input.
    """
    image = _Image(x, window, channels_last)
    if group == 1:
        return _dense(image, weight, out_channels)
    if image.channels > group and out_channels // group % PADDED_TO == 0:
        return _grouped(image, weight, out_channels, group)
    return _direct(image, weight, out_channels, group)


class _Image:
    """The input with its window: loads by (image, window position, window offsets, channel)."""

    def __init__(self, x: Tensor, window: Window, channels_last: bool) -> None:
        shape = shape_of(x)
        self.x, self.window, self.channels_last = x, window, channels_last
        self.batch = shape[0]
        self.channels = int(shape[-1] if channels_last else shape[1])
        self.extents = shape[1:-1] if channels_last else shape[2:]
        self.outputs = window.outputs(self.extents)
        self.dtype = str(x.dtype)

    def load(self, n: Index, output: Sequence[Index], offsets: Sequence[Index], channel: Index) -> Expr:
        positions = self.window.positions(output, offsets)
        value = self.x(n, *positions, channel) if self.channels_last else self.x(n, channel, *positions)
        bounds = self.window.bounds(positions, self.extents, self.outputs)
        return inside(bounds, value, tirx.const(0, self.dtype))

    def split(self, k: Index, channels: int) -> tuple[list[Index], Index]:
        """Return (window offsets, channel) of the flat reduction index, channels innermost."""
        offsets: list[Index] = []
        outer = k // channels if channels > 1 else k
        for extent in reversed(self.window.kernel):
            offsets.insert(0, outer % extent if extent > 1 else 0)
            outer = outer // extent if extent > 1 else outer
        return offsets, k % channels if channels > 1 else 0

    def shape(self, channels: int) -> list[Index]:
        """Return the shape of the output."""
        middle = [*self.outputs, channels] if self.channels_last else [channels, *self.outputs]
        return [self.batch, *middle]

    def place(self, n: Index, output: Sequence[Index], channel: Index) -> list[Index]:
        """Return the indices of an output element."""
        return [n, *output, channel] if self.channels_last else [n, channel, *output]

    def parts(self, indices: Sequence[Index]) -> tuple[Index, list[Index], Index]:
        """Return (image, window position, channel) of the indices of an output element."""
        if self.channels_last:
            return indices[0], list(indices[1:-1]), indices[-1]
        return indices[0], list(indices[2:]), indices[1]


def _dense(image: _Image, weight: Weight, out_channels: int) -> Tensor:
    """One matrix product: rows are output positions, columns output channels."""
    inner = int(product(image.window.kernel)) * image.channels
    wide = accumulator(image.dtype)

    def rows(*i: Index) -> Expr:
        offsets, channel = image.split(i[-1], image.channels)
        return image.load(i[0], i[1:-1], offsets, channel)

    def columns(o: Index, k: Index) -> Expr:
        offsets, channel = image.split(k, image.channels)
        return weight(o, offsets, channel)

    left = compute([image.batch, *image.outputs, inner], rows, "windows")
    right = compute([out_channels, inner], columns, "weights")
    (k,) = reduce_axes([inner])

    def body(*i: Index) -> Expr:
        n, output, channel = image.parts(i)
        return te.sum(cast(left(n, *output, k), wide) * cast(right(channel, k), wide), axis=k)

    return rounded(compute(image.shape(out_channels), body, "conv"), image.dtype)


def _grouped(image: _Image, weight: Weight, out_channels: int, group: int) -> Tensor:
    """One matrix product per group, as a batch, stored with the groups side by side.

    Only for groups of as many channels as schedules do not pad: TVM loses the bounds of a padded axis that a
    consumer joins with another one.
    """
    in_group, out_group = image.channels // group, out_channels // group
    inner = int(product(image.window.kernel)) * in_group
    wide = accumulator(image.dtype)

    def rows(g: Index, *i: Index) -> Expr:
        offsets, channel = image.split(i[-1], in_group)
        return image.load(i[0], i[1:-1], offsets, g * in_group + channel)

    def columns(g: Index, o: Index, k: Index) -> Expr:
        offsets, channel = image.split(k, in_group)
        return weight(g * out_group + o, offsets, channel)

    left = compute([group, image.batch, *image.outputs, inner], rows, "windows")
    right = compute([group, out_group, inner], columns, "weights")
    (k,) = reduce_axes([inner])

    def body(g: Index, n: Index, *i: Index) -> Expr:
        return te.sum(cast(left(g, n, *i[:-1], k), wide) * cast(right(g, i[-1], k), wide), axis=k)

    product_ = compute([group, image.batch, *image.outputs, out_group], body, "conv")

    def merge(*i: Index) -> Expr:
        n, output, channel = image.parts(i)
        return cast(product_(channel // out_group, n, *output, channel % out_group), image.dtype)

    return compute(image.shape(out_channels), merge, "merged")


def _direct(image: _Image, weight: Weight, out_channels: int, group: int) -> Tensor:
    """Depthwise, and groups of few channels: each output sums over its window and the channels of its group."""
    in_group, out_group = image.channels // group, out_channels // group
    *taps, k = reduce_axes([*image.window.kernel, in_group])
    axes = [*taps, k] if in_group > 1 else taps
    wide = accumulator(image.dtype)

    def body(*i: Index) -> Expr:
        n, output, channel = image.parts(i)
        within = k if in_group > 1 else 0
        source = (channel // out_group if out_group > 1 else channel) * in_group + within
        value = image.load(n, output, taps, source)
        return te.sum(cast(value, wide) * cast(weight(channel, taps, within), wide), axis=axes)

    return rounded(compute(image.shape(out_channels), body, "grouped"), image.dtype)


def conv_transpose(
    x: Tensor,
    w: Tensor,
    window: Window,
    outputs: Sequence[Index],
    *,
    group: int = 1,
    channels_last: bool = False,
) -> Tensor:
    """Return the transpose of a convolution, each output gathered from the inputs that reach it.

    Args:
        x: the input, ``[N, C, *spatial]`` or ``[N, *spatial, C]``.
        w: the weight, ``[C, O / group, *kernel]``.
        window: the window of the convolution that is transposed.
        outputs: extents of the output's spatial axes.
        group: groups that channels are divided in.
        channels_last: the layout of input and output.
    """
    shape, dtype = shape_of(x), str(x.dtype)
    channels = int(shape[-1] if channels_last else shape[1])
    extents = shape[1:-1] if channels_last else shape[2:]
    in_group, out_group = channels // group, int(shape_of(w)[1])
    wide = accumulator(dtype)
    *taps, k = reduce_axes([*window.kernel, in_group])

    def body(*i: Index) -> Expr:
        n, output, o = (i[0], i[1:-1], i[-1]) if channels_last else (i[0], i[2:], i[1])
        reached = [at + p - t * d for at, t, d, p in zip(output, taps, window.dilations, window.pads, strict=False)]
        sources = [tirx.floordiv(r, s) for r, s in zip(reached, window.strides, strict=True)]
        conditions: list[Expr] = []
        for r, s, source, extent in zip(reached, window.strides, sources, extents, strict=True):
            conditions += [r >= 0, source < extent] + ([tirx.floormod(r, s).equal(0)] if s > 1 else [])
        channel = (o // out_group) * in_group + k
        value = x(n, *sources, channel) if channels_last else x(n, channel, *sources)
        loaded = inside(conditions, value, tirx.const(0, dtype))
        return te.sum(cast(loaded, wide) * cast(w(channel, o % out_group, *taps), wide), axis=[*taps, k])

    result = [shape[0], *outputs, group * out_group] if channels_last else [shape[0], group * out_group, *outputs]
    return rounded(compute(result, body, "conv_transpose"), dtype)
