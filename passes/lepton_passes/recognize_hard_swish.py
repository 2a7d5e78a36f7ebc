"""Hard swish and hard sigmoid, from what exporters write for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lepton_ir.ir import Builder, Value
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import DeclarativePattern, Node, Pattern, PatternBuilder, Var

_SIXTH = 1 / 6


class HardSigmoid(DeclarativePattern):
    """clip(x + 3, 0, 6) / 6, or clip(x / 6 + 1 / 2, 0, 1)."""

    @staticmethod
    def before(p: PatternBuilder, x: Var) -> list[Node]:
        six = p.clip(p.add(x, 3.0), 0.0, 6.0)
        line = p.add(p.any_of(p.mul(x, _SIXTH), p.div(x, 6.0)), 0.5)
        return [p.div(six, 6.0), p.mul(six, _SIXTH), p.clip(line, 0.0, 1.0)]

    @staticmethod
    def after(b: Builder, x: Value) -> Value:
        y: Value = b.hard_sigmoid(x, alpha=_SIXTH, beta=0.5)
        return y


class HardSwish(DeclarativePattern):
    """x * hard_sigmoid(x) with slope 1/6."""

    @staticmethod
    def before(p: PatternBuilder, x: Var) -> list[Node]:
        six = p.clip(p.add(x, 3.0), 0.0, 6.0)
        return [
            p.mul(x, p.hard_sigmoid(x, alpha=_SIXTH, beta=0.5)),
            p.div(p.mul(x, six), 6.0),
            p.mul(p.mul(x, six), _SIXTH),
        ]

    @staticmethod
    def after(b: Builder, x: Value) -> Value:
        y: Value = b.hard_swish(x)
        return y


@register_pass("recognize-hard-swish")
@dataclass(frozen=True)
class RecognizeHardSwish(PatternPass):
    """Find hard swish and hard sigmoid in primitive operations."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return [HardSwish(), HardSigmoid()]
