"""The optimizers of ai.onnx.preview.training: one step, for any number of tensors at once."""

from __future__ import annotations

from collections.abc import Sequence

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import TRAINING, onnx_op
from lepton_ir.ir.core import Value


@onnx_op("Adagrad", since=1, domain=TRAINING)
def adagrad(
    b: OnnxBuilder,
    rate: Value,
    count: Value,
    *tensors: Value,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> list[Value]:
    """Duchi, Hazan and Singer 2011, https://jmlr.org/papers/v12/duchi11a.html."""
    new = []
    for x, gradient, squares in _groups(tensors, 3):
        decay = b.add(b.mul(_scalar(b, count, x), b.like(x, decay_factor)), b.like(x, 1))
        step = b.div(_scalar(b, rate, x), decay)
        slope = _regularized(b, x, gradient, norm_coefficient)
        squares = b.add(squares, b.mul(slope, slope))
        scale = b.add(b.sqrt(squares), b.like(x, epsilon))
        new.append((b.sub(x, b.div(b.mul(step, slope), scale)), squares))
    return _in_order(new)


@onnx_op("Adam", since=1, domain=TRAINING)
def adam(
    b: OnnxBuilder,
    rate: Value,
    count: Value,
    *tensors: Value,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> list[Value]:
    """Kingma and Ba 2014, https://arxiv.org/abs/1412.6980, with the correction of the bias in the learning rate."""
    new = []
    for x, gradient, first, second in _groups(tensors, 4):
        slope = _regularized(b, x, gradient, norm_coefficient)
        first = b.add(b.mul(first, b.like(x, alpha)), b.mul(slope, b.like(x, 1 - alpha)))
        second = b.add(b.mul(second, b.like(x, beta)), b.mul(b.mul(slope, slope), b.like(x, 1 - beta)))
        steps, step, one = _scalar(b, count, x), _scalar(b, rate, x), b.like(x, 1)
        spread = b.sqrt(b.sub(one, b.pow(b.like(x, beta), steps)))
        corrected = b.div(b.mul(step, spread), b.sub(one, b.pow(b.like(x, alpha), steps)))
        step = b.where(b.gt(steps, b.like(x, 0)), corrected, step)
        moved = b.sub(x, b.mul(step, b.div(first, b.add(b.sqrt(second), b.like(x, epsilon)))))
        new.append((b.mul(moved, b.like(x, 1 - norm_coefficient_post)), first, second))
    return _in_order(new)


@onnx_op("Momentum", since=1, domain=TRAINING)
def momentum(
    b: OnnxBuilder,
    rate: Value,
    count: Value,
    *tensors: Value,
    alpha: float,
    beta: float,
    mode: str,
    norm_coefficient: float,
) -> list[Value]:
    """Stochastic gradient descent with momentum, plain or by Nesterov 1983."""
    if mode not in ("standard", "nesterov"):
        raise UnsupportedError(f'its mode is "{mode}", not "standard" or "nesterov"', "the model is not valid ONNX")
    new = []
    for x, gradient, velocity in _groups(tensors, 3):
        slope = _regularized(b, x, gradient, norm_coefficient)
        share = b.where(b.gt(_scalar(b, count, x), b.like(x, 0)), b.like(x, beta), b.like(x, 1))
        velocity = b.add(b.mul(velocity, b.like(x, alpha)), b.mul(slope, share))
        way = velocity if mode == "standard" else b.add(slope, b.mul(velocity, b.like(x, alpha)))
        new.append((b.sub(x, b.mul(_scalar(b, rate, x), way)), velocity))
    return _in_order(new)


def _groups(tensors: Sequence[Value], size: int) -> list[tuple[Value, ...]]:
    """Return the tensors that belong together: all first ones come first, then all second ones, and so on."""
    each, rest = divmod(len(tensors), size)
    if rest or not each:
        raise UnsupportedError(
            f"it has {len(tensors)} tensors, not a multiple of {size}", "the model is not valid ONNX"
        )
    groups = [tuple(tensors[i::each]) for i in range(each)]
    if any(v.type != group[0].type for group in groups for v in group):
        raise UnsupportedError("tensors that belong together differ in type", "the model is not valid ONNX")
    return groups


def _in_order(groups: Sequence[tuple[Value, ...]]) -> list[Value]:
    return [v for same in zip(*groups, strict=True) for v in same]


def _scalar(b: OnnxBuilder, value: Value, like: Value) -> Value:
    return b.cast_to(b.reshaped(value, ()), like.tensor.dtype)


def _regularized(b: OnnxBuilder, x: Value, gradient: Value, coefficient: float) -> Value:
    """Return the gradient with that of ``coefficient / 2 * |x|^2`` added."""
    return gradient if coefficient == 0 else b.add(b.mul(x, b.like(x, coefficient)), gradient)
