"""Resampling with scales, sizes or a region that only the running program knows (ONNX Resize).

Each axis is multiplied by the matrix that interpolates along it, which is computed beside it. The formulas are those of
:class:`lepton_ir.ops.resize.Resize`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lepton_frontends.common.runtime_dims import bound_dims, flat_ints, partial_dims
from lepton_frontends.onnx.runtime_shapes import number, sizes
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.types import DType

if TYPE_CHECKING:
    from lepton_frontends.onnx.builder import OnnxBuilder

_REAL = DType.F64


@dataclass(frozen=True)
class Options:
    """The attributes of Resize that the formulas need."""

    mode: str
    coordinate_mode: str
    nearest_mode: str
    cubic_coeff: float = -0.75
    exclude_outside: bool = False
    extrapolation_value: float = 0.0
    antialias: bool = False


def resize_at_run_time(
    b: OnnxBuilder,
    x: Value,
    axes: Sequence[int],
    scales: Value | None,
    wanted: Value | None,
    roi: Value | None,
    policy: str,
    options: Options,
) -> Value:
    """Resample some axes of x.

    Args:
        b: where the operations go.
        x: what to resample.
        axes: the axes that ``scales``, ``wanted`` and ``roi`` speak of.
        scales: result size / x size for each axis, or None.
        wanted: the size of each axis of the result, where there are no scales.
        roi: for tf_crop_and_resize: starts, then ends, as parts of x.
        policy: keep_aspect_ratio_policy.
        options: how to interpolate.
    """
    have = b.cast(sizes(b, [x.shape[a] for a in axes]), to=_REAL)
    if wanted is not None:
        scale, after = _from_sizes(b, have, wanted, policy)
    else:
        assert scales is not None
        scale = b.cast_to(b.reshaped(scales, (len(axes),)), _REAL)
        after = bound_dims(b, b.cast(b.floor(b.mul(have, scale)), to=DType.I64), [None] * len(axes), "target size")
    region = None if roi is None or options.coordinate_mode != "tf_crop_and_resize" else b.cast_to(roi, _REAL)
    y, outside = _wide(b, x, options), None
    for i, axis in enumerate(axes):
        along = _Axis(b, options, x.shape[axis], after[i], _element(b, scale, i))
        ends = None if region is None else (_element(b, region, i), _element(b, region, i + len(axes)))
        places = along.coordinates(ends)
        if region is not None:
            beyond = b.reshaped(along.beyond(places), [after[i] if a == axis else 1 for a in range(x.rank)])
            outside = beyond if outside is None else b.or_(outside, beyond)
        y = along.sampled(y, axis, places)
    if outside is not None:
        y = b.where(outside, b.like(y, options.extrapolation_value), y)
    if y.tensor.dtype is x.tensor.dtype:
        return y
    return b.cast(b.round(y) if x.tensor.dtype.is_integer else y, to=x.tensor.dtype)


def _from_sizes(b: OnnxBuilder, have: Value, wanted: Value, policy: str) -> tuple[Value, tuple[Dim, ...]]:
    """Return the scale of each axis and the result's sizes."""
    if policy == "stretch":
        after = bound_dims(b, wanted, partial_dims(b, wanted), "target size")
        return b.div(b.cast(sizes(b, after), to=_REAL), have), after
    ratios = b.div(b.cast(flat_ints(b, wanted), to=_REAL), have)
    pick = b.reduce_min if policy == "not_larger" else b.reduce_max
    scale = b.add(pick(ratios, axes=(0,), keepdims=True), b.mul(have, b.like(have, 0)))
    rounded = b.floor(b.add(b.mul(scale, have), b.like(have, 0.5)))
    return scale, bound_dims(b, b.cast(rounded, to=DType.I64), [None] * int(have.tensor.static_shape[0]), "target size")


def _wide(b: OnnxBuilder, x: Value, options: Options) -> Value:
    """Return x in a type that it can be interpolated in."""
    if options.mode == "nearest" or x.tensor.dtype in (DType.F32, DType.F64):
        return x
    return b.cast(x, to=DType.F32)


def _element(b: OnnxBuilder, vector: Value, at: int) -> Value:
    return b.reshaped(b.tensor_slice(vector, starts=(at,), ends=(at + 1,), axes=(0,), steps=(1,)), ())


