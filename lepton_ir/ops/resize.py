"""Resampling of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.opdef import (
    FusionKind,
    InferenceError,
    Operation,
    attribute,
    dims_attribute,
    operand,
    result,
)
from lepton_ir.ir.types import DType, Type
from lepton_ir.ops.support import Array, ints, narrow, require_count, require_sizes, widen
from lepton_ir.ops.window import layout_attribute

_COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


class Resize(Operation):
    """x resampled along its spatial axes, as ONNX's Resize defines it.

    Every element of the result is interpolated between elements of x at the place that ``coordinate_mode`` maps
    it to.
    """

    name = "nn.resize"
    fusion = FusionKind.ANCHOR
    x: Value = operand("[N, C, spatial...] or [N, spatial..., C]")
    sizes = dims_attribute(doc="the sizes of the result's spatial axes")
    mode = attribute(str, default="nearest", doc='"nearest", "linear" or "cubic"')
    coordinate_mode = attribute(str, default="half_pixel", doc="one of " + ", ".join(_COORDINATES))
    nearest_mode = attribute(str, default="round_prefer_floor", doc="one of " + ", ".join(_NEAREST))
    scales = attribute(tuple[float, ...], default=(), doc="result size / x size per axis; computed where left out")
    roi = attribute(tuple[float, ...], default=(), doc="for tf_crop_and_resize: starts, then ends, as parts of x")
    cubic_coeff = attribute(float, default=-0.75)
    exclude_outside = attribute(bool, default=False, doc="give elements outside of x no weight")
    extrapolation_value = attribute(float, default=0.0, doc="for tf_crop_and_resize: what lies outside of x")
    antialias = attribute(bool, default=False, doc="widen the filter where the image shrinks")
    layout = layout_attribute()
    y: OpResult = result()

    @property
    def spatial_axes(self) -> range:
        """The axes that are resampled."""
        return range(1, self.x.rank - 1) if self.layout == "NHWC" else range(2, self.x.rank)

    def infer(self) -> Type:
        if self.x.rank < 3:
            raise InferenceError(f"nn.resize needs a batch, a channel and a spatial axis, got {self.x.type}")
        require_count("sizes of nn.resize", self.sizes, self.x.rank - 2)
        require_sizes(self.name, self.sizes)
        shape = list(self.x.shape)
        for axis, size in zip(self.spatial_axes, self.sizes, strict=True):
            shape[axis] = size
        return self.x.tensor.with_shape(shape)

    def verify(self) -> None:
        for what, value, known in (
            ("mode", self.mode, ("nearest", "linear", "cubic")),
            ("coordinate_mode", self.coordinate_mode, _COORDINATES),
            ("nearest_mode", self.nearest_mode, _NEAREST),
        ):
            if value not in known:
                raise InferenceError(f'{what} of nn.resize must be one of {", ".join(known)}, got "{value}"')
        if self.scales:
            require_count("scales of nn.resize", self.scales, self.x.rank - 2)
        if self.roi or self.coordinate_mode == "tf_crop_and_resize":
            require_count("roi of nn.resize", self.roi, 2 * (self.x.rank - 2))

    def evaluate(self, x: Array) -> Array:
        y = widen(x)
        outside = np.zeros((), np.bool_)
        for i, axis in enumerate(self.spatial_axes):
            (size,) = ints((self.sizes[i],))
            coordinates = self.coordinates(i, x.shape[axis], size)
            column = [-1 if a == axis else 1 for a in range(x.ndim)]
            if self.coordinate_mode == "tf_crop_and_resize":
                beyond = (coordinates < 0) | (coordinates > x.shape[axis] - 1)
                outside = outside | beyond.reshape(column)
            if self.mode == "nearest":
                y = np.take(y, self.nearest(coordinates, x.shape[axis]), axis)
            else:
                weights = self.weights(i, x.shape[axis], size).astype(y.dtype if y.dtype.kind == "f" else np.float64)
                y = np.moveaxis(np.tensordot(weights, y, axes=(1, axis)), 0, axis)
        if self.coordinate_mode == "tf_crop_and_resize":
            y = np.where(outside, y.dtype.type(self.extrapolation_value), y)
        dtype = self.x.tensor.dtype
        return narrow(np.rint(y) if dtype.is_integer and y.dtype.kind == "f" else y, dtype)

    def scale(self, i: int, before: int, after: int) -> float:
        """Return how many elements of the result stand for one of x, along spatial axis ``i``."""
        return self.scales[i] if self.scales else after / before

    def coordinates(self, i: int, before: int, after: int) -> Array:
        """Return the place in x of every element of the result along spatial axis ``i``."""
        at, scale, mode = np.arange(after, dtype=np.float64), self.scale(i, before, after), self.coordinate_mode
        if mode == "asymmetric":
            return at / scale
        if mode == "align_corners":
            return at * (before - 1) / (after - 1) if after > 1 else at * 0
        if mode == "tf_crop_and_resize":
            start, end = self.roi[i], self.roi[i + len(self.sizes)]
            if after > 1:
                return start * (before - 1) + at * (end - start) * (before - 1) / (after - 1)
            return np.full(after, 0.5 * (start + end) * (before - 1))
        if mode == "pytorch_half_pixel" and after == 1:
            return at * 0
        centers = (at + 0.5) / scale - 0.5
        if mode == "half_pixel_symmetric":
            return centers + before / 2 * (1 - after / (scale * before))
        return centers

    def nearest(self, coordinates: Array, size: int) -> Array:
        """Return the indices of the elements nearest to the coordinates."""
        shift, rounding = {
            "round_prefer_floor": (-0.5, np.ceil),
            "round_prefer_ceil": (0.5, np.floor),
            "floor": (0.0, np.floor),
            "ceil": (0.0, np.ceil),
        }[self.nearest_mode]
        return np.asarray(np.clip(rounding(coordinates + shift), 0, size - 1), dtype=np.int64)

    def weights(self, i: int, before: int, after: int) -> Array:
        """Return the matrix [after, before] that interpolates along spatial axis ``i``."""
        coordinates = self.coordinates(i, before, after)
        shrink = min(1.0, self.scale(i, before, after)) if self.antialias else 1.0
        reach = 1 if self.mode == "linear" else 2
        base = np.floor(coordinates).astype(np.int64)
        span = int(np.ceil(reach / shrink)) + 1
        places = base[:, None] + np.arange(-span, span + 1)
        distance = np.abs(places - coordinates[:, None]) * shrink
        share = _linear(distance) if self.mode == "linear" else _cubic(distance, self.cubic_coeff)
        if self.exclude_outside:
            share = share * ((places >= 0) & (places < before))
        if self.exclude_outside or self.antialias:
            share = share / share.sum(1, keepdims=True)
        matrix = np.zeros((after, before))
        np.add.at(matrix, (np.arange(after)[:, None], np.clip(places, 0, before - 1)), share)
        return matrix

    def decompose(self, b: Builder) -> Sequence[Value]:
        """Gather along each axis, or multiply by the matrix of weights; sizes must be known."""
        y: Value = self.x
        dtype = self.x.tensor.dtype
        wide = dtype if dtype in (DType.F32, DType.F64) else DType.F32
        if self.mode != "nearest" and wide is not dtype:
            y = b.cast(y, to=wide)
        outside: Value | None = None
        for i, axis in enumerate(self.spatial_axes):
            before, after = ints((self.x.shape[axis], self.sizes[i]))
            coordinates = self.coordinates(i, before, after)
            if self.coordinate_mode == "tf_crop_and_resize":
                line = [-1 if a == axis else 1 for a in range(self.x.rank)]
                beyond = b.const(((coordinates < 0) | (coordinates > before - 1)).reshape(line))
                outside = beyond if outside is None else b.or_(outside, beyond)
            if self.mode == "nearest":
                y = b.tensor_gather(y, b.const(self.nearest(coordinates, before)), axis=axis)
            elif before != after or not np.array_equal(coordinates, np.arange(after)):
                y = _along(b, y, self.weights(i, before, after).astype(wide.numpy), axis)
        if outside is not None:
            y = b.where(outside, b.const(self.extrapolation_value, dtype=y.tensor.dtype), y)
        if y.tensor.dtype is not dtype:
            y = b.cast(b.round(y) if dtype.is_integer else y, to=dtype)
        return [y]


def _along(b: Builder, x: Value, weights: Array, axis: int) -> Value:
    """Multiply x by a matrix along an axis."""
    if axis == x.rank - 1:
        last: Value = b.linalg_matmul(x, b.const(weights), transpose_b=True)
        return last
    shape: list[Dim] = list(x.shape)
    tail: Dim = 1
    for d in shape[axis + 1 :]:
        tail = d * tail
    flat = b.tensor_reshape(x, shape=(*shape[: axis + 1], tail))
    shape[axis] = weights.shape[0]
    y: Value = b.tensor_reshape(b.linalg_matmul(b.const(weights), flat), shape=shape)
    return y


def _linear(distance: Array) -> Array:
    return np.maximum(0, 1 - distance)


def _cubic(d: Array, a: float) -> Array:
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))
