"""SiLU and Mish, from what exporters write for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lepton_ir.ir import Builder, Value
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import DeclarativePattern, Node, Pattern, PatternBuilder, Var


class Silu(DeclarativePattern):
    """x * sigmoid(x)."""

    @staticmethod
    def before(p: PatternBuilder, x: Var) -> Node:
        return p.mul(x, p.any_of(p.sigmoid(x), p.reciprocal(p.add(p.exp(p.neg(x)), 1.0))))

    @staticmethod
    def after(b: Builder, x: Value) -> Value:
        y: Value = b.silu(x)
        return y


class SiluByDivision(DeclarativePattern):
    """x / (1 + exp(-x))."""

    @staticmethod
    def before(p: PatternBuilder, x: Var) -> Node:
        return p.div(x, p.add(p.exp(p.neg(x)), 1.0))

    @staticmethod
    def after(b: Builder, x: Value) -> Value:
        y: Value = b.silu(x)
        return y


class Mish(DeclarativePattern):
    """x * tanh(log(1 + exp(x)))."""

    @staticmethod
    def before(p: PatternBuilder, x: Var) -> Node:
        return p.mul(x, p.tanh(p.any_of(p.softplus(x), p.log(p.add(p.exp(x), 1.0)), p.log1p(p.exp(x)))))

    @staticmethod
    def after(b: Builder, x: Value) -> Value:
        y: Value = b.mish(x)
        return y


@register_pass("recognize-silu")
@dataclass(frozen=True)
class RecognizeSilu(PatternPass):
    """Find SiLU (swish) and Mish in primitive operations."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return [Silu(), SiluByDivision(), Mish()]
