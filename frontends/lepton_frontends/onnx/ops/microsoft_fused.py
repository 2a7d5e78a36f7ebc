"""Operators of the domain com.microsoft that join an activation with what stands before it."""

from __future__ import annotations

from collections.abc import Sequence

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.ops.conv import conv
from lepton_frontends.onnx.ops.linalg import gemm
from lepton_frontends.onnx.rules import MICROSOFT, onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import product

Ints = Sequence[int]
Floats = Sequence[float]

_ACTIVATIONS = {
    "Celu": ("celu", "alpha"),
    "Elu": ("elu", "alpha"),
    "HardSigmoid": ("hard_sigmoid", "alpha", "beta"),
    "HardSwish": ("hard_swish",),
    "LeakyRelu": ("leaky_relu", "alpha"),
    "Relu": ("relu",),
    "Selu": ("selu", "alpha", "gamma"),
    "Sigmoid": ("sigmoid",),
    "Softplus": ("softplus",),
    "Softsign": ("softsign",),
    "Tanh": ("tanh",),
    "ThresholdedRelu": ("thresholded_relu", "alpha"),
}
"""Lepton's operator for each activation, and the names of the parameters it takes, in order."""


def _activated(b: OnnxBuilder, y: Value, activation: str, given: Sequence[float | None]) -> Value:
    """Return the activation of y; parameters that are None have the values that ONNX gives them by default."""
    if not activation:
        return y
    if activation == "Clip":
        return b.clip(y, *(b.like(y, p) for p in given if p is not None))
    if activation not in _ACTIVATIONS:
        raise UnsupportedError(f"the activation {activation} is not known")
    name, *parameters = _ACTIVATIONS[activation]
    values = {p: v for p, v in zip(parameters, given, strict=False) if v is not None}
    activated: Value = getattr(b, name)(y, **values)
    return activated


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


@onnx_op("BiasSplitGelu", since=1, domain=MICROSOFT)
def bias_split_gelu(b: OnnxBuilder, x: Value, bias: Value) -> Value:
    """The first half of the channels of x + bias, gated by the GELU of the second half."""
    half = x.shape[-1] // 2
    kept, gate = b.tensor_split(b.add(x, bias), axis=x.rank - 1, sizes=(half, half))
    return b.mul(kept, b.gelu(gate, approximate="none"))


@onnx_op("BiasAdd", since=1, domain=MICROSOFT)
def bias_add(b: OnnxBuilder, x: Value, bias: Value, skip: Value) -> Value:
    return b.add(b.add(x, bias), skip)


@onnx_op("BiasSoftmax", since=1, domain=MICROSOFT)
def bias_softmax(b: OnnxBuilder, x: Value, bias: Value, *, axis: int = 1, is_inner_broadcast: int) -> Value:
    """Softmax over the axes from ``axis`` on together; the shapes say by themselves where the bias broadcasts."""
    total = b.add(x, bias)
    at = b.axis(axis, total.rank)
    rows = b.reshaped(total, (product(total.shape[:at]), product(total.shape[at:])))
    return b.reshaped(b.nn_softmax(rows, axis=1), total.shape)


@onnx_op("BiasDropout", since=1, domain=MICROSOFT)
def bias_dropout(
    b: OnnxBuilder,
    x: Value,
    bias: Value,
    residual: Value | None = None,
    ratio: Value | None = None,
    training_mode: Value | None = None,
    *,
    seed: int | None = None,
) -> Value:
    if training_mode is not None and any(b.ints(training_mode, "training mode")):
        raise UnsupportedError("it is in training mode", "export the model for inference")
    total = b.add(x, bias)
    return total if residual is None else b.add(total, residual)


@onnx_op("GemmFastGelu", since=1, domain=MICROSOFT)
def gemm_fast_gelu(b: OnnxBuilder, x: Value, w: Value, bias: Value | None = None) -> Value:
    return fast_gelu(b, b.linalg_matmul(x, w), bias)


