"""Concatenations of channels move to where they cost less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from lepton_ir.ir import Value
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import Failure, Pattern, PatternRewriter, Rewrite, constant_array, rewrite_pattern

_GAIN = 3
"""A convolution is split if it has this many times fewer output channels than input channels."""


def _channels_joined(op: Any) -> Any | Failure:
    """Return the concatenation of channels that ``op`` alone reads."""
    concat = op.x.op
    if concat is None or concat.name != "tensor.concat":
        return Failure("the operand is not a concatenation", op)
    if concat.axis % op.x.rank != op.channel_axis:
        return Failure("other axes than the channels are joined", concat)
    if not op.x.has_one_use:
        return Failure("the joined value is read elsewhere too", concat)
    return concat


@rewrite_pattern("nn.max_pool", "nn.avg_pool")
def concat_after_pool(op: Any) -> Failure | Rewrite:
    """Pool each part, then join what is left of them."""
    concat = _channels_joined(op)
    if isinstance(concat, Failure):
        return concat
    if all(s == 1 for s in op.strides):
        return Failure("the pool does not make the value smaller", op)

    def rewrite(rw: PatternRewriter) -> Value:
        parts = [rw.create(type(op), x, **op.attributes).results[0] for x in concat.present_operands]
        y: Value = rw.tensor_concat(parts, axis=concat.axis)
        return y

    return rewrite


@rewrite_pattern("nn.conv")
def sum_of_convs(op: Any) -> Failure | Rewrite:
    """A convolution of joined channels is the sum of convolutions of the parts: nothing has to be joined."""
    concat = _channels_joined(op)
    if isinstance(concat, Failure):
        return concat
    weight = constant_array(op.w)
    if weight is None or op.group != 1:
        return Failure("the weight is not constant, or there are groups", op)
    if op.x.tensor.dtype.bits < 32:
        return Failure("a partial sum would be rounded to few bits", op)
    sizes = [x.shape[op.channel_axis] for x in concat.present_operands]
    if not all(isinstance(size, int) for size in sizes) or len(sizes) > 2:
        return Failure("more than two parts, or of unknown size", concat)
    if weight.shape[0] * _GAIN > weight.shape[1]:
        return Failure("the sum would be as large as the parts", op)

    def rewrite(rw: PatternRewriter) -> Value:
        total: Value | None = None
        for x, end, size in zip(concat.present_operands, accumulate(sizes), sizes, strict=True):
            part = rw.const(weight[:, end - size : end], name=op.w.name)
            y = rw.create(type(op), x, part, op.bias if total is None else None, **op.attributes).results[0]
            total = y if total is None else rw.add(y, total)
        assert total is not None
        return total

    return rewrite


@register_pass("sink-concat")
@dataclass(frozen=True)
class SinkConcat(PatternPass):
    """Move concatenations of channels behind pools, and out of convolutions with few outputs."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return [concat_after_pool, sum_of_convs]
