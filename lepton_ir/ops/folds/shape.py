"""Canonicalizations of operators that rearrange elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.rewrite import Failure, PatternRewriter, Rewrite, constant_array, rewrite_pattern, uniform_scalar


def keeps_order(shape: Sequence[Dim], perm: Sequence[int]) -> bool:
    """Return whether a transposition moves only axes of size 1."""
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)


@rewrite_pattern("tensor.reshape", "tensor.expand", "tensor.slice")
def same_shape(op: Any) -> Failure | Rewrite:
    """A reshape or expand to the shape that is there, or a slice that takes everything, is nothing."""
    if op.x.type != op.y.type or (op.name == "tensor.slice" and any(s != 1 for s in op.steps)):
        return Failure("shape or order changes", op)
    return lambda rw: op.x


@rewrite_pattern("tensor.reshape")
def reshape_of_reshape(op: Any) -> Failure | Rewrite:
    """Of two reshapes only the last counts."""
    inner: Any = op.x.op
    if inner is None or inner.name != "tensor.reshape":
        return Failure("the operand is not reshaped", op)
    return lambda rw: rw.tensor_reshape(inner.x, shape=op.shape)


@rewrite_pattern("tensor.transpose")
def transpose_in_order(op: Any) -> Failure | Rewrite:
    """A transposition that only moves axes of size 1 is a reshape, or nothing."""
    if list(op.perm) == sorted(op.perm):
        return lambda rw: op.x
    if not keeps_order(op.x.shape, op.perm):
        return Failure("axes that are longer than 1 change places", op)
    return lambda rw: rw.tensor_reshape(op.x, shape=op.y.shape)


@rewrite_pattern("tensor.transpose")
def transpose_of_transpose(op: Any) -> Failure | Rewrite:
    """Two transpositions are one."""
    inner: Any = op.x.op
    if inner is None or inner.name != "tensor.transpose":
        return Failure("the operand is not transposed", op)
    return lambda rw: rw.tensor_transpose(inner.x, perm=[inner.perm[axis] for axis in op.perm])


@rewrite_pattern("tensor.expand")
def expand_of_expand(op: Any) -> Failure | Rewrite:
    """Of two expansions only the last counts; one that only adds axes of size 1 is a reshape."""
    inner: Any = op.x.op
    if inner is not None and inner.name == "tensor.expand":
        return lambda rw: rw.tensor_expand(inner.x, shape=op.shape)
    if product(op.x.shape) == product(op.shape):
        return lambda rw: rw.tensor_reshape(op.x, shape=op.shape)
    return Failure("elements are repeated", op)


@rewrite_pattern("tensor.concat")
def concat_of_few(op: Any) -> Failure | Rewrite:
    """Empty operands add nothing, and one alone is the result."""
    axis = op.axis % op.y.rank
    kept = [x for x in op.xs if x.shape[axis] != 0] or list(op.xs[:1])
    if len(kept) == 1 and kept[0].type == op.y.type:
        return lambda rw: kept[0]
    if len(kept) == len(op.xs):
        return Failure("every operand counts", op)
    return lambda rw: rw.tensor_concat(kept, axis=op.axis)


@rewrite_pattern("tensor.concat")
def concat_of_concat(op: Any) -> Failure | Rewrite:
    """A concatenation inside another along the same axis is part of it."""
    axis, flat = op.axis % op.y.rank, list[Value]()
    for x in op.xs:
        inner: Any = x.op
        nested = inner is not None and inner.name == "tensor.concat" and x.has_one_use and inner.axis % x.rank == axis
        flat.extend(inner.xs if nested else [x])
    if len(flat) == len(op.xs):
        return Failure("no operand is a concatenation along the axis of its own", op)
    return lambda rw: rw.tensor_concat(flat, axis=op.axis)


@rewrite_pattern("tensor.concat")
def concat_of_split(op: Any) -> Failure | Rewrite:
    """Putting all pieces of a split together again gives what was split."""
    inner: Any = op.xs[0].op
    if inner is None or inner.name != "tensor.split" or tuple(inner.results) != op.xs:
        return Failure("the operands are not all the pieces of a split", op)
    if inner.axis % op.y.rank != op.axis % op.y.rank or inner.x.type != op.y.type:
        return Failure("the split is along another axis", inner)
    return lambda rw: inner.x


@rewrite_pattern("tensor.split")
def split_into_one(op: Any) -> Failure | Rewrite:
    """A split into one piece is nothing."""
    if len(op.results) != 1 or op.results[0].type != op.x.type:
        return Failure("there are several pieces", op)
    return lambda rw: op.x


@rewrite_pattern("tensor.pad", "tensor.tile")
def pad_by_nothing(op: Any) -> Failure | Rewrite:
    """Padding by nothing, and repeating once, change nothing."""
    idle = 0 if op.name == "tensor.pad" else 1
    if any(d != idle for d in (op.pads if op.name == "tensor.pad" else op.repeats)) or op.x.type != op.y.type:
        return Failure("elements are added", op)
    return lambda rw: op.x


@rewrite_pattern("tensor.gather")
def gather_one(op: Any) -> Failure | Rewrite:
    """A gather by one constant index is a slice."""
    index = constant_array(op.indices)
    if index is None or index.size != 1:
        return Failure("the index is not one constant", op)
    at, axis = int(index.reshape(-1)[0]), op.axis % op.x.rank
    size = op.x.shape[axis]
    if isinstance(size, int) and not -size <= at < size:
        return Failure("the index is out of range", op)

    def rewrite(rw: PatternRewriter) -> Value:
        end = at + 1 if at != -1 else 2**63 - 1
        row = rw.tensor_slice(op.x, starts=(at,), ends=(end,), axes=(axis,), steps=(1,))
        y: Value = rw.tensor_reshape(row, shape=op.y.shape)
        return y

    return rewrite


@rewrite_pattern("reduce.sum", "reduce.mean", "reduce.max", "reduce.min", "reduce.prod", "reduce.any", "reduce.all")
def reduce_nothing(op: Any) -> Failure | Rewrite:
    """Reducing axes of size 1 is a reshape."""
    if any(op.x.shape[axis] != 1 for axis in op.axes):
        return Failure("an axis is longer than 1", op)
    return lambda rw: rw.tensor_reshape(op.x, shape=op.y.shape)


@rewrite_pattern("nn.conv")
def conv_of_pad(op: Any) -> Failure | Rewrite:
    """Zeros padded around the image are the convolution's own padding."""
    pad: Any = op.x.op
    if pad is None or pad.name != "tensor.pad" or pad.mode != "constant":
        return Failure("the operand is not padded", op)
    if pad.value is not None and uniform_scalar(pad.value) != 0:
        return Failure("the padding is not of zeros", pad)
    rank, spatial = op.x.rank, list(op.spatial_axes)
    others = [i for i in range(rank) if i not in spatial]
    if any(pad.pads[i] != 0 or pad.pads[i + rank] != 0 for i in others):
        return Failure("the batch or the channels are padded", pad)
    more = [pad.pads[i] for i in spatial] + [pad.pads[i + rank] for i in spatial]
    if any(not isinstance(p, int) or p < 0 for p in more):
        return Failure("the padding is negative or not known", pad)
    pads = tuple(p + q for p, q in zip(op.pads, more, strict=True))
    attributes = {**op.attributes, "pads": pads}
    return lambda rw: rw.nn_conv(pad.x, op.w, op.bias, **attributes)


@rewrite_pattern("control.if")
def if_decided(op: Any) -> Failure | Rewrite:
    """A branch whose condition is a constant is the region that it takes."""
    condition = uniform_scalar(op.condition)
    if condition is None:
        return Failure("the condition is not a constant", op)
    region = op.then_region if condition else op.else_region
    values = region.block.terminator.operands
    if any(v.type != r.type for v, r in zip(values, op.results, strict=True)):
        return Failure("the region's types are more special than the results'", op)

    def rewrite(rw: PatternRewriter) -> Sequence[Value]:
        for inner in list(region.block.ops)[:-1]:
            inner.detach()
            rw.insert(inner)
        return list(values)

    return rewrite
