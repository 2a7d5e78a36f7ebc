"""Sampling of images at places that a tensor names."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import FusionKind, InferenceError, Operation, attribute, operand, result
from lepton_ir.ir.types import Type
from lepton_ir.ops.support import Array, dims_differ, narrow, widen

_MODES = ("nearest", "linear", "cubic")
_PADDINGS = ("zeros", "border", "reflection")
CUBIC = -0.75
"""The coefficient of Keys' cubic convolution (https://ieeexplore.ieee.org/document/1163711) that ONNX takes."""


class GridSample(Operation):
    """x at the places that ``grid`` names, interpolated between its elements, as ONNX's GridSample defines it.

    A place is a vector in the last axis of ``grid``, the coordinate along the last axis of x first. Normalized
    coordinates go from -1 to 1 over the image; others count elements of x. In cubic mode with the padding "border",
    which ONNX leaves open, it is the elements that are moved to the border, not the place, as in ONNX Runtime.
    """

    name = "nn.grid_sample"
    fusion = FusionKind.ANCHOR
    x: Value = operand("[N, C, d1, ..., dr]")
    grid: Value = operand("[N, places..., r]")
    mode = attribute(str, default="linear", doc='"nearest", "linear" or "cubic"')
    padding = attribute(str, default="zeros", doc='what lies outside of x: "zeros", "border" or "reflection"')
    align_corners = attribute(bool, default=False, doc="-1 and 1 are the centers of the corner elements, not their rim")
    normalized = attribute(bool, default=True, doc="coordinates go from -1 to 1")
    y: OpResult = result("[N, C, places...]")

    def infer(self) -> Type:
        x, grid = self.x.tensor, self.grid.tensor
        if x.rank < 3 or grid.rank < 2:
            raise InferenceError(f"nn.grid_sample needs an image with spatial axes and a grid, got {x} and {grid}")
        if dims_differ(grid.shape[-1], x.rank - 2) or dims_differ(grid.shape[0], x.shape[0]):
            raise InferenceError(
                f"the grid {grid} must hold {x.rank - 2} coordinates for each place, for each of the images {x}"
            )
        if 0 in x.shape[2:]:
            raise InferenceError(f"nn.grid_sample reads images that have elements, got {x}")
        return x.with_shape((*x.shape[:2], *grid.shape[1:-1]))

    def verify(self) -> None:
        if self.mode not in _MODES or self.padding not in _PADDINGS:
            raise InferenceError(
                f"mode and padding of nn.grid_sample must be one of {', '.join(_MODES)} and one of "
                f'{", ".join(_PADDINGS)}, got "{self.mode}" and "{self.padding}"'
            )
        if not self.grid.tensor.dtype.is_float:
            raise InferenceError(f"the grid of nn.grid_sample must hold floats, got {self.grid.type}")

    def evaluate(self, x: Array, grid: Array) -> Array:
        wide, places = widen(x), widen(grid)
        work = wide.real.dtype if wide.dtype.kind in "fc" else np.dtype(np.float32)
        taps = [self._taps(places[..., grid.shape[-1] - 1 - axis], size, work) for axis, size in enumerate(x.shape[2:])]
        batch = np.arange(x.shape[0]).reshape([-1] + [1] * (grid.ndim - 2))
        total = np.zeros((*grid.shape[:-1], x.shape[1]), np.result_type(work, wide) if wide.dtype.kind == "c" else work)
        for chosen in product(*taps):
            where: tuple[Any, ...] = (batch, slice(None), *(at for at, _ in chosen))
            read = wide[where]
            share = np.ones(grid.shape[:-1], work)
            for _, weight in chosen:
                share = share * weight
            total += np.where(share[..., None] != 0, read, work.type(0)) * share[..., None]
        return narrow(np.moveaxis(total, -1, 1), self.x.tensor.dtype)

    def _taps(self, coordinate: Array, size: int, work: np.dtype) -> list[tuple[Array, Array]]:
        """Return the indices along an axis that are read, and the weight of each; 0 outside of x."""
        place = self._inside(self._place(coordinate, size), size)
        base = np.floor(place)
        offset = (place - base).astype(work)
        with np.errstate(invalid="ignore"):
            first = np.nan_to_num(base, nan=-4).clip(-4, size + 4).astype(np.int64)
        if self.mode == "nearest":
            shares = {0: np.ones_like(offset)}
        elif self.mode == "linear":
            shares = {0: 1 - offset, 1: offset}
        else:
            shares = {k: _cubic(offset - k) for k in (-1, 0, 1, 2)}
        return [self._element(first + k, share, size) for k, share in shares.items()]

    def _place(self, coordinate: Array, size: int) -> Array:
        """Return a coordinate as the index of an element, with a fraction."""
        one, two = coordinate.dtype.type(1), coordinate.dtype.type(2)
        if not self.normalized:
            place = coordinate
        elif self.align_corners:
            place = (coordinate + one) / two * coordinate.dtype.type(size - 1)
        else:
            place = ((coordinate + one) * coordinate.dtype.type(size) - one) / two
        return np.rint(place) if self.mode == "nearest" else place

    def _inside(self, place: Array, size: int) -> Array:
        """Return the place moved to the image, where the padding says so."""
        if self.padding == "zeros" or (self.padding == "border" and self.mode == "cubic"):
            return place
        return place.clip(0, size - 1) if self.padding == "border" else self._reflected(place, size)

    def _reflected(self, place: Array, size: int) -> Array:
        """Return the place reflected at the rim of the image until it lies inside."""
        low = place.dtype.type(0 if self.align_corners else -0.5)
        high = place.dtype.type(size - 1 if self.align_corners else size - 0.5)
        span = np.maximum(high - low, place.dtype.type(1e-6))
        before = place < low
        beyond = np.maximum(np.where(before, low - place, place - high), 0)
        turns = np.trunc(beyond / span)
        rest = beyond - turns * span
        rises = before ^ (turns % 2 == 1)
        return np.where(before | (place > high), np.where(rises, low + rest, high - rest), place)

    def _element(self, index: Array, share: Array, size: int) -> tuple[Array, Array]:
        kept = index.clip(0, size - 1)
        if self.padding == "zeros":
            return kept, np.where(index == kept, share, share.dtype.type(0))
        if self.padding == "reflection":
            return np.trunc(self._reflected(index.astype(np.float64), size)).astype(np.int64).clip(0, size - 1), share
        return kept, share


def _cubic(distance: Array) -> Array:
    """Return the weight of an element at a distance, by Keys' cubic convolution."""
    a, d = distance.dtype.type(CUBIC), np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.asarray(np.where(d <= 1, near, far))
