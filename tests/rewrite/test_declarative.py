"""Declarative patterns: matching, captures, guards and reasons."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import lepton_ir.ops
from lepton_ir.ir import Builder, Function, Location, Module, Value, tensor
from lepton_ir.rewrite import (
    DeclarativePattern,
    Failure,
    Node,
    PatternBuilder,
    RewriteControl,
    Var,
    apply_greedily,
)


class GeluErf(DeclarativePattern):
    """x * 0.5 * (1 + erf(x / sqrt 2))."""

    @staticmethod
    def before(p: PatternBuilder, x: Var) -> list[Node]:
        erf = p.add(p.erf(p.div(x, math.sqrt(2))), 1.0)
        return [p.mul(x, p.mul(erf, 0.5)), p.mul(p.mul(x, erf), 0.5)]

    @staticmethod
    def after(b: Builder, x: Value) -> Value:
        return b.gelu(x)


class ScaledSquare(DeclarativePattern):
    """A check that refuses, and a scalar capture."""

    @staticmethod
    def before(p: PatternBuilder, x: Var) -> Node:
        return p.mul(p.mul(x, x), p.scalar("k"))

    @staticmethod
    def check(k: float, x: Value) -> str | None:
        return "k is negative" if k < 0 else None

    @staticmethod
    def after(b: Builder, x: Value, k: float) -> Value:
        y = b.mul(x, b.const(np.float32(math.sqrt(k))))
        return b.leaky_relu(y, alpha=k)


def graph(build: Any) -> Module:
    f = Function("main", [tensor([4, 8])], ["x"])
    b = Builder(f.body, location=Location(node="n"))
    b.create(lepton_ir.ir.REGISTRY["return"], [build(b, f.arguments[0])])
    return Module([f])


def names(module: Module) -> list[str]:
    return [op.name for op in module.walk() if op.name != "const"]


def gelu(b: Builder, x: Value) -> Value:
    erf = b.erf(b.div(x, b.const(np.full([1], 1.4142135, np.float32))))
    return b.mul(b.mul(b.const(np.float32(0.5)), b.add(b.const(np.float32(1)), erf)), x)


def test_commutative_forms_match() -> None:
    module = graph(gelu)
    assert apply_greedily(module, [GeluErf()])
    assert names(module) == ["gelu", "return"]
    assert not [op for op in module.walk() if op.name == "const"]


def test_other_constant_fails_with_a_reason() -> None:
    def build(b: Builder, x: Value) -> Value:
        erf = b.erf(b.div(x, b.const(np.float32(1.5))))
        return b.mul(x, b.mul(b.add(erf, b.const(np.float32(1))), b.const(np.float32(0.5))))

    module = graph(build)
    control = RewriteControl(explain=True)
    assert not apply_greedily(module, [GeluErf()], control)
    assert any("the constant is 1.5, not 1.414" in str(f) for _, f in control.failures)


def test_interior_value_with_another_reader_is_kept() -> None:
    def build(b: Builder, x: Value) -> Value:
        erf = b.erf(b.div(x, b.const(np.float32(math.sqrt(2)))))
        y = b.mul(x, b.mul(b.add(erf, b.const(np.float32(1))), b.const(np.float32(0.5))))
        return b.add(y, erf)

    module = graph(build)
    control = RewriteControl(explain=True)
    assert not apply_greedily(module, [GeluErf()], control)
    assert any("erf is read elsewhere" in str(f) for _, f in control.failures)


def test_check_and_captured_scalar() -> None:
    def build(k: float) -> Any:
        return lambda b, x: b.mul(b.const(np.float32(k)), b.mul(x, x))

    module = graph(build(4.0))
    assert apply_greedily(module, [ScaledSquare()])
    assert names(module) == ["mul", "leaky_relu", "return"]
    found = ScaledSquare().match(next(op for op in graph(build(-1.0)).walk() if op.name == "mul" and op.prev_op))
    assert isinstance(found, Failure)


def test_constant_that_broadcasts_up_is_refused() -> None:
    def build(b: Builder, x: Value) -> Value:
        return b.mul(b.mul(x, x), b.const(np.full([3, 1, 1], 4.0, np.float32)))

    assert not apply_greedily(graph(build), [ScaledSquare()])


def test_rewrites_fuse_locations() -> None:
    module = graph(gelu)
    for i, op in enumerate(module.walk()):
        op.location = Location(node=f"n{i}")
    apply_greedily(module, [GeluErf()])
    op = next(iter(module.walk()))
    assert set(op.location.names()) == {"n1", "n2", "n5", "n6", "n7"}


def test_limit_stops_rewriting() -> None:
    def build(b: Builder, x: Value) -> Value:
        return gelu(b, gelu(b, x))

    module = graph(build)
    control = RewriteControl(limit=1)
    assert apply_greedily(module, [GeluErf()], control)
    assert names(module).count("gelu") == 1
    assert control.done == 1 and control.last is not None and control.last[0] == "gelu-erf"
