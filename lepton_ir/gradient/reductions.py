"""Derivatives of reductions along axes, and of what is made of them."""

from __future__ import annotations

from typing import Any

from lepton_ir.gradient.rules import counted, derivative, kept_shape, number, reshaped, zeros
from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import Value


def _spread(b: Builder, op: Any, value: Value) -> Value:
    """Return what belongs to a reduction's result for each element that went into it."""
    return b.tensor_expand(reshaped(b, value, kept_shape(op)), shape=tuple(op.x.shape))


@derivative("reduce.sum")
def total(b: Builder, op: Any, dy: Value) -> Value:
    return _spread(b, op, dy)


@derivative("reduce.mean")
def mean(b: Builder, op: Any, dy: Value) -> Value:
    count = counted(b, dy, [op.x.shape[a] for a in op.axes])
    return _spread(b, op, b.div(dy, count))


@derivative("reduce.max", "reduce.min")
def extreme(b: Builder, op: Any, dy: Value) -> Value:
    """Equal extremes share the gradient evenly, as in PyTorch's amax and amin."""
    axes = tuple(op.axes)
    peaks = b.cast(b.eq(op.x, reshaped(b, op.y, kept_shape(op))), to=dy.tensor.dtype)
    share = b.div(reshaped(b, dy, kept_shape(op)), b.reduce_sum(peaks, axes=axes))
    return b.mul(peaks, share)


@derivative("reduce.l2")
def norm(b: Builder, op: Any, dy: Value) -> Value:
    """x / y, and 0 at the tip of the cone."""
    zero = number(b, dy, 0)
    scale = b.where(b.eq(op.y, zero), zero, b.div(dy, op.y))
    return b.mul(op.x, _spread(b, op, scale))


@derivative("reduce.log_sum_exp")
def log_sum_exp(b: Builder, op: Any, dy: Value) -> Value:
    share = b.exp(b.sub(op.x, reshaped(b, op.y, kept_shape(op))))
    return b.mul(share, reshaped(b, dy, kept_shape(op)))


@derivative("reduce.prod")
def prod(b: Builder, op: Any, dy: Value) -> Value:
    """The product of the other elements, which is y / x only where no element is 0."""
    zero, one, axes = number(b, dy, 0), number(b, dy, 1), tuple(op.axes)
    is_zero = b.eq(op.x, zero)
    count = b.reduce_sum(b.cast(is_zero, to=dy.tensor.dtype), axes=axes)
    present = b.where(is_zero, one, op.x)
    rest = b.reduce_prod(present, axes=axes)
    alone = b.where(b.and_(b.eq(count, one), is_zero), rest, zero)
    others = b.where(b.eq(count, zero), b.div(rest, present), alone)
    return b.mul(others, reshaped(b, dy, kept_shape(op)))


@derivative("nn.softmax")
def softmax(b: Builder, op: Any, dy: Value) -> Value:
    weighted = b.mul(dy, op.y)
    total = b.reduce_sum(weighted, axes=(op.axis % op.x.rank,))
    return b.sub(weighted, b.mul(op.y, total))


@derivative("nn.log_softmax")
def log_softmax(b: Builder, op: Any, dy: Value) -> Value:
    total = b.reduce_sum(dy, axes=(op.axis % op.x.rank,))
    return b.sub(dy, b.mul(b.exp(op.y), total))


@derivative("tensor.cumsum")
def cumsum(b: Builder, op: Any, dy: Value) -> Value:
    return b.tensor_cumsum(dy, axis=op.axis, exclusive=op.exclusive, reverse=not op.reverse)


@derivative("tensor.topk")
def topk(b: Builder, op: Any, dvalues: Value | None, dindices: Value | None) -> Value | None:
    if dvalues is None:
        return None
    return b.tensor_scatter_elements(zeros(b, op.x), op.indices, dvalues, axis=op.axis, reduction="add")
