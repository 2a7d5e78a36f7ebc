"""What opset 7 changed: broadcasting along an axis that an attribute names, and switches for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import find_rule, onnx_op
from lepton_ir.ir.core import Value

_BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Less", "Greater")


def _since_7(b: OnnxBuilder, *inputs: Any, **attributes: Any) -> Any:
    """Lower the node as opset 7 does."""
    rule = find_rule("", b.op_type, 7)
    assert rule is not None
    given, values = rule.bind(inputs, attributes)
    return rule.lower(b, *given, **values)


@onnx_op(*_BINARY, since=1)
def binary(b: OnnxBuilder, x: Value, y: Value, *, broadcast: int = 0, axis: int | None = None) -> Value:
    """Where an axis is named, the axes of y follow each other from there; what comes after them is broadcast."""
    if broadcast and axis is not None:
        first = b.axis(axis, x.rank)
        y = b.reshaped(y, (*y.shape, *[1] * (x.rank - first - y.rank)))
    return _since_7(b, x, y)


@onnx_op("PRelu", since=1)
def prelu(b: OnnxBuilder, x: Value, slope: Value) -> Value:
    """One slope, or one for each channel."""
    if slope.rank == 1 and slope.shape != (1,) and x.rank > 1:
        slope = b.reshaped(slope, (*slope.shape, *[1] * (x.rank - 2)))
    return _since_7(b, x, slope)


@onnx_op("Gemm", since=1)
def gemm(
    b: OnnxBuilder,
    x: Value,
    y: Value,
    c: Value,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    broadcast: int = 0,
    transA: int = 0,  # noqa: N803 - ONNX's name
    transB: int = 0,  # noqa: N803
) -> Value:
    return _since_7(b, x, y, c, alpha=alpha, beta=beta, transA=transA, transB=transB)


@onnx_op("AveragePool", since=1)
def average_pool(
    b: OnnxBuilder,
    x: Value,
    *,
    auto_pad: str = "NOTSET",
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Any:
    return _since_7(b, x, auto_pad=auto_pad, kernel_shape=kernel_shape, pads=pads, strides=strides)


@onnx_op("BatchNormalization", since=6)
def batch_normalization(
    b: OnnxBuilder,
    x: Value,
    scale: Value,
    bias: Value,
    mean: Value,
    var: Value,
    *,
    epsilon: float = 1e-5,
    is_test: int = 0,
    momentum: float = 0.9,
    spatial: int = 1,
) -> Any:
    _check_inference(is_test)
    return _since_7(b, x, scale, bias, mean, var, epsilon=epsilon, momentum=momentum, spatial=spatial)


@onnx_op("Dropout", since=6)
def dropout(b: OnnxBuilder, x: Value, *, is_test: int = 0, ratio: float = 0.5) -> Any:
    _check_inference(is_test)
    return _since_7(b, x, ratio=ratio)


def _check_inference(is_test: int) -> None:
    if not is_test:
        raise UnsupportedError("it is in training mode (is_test = 0)", "export the model for inference")
