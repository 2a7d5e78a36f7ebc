"""Recurrent layers: RNN, GRU and LSTM as ONNX defines them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import Block, OpResult, Region, Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.opdef import (
    InferenceError,
    Operation,
    attribute,
    operand,
    optional_operand,
    result,
)
from lepton_ir.ir.types import DType, TensorType, Type
from lepton_ir.ops.activations import scalar
from lepton_ir.ops.support import Array, dims_differ, require_rank

State = tuple[Value, ...]


class Recurrent(Operation):
    """Base class of the recurrent layers.

    T is the number of steps, B the batch, I the inputs, H the hidden size, D the number of directions, G the number
    of gates.
    """

    gates: ClassVar[int] = 1
    default_activations: ClassVar[tuple[str, ...]] = ()
    x: Value = operand("[T, B, I]")
    w: Value = operand("[D, G * H, I]")
    r: Value = operand("[D, G * H, H]")
    b: Value | None = optional_operand("[D, 2 * G * H]: for the input, then for the state")
    seq_lens: Value | None = optional_operand("[B], i32: how many steps of each sequence count")
    h0: Value | None = optional_operand("[D, B, H]: the state before the first step")
    hidden_size = attribute(int, doc="H")
    direction = attribute(str, default="forward", doc='"forward", "reverse" or "bidirectional"')
    activations = attribute(tuple[str, ...], default=(), doc="per direction; the layer's usual ones where left out")
    activation_alpha = attribute(tuple[float, ...], default=(), doc="for the activations that have one, in order")
    activation_beta = attribute(tuple[float, ...], default=(), doc="for the activations that have one, in order")
    clip = attribute(float, default=0.0, doc="clamp what enters the activations to [-clip, clip]; 0: do not")

    @property
    def directions(self) -> int:
        """How many directions the layer runs in."""
        return 2 if self.direction == "bidirectional" else 1

    def infer(self) -> Sequence[Type]:
        x, hidden, count = self.x.tensor, self.hidden_size, self.directions
        require_rank(f"x of {self.name}", x, 3)
        for what, value, shape in self.expected_shapes():
            if value is not None and (value.rank != len(shape) or any(map(dims_differ, value.shape, shape))):
                raise InferenceError(f"{what} of {self.name} must be {list(shape)}, got {value.type}")
        state = TensorType((count, x.shape[1], hidden), x.dtype)
        everything = TensorType((x.shape[0], count, x.shape[1], hidden), x.dtype)
        return [everything, *[state] * (len(self.spec.results) - 1)]

    def expected_shapes(self) -> list[tuple[str, Value | None, tuple[Dim, ...]]]:
        """Return name, value and the shape that it must have, of every operand but x."""
        _, batch, inputs = self.x.shape
        count, hidden, rows = self.directions, self.hidden_size, self.gates * self.hidden_size
        return [
            ("w", self.w, (count, rows, inputs)),
            ("r", self.r, (count, rows, hidden)),
            ("b", self.b, (count, 2 * rows)),
            ("seq_lens", self.seq_lens, (batch,)),
            ("h0", self.h0, (count, batch, hidden)),
        ]

    def verify(self) -> None:
        if self.direction not in ("forward", "reverse", "bidirectional"):
            raise InferenceError(f'{self.name} has no direction "{self.direction}"')
        names = self.activations or self.default_activations * self.directions
        if len(names) != len(self.default_activations) * self.directions:
            raise InferenceError(f"{self.name} needs {len(self.default_activations)} activations per direction")
        for name in names:
            if name.lower() not in _ACTIVATIONS:
                raise InferenceError(f"{self.name} knows no activation {name}")

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        """Run the decomposition on arrays."""
        from lepton_ir.ops.expand import evaluate_by_decomposition

        return evaluate_by_decomposition(self, operands)

    def decompose(self, b: Builder) -> Sequence[Value]:
        runs = [self._run(b, d) for d in range(self.directions)]
        everything = [run[0] for run in runs]
        states = [[run[1][i] for run in runs] for i in range(len(runs[0][1]))]
        results = [_joined(b, everything, axis=1)]
        return [*results, *(_joined(b, s, axis=0) for s in states)]

    def initial_state(self, b: Builder, d: int) -> State:
        """Return the state before the first step of direction ``d``; the hidden state comes first."""
        return (self.part_or_zero(b, self.h0, d),)

    def step(self, b: Builder, d: int, projected: Value, state: State, weights: State) -> State:
        """Return the state after a step: ``projected`` is the input times w (plus its bias), [B, G * H]."""
        raise TypeError(f"{self.name} has no step")

    def part_or_zero(self, b: Builder, value: Value | None, d: int) -> Value:
        """Return the part of a [D, B, H] state for direction ``d``, zeros where it is absent."""
        shape = (self.x.shape[1], self.hidden_size)
        if value is None:
            zeros: Value = b.tensor_full(scalar(b, self.x, 0), shape=shape)
            return zeros
        # The state's batch may bear another name than the input's; here they are one.
        part: Value = b.tensor_reshape(_part(b, value, d), shape=shape)
        return part

    def activation(self, b: Builder, d: int, index: int, x: Value) -> Value:
        """Apply the ``index``-th activation of direction ``d``."""
        names = self.activations or self.default_activations * self.directions
        alphas, betas = list(self.activation_alpha), list(self.activation_beta)
        wanted = d * len(self.default_activations) + index
        alpha = beta = 0.0
        for name in names[: wanted + 1]:
            default_alpha, default_beta = _ACTIVATIONS[name.lower()]
            alpha = alphas.pop(0) if default_alpha is not None and alphas else default_alpha or 0.0
            beta = betas.pop(0) if default_beta is not None and betas else default_beta or 0.0
        return _activate(b, names[wanted].lower(), self.clipped(b, x), alpha, beta)

    def clipped(self, b: Builder, x: Value) -> Value:
        """Clamp what enters an activation."""
        if not self.clip:
            return x
        y: Value = b.clip(x, scalar(b, x, -self.clip), scalar(b, x, self.clip))
        return y

    def projection_bias(self, b: Builder, d: int) -> Value | None:
        """Return what is added to the input's projection, [G * H]: both biases, as they are only ever added."""
        if self.b is None:
            return None
        first, second = self.biases(b, d)
        total: Value = b.add(first, second)
        return total

    def biases(self, b: Builder, d: int) -> tuple[Value, Value]:
        """Return the bias for the input and the one for the state, [G * H] each."""
        assert self.b is not None
        rows = self.gates * self.hidden_size
        first, second = b.tensor_split(_part(b, self.b, d), axis=0, sizes=(rows, rows))
        return first, second

    def weights(self, b: Builder, d: int) -> State:
        """Return what every step of direction ``d`` reads; the state's weight [G * H, H] comes first."""
        return (_part(b, self.r, d),)

    def _run(self, b: Builder, d: int) -> tuple[Value, State]:
        """Return every step's hidden state, [T, 1, B, H], and the last state, [1, B, H] each."""
        steps, batch, inputs = self.x.shape
        rows = self.gates * self.hidden_size
        flat = b.tensor_reshape(self.x, shape=(batch * steps, inputs))
        projected = b.linalg_matmul(flat, _part(b, self.w, d), transpose_b=True)
        bias = self.projection_bias(b, d)
        projected = projected if bias is None else b.add(projected, bias)
        projected = b.tensor_reshape(projected, shape=(steps, batch, rows))
        run = self._unrolled if isinstance(steps, int) else self._looped
        every, state = run(b, d, projected, self.initial_state(b, d), self.weights(b, d))
        every = b.tensor_reshape(every, shape=(steps, 1, batch, self.hidden_size))
        return every, tuple(b.tensor_reshape(s, shape=(1, batch, self.hidden_size)) for s in state)

    def _is_backwards(self, d: int) -> bool:
        return self.direction == "reverse" or d == 1

    def _unrolled(self, b: Builder, d: int, projected: Value, state: State, weights: State) -> tuple[Value, State]:
        """Write one step after the other; return every step's hidden state, [T, B, H], and the last state."""
        outputs: dict[int, Value] = {}
        steps = range(int(self.x.shape[0]))
        for t in reversed(steps) if self._is_backwards(d) else steps:
            after = self.step(b, d, _part(b, projected, t), state, weights)
            state, outputs[t] = self._masked(b, t, state, after)
        shape = (1, self.x.shape[1], self.hidden_size)
        return _joined(b, [b.tensor_reshape(outputs[t], shape=shape) for t in steps], axis=0), state

    def _looped(self, b: Builder, d: int, projected: Value, state: State, weights: State) -> tuple[Value, State]:
        """Write a loop over the steps, whose number is known at run time; see :meth:`_unrolled`."""
        steps, batch, _ = self.x.shape
        everything = TensorType((steps, batch, self.hidden_size), self.x.tensor.dtype)
        last = b.tensor_reshape(b.tensor_dims(dims=(steps - 1,)), shape=())
        block = Block([TensorType((), DType.I64), everything, *(s.type for s in state)])
        trip, outputs, *before = block.arguments
        inner = Builder(block, location=b.location)
        t = inner.sub(last, trip) if self._is_backwards(d) else trip
        after = self.step(inner, d, inner.tensor_gather(projected, t, axis=0), tuple(before), weights)
        kept, out = self._masked(inner, t, tuple(before), after)
        here = inner.eq(inner.tensor_iota(shape=(steps, 1, 1), axis=0), t)
        line = inner.where(here, inner.tensor_reshape(out, shape=(1, batch, self.hidden_size)), outputs)
        inner.yield_([inner.const(True), line, *kept])
        trips = b.tensor_reshape(b.tensor_dims(dims=(steps,)), shape=())
        zeros = b.tensor_full(scalar(b, self.x, 0), shape=everything.shape)
        every, *final = b.control_loop(trips, None, [zeros, *state], regions=[Region(block)])
        return every, tuple(final)

    def _masked(self, b: Builder, t: int | Value, before: State, after: State) -> tuple[State, Value]:
        """Keep the state, and put out zeros, where a sequence has ended."""
        if self.seq_lens is None:
            return after, after[0]
        dtype = self.seq_lens.tensor.dtype
        now = b.const(t, dtype=dtype) if isinstance(t, int) else b.cast(t, to=dtype)
        alive = b.lt(now, b.tensor_reshape(self.seq_lens, shape=(self.x.shape[1], 1)))
        kept = tuple(b.where(alive, new, old) for new, old in zip(after, before, strict=True))
        return kept, b.where(alive, after[0], scalar(b, self.x, 0))


