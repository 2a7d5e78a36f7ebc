"""Softmax, from its definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lepton_ir.ir import Builder, Value
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import DeclarativePattern, Node, Pattern, PatternBuilder, Var


def _one_axis(axes: Sequence[int]) -> str | None:
    return None if len(axes) == 1 else f"the sum is over {len(axes)} axes, not one"


class Softmax(DeclarativePattern):
    """exp(x) / sum(exp(x)), with the maximum subtracted before or not."""

    @staticmethod
    def before(p: PatternBuilder, x: Var) -> list[Node]:
        axes = p.attr("axes")
        shifted = p.exp(p.sub(x, p.reduce_max(x, axes=axes, keepdims=True)))
        return [p.div(e, p.reduce_sum(e, axes=axes, keepdims=True)) for e in (shifted, p.exp(x))]

    @staticmethod
    def check(axes: Sequence[int]) -> str | None:
        return _one_axis(axes)

    @staticmethod
    def after(b: Builder, x: Value, axes: Sequence[int]) -> Value:
        y: Value = b.nn_softmax(x, axis=axes[0])
        return y


class LogSoftmax(DeclarativePattern):
    """log(softmax(x)), or x minus the logarithm of the sum of the exponentials."""

    @staticmethod
    def before(p: PatternBuilder, x: Var) -> list[Node]:
        axes = p.attr("axes")
        shifted = p.sub(x, p.reduce_max(x, axes=axes, keepdims=True))
        total = p.log(p.reduce_sum(p.exp(shifted), axes=axes, keepdims=True))
        return [p.sub(shifted, total), p.sub(x, p.reduce_log_sum_exp(x, axes=axes, keepdims=True))]

    @staticmethod
    def check(axes: Sequence[int]) -> str | None:
        return _one_axis(axes)

    @staticmethod
    def after(b: Builder, x: Value, axes: Sequence[int]) -> Value:
        y: Value = b.nn_log_softmax(x, axis=axes[0])
        return y


class LogOfSoftmax(DeclarativePattern):
    """log(softmax(x))."""

    @staticmethod
    def before(p: PatternBuilder, x: Var) -> Node:
        return p.log(p.nn_softmax(x, axis=p.attr("axis")))

    @staticmethod
    def after(b: Builder, x: Value, axis: int) -> Value:
        y: Value = b.nn_log_softmax(x, axis=axis)
        return y


@register_pass("recognize-softmax")
@dataclass(frozen=True)
class RecognizeSoftmax(PatternPass):
    """Find softmax and log-softmax in primitive operations."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return [Softmax(), LogSoftmax(), LogOfSoftmax()]
