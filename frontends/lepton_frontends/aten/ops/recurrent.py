"""Recurrent layers and cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.dropout import require_no_dropout
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import int_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value

_GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn_tanh": (0,), "rnn_relu": (0,)}
"""Which of PyTorch's gates stand where in Lepton's order (that of ONNX)."""

_PACKED = UnsupportedError("it runs over packed sequences", "pad the sequences, and export without packing them")


def _in_order(b: AtenBuilder, parameter: Value, order: Sequence[int]) -> Value:
    """Return a weight or a bias, [gates * hidden, ...], with its gates in another order."""
    if len(order) == 1:
        return parameter
    hidden = int_of(parameter.shape[0], "hidden size") // len(order)
    parts = b.tensor_split(parameter, axis=0, sizes=(hidden,) * len(order))
    return b.tensor_concat([parts[i] for i in order], axis=0)


def _stacked(b: AtenBuilder, values: Sequence[Value]) -> Value:
    """Return tensors one after the other along a new first axis."""
    rows = [b.tensor_reshape(v, shape=(1, *v.shape)) for v in values]
    return rows[0] if len(rows) == 1 else b.tensor_concat(rows, axis=0)


def _weights(
    b: AtenBuilder, params: Sequence[Value], order: Sequence[int], has_biases: bool
) -> tuple[Value, Value, Value | None]:
    """Return the weights and the bias of a layer from those of its directions, one direction after the other."""
    each = 4 if has_biases else 2
    directions = [params[i : i + each] for i in range(0, len(params), each)]
    w, r = (_stacked(b, [_in_order(b, d[i], order) for d in directions]) for i in (0, 1))
    if not has_biases:
        return w, r, None
    both = [b.tensor_concat([_in_order(b, p, order) for p in d[2:]], axis=0) for d in directions]
    return w, r, _stacked(b, both)


def _layers(
    b: AtenBuilder, kind: str, x: Value, states: Sequence[Value], params: Sequence[Value], rest: Sequence[Any]
) -> list[Value]:
    """Run the layers one after the other; return the last one's output and the last states of all."""
    has_biases, num_layers, dropout, train, bidirectional, batch_first = rest
    layers, directions = int_of(num_layers, "number of layers"), 2 if bidirectional else 1
    require_no_dropout(dropout, train and layers > 1)
    if len(params) != layers * directions * (4 if has_biases else 2):
        raise UnsupportedError("its states are projected (proj_size)", "build the layer without proj_size")
    if batch_first:
        x = b.tensor_transpose(x, perm=(1, 0, 2))
    each, finals = len(params) // layers, list[Sequence[Value]]()
    for layer in range(layers):
        first = layer * directions
        before = [b.tensor_slice(s, starts=(first,), ends=(first + directions,), axes=(0,), steps=(1,)) for s in states]
        w, r, bias = _weights(b, params[layer * each : (layer + 1) * each], _GATES[kind], bool(has_biases))
        y, *final = _run(b, kind, x, w, r, bias, before)
        finals.append(final)
        # [T, D, B, H] as [T, B, D * H].
        steps, _, batch, hidden = y.shape
        x = b.tensor_reshape(b.tensor_transpose(y, perm=(0, 2, 1, 3)), shape=(steps, batch, directions * hidden))
    if batch_first:
        x = b.tensor_transpose(x, perm=(1, 0, 2))
    lasts = [list(parts) for parts in zip(*finals, strict=True)]
    return [x, *(parts[0] if layers == 1 else b.tensor_concat(parts, axis=0) for parts in lasts)]


def _run(
    b: AtenBuilder, kind: str, x: Value, w: Value, r: Value, bias: Value | None, before: Sequence[Value]
) -> Sequence[Value]:
    directions = int_of(w.shape[0], "number of directions")
    common: dict[str, Any] = {
        "hidden_size": int_of(r.shape[2], "hidden size"),
        "direction": "bidirectional" if directions == 2 else "forward",
    }
    if kind == "lstm":
        return b.nn_lstm(x, w, r, bias, None, *before, **common)
    if kind == "gru":
        return b.nn_gru(x, w, r, bias, None, *before, linear_before_reset=True, **common)
    name = "Relu" if kind == "rnn_relu" else "Tanh"
    return b.nn_rnn(x, w, r, bias, None, *before, activations=(name,) * directions, **common)


@aten_op("lstm")
def lstm(b: AtenBuilder, input: Value, hx: Any, params: Any, *rest: Any) -> tuple[Value, ...]:
    if isinstance(hx, Value):
        raise _PACKED
    return tuple(_layers(b, "lstm", input, hx, params, rest))


@aten_op("gru", "rnn_tanh", "rnn_relu")
def plain_recurrent(b: AtenBuilder, input: Value, hx: Value, params: Any, *rest: Any) -> tuple[Value, ...]:
    if isinstance(params, Value):
        raise _PACKED
    return tuple(_layers(b, b.op, input, [hx], params, rest))


def _step(b: AtenBuilder, kind: str, x: Value, states: Sequence[Value], params: Sequence[Value | None]) -> list[Value]:
    """Return the states after one step."""
    present = [p for p in params if p is not None]
    if len(present) not in (2, 4):
        raise UnsupportedError("it has one of its two biases only")
    w, r, bias = _weights(b, present, _GATES[kind], len(present) == 4)
    steps = [b.tensor_reshape(v, shape=(1, *v.shape)) for v in (x, *states)]
    _, *finals = _run(b, kind, steps[0], w, r, bias, steps[1:])
    return [b.tensor_reshape(f, shape=tuple(s.shape)) for f, s in zip(finals, states, strict=True)]


@aten_op("lstm_cell")
def lstm_cell(
    b: AtenBuilder,
    input: Value,
    hx: Sequence[Value],
    w_ih: Value,
    w_hh: Value,
    b_ih: Value | None = None,
    b_hh: Value | None = None,
) -> tuple[Value, ...]:
    return tuple(_step(b, "lstm", input, hx, (w_ih, w_hh, b_ih, b_hh)))


@aten_op("gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
def plain_cell(
    b: AtenBuilder,
    input: Value,
    hx: Value,
    w_ih: Value,
    w_hh: Value,
    b_ih: Value | None = None,
    b_hh: Value | None = None,
) -> Value:
    return _step(b, b.op.removesuffix("_cell"), input, [hx], (w_ih, w_hh, b_ih, b_hh))[0]
