"""Pooling over sliding windows."""

from __future__ import annotations

from math import prod
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.conv import as_batch, without_batch
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import dims_of, int_of, ints_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import product
from lepton_ir.ir.types import DType
from lepton_ir.ops.window import window_count

Ints = tuple[int, ...]


def spatial_rank(b: AtenBuilder) -> int:
    """Return the number of axes that the operator at hand pools, which its name says."""
    return next(int(c) for c in b.op if c.isdigit())


def window_of(rank: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any) -> dict[str, Any]:
    """Return the attributes of Lepton's pools."""
    kernel = ints_of(kernel_size, "kernel size", rank)
    pads = ints_of(padding, "padding", rank)
    return {
        "kernel_shape": kernel,
        "strides": ints_of(stride, "stride", rank) if stride is not None and stride != [] else kernel,
        "pads": (*pads, *pads),
        "dilations": ints_of(dilation, "dilation", rank),
        "ceil_mode": bool(ceil_mode),
    }


@aten_op("max_pool1d", "max_pool2d", "max_pool3d", "mkldnn_max_pool2d", "mkldnn_max_pool3d")
def max_pool(
    b: AtenBuilder,
    self: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
) -> Value:
    rank = spatial_rank(b)
    x, alone = as_batch(b, self, rank)
    y = b.nn_max_pool(x, **window_of(rank, kernel_size, stride, padding, dilation, ceil_mode))
    return without_batch(b, y, alone)


@aten_op("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices")
def max_pool_with_indices(
    b: AtenBuilder,
    self: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
) -> tuple[Value, Value]:
    rank = spatial_rank(b)
    x, alone = as_batch(b, self, rank)
    window = window_of(rank, kernel_size, stride, padding, dilation, ceil_mode)
    # The values have an operation of their own, since hardly anyone reads the indices, which are slower.
    y = b.nn_max_pool(x, **window)
    return without_batch(b, y, alone), without_batch(b, _places(b, x, window), alone)


def _places(b: AtenBuilder, x: Value, window: dict[str, Any]) -> Value:
    """Return the indices of the largest elements, counted in the plane of one channel."""
    _, indices = b.nn_max_pool_indices(x, **window)
    size = b.reshaped(b.tensor_dims(dims=(product(x.shape[2:]),)), ())
    return b.mod(indices, b.maximum(size, b.like(size, 1)))


@aten_op("avg_pool1d", "avg_pool2d", "avg_pool3d")
def avg_pool(
    b: AtenBuilder,
    self: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    divisor_override: Any = None,
) -> Value:
    rank = spatial_rank(b)
    x, alone = as_batch(b, self, rank)
    window = window_of(rank, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is None:
        y = b.nn_avg_pool(x, count_include_pad=bool(count_include_pad), **window)
    else:
        sums = _window_sums(b, x, window)
        y = b.div(sums, b.like(sums, int_of(divisor_override, "divisor")))
    return without_batch(b, y, alone)


def _window_sums(b: AtenBuilder, x: Value, window: dict[str, Any]) -> Value:
    """Return the sum of what each window sees, padding being 0."""
    rank, kernel, dtype = len(window["kernel_shape"]), window["kernel_shape"], x.tensor.dtype
    before, after = [0, 0], [0, 0]
    for i in range(rank):
        size, k, s, p = x.shape[2 + i], kernel[i], window["strides"][i], window["pads"][i]
        count = window_count(size, k, s, 1, p, p, ceil=window["ceil_mode"])
        before.append(p)
        after.append((count - 1) * s + k - size - p)
    # The mean of integers would be rounded; sums of them are exact in f64 as far as PyTorch's own do not overflow.
    wide = DType.F64 if dtype.is_integer else dtype
    padded = b.tensor_pad(b.convert(x, wide), None, pads=(*before, *after))
    means = b.nn_avg_pool(padded, kernel_shape=kernel, strides=window["strides"])
    sums = b.mul(means, b.like(means, prod(kernel)))
    return b.convert(b.round(sums), dtype) if dtype.is_integer else sums


@aten_op("max_unpool2d", "max_unpool3d")
def max_unpool(
    b: AtenBuilder, self: Value, indices: Value, output_size: Any, stride: Any = None, padding: Any = None
) -> Value:
    rank = spatial_rank(b)
    x, alone = as_batch(b, self, rank)
    sizes = dims_of(b, output_size)
    planes, flat = x.shape[0] * x.shape[1], product(x.shape[2:])
    zeros = b.full((planes, product(sizes)), 0, x.tensor.dtype)
    places, values = (b.reshaped(v, (planes, flat)) for v in (indices, x))
    y = b.tensor_scatter_elements(zeros, places, values, axis=1)
    return without_batch(b, b.reshaped(y, (*x.shape[:2], *sizes)), alone)
