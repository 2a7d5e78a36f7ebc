"""Derivatives of matrix products, convolutions and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_ir.gradient.rules import (
    NotDifferentiableError,
    counted,
    derivative,
    number,
    reshaped,
    swapped,
    unbroadcast,
    zeros,
)
from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product


@derivative("linalg.matmul")
def matmul(b: Builder, op: Any, dy: Value) -> list[Value]:
    """For Y = A B: dA = dY B^T and dB = A^T dY, summed over the batches that a matrix was repeated for."""
    left = reshaped(b, op.a, (1, *op.a.shape)) if op.a.rank == 1 else op.a
    right = reshaped(b, op.b, (*op.b.shape, 1)) if op.b.rank == 1 else op.b
    rows, columns = left.shape[-1 if op.transpose_a else -2], right.shape[-2 if op.transpose_b else -1]
    batch = dy.shape[: dy.rank - (op.a.rank > 1) - (op.b.rank > 1)]
    whole = reshaped(b, dy, (*batch, rows, columns))
    da = b.linalg_matmul(whole, right, transpose_b=not op.transpose_b)
    db = b.linalg_matmul(left, whole, transpose_a=not op.transpose_a)
    da = unbroadcast(b, swapped(b, da) if op.transpose_a else da, left)
    db = unbroadcast(b, swapped(b, db) if op.transpose_b else db, right)
    return [reshaped(b, da, op.a.shape), reshaped(b, db, op.b.shape)]


@derivative("nn.conv")
def conv(b: Builder, op: Any, dy: Value) -> list[Value | None]:
    _require_channels_first(op)
    window = {"strides": op.strides, "pads": op.pads, "dilations": op.dilations}
    x, w = op.x, op.w
    dx = b.nn_conv_transpose(dy, w, group=op.group, output_padding=_left_over(op, w.shape[2:], dy), **window)
    return [dx, _weight(b, op, x, dy, w), _bias(b, op, dy)]


@derivative("nn.conv_transpose")
def conv_transpose(b: Builder, op: Any, dy: Value) -> list[Value | None]:
    """Forward and backward of a convolution, with the parts of x and y exchanged."""
    _require_channels_first(op)
    window = {"strides": op.strides, "pads": op.pads, "dilations": op.dilations}
    dx = b.nn_conv(dy, op.w, group=op.group, **window)
    dx = _cropped(b, dx, op.x.shape[2:])
    return [dx, _weight(b, op, dy, op.x, op.w), _bias(b, op, dy)]


def _weight(b: Builder, op: Any, x: Value, dy: Value, w: Value) -> Value:
    """Return the weight's gradient: x convolved with dy, batch and channels exchanged, strides and dilations too."""
    batch, channels, groups = x.shape[0], x.shape[1], op.group
    sizes = tuple(x.shape[2:])
    spatial = tuple(range(3, x.rank + 1))
    apart = reshaped(b, x, (batch, groups, channels // groups, *sizes))
    data = b.tensor_transpose(apart, perm=(2, 1, 0, *spatial))
    data = b.tensor_reshape(data, shape=(channels // groups, groups * batch, *sizes))
    kernel = b.tensor_transpose(dy, perm=(1, 0, *range(2, dy.rank)))
    found = b.nn_conv(data, kernel, strides=op.dilations, dilations=op.strides, pads=op.pads, group=groups)
    found = _cropped(b, found, w.shape[2:])
    return b.tensor_transpose(found, perm=(1, 0, *range(2, w.rank)))


def _bias(b: Builder, op: Any, dy: Value) -> Value | None:
    if op.bias is None:
        return None
    return b.reduce_sum(dy, axes=(0, *range(2, dy.rank)), keepdims=False)


def _cropped(b: Builder, x: Value, sizes: Sequence[Dim]) -> Value:
    """Return the first elements along the spatial axes; what stands behind them no window reached."""
    if tuple(x.shape[2:]) == tuple(sizes):
        return x
    axes = tuple(range(2, x.rank))
    return b.tensor_slice(x, starts=(0,) * len(axes), ends=tuple(sizes), axes=axes, steps=(1,) * len(axes))


def _left_over(op: Any, kernel: Sequence[Any], dy: Value) -> tuple[int, ...]:
    """Return how many elements at the end of each spatial axis no window reaches."""
    rank, left = op.spatial_rank, []
    for i, axis in enumerate(op.spatial_axes):
        reach = (dy.shape[axis] - 1) * op.strides[i] + (kernel[i] - 1) * op.dilations[i] + 1
        rest = op.x.shape[axis] + op.pads[i] + op.pads[i + rank] - reach
        if not isinstance(rest, int):
            raise NotDifferentiableError(f"differentiates {op.name} with strides over the dynamic size {rest}")
        left.append(rest)
    return tuple(left)


def _require_channels_first(op: Any) -> None:
    if op.channels_last:
        raise NotDifferentiableError(f"differentiates {op.name} in the layout NHWC")


@derivative("nn.avg_pool")
def avg_pool(b: Builder, op: Any, dy: Value) -> Value:
    """Each element gets its share of every window that it stands in, by a transposed convolution with ones."""
    _require_channels_first(op)
    channels = op.x.shape[1]
    left = _left_over(op, op.kernel_shape, dy)
    if not isinstance(channels, int) or min(left) < 0:
        raise NotDifferentiableError("differentiates nn.avg_pool with a dynamic channel count or partial windows")
    window = {"strides": op.strides, "pads": op.pads, "dilations": op.dilations}
    ones = b.tensor_full(number(b, dy, 1), shape=(channels, 1, *op.kernel_shape))
    if op.count_include_pad or not any(op.pads):
        count = counted(b, dy, op.kernel_shape)
    else:
        line = b.tensor_full(number(b, dy, 1), shape=(1, 1, *op.x.shape[2:]))
        one = b.tensor_full(number(b, dy, 1), shape=(1, 1, *op.kernel_shape))
        count = b.nn_conv(line, one, **window)
    share = b.div(dy, count)
    return b.nn_conv_transpose(share, ones, group=channels, output_padding=left, **window)


@derivative("nn.max_pool")
def max_pool(b: Builder, op: Any, dy: Value) -> Value:
    _require_channels_first(op)
    _, indices = b.nn_max_pool_indices(
        op.x, kernel_shape=op.kernel_shape, strides=op.strides, pads=op.pads, dilations=op.dilations,
        ceil_mode=op.ceil_mode,
    )  # fmt: skip
    return _to_places(b, op.x, indices, dy)


@derivative("nn.max_pool_indices")
def max_pool_indices(b: Builder, op: Any, dy: Value | None, dindices: Value | None) -> Value | None:
    if dy is None:
        return None
    if op.storage_order:
        raise NotDifferentiableError("differentiates nn.max_pool_indices in column-major order")
    return _to_places(b, op.x, op.indices, dy)


def _to_places(b: Builder, x: Value, indices: Value, dy: Value) -> Value:
    """Return zeros like x to which each gradient is added at its index in the flattened x."""
    flat = product(indices.shape)
    start = b.tensor_reshape(zeros(b, x), shape=(product(x.shape),))
    places, updates = (b.tensor_reshape(v, shape=(flat,)) for v in (indices, dy))
    whole = b.tensor_scatter_elements(start, places, updates, axis=0, reduction="add")
    return reshaped(b, whole, x.shape)
