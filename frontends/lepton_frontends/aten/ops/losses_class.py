"""Loss functions whose targets are classes."""

from __future__ import annotations

from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.losses import MEAN, SUM, reduced
from lepton_frontends.aten.ops.opmath import dim_tensor, rounded_once, wide_type
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import int_of, number_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import product
from lepton_ir.ir.types import DType


def _class_axis(x: Value) -> int:
    return 0 if x.rank == 1 else 1


def _sum(b: AtenBuilder, x: Value) -> Value:
    return reduced(b, x, SUM)


def _picked(
    b: AtenBuilder, x: Value, target: Value, weight: Value | None, ignore_index: Any
) -> tuple[Value, Value, Value]:
    """Return each target's element of x, its weight (0 of ignored targets), and whether it counts."""
    axis = _class_axis(x)
    classes = b.convert(target, DType.I64)
    counts = b.ne(classes, b.const(int_of(ignore_index, "ignored class"), dtype=DType.I64))
    known = b.where(counts, classes, b.const(0, dtype=DType.I64))
    places = b.reshaped(known, (*x.shape[:axis], 1, *x.shape[axis + 1 :]))
    found = b.reshaped(b.tensor_gather_elements(x, places, axis=axis), target.shape)
    zero, one = b.like(x, 0), b.like(x, 1)
    weights = one if weight is None else b.tensor_gather(b.convert(weight, x.tensor.dtype), known, axis=0)
    return b.where(counts, found, zero), b.where(counts, weights, zero), counts


def _nll(
    b: AtenBuilder, x: Value, target: Value, weight: Value | None, reduction: Any, ignore_index: Any
) -> tuple[Value, Value]:
    """Return the loss and the sum of the targets' weights."""
    found, weights, _ = _picked(b, x, target, weight, ignore_index)
    losses, total = b.neg(b.mul(found, weights)), _sum(b, weights)
    if reduction not in (MEAN, SUM):
        return losses, total
    return (b.div(_sum(b, losses), total) if reduction == MEAN else _sum(b, losses)), total


@aten_op("nll_loss", "nll_loss2d", "nll_loss_nd")
def nll_loss(
    b: AtenBuilder, self: Value, target: Value, weight: Value | None = None, reduction: Any = MEAN,
    ignore_index: Any = -100,
) -> Value:  # fmt: skip
    return rounded_once(b, lambda x: _nll(b, x, target, weight, reduction, ignore_index)[0], self)


@aten_op("nll_loss_forward", "nll_loss2d_forward")
def nll_loss_forward(
    b: AtenBuilder, self: Value, target: Value, weight: Value | None, reduction: Any, ignore_index: Any
) -> tuple[Value, Value]:
    """The sum of weights is 0 where the losses are not reduced."""
    wide = b.convert(self, wide_type(self.tensor.dtype))
    loss, total = _nll(b, wide, target, weight, reduction, ignore_index)
    total = total if reduction in (MEAN, SUM) else b.like(wide, 0)
    return b.convert(loss, self.tensor.dtype), b.convert(total, self.tensor.dtype)


@aten_op("cross_entropy_loss")
def cross_entropy_loss(
    b: AtenBuilder, self: Value, target: Value, weight: Value | None = None, reduction: Any = MEAN,
    ignore_index: Any = -100, label_smoothing: Any = 0.0,
) -> Value:  # fmt: skip
    smoothing = float(number_of(label_smoothing, "label smoothing"))

    def compute(x: Value) -> Value:
        scores = b.nn_log_softmax(x, axis=_class_axis(x))
        if target.tensor.dtype.is_float:
            return _of_probabilities(b, scores, b.convert(target, x.tensor.dtype), weight, reduction, smoothing)
        loss = _nll(b, scores, target, weight, reduction, ignore_index)[0]
        if not smoothing:
            return loss
        spread = _smooth(b, scores, target, weight, reduction, ignore_index)
        share = b.div(b.like(x, smoothing), dim_tensor(b, x.shape[_class_axis(x)], x.tensor.dtype))
        return b.add(b.mul(loss, b.like(x, 1 - smoothing)), b.mul(spread, share))

    return rounded_once(b, compute, self)


def _along_classes(b: AtenBuilder, weight: Value, x: Value) -> Value:
    """Return weights of classes so that they broadcast to x."""
    shape = (weight.shape[0], *[1] * (x.rank - _class_axis(x) - 1))
    return b.reshaped(b.convert(weight, x.tensor.dtype), shape)


