"""GELU, from what exporters write for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lepton_ir.ir import Builder, Value
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import DeclarativePattern, Node, Pattern, PatternBuilder, Var


def _half_of_product(p: PatternBuilder, x: Var, factor: Node) -> list[Node]:
    """Return the ways to write ``0.5 * x * factor``."""
    return [p.mul(x, p.mul(factor, 0.5)), p.mul(p.mul(x, factor), 0.5), p.mul(p.mul(x, 0.5), factor)]


class GeluErf(DeclarativePattern):
    """x * (1 + erf(x / sqrt 2)) / 2."""

    @staticmethod
    def before(p: PatternBuilder, x: Var) -> list[Node]:
        inner = p.any_of(p.div(x, math.sqrt(2)), p.mul(x, math.sqrt(0.5)))
        return _half_of_product(p, x, p.add(p.erf(inner), 1.0))

    @staticmethod
    def after(b: Builder, x: Value) -> Value:
        y: Value = b.gelu(x)
        return y


class GeluTanh(DeclarativePattern):
    """x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2."""

    @staticmethod
    def before(p: PatternBuilder, x: Var) -> list[Node]:
        k, c = math.sqrt(2 / math.pi), 0.044715
        square = p.any_of(p.mul(x, x), p.pow(x, 2.0))
        cube = p.any_of(p.pow(x, 3.0), p.mul(square, x))
        inner = p.any_of(
            p.mul(p.add(x, p.mul(cube, c)), k),
            p.mul(p.mul(x, k), p.add(p.mul(square, c), 1.0)),
            p.mul(x, p.mul(p.add(p.mul(square, c), 1.0), k)),
            p.mul(p.add(x, p.mul(x, p.mul(square, c))), k),
            p.mul(p.mul(x, p.add(p.mul(square, c), 1.0)), k),
        )
        return _half_of_product(p, x, p.add(p.tanh(inner), 1.0))

    @staticmethod
    def after(b: Builder, x: Value) -> Value:
        y: Value = b.gelu(x, approximate="tanh")
        return y


@register_pass("recognize-gelu")
@dataclass(frozen=True)
class RecognizeGelu(PatternPass):
    """Find GELU, exact or by tanh, in primitive operations."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return [GeluErf(), GeluTanh()]
