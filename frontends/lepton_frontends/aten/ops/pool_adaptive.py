"""Pooling over windows that divide each axis into a number of parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.conv import as_batch, without_batch
from lepton_frontends.aten.ops.pool import spatial_rank
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import dims_of, int_of, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.types import DType


@aten_op(
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d", "mkldnn_adaptive_avg_pool2d",
)  # fmt: skip
def adaptive_avg_pool(b: AtenBuilder, self: Value, output_size: Any) -> Value:
    rank = spatial_rank(b)
    x, alone = as_batch(b, self, rank)
    sizes = _sizes(b, output_size, rank)
    axes = tuple(2 + i for i in range(rank) if sizes[i] == 1 and x.shape[2 + i] != 1)
    if axes:
        x = b.reduce_mean(x, axes=axes)
    kernel = [_whole_parts(x.shape[2 + i], sizes[i]) for i in range(rank)]
    if all(k == 1 for k in kernel):
        return without_batch(b, x, alone)
    if None not in kernel:
        even = tuple(k for k in kernel if k is not None)
        return without_batch(b, b.nn_avg_pool(x, kernel_shape=even, strides=even), alone)
    for i in range(rank):
        x = _averaged(b, x, 2 + i, sizes[i])
    return without_batch(b, x, alone)


def _sizes(b: AtenBuilder, output_size: Any, rank: int) -> tuple[Dim, ...]:
    sizes = dims_of(b, output_size)
    return sizes * rank if len(sizes) == 1 else sizes


def _whole_parts(size: Dim, parts: Dim) -> int | None:
    """Return the size of equal parts, None where there are none or that is not known."""
    if size == parts:
        return 1
    if not isinstance(size, int) or not isinstance(parts, int) or not parts or not size or size % parts:
        return None
    return size // parts


def _bounds(size: Dim, parts: Dim) -> tuple[np.ndarray, np.ndarray]:
    """Return where each part begins and ends, as PyTorch has it: rounded down and up, so that parts may overlap."""
    if not isinstance(size, int) or not isinstance(parts, int):
        raise UnsupportedError(
            f"it divides the dynamic size {size} into {parts} parts", "give the dimension a size, or pool to size 1"
        )
    part = np.arange(parts)
    return part * size // max(parts, 1), -(-(part + 1) * size // max(parts, 1))


def _averaged(b: AtenBuilder, x: Value, axis: int, parts: Dim) -> Value:
    """Return the means of the parts of an axis."""
    size = x.shape[axis]
    if size == parts:
        return x
    if not isinstance(size, int) or not isinstance(parts, int):
        wide = x.tensor.dtype if x.tensor.dtype is DType.F64 else DType.F32
        return _product(b, _matrix(b, size, parts, wide), x, axis)
    cuts = zip(*_bounds(size, parts), strict=True)
    return averages(b, x, axis, [(s, e, 1 / (e - s)) for s, e in cuts], size)


def _matrix(b: AtenBuilder, size: Dim, parts: Dim, dtype: DType) -> Value:
    """Return the weights of the elements in the means of the parts, [parts, size], for dynamic sizes."""
    part, place = b.tensor_iota(shape=(parts, 1), axis=0), b.tensor_iota(shape=(1, size), axis=1)
    whole, count = tensor_of(b, size, DType.I64), tensor_of(b, parts, DType.I64)
    one = b.like(count, 1)
    start = b.floordiv(b.mul(part, whole), count)
    end = b.floordiv(b.add(b.mul(b.add(part, one), whole), b.sub(count, one)), count)
    inside = b.and_(b.ge(place, start), b.lt(place, end))
    return b.div(b.cast(inside, to=dtype), b.cast(b.sub(end, start), to=dtype))


def averages(
    b: AtenBuilder, x: Value, axis: int, rows: Sequence[tuple[int, int, float]], size: int, transposed: bool = False
) -> Value:
    """Return weighted sums along an axis of ``size`` elements, as a product with a matrix.

    Each of ``rows`` is (first, end, weight). ``transposed`` gives every element its share of the sums instead.
    """
    wide = x.tensor.dtype if x.tensor.dtype is DType.F64 else DType.F32
    matrix = np.zeros((len(rows), size), wide.numpy)
    for row, (first, end, weight) in enumerate(rows):
        matrix[row, first:end] = weight
    return _product(b, b.const(matrix.T.copy() if transposed else matrix), x, axis)


def _product(b: AtenBuilder, matrix: Value, x: Value, axis: int) -> Value:
    """Return the product of a matrix with an axis of ``x``."""
    tail = x.shape[axis + 1 :]
    flat = b.reshaped(b.convert(x, matrix.tensor.dtype), (*x.shape[: axis + 1], product(tail)))
    y = b.linalg_matmul(matrix, flat)
    return b.convert(b.reshaped(y, (*x.shape[:axis], matrix.shape[0], *tail)), x.tensor.dtype)


@aten_op("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_max_pool(b: AtenBuilder, self: Value, output_size: Any) -> tuple[Value, Value]:
    rank = spatial_rank(b)
    x, alone = as_batch(b, self, rank)
    sizes = _sizes(b, output_size, rank)
    spatial, seen, tables = x.shape[2:], x, []
    for i, (size, parts) in enumerate(zip(spatial, sizes, strict=True)):
        starts, ends = _bounds(size, parts)
        longest = int((ends - starts).max(initial=1))
        # Shorter parts repeat their last element, which changes no maximum and comes after its first occurrence.
        table = np.minimum(starts[:, None] + np.arange(longest), ends[:, None] - 1)
        tables.append(table)
        seen = b.tensor_gather(seen, b.const(table.astype(np.int64)), axis=2 + 2 * i)
    pairs = range(2, 2 + 2 * rank)
    seen = b.tensor_transpose(seen, perm=(0, 1, *pairs[::2], *pairs[1::2]))
    flat = b.reshaped(seen, (*x.shape[:2], *sizes, product(t.shape[1] for t in tables)))
    best = b.reduce_argmax(flat, axis=flat.rank - 1)
    places = b.tensor_expand(b.const(_flat_places(tables, spatial)), shape=tuple(flat.shape))
    indices = b.tensor_gather_elements(places, best, axis=flat.rank - 1)
    y = b.reduce_max(flat, axes=(flat.rank - 1,), keepdims=False)
    return without_batch(b, y, alone), without_batch(b, b.reshaped(indices, tuple(y.shape)), alone)


def _flat_places(tables: list[np.ndarray], spatial: tuple[Dim, ...]) -> np.ndarray:
    """Return the number in its plane of every element that is seen, [*parts, elements of a part]."""
    rank, total = len(tables), np.zeros((), np.int64)
    for i, table in enumerate(tables):
        shape = [1] * (2 * rank)
        shape[i], shape[rank + i] = table.shape
        total = total * int_of(spatial[i], "size") + table.reshape(shape)
    return total.reshape(*(t.shape[0] for t in tables), -1).astype(np.int64)