def _smooth(b: AtenBuilder, scores: Value, target: Value, weight: Value | None, reduction: Any, ignore: Any) -> Value:
    """Return the loss against all classes alike."""
    weighted = scores if weight is None else b.mul(scores, _along_classes(b, weight, scores))
    _, weights, counts = _picked(b, scores, target, weight, ignore)
    losses = b.neg(b.reduce_sum(weighted, axes=(_class_axis(scores),), keepdims=False))
    losses = b.where(counts, losses, b.like(scores, 0))
    if reduction not in (MEAN, SUM):
        return losses
    return b.div(_sum(b, losses), _sum(b, weights)) if reduction == MEAN else _sum(b, losses)


def _of_probabilities(
    b: AtenBuilder, scores: Value, target: Value, weight: Value | None, reduction: Any, smoothing: float
) -> Value:
    axis = _class_axis(scores)
    classes = dim_tensor(b, scores.shape[axis], scores.tensor.dtype)
    if smoothing:
        rest = b.div(b.like(target, smoothing), classes)
        target = b.add(b.mul(target, b.like(target, 1 - smoothing)), rest)
    products = b.mul(scores, target)
    if weight is not None:
        products = b.mul(products, _along_classes(b, weight, scores))
    losses = b.neg(b.reduce_sum(products, axes=(axis,), keepdims=False))
    if reduction != MEAN:
        return reduced(b, losses, reduction)
    count = b.div(dim_tensor(b, product(scores.shape), scores.tensor.dtype), classes)
    return b.div(_sum(b, losses), count)


@aten_op("multi_margin_loss")
def multi_margin_loss(
    b: AtenBuilder, self: Value, target: Value, p: Any = 1, margin: Any = 1, weight: Value | None = None,
    reduction: Any = MEAN,
) -> Value:  # fmt: skip
    """Of every other class, how far its score comes within the margin of the target's."""

    def compute(x: Value) -> Value:
        rows = x if x.rank == 2 else b.reshaped(x, (1, product(x.shape)))
        classes = b.reshaped(b.convert(target, DType.I64), (rows.shape[0], 1))
        own = b.tensor_gather_elements(rows, classes, axis=1)
        excess = b.maximum(b.add(b.sub(rows, own), b.like(x, number_of(margin, "margin"))), b.like(x, 0))
        if p == 2:
            excess = b.mul(excess, excess)
        if weight is not None:
            excess = b.mul(excess, b.tensor_gather(b.convert(weight, x.tensor.dtype), classes, axis=0))
        others = b.ne(b.tensor_iota(shape=(1, rows.shape[1]), axis=1), classes)
        total = b.reduce_sum(b.where(others, excess, b.like(x, 0)), axes=(1,), keepdims=False)
        losses = b.div(total, dim_tensor(b, rows.shape[1], x.tensor.dtype))
        return reduced(b, losses if target.rank else b.reshaped(losses, ()), reduction)

    return rounded_once(b, compute, self)


@aten_op("multilabel_margin_loss", "multilabel_margin_loss_forward")
def multilabel_margin_loss(b: AtenBuilder, self: Value, target: Value, reduction: Any = MEAN) -> Any:
    """A row's targets are the classes up to the first -1."""
    rows, size = (self.shape[0], self.shape[1]) if self.rank == 2 else (1, product(self.shape))
    zero = b.const(0, dtype=DType.I64)
    listed = b.reshaped(b.convert(target, DType.I64), (rows, size))
    ended = b.tensor_cumsum(b.convert(b.lt(listed, zero), DType.I64), axis=1)
    valid = b.eq(ended, zero)
    named = b.where(valid, listed, b.const(-1, dtype=DType.I64))
    same = b.eq(b.reshaped(named, (rows, size, 1)), b.tensor_iota(shape=(1, 1, size), axis=2))
    is_target = b.reduce_any(same, axes=(1,), keepdims=False)

    def compute(x: Value) -> Value:
        table = b.reshaped(x, (rows, size))
        own = b.tensor_gather_elements(table, b.where(valid, listed, zero), axis=1)
        apart = b.sub(b.reshaped(own, (rows, size, 1)), b.reshaped(table, (rows, 1, size)))
        excess = b.maximum(b.sub(b.like(x, 1), apart), b.like(x, 0))
        counts = b.and_(b.reshaped(valid, (rows, size, 1)), b.not_(b.reshaped(is_target, (rows, 1, size))))
        total = b.reduce_sum(b.where(counts, excess, b.like(x, 0)), axes=(1, 2), keepdims=False)
        losses = b.div(total, dim_tensor(b, size, x.tensor.dtype))
        return reduced(b, losses if self.rank == 2 else b.reshaped(losses, ()), reduction)

    loss = rounded_once(b, compute, self)
    if b.op == "multilabel_margin_loss":
        return loss
    return loss, b.reshaped(b.convert(is_target, self.tensor.dtype), target.shape)
