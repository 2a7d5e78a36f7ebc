"""Pooling over windows and over whole images."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx

from lepton_backends.tvm.schedules.gpu_te.conv import Window
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
)


def max_pool(x: Tensor, window: Window, outputs: Sequence[Index], *, channels_last: bool = False) -> Tensor:
    """Return the largest element of each window; padding counts for nothing."""
    axes = reduce_axes(window.kernel)
    lowest = te.min_value(str(x.dtype))

    def body(*i: Index) -> Expr:
        return te.max(_window_element(x, window, outputs, i, axes, lowest, channels_last), axis=axes)

    return compute(_shape(x, outputs, channels_last), body, "max_pool")


def avg_pool(
    x: Tensor,
    window: Window,
    outputs: Sequence[Index],
    *,
    count_include_pad: bool = False,
    channels_last: bool = False,
) -> Tensor:
    """Return the mean of each window; padding counts as zeros only with ``count_include_pad``."""
    axes = reduce_axes(window.kernel)
    dtype = str(x.dtype)
    wide = accumulator(dtype)
    extents = _extents(x, channels_last)

    def total(*i: Index) -> Expr:
        value = _window_element(x, window, outputs, i, axes, tirx.const(0, dtype), channels_last)
        return te.sum(cast(value, wide), axis=axes)

    def count(output: Sequence[Index]) -> Expr:
        counts = []
        for axis, at in enumerate(output):
            size, step = window.kernel[axis], window.dilations[axis]
            first = at * window.strides[axis] - window.pads[axis]
            before = window.pads[axis] if count_include_pad else 0
            after = window.pads[axis + len(window.kernel)] if count_include_pad else 0
            # Elements k in [0, size) with -before <= first + k * step < extent + after.
            low = tirx.max(tirx.floordiv(-before - first + step - 1, step), 0)
            high = tirx.min(tirx.floordiv(extents[axis] + after - first + step - 1, step), size)
            counts.append(tirx.max(high - low, 1))
        return product(counts).astype(wide)

    summed = compute(_shape(x, outputs, channels_last), total, "window_sum")
    mean = compute(shape_of(summed), lambda *i: summed(*i) / count(i[1:-1] if channels_last else i[2:]), "avg_pool")
    return rounded(mean, dtype)


def _window_element(
    x: Tensor,
    window: Window,
    outputs: Sequence[Index],
    i: Sequence[Index],
    axes: Sequence[Index],
    padding: Expr,
    channels_last: bool,
) -> Expr:
    output = i[1:-1] if channels_last else i[2:]
    positions = window.positions(output, axes)
    indices = [i[0], *positions, i[-1]] if channels_last else [i[0], i[1], *positions]
    return inside(window.bounds(positions, _extents(x, channels_last), outputs), x(*indices), padding)


def _extents(x: Tensor, channels_last: bool) -> list[Index]:
    shape = shape_of(x)
    return shape[1:-1] if channels_last else shape[2:]


def _shape(x: Tensor, outputs: Sequence[Index], channels_last: bool) -> list[Index]:
    shape = shape_of(x)
    return [shape[0], *outputs, shape[-1]] if channels_last else [shape[0], shape[1], *outputs]
