"""Layer norm and RMS norm, from their definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lepton_ir.ir import Builder, Value
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import DeclarativePattern, Node, OpNode, Pattern, PatternBuilder, Var


def _divided(p: PatternBuilder, x: Node, variance: OpNode) -> list[OpNode]:
    """Return the ways to write ``x / sqrt(variance + eps)``."""
    sum_ = p.add(variance, p.scalar("eps"))
    root = p.any_of(p.sqrt(sum_), p.pow(sum_, 0.5))
    inverse = p.any_of(p.rsqrt(sum_), p.reciprocal(root), p.div(1.0, root), p.pow(sum_, -0.5))
    return [p.div(x, root), p.mul(x, inverse)]


def _trailing(x: Value, axes: Sequence[int], eps: float) -> str | None:
    if sorted(axes) != list(range(x.rank - len(axes), x.rank)):
        return "the mean is not over the last axes"
    return None if eps > 0 else "epsilon is not positive"


class LayerNorm(DeclarativePattern):
    """(x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps)."""

    @staticmethod
    def before(p: PatternBuilder, x: Var) -> list[OpNode]:
        axes = p.attr("axes")
        centered = p.sub(x, p.reduce_mean(x, axes=axes, keepdims=True))
        return [
            form
            for square in (p.mul(centered, centered), p.pow(centered, 2.0))
            for form in _divided(p, centered, p.reduce_mean(square, axes=axes, keepdims=True))
        ]

    @staticmethod
    def check(x: Value, axes: Sequence[int], eps: float) -> str | None:
        return _trailing(x, axes, eps)

    @staticmethod
    def after(b: Builder, x: Value, axes: Sequence[int], eps: float) -> Value:
        y: Value = b.nn_layer_norm(x, axis=min(axes), epsilon=eps)
        return y


class RmsNorm(DeclarativePattern):
    """x / sqrt(mean(x^2) + eps)."""

    @staticmethod
    def before(p: PatternBuilder, x: Var) -> list[OpNode]:
        axes = p.attr("axes")
        return [
            form
            for square in (p.mul(x, x), p.pow(x, 2.0))
            for form in _divided(p, x, p.reduce_mean(square, axes=axes, keepdims=True))
        ]

    @staticmethod
    def check(x: Value, axes: Sequence[int], eps: float) -> str | None:
        return _trailing(x, axes, eps)

    @staticmethod
    def after(b: Builder, x: Value, axes: Sequence[int], eps: float) -> Value:
        y: Value = b.nn_rms_norm(x, axis=min(axes), epsilon=eps)
        return y


def _fits(norm: Any, w: Value) -> str | None:
    """Say why ``w`` cannot be scale or bias of ``norm``."""
    axis = norm.axis % norm.x.rank
    if w.tensor.dtype is not norm.x.tensor.dtype:
        return "the element types differ"
    if w.rank > norm.x.rank - axis:
        return "the factor also differs along axes that are not normalized"
    shape = norm.x.shape[norm.x.rank - w.rank :]
    return None if all(d in (1, n) for d, n in zip(w.shape, shape, strict=True)) else "the factor broadcasts the value"


class ScaleOfNorm(DeclarativePattern):
    """A factor after a norm that has none is its scale."""

    @staticmethod
    def before(p: PatternBuilder, x: Var, w: Var) -> list[OpNode]:
        return [
            p.mul(p.capture("norm", p.nn_layer_norm(x)), w),
            p.mul(p.capture("norm", p.nn_rms_norm(x)), w),
        ]

    @staticmethod
    def check(norm: Any, w: Value) -> str | None:
        return _fits(norm, w)

    @staticmethod
    def after(b: Builder, norm: Any, x: Value, w: Value) -> Value:
        y: Value = b.create(type(norm), x, w, **norm.attributes).results[0]
        return y


class BiasOfNorm(DeclarativePattern):
    """What is added after a layer norm without a bias is its bias."""

    @staticmethod
    def before(p: PatternBuilder, x: Var, scale: Var, w: Var) -> OpNode:
        return p.add(p.capture("norm", p.nn_layer_norm(x, scale)), w)

    @staticmethod
    def check(norm: Any, w: Value) -> str | None:
        return _fits(norm, w) if w.op is not None and w.op.name == "const" else "what is added is not constant"

    @staticmethod
    def after(b: Builder, norm: Any, x: Value, scale: Value, w: Value) -> Value:
        y: Value = b.nn_layer_norm(x, scale, w, **norm.attributes)
        return y


@register_pass("recognize-norms")
@dataclass(frozen=True)
class RecognizeNorms(PatternPass):
    """Find layer norm and RMS norm in primitive operations."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return [LayerNorm(), RmsNorm(), ScaleOfNorm(), BiasOfNorm()]
