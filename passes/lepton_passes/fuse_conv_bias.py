"""Folding an addition after a convolution into its bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_ir.ir import Value
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import Failure, Pattern, PatternRewriter, Rewrite, constant_array, rewrite_pattern

_CONVOLUTIONS = ("nn.conv", "nn.conv_transpose")


@rewrite_pattern("add", "sub")
def add_after_conv(op: Any) -> Failure | Rewrite:
    """The addition of a constant per channel is a bias."""
    sides = [(op.a, op.b)] if op.name == "sub" else [(op.a, op.b), (op.b, op.a)]
    conv, added = next(((a.op, b) for a, b in sides if a.op is not None and a.op.name in _CONVOLUTIONS), (None, None))
    if conv is None:
        return Failure("no operand is a convolution", op)
    array = constant_array(added)
    if array is None or (conv.bias is not None and constant_array(conv.bias) is None):
        return Failure("what is added is not constant", op)
    if not conv.y.has_one_use:
        return Failure("the convolution's result is read elsewhere too", conv)
    rank, axis = conv.y.rank, conv.channel_axis
    shape = (1,) * (rank - array.ndim) + array.shape
    if len(shape) != rank or any(d != 1 for i, d in enumerate(shape) if i != axis):
        return Failure("what is added differs within a channel", op)
    channels = conv.y.shape[axis]
    delta = np.broadcast_to(array.reshape(-1), (channels,))
    bias = constant_array(conv.bias)
    signed = -delta if op.name == "sub" else delta
    total = signed if bias is None else bias + signed

    def rewrite(rw: PatternRewriter) -> Value:
        new_bias = rw.const(total, dtype=conv.x.tensor.dtype)
        fused: Value = rw.create(type(conv), conv.x, conv.w, new_bias, **conv.attributes).results[0]
        return fused

    return rewrite


@rewrite_pattern("mul")
def mul_after_conv(op: Any) -> Failure | Rewrite:
    """The multiplication by a constant per channel scales weight and bias."""
    sides = [(op.a, op.b), (op.b, op.a)]
    conv, factor = next(((a.op, b) for a, b in sides if a.op is not None and a.op.name == "nn.conv"), (None, None))
    if conv is None:
        return Failure("no operand is a convolution", op)
    array, w, bias = constant_array(factor), constant_array(conv.w), constant_array(conv.bias)
    if array is None or w is None or (conv.bias is not None and bias is None):
        return Failure("weights and factor are not constant", op)
    if not conv.y.has_one_use:
        return Failure("the convolution's result is read elsewhere too", conv)
    rank, axis = conv.y.rank, conv.channel_axis
    shape = (1,) * (rank - array.ndim) + array.shape
    if len(shape) != rank or any(d != 1 for i, d in enumerate(shape) if i != axis):
        return Failure("the factor differs within a channel", op)
    scale = np.broadcast_to(array.reshape(-1), (w.shape[0],))

    def rewrite(rw: PatternRewriter) -> Value:
        weight = rw.const(w * scale.reshape(-1, *[1] * (w.ndim - 1)), dtype=conv.w.tensor.dtype, name=conv.w.name)
        new_bias = None if bias is None else rw.const(bias * scale, dtype=conv.w.tensor.dtype)
        fused: Value = rw.create(type(conv), conv.x, weight, new_bias, **conv.attributes).results[0]
        return fused

    return rewrite


@register_pass("fuse-conv-bias")
@dataclass(frozen=True)
class FuseConvBias(PatternPass):
    """Fold additions of and multiplications by a constant per channel into the convolution before them."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return [add_after_conv, mul_after_conv]
