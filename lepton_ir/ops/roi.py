"""Pooling of regions of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import FusionKind, InferenceError, Operation, attribute, dims_attribute, operand, result
from lepton_ir.ir.types import Type
from lepton_ir.ops.support import (
    Array,
    dims_differ,
    ints,
    narrow,
    require_count,
    require_integer,
    require_rank,
    require_same_dtype,
    require_sizes,
    widen,
)


class RoiAlign(Operation):
    """Each region of its image, cut into bins; every bin is the mean or maximum of points interpolated in it.

    As ONNX's RoiAlign defines it, after "Mask R-CNN" (https://arxiv.org/abs/1703.06870). The maximum is taken over
    the weighted elements that the points are interpolated from, not over the points.
    """

    name = "nn.roi_align"
    fusion = FusionKind.ANCHOR
    x: Value = operand("[N, C, H, W]")
    rois: Value = operand("[R, 4]: x1, y1, x2, y2")
    batch_indices: Value = operand("[R]: the image that a region lies in")
    sizes = dims_attribute(doc="the rows and columns of bins")
    mode = attribute(str, default="avg", doc='"avg" or "max"')
    sampling_ratio = attribute(int, default=0, doc="points along each side of a bin; 0 is about one for each element")
    spatial_scale = attribute(float, default=1.0, doc="what the coordinates of regions are multiplied by")
    half_pixel = attribute(bool, default=True, doc="coordinates are of the rims of elements, not of their centers")
    y: OpResult = result("[R, C, rows, columns]")

    def infer(self) -> Type:
        x, rois, batch = self.x.tensor, self.rois.tensor, self.batch_indices.tensor
        require_rank("the image of nn.roi_align", x, 4)
        require_rank("the regions of nn.roi_align", rois, 2)
        require_rank("the batch indices of nn.roi_align", batch, 1)
        require_integer("the batch indices of nn.roi_align", batch)
        require_same_dtype("image and regions of nn.roi_align", x, rois)
        require_count("sizes of nn.roi_align", self.sizes, 2)
        require_sizes(self.name, self.sizes)
        if dims_differ(rois.shape[1], 4) or dims_differ(rois.shape[0], batch.shape[0]):
            raise InferenceError(f"the regions {rois} need 4 coordinates each, and one of the batch indices {batch}")
        if 0 in (x.shape[0], *x.shape[2:]):
            raise InferenceError(f"nn.roi_align reads images that have elements, got {x}")
        return x.with_shape((rois.shape[0], x.shape[1], *self.sizes))

    def verify(self) -> None:
        if self.mode not in ("avg", "max"):
            raise InferenceError(f'mode of nn.roi_align must be "avg" or "max", got "{self.mode}"')
        if self.sampling_ratio < 0:
            raise InferenceError(f"sampling_ratio of nn.roi_align must not be negative, got {self.sampling_ratio}")
        if not self.x.tensor.dtype.is_float:
            raise InferenceError(f"nn.roi_align interpolates floats, got {self.x.type}")

    def evaluate(self, x: Array, rois: Array, batch_indices: Array) -> Array:
        wide, places = widen(x), widen(rois)
        y = np.zeros((len(rois), x.shape[1], *ints(self.sizes)), wide.dtype)
        for region, (place, image) in enumerate(zip(places, batch_indices, strict=True)):
            y[region] = self._pooled(wide[int(image)], place)
        return narrow(y, self.x.tensor.dtype)

    def _pooled(self, image: Array, place: Array) -> Array:
        rows, columns = (
            self._points(place[k], place[k + 2], size, image.shape[2 - k])
            for k, size in ((1, ints(self.sizes)[0]), (0, ints(self.sizes)[1]))
        )
        terms = []
        for row, row_weight in rows:
            for column, weight in columns:
                read = image[:, row[:, :, None, None], column[None, None]]
                terms.append(read * row_weight[:, :, None, None] * weight[None, None])
        points = terms[0].shape[2] * terms[0].shape[4]
        if not points:
            return np.zeros((image.shape[0], *ints(self.sizes)), image.dtype)
        if self.mode == "max":
            return np.asarray(np.maximum.reduce(terms).max((2, 4)))
        return np.asarray(np.add.reduce(terms).sum((2, 4)) / points)

    def _points(self, first: Any, last: Any, bins: int, size: int) -> list[tuple[Array, Array]]:
        """Return the two elements around every point along an axis, and their weights, as [bins, points]."""
        number = np.dtype(type(first)).type
        scale, shift = number(self.spatial_scale), number(0.5 if self.half_pixel else 0)
        start, end = first * scale - shift, last * scale - shift
        length = end - start if self.half_pixel else max(end - start, number(1))
        each = length / number(bins)
        count = self.sampling_ratio or max(int(np.ceil(each)), 0)
        bin_starts = start + np.arange(bins, dtype=number)[:, None] * each
        at = bin_starts + (np.arange(count, dtype=number) + number(0.5)) * each / number(max(count, 1))
        inside = (at >= -1) & (at <= size)
        at = at.clip(0, size - 1)
        low = at.astype(np.int64)
        high = np.minimum(low + 1, size - 1)
        share = at - low.astype(number)
        return [(low, (1 - share) * inside), (high, share * inside)]
