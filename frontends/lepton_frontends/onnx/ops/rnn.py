"""Recurrent networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_ir.ir.core import Value

Floats = Sequence[float]
Names = Sequence[str]


def _by_batch(b: OnnxBuilder, layout: int, *values: Value | None) -> list[Value | None]:
    """Return values whose first two axes are (batch, other) with these swapped, where the layout says so."""
    return [v if v is None or not layout else _swapped(b, v) for v in values]


def _swapped(b: OnnxBuilder, v: Value) -> Value:
    return b.tensor_transpose(v, perm=(1, 0, *range(2, v.rank)))


def _results(b: OnnxBuilder, layout: int, y: Value, *states: Value) -> list[Value]:
    if not layout:
        return [y, *states]
    return [b.tensor_transpose(y, perm=(2, 0, 1, 3)), *(_swapped(b, s) for s in states)]


def _common(
    activations: Names | None,
    activation_alpha: Floats | None,
    activation_beta: Floats | None,
    clip: float | None,
    direction: str,
    hidden_size: int,
) -> dict[str, Any]:
    """Return the attributes that all recurrent operators share, those only that the model sets."""
    known = {"tanh", "sigmoid", "relu", "affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu",
             "softsign", "softplus"}  # fmt: skip
    unknown = [a for a in activations or () if a.lower() not in known]
    if unknown:
        raise UnsupportedError(f"the activation {unknown[0]} is not known")
    given = {
        "activations": activations, "activation_alpha": activation_alpha, "activation_beta": activation_beta,
        "clip": clip,
    }  # fmt: skip
    return {"direction": direction, "hidden_size": hidden_size, **{k: v for k, v in given.items() if v is not None}}


@onnx_op("LSTM")
def lstm(
    b: OnnxBuilder,
    x: Value,
    w: Value,
    r: Value,
    bias: Value | None = None,
    seq_lens: Value | None = None,
    h0: Value | None = None,
    c0: Value | None = None,
    p: Value | None = None,
    *,
    hidden_size: int = 0,
    activations: Names | None = None,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    clip: float | None = None,
    direction: str = "forward",
    input_forget: int = 0,
    layout: int = 0,
) -> Any:
    x_, h, c = _by_batch(b, layout, x, h0, c0)
    common = _common(activations, activation_alpha, activation_beta, clip, direction, hidden_size or _hidden(r))
    if input_forget:
        common["input_forget"] = True
    return _results(b, layout, *b.nn_lstm(x_, w, r, bias, seq_lens, h, c, p, **common))


@onnx_op("GRU")
def gru(
    b: OnnxBuilder,
    x: Value,
    w: Value,
    r: Value,
    bias: Value | None = None,
    seq_lens: Value | None = None,
    h0: Value | None = None,
    *,
    hidden_size: int = 0,
    activations: Names | None = None,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    clip: float | None = None,
    direction: str = "forward",
    linear_before_reset: int = 0,
    layout: int = 0,
) -> Any:
    x_, h = _by_batch(b, layout, x, h0)
    common = _common(activations, activation_alpha, activation_beta, clip, direction, hidden_size or _hidden(r))
    common["linear_before_reset"] = bool(linear_before_reset)
    return _results(b, layout, *b.nn_gru(x_, w, r, bias, seq_lens, h, **common))


@onnx_op("RNN")
def rnn(
    b: OnnxBuilder,
    x: Value,
    w: Value,
    r: Value,
    bias: Value | None = None,
    seq_lens: Value | None = None,
    h0: Value | None = None,
    *,
    hidden_size: int = 0,
    activations: Names | None = None,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    clip: float | None = None,
    direction: str = "forward",
    layout: int = 0,
) -> Any:
    x_, h = _by_batch(b, layout, x, h0)
    common = _common(activations, activation_alpha, activation_beta, clip, direction, hidden_size or _hidden(r))
    return _results(b, layout, *b.nn_rnn(x_, w, r, bias, seq_lens, h, **common))


def _hidden(r: Value) -> int:
    size = r.shape[-1]
    if not isinstance(size, int):
        raise UnsupportedError("its hidden size is dynamic", "set the attribute hidden_size")
    return size
