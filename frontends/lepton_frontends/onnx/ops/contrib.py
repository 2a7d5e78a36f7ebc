"""Operators of the domain com.microsoft that ONNX Runtime's optimizer writes into models."""

from __future__ import annotations

from typing import Any

from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import MICROSOFT, UnsupportedError, onnx_op
from lepton_ir.ir.core import Value


@onnx_op("Gelu", since=1, domain=MICROSOFT)
def gelu(b: OnnxBuilder, x: Value) -> Value:
    return b.gelu(x, approximate="none")


@onnx_op("FastGelu", since=1, domain=MICROSOFT)
def fast_gelu(b: OnnxBuilder, x: Value, bias: Value | None = None) -> Value:
    return b.gelu(x if bias is None else b.add(x, bias), approximate="tanh")


@onnx_op("BiasGelu", since=1, domain=MICROSOFT)
def bias_gelu(b: OnnxBuilder, x: Value, bias: Value) -> Value:
    return b.gelu(b.add(x, bias), approximate="none")


@onnx_op("QuickGelu", since=1, domain=MICROSOFT)
def quick_gelu(b: OnnxBuilder, x: Value, *, alpha: float = 1.702) -> Value:
    return b.mul(x, b.sigmoid(b.mul(x, b.like(x, alpha))))


@onnx_op("FusedMatMul", since=1, domain=MICROSOFT)
def fused_matmul(
    b: OnnxBuilder,
    x: Value,
    y: Value,
    *,
    alpha: float = 1.0,
    transA: int = 0,  # noqa: N803 - the operator's name
    transB: int = 0,  # noqa: N803
    transBatchA: int = 0,  # noqa: N803
    transBatchB: int = 0,  # noqa: N803
) -> Value:
    if transBatchA or transBatchB:
        raise UnsupportedError("transBatchA and transBatchB are not supported", "transpose in a node of its own")
    product = b.linalg_matmul(x, y, transpose_a=bool(transA), transpose_b=bool(transB))
    return product if alpha == 1.0 else b.mul(product, b.like(product, alpha))


_ACTIVATIONS = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "LeakyRelu": "leaky_relu", "HardSigmoid": "hard_sigmoid",
}  # fmt: skip


@onnx_op("FusedConv", since=1, domain=MICROSOFT)
def fused_conv(
    b: OnnxBuilder,
    x: Value,
    w: Value,
    bias: Value | None = None,
    addend: Value | None = None,
    *,
    activation: str = "",
    activation_params: tuple[float, ...] = (),
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    from lepton_frontends.onnx.ops.conv import conv

    y = conv(
        b, x, w, bias, auto_pad=auto_pad, dilations=dilations, group=group, kernel_shape=kernel_shape, pads=pads,
        strides=strides,
    )  # fmt: skip
    if addend is not None:
        y = b.add(y, addend)
    if not activation:
        return y
    if activation == "Clip":
        return b.clip(y, *(b.like(y, p) for p in activation_params))
    if activation not in _ACTIVATIONS:
        raise UnsupportedError(f"the activation {activation} is not known")
    names = ("alpha", "beta")[: len(activation_params)]
    return getattr(b, _ACTIVATIONS[activation])(y, **dict(zip(names, activation_params, strict=True)))


@onnx_op("LayerNormalization", since=1, domain=MICROSOFT)
@onnx_op("LayerNormalization", since=1)
def layer_normalization(
    b: OnnxBuilder,
    x: Value,
    scale: Value,
    bias: Value | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Value:
    return b.nn_layer_norm(x, scale, bias, axis=b.axis(axis, x.rank), epsilon=epsilon)


@onnx_op("SimplifiedLayerNormalization", since=1, domain=MICROSOFT)
@onnx_op("SimplifiedLayerNormalization", since=1)
def simplified_layer_normalization(
    b: OnnxBuilder, x: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    return b.nn_rms_norm(x, scale, axis=b.axis(axis, x.rank), epsilon=epsilon)


@onnx_op("SkipLayerNormalization", since=1, domain=MICROSOFT)
def skip_layer_normalization(
    b: OnnxBuilder,
    x: Value,
    skip: Value,
    gamma: Value,
    beta: Value | None = None,
    bias: Value | None = None,
    *,
    epsilon: float = 1e-12,
) -> Any:
    total = _with_skip(b, x, skip, bias)
    return b.nn_layer_norm(total, gamma, beta, axis=x.rank - 1, epsilon=epsilon), None, None, total


@onnx_op("SkipSimplifiedLayerNormalization", since=1, domain=MICROSOFT)
def skip_simplified_layer_normalization(
    b: OnnxBuilder, x: Value, skip: Value, gamma: Value, bias: Value | None = None, *, epsilon: float = 1e-12
) -> Any:
    total = _with_skip(b, x, skip, bias)
    return b.nn_rms_norm(total, gamma, axis=x.rank - 1, epsilon=epsilon), None, None, total


def _with_skip(b: OnnxBuilder, x: Value, skip: Value, bias: Value | None) -> Value:
    total = b.add(x, skip)
    return total if bias is None else b.add(total, bias)
