"""The reference interpreter: inputs, dimensions, structure, failures."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from lepton_ir.diagnostics import LeptonError
from lepton_ir.interp import run
from lepton_ir.ir import REGISTRY, Module
from lepton_ir.text import parse_module
from lepton_ir.verifier import verify


def parse(body: str, head: str = "%x: tensor<Nx4xf32>") -> Module:
    module = parse_module(f"module {{ func @main({head}) -> ({_types(body)}) {{ {body} }} }}", file="m.lir")
    verify(module)
    return module


def _types(body: str) -> str:
    return body.rpartition(" : ")[2]


X = np.arange(8, dtype=np.float32).reshape(2, 4) - 3


def failure(module: Module, inputs: object) -> str:
    with pytest.raises(LeptonError) as caught:
        run(module, inputs)
    return str(caught.value)


def test_operations_run_in_order() -> None:
    module = parse("%a = relu(%x) %b = add(%a, %x) return %b : tensor<Nx4xf32>")
    np.testing.assert_array_equal(run(module, [X])[0], np.maximum(X, 0) + X)
    np.testing.assert_array_equal(run(module, {"x": X})[0], np.maximum(X, 0) + X)


def test_symbols_in_attributes_become_numbers() -> None:
    module = parse("%a = tensor.reshape(%x) {shape = [2, 2*N]} %d = tensor.dims() {dims = [N, 3*N + 1]} "
                   "return %a, %d : tensor<2x(2*N)xf32>, tensor<2xi64>")  # fmt: skip
    for n in (1, 3):
        x = np.arange(n * 4, dtype=np.float32).reshape(n, 4)
        a, d = run(module, [x])
        np.testing.assert_array_equal(a, x.reshape(2, 2 * n))
        assert d.tolist() == [n, 3 * n + 1]


def test_a_dimension_is_solved_for_where_it_stands_in_an_expression() -> None:
    module = parse(
        "%d = tensor.dims() {dims = [S]} return %d : tensor<1xi64>", "%x: tensor<(2*S + 1)xf32>, %y: tensor<Sxf32>"
    )
    assert run(module, [np.zeros(7, np.float32), np.zeros(3, np.float32)])[0].tolist() == [3]
    text = failure(module, [np.zeros(7, np.float32), np.zeros(4, np.float32)])
    assert "the input x does not fit" in text or "the input y does not fit" in text
    assert "the input x does not fit" in failure(module, [np.zeros(6, np.float32), np.zeros(3, np.float32)])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "missing: x"),
        ([X, X], "@main takes 1 inputs, got 2"),
        ({"y": X}, "unknown: y; missing: x"),
        ([X.astype(np.float64)], "expected tensor<Nx4xf32>, got tensor<2x4xf64>"),
        ([X[:, :3]], "expected tensor<Nx4xf32>, got the shape [2, 3]"),
        ([X[0]], "expected tensor<Nx4xf32>, got tensor<4xf32>"),
        ([None], "expected tensor<Nx4xf32>, got None"),
    ],
)
def test_inputs_that_do_not_fit_are_explained(inputs: object, message: str) -> None:
    assert message in failure(parse("return %x : tensor<Nx4xf32>"), inputs)


def test_one_symbol_has_one_value() -> None:
    module = parse("return %x : tensor<Nxf32>", "%x: tensor<Nxf32>, %y: tensor<Nxf32>")
    assert "expected tensor<Nxf32> (N is 2 here), got the shape [3]" in failure(
        module, [np.zeros(2, "f"), np.zeros(3, "f")]
    )


def test_only_the_branch_taken_runs() -> None:
    module = parse(
        "%y = control.if(%c) then { %a = neg(%x) yield %a } else { %b = exp(%x) %e = add(%b, %x) yield %e } "
        "return %y : tensor<Nx4xf32>",
        "%x: tensor<Nx4xf32>, %c: tensor<bool>",
    )
    for flag, expected, names in ((True, -X, ["neg"]), (False, np.exp(X) + X, ["exp", "add"])):
        seen: list[str] = []
        (y,) = run(module, [X, np.array(flag)], observe=lambda op, values, seen=seen: seen.append(op.name))
        np.testing.assert_array_equal(y, expected)
        assert seen == [*names, "control.if"]


LOOP = """%y = control.loop(%n, none, %x) {
      ^(%i: tensor<i64>, %v: tensor<4xf32>):
      %two = const dense<2.0> : tensor<f32>
      %w = mul(%v, %two)
      %limit = const dense<100.0> : tensor<f32>
      %s = reduce.max(%w) {axes = [0], keepdims = false}
      %go = lt(%s, %limit)
      yield %go, %w
    }
    return %y : tensor<4xf32>"""


@pytest.mark.parametrize(("trips", "factor"), [(0, 1), (3, 8), (50, 128)])
def test_a_loop_ends_by_count_or_by_condition(trips: int, factor: int) -> None:
    module = parse(LOOP, "%x: tensor<4xf32>, %n: tensor<i64>")
    (y,) = run(module, [np.ones(4, np.float32), np.array(trips)])
    np.testing.assert_array_equal(y, np.full(4, factor, np.float32))


def test_a_loop_that_may_not_begin_gives_what_it_got() -> None:
    module = parse(LOOP.replace("%n, none", "none, %c"), "%x: tensor<4xf32>, %c: tensor<bool>")
    np.testing.assert_array_equal(run(module, [np.ones(4, "f"), np.array(False)])[0], np.ones(4))
    np.testing.assert_array_equal(run(module, [np.ones(4, "f"), np.array(True)])[0], np.full(4, 128))


def test_kernels_and_calls() -> None:
    module = parse_module(
        """module {
  func @main(%x: tensor<Nx4xf32>) -> (tensor<Nx4xf32>, tensor<Nx2xf32>) {
    %k = kernel @k(%x, %x) {
      ^(%a: tensor<Nx4xf32>, %b: tensor<Nx4xf32>):
      %c = mul(%a, %b)
      yield %c
    }
    %y = tensor.slice(%k) {starts = [0], ends = [2], axes = [1], steps = [1]}
    %z = call @negate(%y) : tensor<Nx2xf32>
    return %k, %z
  }
  func @negate(%x: tensor<MxNxf32>) -> (tensor<MxNxf32>) {
    %y = neg(%x)
    return %y
  }
}"""
    )
    verify(module)
    k, z = run(module, [X])
    np.testing.assert_array_equal(k, X * X)
    np.testing.assert_array_equal(z, -(X * X)[:, :2])
    np.testing.assert_array_equal(run(module, [X], function="negate")[0], -X)
    with pytest.raises(LeptonError, match="no function @gone"):
        run(module, [X], function="gone")


def test_several_results_and_absent_operands() -> None:
    module = parse("%a, %b = tensor.split(%x) {axis = 1, sizes = [1, 3]} %c = clip(%b, none, none) "
                   "return %a, %c : tensor<Nx1xf32>, tensor<Nx3xf32>")  # fmt: skip
    a, c = run(module, [X])
    np.testing.assert_array_equal(np.concatenate([a, c], 1), X)


def test_a_failing_operation_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    module = parse("%a = relu(%x) return %a : tensor<Nx4xf32>")
    monkeypatch.setattr(REGISTRY["relu"], "evaluate", lambda op, x: 1 / 0)
    text = failure(module, [X])
    assert text.startswith("m.lir:1:") and "relu failed in the interpreter" in text
    assert "ZeroDivisionError" in text and "its operands: float32[2, 4]" in text


@pytest.mark.parametrize("wrong", [lambda x: x[:1], lambda x: x.astype(np.float64), lambda x: (x, x)])
def test_a_value_of_another_type_is_a_failure(monkeypatch: pytest.MonkeyPatch, wrong: object) -> None:
    module = parse("%a = relu(%x) return %a : tensor<Nx4xf32>")
    monkeypatch.setattr(REGISTRY["relu"], "evaluate", lambda op, x: wrong(x))  # type: ignore[operator]
    assert "relu failed in the interpreter" in failure(module, [X])


def test_values_are_released_after_their_last_use() -> None:
    module = parse("%a = neg(%x) %b = exp(%a) %c = exp(%b) return %c : tensor<Nx4xf32>")
    made: list[weakref.ref] = []
    alive: list[int] = []

    def observe(op: object, values: tuple[np.ndarray, ...]) -> None:
        made.append(weakref.ref(values[0]))
        alive.append(sum(r() is not None for r in made))

    run(module, [X], observe=observe)
    assert alive == [1, 2, 2]
