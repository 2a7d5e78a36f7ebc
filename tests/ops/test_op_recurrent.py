"""Recurrent layers and quantization against ONNX Runtime and the ONNX reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from op_harness import assert_close, evaluate, floats, make, ort, reference

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


QUANTIZED = [np.uint8, np.int8, np.uint16, np.int16]


@pytest.mark.parametrize("dtype", QUANTIZED)
@pytest.mark.parametrize("per_axis", [False, True])
def test_quantize_and_dequantize(dtype: Any, per_axis: bool) -> None:
    x, to = floats(3, 4, 5, low=-8, high=8), DType.of(np.dtype(dtype))
    shape = (4,) if per_axis else ()
    scale = floats(*shape, low=0.01, high=0.1).reshape(shape)
    zero = np.asarray(np.full(shape, 3), dtype)
    q = evaluate("quant.quantize", x, scale, zero, to=to)
    assert_close(q, ort("QuantizeLinear", x, scale, zero, axis=1))
    assert_close(evaluate("quant.dequantize", q, scale, zero, to=DType.F32), ort("DequantizeLinear", q, scale, zero))


def test_quantization_rounds_halves_to_even_and_clamps() -> None:
    x = np.array([0.5, 1.5, -0.5, 2.5, 1e9, -1e9], np.float32)
    found = evaluate("quant.quantize", x, np.float32(1).reshape(()), to=DType.I8)
    np.testing.assert_array_equal(found, [0, 2, 0, 2, 127, -128])


def test_blocked_quantization() -> None:
    x, scale, zero = floats(2, 7), floats(2, 3, low=0.1, high=1.0), np.full((2, 3), 2, np.uint8)
    found = evaluate("quant.quantize", x, scale, zero, axis=1, block_size=3, to=DType.U8)
    spread = np.repeat(scale, 3, 1)[:, :7]
    np.testing.assert_array_equal(found, np.clip(np.rint(x / spread) + 2, 0, 255))
    back = evaluate("quant.dequantize", found, scale, zero, axis=1, block_size=3, to=DType.F32)
    np.testing.assert_allclose(back, (found.astype(np.float32) - 2) * spread, rtol=1e-6)


def test_quantization_to_float8() -> None:
    x, scale = floats(3, 4), np.float32(0.25).reshape(())
    found = evaluate("quant.quantize", x, scale, to=DType.F8E4M3FN)
    np.testing.assert_array_equal(found.astype(np.float32), (x / scale).astype(DType.F8E4M3FN.numpy).astype(np.float32))


def test_quantization_errors() -> None:
    with pytest.raises(InferenceError, match="3 elements along axis 1, but the scale is"):
        make("quant.quantize", tensor((2, 3)), tensor((4,)), to=DType.I8)
    with pytest.raises(InferenceError, match="differ in shape"):
        make("quant.quantize", tensor((2, 3)), tensor((3,)), TensorType((), DType.I8), to=DType.I8)


def test_reference_agrees_on_int4() -> None:
    x, scale = floats(8, low=-20, high=20), np.float32(1.5).reshape(())
    zero = np.zeros((), DType.I4.numpy)
    expected = reference("QuantizeLinear", x, scale, zero)
    found = evaluate("quant.quantize", x, scale, zero, to=DType.I4)
    np.testing.assert_array_equal(found.astype(np.int8), np.asarray(expected).astype(np.int8))
