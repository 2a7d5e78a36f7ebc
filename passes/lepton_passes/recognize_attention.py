"""Attention, from the products and the softmax that exporters write for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lepton_ir.ir import Builder, Value
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import Failure, Pattern, Rewrite, constant_of, rewrite_pattern, uniform_scalar

_MASKED = -1e9
"""A score replaced by at most this counts as masked."""


def peel_scale(value: Value) -> tuple[Value, float]:
    """Return the value without the constant factors around it, and their product."""
    scale = 1.0
    while (op := value.op) is not None and value.has_one_use and op.name in ("mul", "div"):
        a, b = op.present_operands
        if op.name == "mul" and constant_of(a) is not None:
            a, b = b, a
        factor = uniform_scalar(b)
        if not isinstance(factor, float) or factor == 0 or tuple(a.shape) != tuple(value.shape):
            break
        scale = scale * factor if op.name == "mul" else scale / factor
        value = a
    return value, scale


@dataclass(frozen=True)
class _Scores:
    """The argument of the softmax, taken apart."""

    product: Any
    scale: float
    mask: Value | None = None
    keep: Value | None = None
    """Where this is false the score is masked."""
    inverted: bool = False


def _product(value: Value, scale: float = 1.0) -> _Scores | None:
    peeled, factor = peel_scale(value)
    op = peeled.op
    if op is None or op.name != "linalg.matmul" or not peeled.has_one_use or peeled.rank < 2:
        return None
    return _Scores(op, scale * factor)


def take_apart(scores: Value) -> _Scores | None:
    """Return the product in ``scores`` with its scale and its mask, None if that is not what it is."""
    found = _product(scores)
    if found is not None:
        return found
    op = scores.op
    if op is None or not scores.has_one_use:
        return None
    if op.name == "add":
        a, b = op.present_operands
        for side, mask in ((a, b), (b, a)):
            found = _product(side)
            if found is not None and tuple(side.shape) == tuple(scores.shape):
                return _Scores(found.product, found.scale, mask)
    if op.name == "where":
        condition, yes, no = op.present_operands
        for side, fill, inverted in ((yes, no, False), (no, yes, True)):
            found = _product(side)
            number = uniform_scalar(fill)
            if found is not None and number is not None and number <= _MASKED and side.shape == scores.shape:
                return _Scores(found.product, found.scale, fill, condition, inverted)
    return None


@rewrite_pattern("linalg.matmul")
def attention(op: Any) -> Failure | Rewrite:
    """softmax(q k^T * scale + mask) v."""
    softmax = op.a.op
    if softmax is None or softmax.name != "nn.softmax":
        return Failure("the left operand is not a softmax", op)
    if not op.a.has_one_use or op.transpose_a:
        return Failure("the probabilities are read elsewhere too, or transposed", softmax)
    if softmax.axis not in (-1, op.a.rank - 1) or op.b.rank < 2:
        return Failure("the softmax is not along the last axis", softmax)
    scores = take_apart(softmax.x)
    if scores is None:
        return Failure("the softmax is not of a product", softmax)
    product = scores.product
    if not product.a.tensor.dtype.is_float or min(product.a.rank, product.b.rank) < 2:
        return Failure("the operands of the product are not float matrices", product)
    if any(constant_of(v) is not None for v in (product.a, product.b, op.b)):
        return Failure("an operand is a constant matrix", product)
    q, q_scale = peel_scale(product.a)
    k, k_scale = peel_scale(product.b)

    def rewrite(rw: Builder) -> Value:
        mask = scores.mask
        if scores.keep is not None and mask is not None:
            zero = rw.const(0.0, dtype=mask.tensor.dtype)
            mask = rw.where(scores.keep, *((mask, zero) if scores.inverted else (zero, mask)))
        y: Value = rw.nn_attention(
            _swapped(rw, q) if product.transpose_a else q,
            k if product.transpose_b else _swapped(rw, k),
            _swapped(rw, op.b) if op.transpose_b else op.b,
            mask,
            scale=scores.scale * q_scale * k_scale,
        )
        return y

    return rewrite


def _swapped(b: Builder, value: Value) -> Value:
    perm = (*range(value.rank - 2), value.rank - 1, value.rank - 2)
    swapped: Value = b.tensor_transpose(value, perm=perm)
    return swapped


@register_pass("recognize-attention")
@dataclass(frozen=True)
class RecognizeAttention(PatternPass):
    """Find attention in products around a softmax: with scales anywhere, and a mask that is added or chosen by."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return [attention]