class Rnn(Recurrent):
    """A simple recurrent layer: h = f(x w + h r + b)."""

    name = "nn.rnn"
    default_activations = ("Tanh",)
    y: OpResult = result("[T, D, B, H]: the state after every step")
    yh: OpResult = result("[D, B, H]: the last state")

    def step(self, b: Builder, d: int, projected: Value, state: State, weights: State) -> State:
        total = b.add(projected, b.linalg_matmul(state[0], weights[0], transpose_b=True))
        return (self.activation(b, d, 0, total),)


class Gru(Recurrent):
    """A gated recurrent unit; the gates' order is update, reset, hidden."""

    name = "nn.gru"
    gates = 3
    default_activations = ("Sigmoid", "Tanh")
    linear_before_reset = attribute(bool, default=False, doc="reset the projected state, not the state")
    y: OpResult = result("[T, D, B, H]: the state after every step")
    yh: OpResult = result("[D, B, H]: the last state")

    def projection_bias(self, b: Builder, d: int) -> Value | None:
        if self.b is None or not self.linear_before_reset:
            return super().projection_bias(b, d)
        # The hidden gate's bias for the state is inside of the reset and must wait.
        first, second = self.biases(b, d)
        h = self.hidden_size
        outer = b.tensor_slice(second, starts=(0,), ends=(2 * h,), axes=(0,), steps=(1,))
        padded: Value = b.add(first, b.tensor_pad(outer, None, pads=(0, h)))
        return padded

    def weights(self, b: Builder, d: int) -> State:
        h, r = self.hidden_size, _part(b, self.r, d)
        zr, hidden = b.tensor_split(r, axis=0, sizes=(2 * h, h))
        if self.b is None or not self.linear_before_reset:
            return (zr, hidden)
        _, second = self.biases(b, d)
        return (zr, hidden, b.tensor_slice(second, starts=(2 * h,), ends=(3 * h,), axes=(0,), steps=(1,)))

    def step(self, b: Builder, d: int, projected: Value, state: State, weights: State) -> State:
        h, size = state[0], self.hidden_size
        x_gates, x_hidden = b.tensor_split(projected, axis=1, sizes=(2 * size, size))
        gates = self.activation(b, d, 0, b.add(x_gates, b.linalg_matmul(h, weights[0], transpose_b=True)))
        update, reset = b.tensor_split(gates, axis=1, sizes=(size, size))
        if self.linear_before_reset:
            inner = b.linalg_matmul(h, weights[1], transpose_b=True)
            inner = b.mul(reset, b.add(inner, weights[2]) if len(weights) > 2 else inner)
        else:
            inner = b.linalg_matmul(b.mul(reset, h), weights[1], transpose_b=True)
        candidate = self.activation(b, d, 1, b.add(x_hidden, inner))
        # (1 - update) * candidate + update * h, with one multiplication.
        return (b.add(candidate, b.mul(update, b.sub(h, candidate))),)


