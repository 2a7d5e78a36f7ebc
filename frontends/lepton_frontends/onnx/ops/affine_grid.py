"""AffineGrid: where an affine map takes the centers, or the corners, of a grid's cells."""

from __future__ import annotations

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.types import DType


@onnx_op("AffineGrid", since=20)
def affine_grid(b: OnnxBuilder, theta: Value, size: Value, *, align_corners: int = 0) -> Value:
    """The coordinates of every cell, the last axis first, and a 1, times the map."""
    batch, _, *spatial = b.dims(size, "size of the grid")
    rank = len(spatial)
    if theta.rank != 3 or rank not in (2, 3):
        raise UnsupportedError(
            f"theta is {theta.type} for a grid of {rank} spatial axes",
            "it maps 2 or 3 axes; the model is not valid ONNX",
        )
    columns = [_coordinates(b, theta, spatial, axis, bool(align_corners)) for axis in reversed(range(rank))]
    ones = b.tensor_full(b.like(theta, 1), shape=(*spatial, 1))
    places = b.reshaped(b.tensor_concat([*columns, ones], axis=rank), (1, product(spatial), rank + 1))
    mapped = b.linalg_matmul(places, theta, transpose_b=True)
    return b.reshaped(mapped, (batch, *spatial, rank))


def _coordinates(b: OnnxBuilder, like: Value, spatial: list[Dim], axis: int, align_corners: bool) -> Value:
    """Return the coordinates from -1 to 1 along an axis, for every cell."""
    steps = spatial[axis]
    shape: list[Dim] = [1] * (len(spatial) + 1)
    shape[axis] = steps
    at = b.cast(b.tensor_iota(shape=shape, axis=axis, dtype=DType.I64), to=like.tensor.dtype)
    count = b.cast(b.reshaped(b.tensor_dims(dims=(steps,)), ()), to=like.tensor.dtype)
    one, two = b.like(like, 1), b.like(like, 2)
    if align_corners:
        line = b.sub(b.div(b.mul(at, two), b.maximum(b.sub(count, one), one)), one)
    else:
        line = b.sub(b.div(b.add(b.mul(at, two), one), count), one)
    return b.tensor_expand(line, shape=(*spatial, 1))
