"""Folding batch normalization into the weights beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_ir.ir import Value
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import (
    Failure,
    Pattern,
    PatternRewriter,
    Rewrite,
    apply_greedily,
    constant_array,
    rewrite_pattern,
)


def scale_and_shift(op: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return s and t in float64 such that the normalization is ``x * s + t``, None if it is not constant."""
    parts = [constant_array(v) for v in (op.scale, op.bias, op.mean, op.var)]
    if any(p is None for p in parts):
        return None
    scale, bias, mean, var = (np.asarray(p, np.float64) for p in parts)
    s = scale / np.sqrt(var + op.epsilon)
    return s, bias - mean * s


def _affine(op: Any) -> tuple[np.ndarray, np.ndarray] | Failure:
    return scale_and_shift(op) or Failure("the statistics are not constant", op)


def _const(rw: PatternRewriter, array: np.ndarray, like: Value) -> Value:
    return rw.const(np.ascontiguousarray(array), dtype=like.tensor.dtype, name=like.name)


def _shifted(bias: np.ndarray | None, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return t if bias is None else np.asarray(bias, np.float64) * s + t


@rewrite_pattern("nn.batch_norm")
def batch_norm_after_conv(op: Any) -> Failure | Rewrite:
    """The normalization of a convolution's result scales the weight and shifts the bias."""
    conv = op.x.op
    if conv is None or conv.name not in ("nn.conv", "nn.conv_transpose"):
        return Failure("the operand is not a convolution", op)
    if not conv.y.has_one_use:
        return Failure("the convolution's result is read elsewhere too", conv)
    if conv.layout != op.layout:
        return Failure("the layouts differ", op)
    w, bias = constant_array(conv.w), constant_array(conv.bias)
    affine = _affine(op)
    if isinstance(affine, Failure):
        return affine
    if w is None or (conv.bias is not None and bias is None):
        return Failure("the convolution's weights are not constant", conv)
    s, t = affine
    if conv.name == "nn.conv":
        factor = s.reshape(-1, *[1] * (w.ndim - 1))
        scaled = w * factor
    else:
        grouped = w.reshape(conv.group, w.shape[0] // conv.group, *w.shape[1:])
        scaled = (grouped * s.reshape(conv.group, 1, -1, *[1] * (w.ndim - 2))).reshape(w.shape)

    def rewrite(rw: PatternRewriter) -> Value:
        weight = _const(rw, scaled, conv.w)
        new_bias = rw.const(_shifted(bias, s, t), dtype=conv.w.tensor.dtype, name=op.bias.name)
        fused: Value = rw.create(type(conv), conv.x, weight, new_bias, **conv.attributes).results[0]
        return fused

    return rewrite


@rewrite_pattern("nn.conv")
def batch_norm_before_conv(op: Any) -> Failure | Rewrite:
    """A normalization before a convolution without padding scales the weight's inputs."""
    norm = op.x.op
    if norm is None or norm.name != "nn.batch_norm":
        return Failure("the operand is not normalized", op)
    if any(op.pads):
        return Failure("padding is added after the normalization", op)
    if norm.layout != op.layout:
        return Failure("the layouts differ", op)
    if not norm.y.has_one_use:
        return Failure("the normalized value is read elsewhere too", norm)
    w, bias = constant_array(op.w), constant_array(op.bias)
    affine = _affine(norm)
    if isinstance(affine, Failure):
        return affine
    if w is None or (op.bias is not None and bias is None):
        return Failure("the convolution's weights are not constant", op)
    s, t = affine
    per_group = w.reshape(op.group, w.shape[0] // op.group, *w.shape[1:])
    shape = (op.group, 1, w.shape[1], *[1] * (w.ndim - 2))
    shift = (per_group * t.reshape(shape)).reshape(w.shape[0], -1).sum(axis=1)
    scaled = (per_group * s.reshape(shape)).reshape(w.shape)

    def rewrite(rw: PatternRewriter) -> Value:
        new_bias = rw.const(shift if bias is None else bias + shift, dtype=op.w.tensor.dtype)
        fused: Value = rw.create(type(op), norm.x, _const(rw, scaled, op.w), new_bias, **op.attributes).results[0]
        return fused

    return rewrite


@rewrite_pattern("nn.batch_norm")
def batch_norm_after_matmul(op: Any) -> Failure | Rewrite:
    """The normalization of a product (with or without a bias added) scales the matrix's columns."""
    added = op.x.op
    bias: np.ndarray | None = None
    product = added
    if added is not None and added.name == "add" and op.x.has_one_use:
        sides = [(added.a, added.b), (added.b, added.a)]
        product, bias = next(
            ((a.op, array) for a, b in sides if (array := constant_array(b)) is not None and a.op is not None),
            (added, None),
        )
    if product is None or product.name != "linalg.matmul" or op.x.rank != 2:
        return Failure("the operand is not a matrix product", op)
    w = constant_array(product.b)
    affine = _affine(op)
    if isinstance(affine, Failure):
        return affine
    if w is None or w.ndim != 2 or not product.y.has_one_use or not op.x.has_one_use:
        return Failure("the matrix is not constant, or the product is read elsewhere too", product)
    s, t = affine
    scaled = w * (s.reshape(-1, 1) if product.transpose_b else s)

    def rewrite(rw: PatternRewriter) -> Value:
        fused = rw.create(type(product), product.a, _const(rw, scaled, product.b), **product.attributes).results[0]
        flat = None if bias is None else np.broadcast_to(bias.reshape(-1), s.shape)
        shifted: Value = rw.add(fused, rw.const(_shifted(flat, s, t), dtype=fused.tensor.dtype))
        return shifted

    return rewrite


@rewrite_pattern("nn.batch_norm")
def batch_norm_is_affine(op: Any) -> Failure | Rewrite:
    """What is left is a multiplication and an addition per channel."""
    affine = _affine(op)
    if isinstance(affine, Failure):
        return affine
    s, t = affine
    shape = (-1,) if op.layout == "NHWC" or op.x.rank < 3 else (-1, *[1] * (op.x.rank - 2))
    dtype = op.x.tensor.dtype

    def rewrite(rw: PatternRewriter) -> Value:
        scaled = rw.mul(op.x, rw.const(s.reshape(shape), dtype=dtype))
        shifted: Value = rw.add(scaled, rw.const(t.reshape(shape), dtype=dtype))
        return shifted

    return rewrite


@register_pass("fold-batch-norm")
@dataclass(frozen=True)
class FoldBatchNorm(PatternPass):
    """Fold batch normalization with constant statistics into the convolution or product before or after it.

    Attributes:
        split_rest: turn what cannot be folded into a multiplication and an addition.
    """

    split_rest: bool = True

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return [batch_norm_after_conv, batch_norm_after_matmul, batch_norm_before_conv]

    def run(self, module: Any, ctx: PassContext) -> bool:
        changed = super().run(module, ctx)
        if not self.split_rest:
            return changed
        return apply_greedily(module, [batch_norm_is_affine], ctx.control) or changed