@onnx_op("FusedMatMul", "TransposeMatMul", since=1, domain=MICROSOFT)
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
    left, right = (_rows_last(b, v) if flag else v for v, flag in ((x, transBatchA), (y, transBatchB)))
    flip = [bool(flag) and v.rank > 1 for v, flag in ((x, transA), (y, transB))]
    product = b.linalg_matmul(left, right, transpose_a=flip[0], transpose_b=flip[1])
    return product if alpha == 1.0 else b.mul(product, b.like(product, alpha))


def _rows_last(b: OnnxBuilder, x: Value) -> Value:
    """Return [M, batch..., K] as [batch..., M, K]."""
    return b.tensor_transpose(x, perm=(*range(1, x.rank - 1), 0, x.rank - 1)) if x.rank > 2 else x


@onnx_op("FusedMatMulActivation", since=1, domain=MICROSOFT)
def fused_matmul_activation(
    b: OnnxBuilder,
    x: Value,
    y: Value,
    *,
    activation: str,
    activation_alpha: float | None = None,
    activation_axis: int | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    alpha: float = 1.0,
    transA: int = 0,  # noqa: N803 - the operator's name
    transB: int = 0,  # noqa: N803
    transBatchA: int = 0,  # noqa: N803
    transBatchB: int = 0,  # noqa: N803
) -> Value:
    product = fused_matmul(
        b, x, y, alpha=alpha, transA=transA, transB=transB, transBatchA=transBatchA, transBatchB=transBatchB
    )
    if activation == "Softmax":
        return b.nn_softmax(product, axis=b.axis(-1 if activation_axis is None else activation_axis, product.rank))
    return _activated(b, product, activation, _named(activation, activation_alpha, activation_beta, activation_gamma))


def _named(activation: str, alpha: float | None, beta: float | None, gamma: float | None) -> list[float | None]:
    """Return the parameters of an activation in its own order."""
    values = {"alpha": alpha, "beta": beta, "gamma": gamma}
    return [values[p] for p in _ACTIVATIONS.get(activation, ("",))[1:]]


@onnx_op("FusedGemm", since=1, domain=MICROSOFT)
def fused_gemm(
    b: OnnxBuilder,
    x: Value,
    y: Value,
    c: Value | None = None,
    *,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - the operator's name
    transB: int = 0,  # noqa: N803
) -> Value:
    total = gemm(b, x, y, c, alpha=alpha, beta=beta, transA=transA, transB=transB)
    return _activated(b, total, activation, _named(activation, activation_alpha, activation_beta, activation_gamma))


@onnx_op("FusedConv", since=1, domain=MICROSOFT)
def fused_conv(
    b: OnnxBuilder,
    x: Value,
    w: Value,
    bias: Value | None = None,
    addend: Value | None = None,
    *,
    activation: str = "",
    activation_params: Floats = (),
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Value:
    y = conv(
        b, x, w, bias, auto_pad=auto_pad, dilations=dilations, group=group, kernel_shape=kernel_shape, pads=pads,
        strides=strides,
    )  # fmt: skip
    return _activated(b, y if addend is None else b.add(y, addend), activation, activation_params)


@onnx_op("NhwcFusedConv", since=1, domain=MICROSOFT)
def nhwc_fused_conv(
    b: OnnxBuilder,
    x: Value,
    w: Value,
    bias: Value | None = None,
    addend: Value | None = None,
    *,
    activation: str = "",
    activation_params: Floats = (),
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Value:
    """A convolution of channels-last data with weights [O, I, spatial...] as ever."""
    y = fused_conv(
        b, _channels_first(b, x), w, bias, None if addend is None else _channels_first(b, addend),
        activation=activation, activation_params=activation_params, auto_pad=auto_pad, dilations=dilations, group=group,
        kernel_shape=kernel_shape, pads=pads, strides=strides,
    )  # fmt: skip
    return b.tensor_transpose(y, perm=(0, *range(2, y.rank), 1))


def _channels_first(b: OnnxBuilder, x: Value) -> Value:
    return b.tensor_transpose(x, perm=(0, x.rank - 1, *range(1, x.rank - 1)))
