"""Operators of torchvision that detectors call."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.nonzero import places
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import int_of, number_of, tensor_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType


@aten_op("torchvision::nms")
def nms(b: AtenBuilder, dets: Value, scores: Value, iou_threshold: Any) -> Value:
    """Sort the boxes, drop those that overlap with better ones, and return the indices of the rest."""
    count = dets.shape[0]
    wide = DType.F64 if dets.tensor.dtype is DType.F64 else DType.F32
    boxes = b.convert(dets, wide)
    _, order = b.tensor_topk(b.convert(scores, wide), k=count, axis=0, largest=True, sorted=True)
    # From x1, y1, x2, y2 to y1, x1, y2, x2.
    swapped = b.tensor_gather(b.tensor_gather(boxes, order, axis=0), _columns(b, 1, 0, 3, 2), axis=1)
    corners = b.tensor_reshape(b.tensor_transpose(swapped, perm=(1, 0)), shape=(1, 1, 4, count))
    every = b.full((1, 1, count), True, DType.BOOL)
    limit = tensor_of(b, count, DType.I64)
    taken = b.nn_suppress_overlaps(corners, every, tensor_of(b, iou_threshold, wide), limit)
    found = places(b, b.tensor_reshape(taken, shape=(count,)), "number of selected boxes")
    return b.tensor_gather(order, found, axis=0)


def _columns(b: AtenBuilder, *indices: int) -> Value:
    return b.const(np.array(indices, np.int64))


@aten_op("torchvision::roi_align")
def roi_align(
    b: AtenBuilder,
    input: Value,
    rois: Value,
    spatial_scale: Any,
    pooled_height: Any,
    pooled_width: Any,
    sampling_ratio: Any,
    aligned: Any,
) -> Value:
    """The first column of the regions says which image each lies in."""
    images, regions = b.tensor_split(rois, axis=1, sizes=(1, 4))
    batch = b.cast(b.tensor_reshape(images, shape=(rois.shape[0],)), to=DType.I64)
    return b.nn_roi_align(
        input,
        regions,
        batch,
        sizes=(int_of(pooled_height, "height"), int_of(pooled_width, "width")),
        sampling_ratio=max(int_of(sampling_ratio, "sampling ratio"), 0),
        spatial_scale=float(number_of(spatial_scale, "scale")),
        half_pixel=bool(aligned),
    )
