"""The greedy driver: fixpoints, dead code, speed."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lepton_ir.ir import Builder, Function, Module, tensor
from lepton_ir.ir.opdef import REGISTRY
from lepton_ir.rewrite import Failure, Rewrite, apply_greedily, remove_dead_ops, rewrite_pattern
from lepton_ir.text import parse_module


@rewrite_pattern("neg")
def neg_of_neg(op: object) -> Failure | Rewrite:
    """neg(neg(x)) is x."""
    inner = op.x.op  # type: ignore[attr-defined]
    if inner is None or inner.name != "neg":
        return Failure("the operand is not a neg")
    return lambda rw: inner.x


def test_dead_operations_go_with_what_they_read() -> None:
    module = parse_module(
        """
        module {
          func @main(%x: tensor<4xf32>, %c: tensor<bool>) -> (tensor<4xf32>) {
            %0 = exp(%x)
            %1 = log(%0)
            %2 = control.if(%c) then {
              %a = neg(%1)
              yield %a
            } else {
              yield %0
            }
            return %x
          }
        }
        """
    )
    assert remove_dead_ops(module)
    assert [op.name for op in module.walk()] == ["return"]
    assert not remove_dead_ops(module)


def test_a_replacement_of_another_type_is_refused() -> None:
    @rewrite_pattern("neg")
    def wrong(op: object) -> Rewrite:
        return lambda rw: rw.const(np.zeros(3, np.float32))

    module = parse_module(
        "module { func @main(%x: tensor<4xf32>) -> (tensor<4xf32>) {\n %0 = neg(%x)\n return %0\n } }"
    )
    with pytest.raises(ValueError, match="its replacement"):
        apply_greedily(module, [wrong])


def test_ten_thousand_operations_take_about_a_second() -> None:
    function = Function("main", [tensor([4, 8])])
    b = Builder(function.body)
    value = function.arguments[0]
    for i in range(5001):
        value = b.neg(value) if i % 3 else b.add(value, function.arguments[0])
        b.exp(value)
    b.create(REGISTRY["return"], [value])
    module = Module([function])
    start = time.perf_counter()
    assert apply_greedily(module, [neg_of_neg])
    assert time.perf_counter() - start < 3
    assert not any(op.name in ("neg", "exp") for op in module.walk())
