"""Loss functions that compare elements or vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.opmath import rounded_once
from lepton_frontends.aten.ops.vector_norm import pairwise_distance
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import number_of, promoted
from lepton_ir.ir.core import Value

MEAN, SUM = 1, 2


def reduced(b: AtenBuilder, x: Value, reduction: Any) -> Value:
    """Return the losses of single elements (0), their mean (1) or their sum (2)."""
    if reduction == MEAN:
        return b.reduce_mean(x, axes=tuple(range(x.rank)), keepdims=False)
    return b.reduce_sum(x, axes=tuple(range(x.rank)), keepdims=False) if reduction == SUM else x


def _loss(b: AtenBuilder, compute: Callable[..., Value], reduction: Any, *given: Value) -> Value:
    return rounded_once(b, lambda *xs: reduced(b, compute(*xs), reduction), *promoted(b, *given))


def _positive(b: AtenBuilder, x: Value) -> Value:
    return b.maximum(x, b.like(x, 0))


@aten_op("mse_loss")
def mse_loss(b: AtenBuilder, self: Value, target: Value, reduction: Any = MEAN) -> Value:
    def compute(x: Value, y: Value) -> Value:
        distance = b.sub(x, y)
        return b.mul(distance, distance)

    return _loss(b, compute, reduction, self, target)


@aten_op("l1_loss")
def l1_loss(b: AtenBuilder, self: Value, target: Value, reduction: Any = MEAN) -> Value:
    return _loss(b, lambda x, y: b.abs(b.sub(x, y)), reduction, self, target)


@aten_op("smooth_l1_loss")
def smooth_l1_loss(b: AtenBuilder, self: Value, target: Value, reduction: Any = MEAN, beta: Any = 1.0) -> Value:
    edge = float(number_of(beta, "beta"))
    if edge == 0:
        return l1_loss(b, self, target, reduction)

    def compute(x: Value, y: Value) -> Value:
        z = b.abs(b.sub(x, y))
        inside = b.mul(b.mul(z, z), b.like(z, 0.5 / edge))
        return b.where(b.lt(z, b.like(z, edge)), inside, b.sub(z, b.like(z, edge / 2)))

    return _loss(b, compute, reduction, self, target)


@aten_op("huber_loss")
def huber_loss(b: AtenBuilder, self: Value, target: Value, reduction: Any = MEAN, delta: Any = 1.0) -> Value:
    edge = float(number_of(delta, "delta"))

    def compute(x: Value, y: Value) -> Value:
        z = b.abs(b.sub(x, y))
        inside = b.mul(b.mul(z, z), b.like(z, 0.5))
        return b.where(b.le(z, b.like(z, edge)), inside, b.mul(b.sub(z, b.like(z, edge / 2)), b.like(z, edge)))

    return _loss(b, compute, reduction, self, target)


@aten_op("binary_cross_entropy")
def binary_cross_entropy(
    b: AtenBuilder, self: Value, target: Value, weight: Value | None = None, reduction: Any = MEAN
) -> Value:
    """Logarithms are at least -100."""

    def compute(x: Value, y: Value, *weights: Value) -> Value:
        least, one = b.like(x, -100), b.like(x, 1)
        hit, miss = b.maximum(b.log(x), least), b.maximum(b.log1p(b.neg(x)), least)
        loss = b.sub(b.mul(b.sub(y, one), miss), b.mul(y, hit))
        return b.mul(loss, *weights) if weights else loss

    return _loss(b, compute, reduction, self, target, *([] if weight is None else [weight]))


@aten_op("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    b: AtenBuilder, self: Value, target: Value, weight: Value | None = None, pos_weight: Value | None = None,
    reduction: Any = MEAN,
) -> Value:  # fmt: skip
    extra = [w for w in (weight, pos_weight) if w is not None]

    def compute(x: Value, y: Value, *weights: Value) -> Value:
        one = b.like(x, 1)
        surprise = b.softplus(b.neg(x))
        if pos_weight is not None:
            surprise = b.mul(surprise, b.add(one, b.mul(b.sub(weights[-1], one), y)))
        loss = b.add(b.mul(b.sub(one, y), x), surprise)
        return loss if weight is None else b.mul(loss, weights[0])

    return _loss(b, compute, reduction, self, target, *extra)


@aten_op("kl_div")
def kl_div(b: AtenBuilder, self: Value, target: Value, reduction: Any = MEAN, *, log_target: Any = False) -> Value:
    def compute(x: Value, y: Value) -> Value:
        if log_target:
            return b.mul(b.exp(y), b.sub(y, x))
        # 0 log 0 is 0.
        own = b.where(b.eq(y, b.like(y, 0)), y, b.mul(y, b.log(y)))
        return b.sub(own, b.mul(y, x))

    return _loss(b, compute, reduction, self, target)


@aten_op("soft_margin_loss")
def soft_margin_loss(b: AtenBuilder, self: Value, target: Value, reduction: Any = MEAN) -> Value:
    x, y = promoted(b, self, target)
    return reduced(b, b.log1p(b.exp(b.neg(b.mul(x, y)))), reduction)


@aten_op("hinge_embedding_loss")
def hinge_embedding_loss(b: AtenBuilder, self: Value, target: Value, margin: Any = 1.0, reduction: Any = MEAN) -> Value:
    x, y = promoted(b, self, target)
    zero = b.like(x, 0)
    below = _positive(b, b.sub(b.like(x, number_of(margin, "margin")), x))
    first = b.where(b.ne(y, b.like(y, 1)), below, zero)
    return reduced(b, b.add(first, b.where(b.ne(y, b.like(y, -1)), x, zero)), reduction)


@aten_op("margin_ranking_loss")
def margin_ranking_loss(
    b: AtenBuilder, input1: Value, input2: Value, target: Value, margin: Any = 0.0, reduction: Any = MEAN
) -> Value:
    x, y, sign = promoted(b, input1, input2, target)
    # Integers wrap in their own type before the margin makes floats of them.
    ahead = b.mul(b.neg(sign), b.sub(x, y))

    def compute(z: Value) -> Value:
        return reduced(b, _positive(b, b.add(z, b.like(z, number_of(margin, "margin")))), reduction)

    return rounded_once(b, compute, ahead)


@aten_op("cosine_embedding_loss")
def cosine_embedding_loss(
    b: AtenBuilder, input1: Value, input2: Value, target: Value, margin: Any = 0.0, reduction: Any = MEAN
) -> Value:
    axes = (target.rank,)

    def inner(x: Value, y: Value) -> Value:
        return b.reduce_sum(b.mul(x, y), axes=axes, keepdims=False)

    def compute(x: Value, y: Value, sign: Value) -> Value:
        tiny, zero = b.like(x, 1e-12), b.like(x, 0)
        sizes = b.mul(b.add(inner(x, x), tiny), b.add(inner(y, y), tiny))
        cosine = b.div(inner(x, y), b.sqrt(sizes))
        alike = b.sub(b.like(x, 1), cosine)
        different = _positive(b, b.sub(cosine, b.like(x, number_of(margin, "margin"))))
        first = b.where(b.eq(sign, b.like(x, 1)), alike, zero)
        return b.add(first, b.where(b.eq(sign, b.like(x, -1)), different, zero))

    return _loss(b, compute, reduction, input1, input2, target)


@aten_op("triplet_margin_loss")
def triplet_margin_loss(
    b: AtenBuilder, anchor: Value, positive: Value, negative: Value, margin: Any = 1.0, p: Any = 2.0, eps: Any = 1e-6,
    swap: Any = False, reduction: Any = MEAN,
) -> Value:  # fmt: skip
    inside, outside = (pairwise_distance(b, anchor, other, p, eps) for other in (positive, negative))
    if swap:
        outside = b.minimum(outside, pairwise_distance(b, positive, negative, p, eps))

    def compute(near: Value, far: Value) -> Value:
        return _positive(b, b.add(b.sub(near, far), b.like(near, number_of(margin, "margin"))))

    return _loss(b, compute, reduction, inside, outside)


@aten_op("poisson_nll_loss")
def poisson_nll_loss(
    b: AtenBuilder, input: Value, target: Value, log_input: Any, full: Any, eps: Any, reduction: Any
) -> Value:
    def compute(x: Value, y: Value) -> Value:
        if log_input:
            loss = b.sub(b.exp(x), b.mul(y, x))
        else:
            loss = b.sub(x, b.mul(y, b.log(b.add(x, b.like(x, number_of(eps, "epsilon"))))))
        if not full:
            return loss
        # Stirling's approximation of the logarithm of the target's factorial.
        root = b.mul(b.log(b.mul(y, b.like(y, 2 * math.pi))), b.like(y, 0.5))
        factorial = b.add(b.sub(b.mul(y, b.log(y)), y), root)
        return b.add(loss, b.where(b.le(y, b.like(y, 1)), b.like(y, 0), factorial))

    return _loss(b, compute, reduction, input, target)