class Lstm(Recurrent):
    """A long short-term memory; the gates' order is input, output, forget, cell."""

    name = "nn.lstm"
    gates = 4
    default_activations = ("Sigmoid", "Tanh", "Tanh")
    c0: Value | None = optional_operand("[D, B, H]: the cell before the first step")
    p: Value | None = optional_operand("[D, 3 * H]: peepholes for input, output, forget")
    input_forget = attribute(bool, default=False, doc="the forget gate is 1 minus the input gate")
    y: OpResult = result("[T, D, B, H]: the state after every step")
    yh: OpResult = result("[D, B, H]: the last state")
    yc: OpResult = result("[D, B, H]: the last cell")

    def expected_shapes(self) -> list[tuple[str, Value | None, tuple[Dim, ...]]]:
        count, hidden = self.directions, self.hidden_size
        cell, peepholes = (count, self.x.shape[1], hidden), (count, 3 * hidden)
        return [*super().expected_shapes(), ("c0", self.c0, cell), ("p", self.p, peepholes)]

    def initial_state(self, b: Builder, d: int) -> State:
        return (self.part_or_zero(b, self.h0, d), self.part_or_zero(b, self.c0, d))

    def weights(self, b: Builder, d: int) -> State:
        if self.p is None:
            return super().weights(b, d)
        h = self.hidden_size
        return (*super().weights(b, d), *b.tensor_split(_part(b, self.p, d), axis=0, sizes=(h, h, h)))

    def step(self, b: Builder, d: int, projected: Value, state: State, weights: State) -> State:
        (h, c), size = state, self.hidden_size
        r, *peepholes = weights
        total = b.add(projected, b.linalg_matmul(h, r, transpose_b=True))
        i, o, f, g = b.tensor_split(total, axis=1, sizes=(size,) * 4)
        if peepholes:
            i, f = b.add(i, b.mul(c, peepholes[0])), b.add(f, b.mul(c, peepholes[2]))
        keep = self.activation(b, d, 0, i)
        forget = b.sub(scalar(b, h, 1), keep) if self.input_forget else self.activation(b, d, 0, f)
        cell = b.add(b.mul(forget, c), b.mul(keep, self.activation(b, d, 1, g)))
        if peepholes:
            o = b.add(o, b.mul(cell, peepholes[1]))
        return (b.mul(self.activation(b, d, 0, o), self._squash(b, d, cell)), cell)

    def _squash(self, b: Builder, d: int, cell: Value) -> Value:
        return self.activation(b, d, 2, cell)


