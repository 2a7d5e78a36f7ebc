"""Sampling of images at places that a tensor names."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import dims_of, int_of, tensor_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.types import DType

_MODES = ("linear", "nearest", "cubic")
_PADDINGS = ("zeros", "border", "reflection")


@aten_op("grid_sampler", "grid_sampler_2d", "grid_sampler_3d", "_grid_sampler_2d_cpu_fallback", "cudnn_grid_sampler")
def grid_sampler(
    b: AtenBuilder,
    input: Value,
    grid: Value,
    interpolation_mode: Any = 0,
    padding_mode: Any = 0,
    align_corners: Any = True,
) -> Value:
    return b.nn_grid_sample(
        input,
        grid,
        mode=_MODES[int_of(interpolation_mode, "mode")],
        padding=_PADDINGS[int_of(padding_mode, "padding")],
        align_corners=bool(align_corners),
    )


@aten_op("affine_grid_generator", "cudnn_affine_grid_generator")
def affine_grid_generator(b: AtenBuilder, theta: Value, size: Any, align_corners: Any = True) -> Value:
    """The places of an image's elements, from -1 to 1 along each axis, moved by a matrix for each image."""
    batch, _, *spatial = dims_of(b, size)
    dtype = theta.tensor.dtype
    wide = dtype if dtype is DType.F64 else DType.F32
    rank, shape = len(spatial), (*spatial, 1)
    axes = [
        b.tensor_expand(_line(b, spatial[i], i, rank, wide, bool(align_corners)), shape=shape)
        for i in reversed(range(rank))
    ]
    places = b.tensor_concat([*axes, b.full(shape, 1, wide)], axis=rank)
    flat = b.tensor_reshape(places, shape=(product(spatial), rank + 1))
    y = b.convert(b.linalg_matmul(flat, b.convert(theta, wide), transpose_b=True), dtype)
    return b.tensor_reshape(y, shape=(batch, *spatial, rank))


def _line(b: AtenBuilder, size: Dim, axis: int, rank: int, dtype: DType, align_corners: bool) -> Value:
    """Return the places along an axis, of rank ``rank + 1``; a single one is 0."""
    shape: list[Dim] = [1] * (rank + 1)
    shape[axis] = size
    if isinstance(size, int):
        line = np.linspace(-1, 1, size) if size > 1 else np.zeros(size)
        factor = 1.0 if align_corners or not size else (size - 1) / size
        return b.const((line * factor).astype(dtype.numpy).reshape(shape))
    # 2 i - (size - 1), over size - 1 or size.
    index = b.cast(b.tensor_iota(shape=tuple(shape), axis=axis), to=dtype)
    last = tensor_of(b, size - 1, dtype)
    number = b.maximum(last, b.like(last, 1)) if align_corners else tensor_of(b, size, dtype)
    return b.div(b.sub(b.mul(index, b.like(index, 2)), last), number)
