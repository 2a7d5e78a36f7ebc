"""Recurrent layers against ONNX Runtime and the ONNX reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from op_harness import assert_close, evaluate, floats, make, ort

from lepton_ir.interp import run
from lepton_ir.ir import REGISTRY, Builder, DType, Function, InferenceError, Module, TensorType, sym, tensor
from lepton_ir.verifier import verify

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
T, B, INPUTS, H = 4, 3, 5, 6


def operands(kind: str, directions: int) -> list[Any]:
    """Return x, w, r, b, sequence lengths, h0 (and c0)."""
    g = GATES[kind] * H
    arrays: list[Any] = [
        floats(T, B, INPUTS, seed=1),
        floats(directions, g, INPUTS, seed=2),
        floats(directions, g, H, seed=3) / 3,
        floats(directions, 2 * g, seed=4),
        None,
        floats(directions, B, H, seed=5),
    ]
    return [*arrays, floats(directions, B, H, seed=6)] if kind == "lstm" else arrays


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("lengths", [None, [4, 2, 1]])
def test_layer(kind: str, direction: str, lengths: list[int] | None) -> None:
    xs = operands(kind, 2 if direction == "bidirectional" else 1)
    xs[4] = None if lengths is None else np.array(lengths, np.int32)
    outputs = 3 if kind == "lstm" else 2
    expected = ort(kind.upper(), *xs, outputs=outputs, hidden_size=H, direction=direction)
    for found, wanted in zip(evaluate(f"nn.{kind}", *xs, hidden_size=H, direction=direction), expected, strict=True):
        assert_close(found, wanted, 1e-4, 1e-5)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("kind", GATES)
def test_a_dynamic_number_of_steps_is_a_loop(kind: str, direction: str) -> None:
    xs = operands(kind, 2 if direction == "bidirectional" else 1)
    xs[4] = np.array([4, 2, 3], np.int32)
    types = [TensorType(a.shape, DType.of(a)) for a in xs]
    function = Function("main", [TensorType((sym("T"), *xs[0].shape[1:]), DType.F32), *types[1:]])
    b = Builder(function.body)
    op = b.create(REGISTRY[f"nn.{kind}"], *function.arguments, hidden_size=H, direction=direction)
    b.return_(list(op.results))
    whole = Module([function])
    loop = whole.clone()
    layer: Any = next(op for op in loop.main.body.ops if op.name == f"nn.{kind}")
    layer.replace_with(list(layer.decompose(Builder.before_op(layer))))
    verify(loop)
    assert any(op.name == "control.loop" for op in loop.main.body.ops)
    for found, wanted in zip(run(loop, xs), run(whole, xs), strict=True):
        assert_close(found, wanted, 1e-5, 1e-6)


def test_gru_with_reset_after_the_product() -> None:
    xs = operands("gru", 1)
    expected = ort("GRU", *xs, outputs=2, hidden_size=H, linear_before_reset=1)
    for found, wanted in zip(evaluate("nn.gru", *xs, hidden_size=H, linear_before_reset=True), expected, strict=True):
        assert_close(found, wanted, 1e-4, 1e-5)


def test_lstm_with_peepholes() -> None:
    xs = [*operands("lstm", 1), floats(1, 3 * H, seed=7)]
    expected = ort("LSTM", *xs, outputs=3, hidden_size=H)
    for found, wanted in zip(evaluate("nn.lstm", *xs, hidden_size=H), expected, strict=True):
        assert_close(found, wanted, 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("activations", "alpha", "beta"),
    [
        (("HardSigmoid", "Tanh"), (0.3,), (0.4,)),
        (("Sigmoid", "LeakyRelu"), (0.2,), ()),
        (("Affine", "ScaledTanh"), (0.5, 0.7), (0.1, 0.9)),
        (("Softsign", "Relu"), (), ()),
    ],
)
def test_activations(activations: tuple[str, ...], alpha: tuple[float, ...], beta: tuple[float, ...]) -> None:
    xs = operands("gru", 1)
    given: dict[str, Any] = {"hidden_size": H, "activations": activations}
    if alpha:
        given["activation_alpha"] = alpha
    if beta:
        given["activation_beta"] = beta
    expected = ort("GRU", *xs, outputs=2, **given)
    for found, wanted in zip(evaluate("nn.gru", *xs, **given), expected, strict=True):
        assert_close(found, wanted, 1e-4, 1e-5)


def test_recurrent_errors() -> None:
    x, w, r = tensor((T, B, INPUTS)), tensor((1, 4 * H, INPUTS)), tensor((1, 4 * H, H))
    with pytest.raises(InferenceError, match=r"r of nn.lstm must be \[1, 24, 6\]"):
        make("nn.lstm", x, w, w, hidden_size=H)
    with pytest.raises(InferenceError, match=r'nn.lstm has no direction "backward"'):
        make("nn.lstm", x, w, r, hidden_size=H, direction="backward")
    with pytest.raises(InferenceError, match=r"nn.lstm knows no activation Gelu"):
        make("nn.lstm", x, w, r, hidden_size=H, activations=("Gelu", "Tanh", "Tanh"))
    n = sym("N")
    assert make("nn.lstm", tensor((n, B, INPUTS)), w, r, hidden_size=H).results[0].type == tensor((n, 1, B, H))