_ACTIVATIONS: dict[str, tuple[float | None, float | None]] = {
    "relu": (None, None),
    "tanh": (None, None),
    "sigmoid": (None, None),
    "softsign": (None, None),
    "softplus": (None, None),
    "leakyrelu": (0.01, None),
    "thresholdedrelu": (1.0, None),
    "elu": (1.0, None),
    "affine": (1.0, 0.0),
    "scaledtanh": (1.0, 1.0),
    "hardsigmoid": (0.2, 0.5),
}
"""The activations and the defaults of their alpha and beta, None where they have none."""


def _activate(b: Builder, name: str, x: Value, alpha: float, beta: float) -> Value:
    if name == "affine":
        return b.add(b.mul(x, scalar(b, x, alpha)), scalar(b, x, beta))
    if name == "scaledtanh":
        return b.mul(b.tanh(b.mul(x, scalar(b, x, beta))), scalar(b, x, alpha))
    if name == "hardsigmoid":
        return b.hard_sigmoid(x, alpha=alpha, beta=beta)
    with_alpha = {"leakyrelu": "leaky_relu", "thresholdedrelu": "thresholded_relu", "elu": "elu"}
    if name in with_alpha:
        return getattr(b, with_alpha[name])(x, alpha=alpha)
    return getattr(b, name)(x)


def _part(b: Builder, x: Value, index: int) -> Value:
    """Return ``x[index]``."""
    row = x if x.shape[0] == 1 else b.tensor_slice(x, starts=(index,), ends=(index + 1,), axes=(0,), steps=(1,))
    part: Value = b.tensor_reshape(row, shape=x.shape[1:])
    return part


def _joined(b: Builder, values: Sequence[Value], axis: int) -> Value:
    if len(values) == 1:
        return values[0]
    joined: Value = b.tensor_concat(values, axis=axis)
    return joined
