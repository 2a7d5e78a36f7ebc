"""Rows of a table, picked by index, and sums of them."""

from __future__ import annotations

from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import int_of, number_of, tensor_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import product
from lepton_ir.ir.types import DType

_MEAN, _MAX = 1, 2


@aten_op("embedding")
def embedding(
    b: AtenBuilder,
    weight: Value,
    indices: Value,
    padding_idx: Any = -1,
    scale_grad_by_freq: Any = False,
    sparse: Any = False,
) -> Value:
    return b.tensor_gather(weight, indices, axis=0)


@aten_op("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(
    b: AtenBuilder,
    weight: Value,
    indices: Value,
    offsets: Value,
    scale_grad_by_freq: Any = False,
    mode: Any = 0,
    sparse: Any = False,
    per_sample_weights: Value | None = None,
    include_last_offset: Any = False,
    padding_idx: Any = None,
) -> tuple[Value, Value, Value, None]:
    """Rows are added up, averaged, or their largest elements taken, between one offset and the next.

    The last result, which only gradients need, is left out.
    """
    count = offsets.shape[0] - 1 if include_last_offset else offsets.shape[0]
    starts = b.tensor_slice(offsets, starts=(0,), ends=(count,), axes=(0,), steps=(1,))
    picked = b.convert(indices, DType.I64)
    total, bags = indices.shape[0], _bags(b, starts, indices.shape[0])
    rows = b.tensor_gather(weight, picked, axis=0)
    if per_sample_weights is not None:
        rows = b.mul(rows, b.tensor_reshape(per_sample_weights, shape=(total, 1)))
    counted = _counted(b, picked, None if padding_idx is None else int_of(padding_idx, "padding index"), weight)
    ones = b.cast(counted, to=DType.I64)
    sizes = _scattered(b, b.full((count,), 0, DType.I64), bags, ones, "add")
    dtype, kind = weight.tensor.dtype, int_of(mode, "mode")
    width, column = weight.shape[1], b.tensor_reshape(counted, shape=(total, 1))
    neutral = float("-inf") if kind == _MAX else 0
    rows = b.where(column, rows, b.like(rows, neutral))
    # Sums of narrow floats are rounded once.
    wide = dtype if dtype is DType.F64 else DType.F32
    start = b.full((count, width), neutral, wide)
    y = _scattered(b, start, bags, b.convert(rows, wide), "max" if kind == _MAX else "add")
    size = b.tensor_reshape(sizes, shape=(count, 1))
    if kind == _MEAN:
        y = b.div(y, b.convert(b.maximum(size, b.like(size, 1)), wide))
    if kind == _MAX:
        y = b.where(b.eq(size, b.like(size, 0)), b.like(y, 0), y)
    return b.convert(y, dtype), bags, sizes, None


def _bags(b: AtenBuilder, starts: Value, total: Any) -> Value:
    """Return the number of the bag that each index belongs to: how many later bags have begun."""
    first = b.convert(b.tensor_reshape(starts, shape=(1, starts.shape[0])), DType.I64)
    begun = b.le(first, b.tensor_iota(shape=(total, 1), axis=0))
    number = b.reduce_sum(b.cast(begun, to=DType.I64), axes=(1,), keepdims=False)
    return b.sub(number, b.like(number, 1))


def _counted(b: AtenBuilder, indices: Value, padding: int | None, weight: Value) -> Value:
    """Return which indices are none of padding; the number of the padding may count from the end of the table."""
    if padding is None or (padding < 0 and b.op != "embedding_bag"):
        return b.full(indices.shape, True, DType.BOOL)
    row = tensor_of(b, padding + weight.shape[0] if padding < 0 else padding, DType.I64)
    return b.ne(indices, row)


def _scattered(b: AtenBuilder, start: Value, bags: Value, updates: Value, reduction: str) -> Value:
    index = b.tensor_reshape(bags, shape=(bags.shape[0], 1))
    return b.tensor_scatter_nd(start, index, updates, reduction=reduction)


@aten_op("embedding_renorm")
def embedding_renorm(b: AtenBuilder, self: Value, indices: Value, max_norm: Any, norm_type: Any) -> Value:
    """Rows that are picked and whose norm is larger than ``max_norm`` are scaled down to it."""
    limit, power = (float(number_of(n, "norm")) for n in (max_norm, norm_type))
    wide = b.convert(self, DType.F64)
    powers = b.reduce_sum(b.pow(b.abs(wide), b.like(wide, power)), axes=(1,))
    norms = b.pow(powers, b.like(wide, 1 / power))
    factors = b.div(b.like(wide, limit), b.add(norms, b.like(wide, 1e-7)))
    scaled = b.mul(self, b.convert(factors, self.tensor.dtype))
    flat = b.reshaped(indices, (product(indices.shape),))
    unused = b.full((self.shape[0],), False, DType.BOOL)
    used = _scattered(b, unused, flat, b.full(flat.shape, True, DType.BOOL), "none")
    changes = b.and_(b.tensor_reshape(used, shape=(self.shape[0], 1)), b.gt(norms, b.like(wide, limit)))
    return b.where(changes, scaled, self)
