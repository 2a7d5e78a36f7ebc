"""Joining and repeating tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.nonzero import flat
from lepton_frontends.aten.ops.slices import cut
from lepton_frontends.aten.ops.views import expanded, unsqueeze, with_rank
from lepton_frontends.aten.rules import Scalar, aten_op
from lepton_frontends.aten.types import axis_of, dim_of, dims_of, result_type
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.types import DType, broadcast_shapes


@aten_op("cat", "concat", "concatenate", "_cat")
def cat(b: AtenBuilder, tensors: Sequence[Value], dim: Any = 0) -> Value:
    """An empty vector joins with anything, as PyTorch has it."""
    dtype = result_type(*tensors)
    kept = [t for t in tensors if tuple(t.shape) != (0,)] or [tensors[0]]
    values = [b.convert(t, dtype) for t in kept]
    return values[0] if len(values) == 1 else b.tensor_concat(values, axis=axis_of(dim, values[0].rank))


@aten_op("stack")
def stack(b: AtenBuilder, tensors: Sequence[Value], dim: Any = 0) -> Value:
    axis = axis_of(dim, tensors[0].rank + 1)
    return cat(b, [unsqueeze(b, t, axis) for t in tensors], axis)


@aten_op("hstack")
def hstack(b: AtenBuilder, tensors: Sequence[Value]) -> Value:
    values = [with_rank(b, t, 1) for t in tensors]
    return cat(b, values, 0 if values[0].rank == 1 else 1)


@aten_op("vstack", "row_stack")
def vstack(b: AtenBuilder, tensors: Sequence[Value]) -> Value:
    return cat(b, [with_rank(b, t, 2) for t in tensors], 0)


@aten_op("dstack")
def dstack(b: AtenBuilder, tensors: Sequence[Value]) -> Value:
    return cat(b, [with_rank(b, t, 3) for t in tensors], 2)


@aten_op("column_stack")
def column_stack(b: AtenBuilder, tensors: Sequence[Value]) -> Value:
    return cat(b, [b.reshaped(t, (product(t.shape), 1)) if t.rank < 2 else t for t in tensors], 1)


@aten_op("repeat")
def repeat(b: AtenBuilder, self: Value, repeats: Any) -> Value:
    times = dims_of(b, repeats, "number of repeats")
    x = b.reshaped(self, (*[1] * (len(times) - self.rank), *self.shape))
    return x if all(t == 1 for t in times) else b.tensor_tile(x, repeats=times)


@aten_op("tile")
def tile(b: AtenBuilder, self: Value, dims: Any) -> Value:
    times = list(dims_of(b, dims, "number of repeats"))
    return repeat(b, self, [*[1] * (self.rank - len(times)), *times])


@aten_op("repeat_interleave")
def repeat_interleave(
    b: AtenBuilder, self: Value, repeats: Any = None, dim: Any = None, *, output_size: Any = None
) -> Value:
    if repeats is None:
        return _repeated_places(b, self, output_size)
    x = flat(b, self) if dim is None else b.reshaped(self, self.shape or (1,))
    axis = 0 if dim is None else axis_of(dim, self.rank)
    size = x.shape[axis]
    if isinstance(repeats, Value):
        times = expanded(b, flat(b, repeats), (size,))
        return b.tensor_gather(x, _repeated_places(b, times, output_size), axis=axis)
    count = dim_of(b, repeats, "number of repeats")
    apart = b.reshaped(x, (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]))
    wide = expanded(b, apart, (*x.shape[: axis + 1], count, *x.shape[axis + 1 :]))
    return b.reshaped(wide, (*x.shape[:axis], size * count, *x.shape[axis + 1 :]))


def _repeated_places(b: AtenBuilder, times: Value, output_size: Any) -> Value:
    """Return every place of a line as often as it says.

    Where each place's run begins, the number of the place goes up by one, by more where places do not occur.
    """
    counts = b.cast_to(times, DType.I64)
    known = b.array(counts)
    if known is not None:
        return b.const(np.repeat(np.arange(known.size), known))
    size = counts.shape[0]
    total = Scalar(b.reduce_sum(counts, axes=(0,), keepdims=False)) if output_size is None else output_size
    length = dim_of(b, total, "number of repeated elements")
    begins = b.tensor_cumsum(counts, axis=0, exclusive=True)
    ones = b.full((size,), 1, DType.I64)
    marks = b.tensor_scatter_elements(b.full((length + 1,), 0, DType.I64), begins, ones, axis=0, reduction="add")
    return cut(b, b.sub(b.tensor_cumsum(marks, axis=0), b.const(np.int64(1))), 0, 0, length)


@aten_op("meshgrid")
def meshgrid(b: AtenBuilder, tensors: Sequence[Value], *, indexing: str = "ij") -> list[Value]:
    axes = list(range(len(tensors)))
    if indexing == "xy" and len(axes) > 1:
        axes[:2] = [1, 0]
    shape: list[Dim] = [1] * len(axes)
    for axis, x in zip(axes, tensors, strict=True):
        shape[axis] = x.tensor.size
    return [
        expanded(b, b.reshaped(x, [x.tensor.size if i == axis else 1 for i in range(len(axes))]), shape)
        for axis, x in zip(axes, tensors, strict=True)
    ]


@aten_op("broadcast_tensors")
def broadcast_tensors(b: AtenBuilder, tensors: Sequence[Value]) -> list[Value]:
    shape = broadcast_shapes(*(t.shape for t in tensors))
    return [expanded(b, t, shape) for t in tensors]


@aten_op("block_diag")
def block_diag(b: AtenBuilder, tensors: Sequence[Value]) -> Value:
    """Matrices along the diagonal of a larger one, zero elsewhere."""
    dtype = result_type(*tensors)
    blocks = [with_rank(b, b.convert(t, dtype), 2) for t in tensors]
    width: Dim = 0
    for block in blocks:
        width = width + block.shape[1]
    rows: list[Value] = []
    start: Dim = 0
    for block in blocks:
        end = start + block.shape[1]
        rows.append(b.tensor_pad(block, None, pads=(0, start, 0, width - end)))
        start = end
    return cat(b, rows, 0)


@aten_op("cartesian_prod")
def cartesian_prod(b: AtenBuilder, tensors: Sequence[Value]) -> Value:
    if len(tensors) == 1:
        return tensors[0]
    return stack(b, [flat(b, grid) for grid in meshgrid(b, tensors)], 1)