@dataclass(frozen=True)
class _Axis:
    """One axis: its size before and after, and its scale, a real number of rank 0."""

    b: OnnxBuilder
    options: Options
    before: Dim
    after: Dim
    scale: Value

    def _real(self, dim: Dim) -> Value:
        return self.b.cast(self.b.reshaped(sizes(self.b, [dim]), ()), to=_REAL)

    def _number(self, value: float) -> Value:
        return self.b.const(np.float64(value))

    def coordinates(self, ends: tuple[Value, Value] | None) -> Value:
        """Return the place in x of every element of the result."""
        b, mode = self.b, self.options.coordinate_mode
        at = b.cast(b.tensor_iota(shape=(self.after,), axis=0, dtype=DType.I64), to=_REAL)
        one, half, last = self._number(1), self._number(0.5), b.sub(self._real(self.before), self._number(1))
        steps = b.maximum(b.sub(self._real(self.after), one), one)
        if mode == "asymmetric":
            return b.div(at, self.scale)
        if mode == "align_corners":
            return b.div(b.mul(at, last), steps)
        single = b.eq(self._real(self.after), one)
        if ends is not None:
            start, end = ends
            several = b.add(b.mul(start, last), b.div(b.mul(b.mul(at, b.sub(end, start)), last), steps))
            return b.where(single, b.mul(b.mul(half, b.add(start, end)), last), several)
        centers = b.sub(b.div(b.add(at, half), self.scale), half)
        if mode == "pytorch_half_pixel":
            return b.where(single, self._number(0), centers)
        if mode == "half_pixel_symmetric":
            before = self._real(self.before)
            adjusted = b.sub(one, b.div(self._real(self.after), b.mul(self.scale, before)))
            return b.add(centers, b.mul(b.mul(before, half), adjusted))
        return centers

    def beyond(self, places: Value) -> Value:
        """Return which places lie outside of x."""
        b = self.b
        after_all = b.gt(places, b.sub(self._real(self.before), self._number(1)))
        return b.or_(b.lt(places, self._number(0)), after_all)

    def sampled(self, x: Value, axis: int, places: Value) -> Value:
        """Return x at the places along ``axis``."""
        if self.options.mode == "nearest":
            return self.b.tensor_gather(x, self._nearest(places), axis=axis)
        return _along(self.b, x, self.b.cast_to(self._weights(places), x.tensor.dtype), axis)

    def _clipped(self, places: Value) -> Value:
        b = self.b
        last = b.sub(b.reshaped(sizes(b, [self.before]), ()), number(b, 1))
        return b.minimum(b.maximum(b.cast(places, to=DType.I64), number(b, 0)), last)

    def _nearest(self, places: Value) -> Value:
        shift, up = {
            "round_prefer_floor": (-0.5, True),
            "round_prefer_ceil": (0.5, False),
            "floor": (0.0, False),
            "ceil": (0.0, True),
        }[self.options.nearest_mode]
        moved = self.b.add(places, self._number(shift))
        return self._clipped(self.b.ceil(moved) if up else self.b.floor(moved))

    def _weights(self, places: Value) -> Value:
        """Return the matrix [after, before] that interpolates: the filter's taps, added up where they are clipped."""
        b, options = self.b, self.options
        reach = 1 if options.mode == "linear" else 2
        shrink = b.minimum(self.scale, self._number(1)) if options.antialias else self._number(1)
        span: Dim = reach + 1
        if options.antialias:
            count = b.add(b.cast(b.ceil(b.div(self._number(reach), shrink)), to=DType.I64), number(b, 1))
            (span,) = bound_dims(b, b.reshaped(count, (1,)), [None], "filter size")
        taps: Dim = 2 * span + 1
        offsets = b.cast(b.tensor_iota(shape=(1, taps), axis=1, dtype=DType.I64, start=-span), to=_REAL)
        column = b.reshaped(places, (self.after, 1))
        spots = b.add(b.floor(column), offsets)
        share = self._filter(b.mul(b.abs(b.sub(spots, column)), shrink))
        if options.exclude_outside:
            inside = b.and_(b.ge(spots, self._number(0)), b.lt(spots, self._real(self.before)))
            share = b.where(inside, share, self._number(0))
        if options.exclude_outside or options.antialias:
            share = b.div(share, b.reduce_sum(share, axes=(1,), keepdims=True))
        empty = b.tensor_full(self._number(0), shape=(self.after, self.before))
        return b.tensor_scatter_elements(empty, self._clipped(spots), share, axis=1, reduction="add")

    def _filter(self, d: Value) -> Value:
        b, zero, one = self.b, self._number(0), self._number(1)
        if self.options.mode == "linear":
            return b.maximum(zero, b.sub(one, d))
        a = self.options.cubic_coeff
        near = self._polynomial(d, (a + 2, -(a + 3), 0, 1))
        far = self._polynomial(d, (a, -5 * a, 8 * a, -4 * a))
        return b.where(b.le(d, one), near, b.where(b.lt(d, self._number(2)), far, zero))

    def _polynomial(self, d: Value, coefficients: Sequence[float]) -> Value:
        value = self._number(coefficients[0])
        for coefficient in coefficients[1:]:
            value = self.b.add(self.b.mul(value, d), self._number(coefficient))
        return value


def _along(b: OnnxBuilder, x: Value, weights: Value, axis: int) -> Value:
    """Multiply x by a matrix along an axis."""
    if axis == x.rank - 1:
        flat = b.reshaped(x, (product(x.shape[:-1]), x.shape[-1]))
        return b.reshaped(b.linalg_matmul(flat, weights, transpose_b=True), (*x.shape[:-1], weights.shape[0]))
    head, tail = product(x.shape[:axis]), product(x.shape[axis + 1 :])
    flat = b.reshaped(x, (head, x.shape[axis], tail))
    return b.reshaped(b.linalg_matmul(weights, flat), (*x.shape[:axis], weights.shape[0], *x.shape[axis + 1 :]))
