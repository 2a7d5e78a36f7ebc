"""Operators that read images at places which are computed, or put them together: sampling, regions, blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import product

_OLD_MODES = {"bilinear": "linear", "bicubic": "cubic"}


@onnx_op("GridSample", since=16)
def grid_sample(
    b: OnnxBuilder,
    x: Value,
    grid: Value,
    *,
    mode: str = "linear",
    padding_mode: str = "zeros",
    align_corners: int = 0,
) -> Value:
    return b.nn_grid_sample(
        x, grid, mode=_OLD_MODES.get(mode, mode), padding=padding_mode, align_corners=bool(align_corners)
    )


@onnx_op("RoiAlign", since=10)
def roi_align_unshifted(
    b: OnnxBuilder,
    x: Value,
    rois: Value,
    batch_indices: Value,
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Value:
    return b.nn_roi_align(
        x,
        rois,
        batch_indices,
        mode=mode,
        sizes=(output_height, output_width),
        sampling_ratio=sampling_ratio,
        spatial_scale=spatial_scale,
        half_pixel=False,
    )


@onnx_op("RoiAlign", since=16)
def roi_align(
    b: OnnxBuilder,
    x: Value,
    rois: Value,
    batch_indices: Value,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Value:
    if coordinate_transformation_mode not in ("half_pixel", "output_half_pixel"):
        raise UnsupportedError(
            f'its coordinate_transformation_mode is "{coordinate_transformation_mode}"', "the model is not valid ONNX"
        )
    return b.nn_roi_align(
        x,
        rois,
        batch_indices,
        mode=mode,
        sizes=(output_height, output_width),
        sampling_ratio=sampling_ratio,
        spatial_scale=spatial_scale,
        half_pixel=coordinate_transformation_mode == "half_pixel",
    )


@onnx_op("Col2Im", since=18)
def col2im(
    b: OnnxBuilder,
    x: Value,
    image_shape: Value,
    block_shape: Value,
    *,
    dilations: Sequence[int] = (),
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
) -> Value:
    return b.nn_col2im(
        x,
        sizes=b.dims(image_shape, "shape of the image"),
        kernel_shape=b.dims(block_shape, "shape of the blocks"),
        dilations=tuple(dilations),
        pads=tuple(pads),
        strides=tuple(strides),
    )


@onnx_op("DeformConv", since=19)
def deform_conv(
    b: OnnxBuilder,
    x: Value,
    weight: Value,
    offset: Value,
    bias: Value | None = None,
    mask: Value | None = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """The elements that each step of the kernel reads, sampled, times the weights."""
    rank = x.rank - 2
    _check_deform_conv(x, weight, offset, kernel_shape, group, offset_group)
    kernel = weight.tensor.static_shape[2:]
    steps, spread, before = strides or [1] * rank, dilations or [1] * rank, pads or [0] * (2 * rank)
    taps = product(kernel)
    images = x.shape[0] * offset_group
    places = tuple(offset.shape[2:])
    offsets = b.reshaped(offset, (images, taps, rank, *places))
    grid = _places(b, offsets, kernel, steps, spread, before)
    channels = x.shape[1] // offset_group
    sampled = b.nn_grid_sample(b.reshaped(x, (images, channels, *x.shape[2:])), grid, normalized=False)
    if mask is not None:
        sampled = b.mul(sampled, b.reshaped(mask, (images, 1, taps, *places)))
    inner, outputs = x.shape[1] // group * taps, weight.shape[0] // group
    columns = b.reshaped(sampled, (x.shape[0], group, inner, product(places)))
    y = b.linalg_matmul(b.reshaped(weight, (group, outputs, inner)), columns)
    y = b.reshaped(y, (x.shape[0], weight.shape[0], *places))
    return y if bias is None else b.add(y, b.reshaped(bias, (weight.shape[0], *[1] * rank)))


def _check_deform_conv(
    x: Value,
    weight: Value,
    offset: Value,
    kernel_shape: Sequence[int] | None,
    group: int,
    offset_group: int,
) -> None:
    kernel = tuple(weight.shape[2:])
    if any(not isinstance(d, int) for d in (*weight.shape, x.shape[1])):
        raise UnsupportedError("the numbers of its channels or the size of its kernel are not known")
    if kernel_shape is not None and tuple(kernel_shape) != kernel:
        raise UnsupportedError(f"its kernel_shape is {list(kernel_shape)} and its weight {weight.type}")
    if x.shape[1] != weight.shape[1] * group or weight.shape[0] % group or x.shape[1] % offset_group:
        raise UnsupportedError(
            f"{x.type} and the weight {weight.type} do not fit {group} groups and {offset_group} groups of offsets",
            "the model is not valid ONNX",
        )
    expected = offset_group * product(kernel) * len(kernel)
    if offset.rank != x.rank or offset.shape[1] != expected:
        raise UnsupportedError(
            f"the offsets {offset.type} must have rank {x.rank} and {expected} channels", "the model is not valid ONNX"
        )


def _places(
    b: OnnxBuilder,
    offsets: Value,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
) -> Value:
    """Return where each tap of the kernel reads x for each element of the result, [images, taps, places..., rank]."""
    dtype, (images, taps, rank, *places) = offsets.tensor.dtype, offsets.shape
    along = []
    for axis, tap in enumerate(np.indices(kernel)):
        first = tap.reshape([-1, *[1] * len(places)]) * dilations[axis] - pads[axis]
        line = [1] * (len(places) + 1)
        steps = b.tensor_iota(
            shape=(*line[: axis + 1], places[axis], *line[axis + 2 :]), axis=axis + 1, dtype=dtype, step=strides[axis]
        )
        part = b.tensor_slice(offsets, starts=(axis,), ends=(axis + 1,), axes=(2,), steps=(1,))
        moved = b.reshaped(part, (images, taps, *places))
        place = b.add(b.add(moved, steps), b.const(first.astype(dtype.numpy)))
        along.append(b.reshaped(place, (images, taps, *places, 1)))
    return along[0] if rank == 1 else b.tensor_concat(along[::-1], axis=len(places) + 2)
