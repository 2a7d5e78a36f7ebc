"""Fused activations, matrix products, convolutions and norms of com.microsoft, compiled, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_cases import check_compiled, microsoft_model

RNG = np.random.default_rng(5)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def ids(limit, *shape, dtype=np.int32):
    return RNG.integers(0, limit, shape).astype(dtype)


def check(op, arrays, **options):
    tolerances = {k: options.pop(k) for k in ("rtol", "atol", "wanted", "constants") if k in options}
    proto = microsoft_model(op, arrays, **options)
    return check_compiled(proto, arrays, **tolerances)


@pytest.mark.parametrize(
    ("op", "bias"), [("Gelu", False), ("FastGelu", False), ("FastGelu", True), ("QuickGelu", False), ("BiasGelu", True)]
)
def test_gelu(op, bias):
    arrays = {"x": 3 * f32(2, 3, 13), **({"b": f32(13)} if bias else {})}
    check(op, arrays, alpha=1.3 if op == "QuickGelu" else None)


def erf_gelu(x):
    from math import erf

    return x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2)))


def test_operators_without_a_cpu_kernel_in_onnx_runtime():
    x, bias, skip = f32(2, 5, 14), f32(14), f32(2, 5, 14)
    total = (x + bias).astype(np.float64)
    split = (total[..., :7] * erf_gelu(total[..., 7:])).astype(np.float32)
    check("BiasSplitGelu", {"x": x, "b": bias}, wanted=[split])
    check("BiasAdd", {"x": x, "b": bias, "s": skip}, wanted=[x + bias + skip])
    e = np.exp(total - total.max((1, 2), keepdims=True))
    wanted = [(e / e.sum((1, 2), keepdims=True)).astype(np.float32)]
    check("BiasSoftmax", {"x": x, "b": bias.reshape(1, 1, 14)}, axis=1, is_inner_broadcast=1, wanted=wanted)


def test_bias_dropout_is_a_sum():
    arrays = {"x": f32(3, 7), "b": f32(7), "r": f32(3, 7)}
    check("BiasDropout", arrays, wanted=[arrays["x"] + arrays["b"] + arrays["r"]])


@pytest.mark.parametrize("flags", [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 1, 0), (1, 1, 0, 1), (1, 1, 1, 1), (0, 0, 1, 1)])
def test_fused_matmul(flags):
    a_trans, b_trans, a_batch, b_batch = flags
    a = (3, 5, 7) if not a_trans else (3, 7, 5)
    b = (3, 7, 4) if not b_trans else (3, 4, 7)
    a = (2, *a) if not a_batch else (a[1], 2, a[0], a[2])
    b = (2, *b) if not b_batch else (b[1], 2, b[0], b[2])
    check(
        "FusedMatMul", {"a": f32(*a), "b": f32(*b)},
        transA=a_trans, transB=b_trans, transBatchA=a_batch, transBatchB=b_batch, alpha=0.25,
    )  # fmt: skip


def test_transpose_matmul():
    check("TransposeMatMul", {"a": f32(2, 5, 3), "b": f32(2, 5, 4)}, transA=1, alpha=2.0)


@pytest.mark.parametrize("activation", ["Relu", "Tanh", "LeakyRelu", "Elu", "HardSigmoid", "Selu", "Softplus"])
def test_fused_gemm(activation):
    alpha = 0.3 if activation in ("LeakyRelu", "Elu", "HardSigmoid", "Selu") else None
    check(
        "FusedGemm", {"a": f32(5, 7), "b": f32(9, 7), "c": f32(9)}, transB=1, alpha=0.5, beta=2.0,
        activation=activation, activation_alpha=alpha, activation_beta=0.4 if activation == "HardSigmoid" else None,
        activation_gamma=1.2 if activation == "Selu" else None,
    )  # fmt: skip


def test_fused_matmul_activation():
    a, b = f32(3, 5, 7), f32(3, 7, 4)
    wanted = [np.maximum(0.5 * np.matmul(a, b), 0)]
    check("FusedMatMulActivation", {"a": a, "b": b}, alpha=0.5, activation="Relu", wanted=wanted)


def test_gemm_fast_gelu():
    x, w, bias = f32(2, 3, 5), f32(5, 7), f32(7)
    t = (np.matmul(x, w) + bias).astype(np.float64)
    wanted = 0.5 * t * (1 + np.tanh(np.sqrt(2 / np.pi) * (t + 0.044715 * t**3)))
    check("GemmFastGelu", {"x": x, "w": w, "b": bias}, wanted=[wanted.astype(np.float32)])


@pytest.mark.parametrize(
    ("activation", "params"),
    [("", None), ("Relu", None), ("Sigmoid", None), ("Tanh", None), ("LeakyRelu", [0.2]), ("Clip", [-0.5, 0.7]),
     ("HardSigmoid", [0.3, 0.4])],
)  # fmt: skip
@pytest.mark.parametrize("addend", [False, True])
def test_fused_conv(activation, params, addend):
    arrays = {"x": f32(2, 6, 9, 7), "w": f32(10, 3, 3, 3), "b": f32(10), "z": f32(2, 10, 5, 4) if addend else None}
    check(
        "FusedConv", arrays, activation=activation or None, activation_params=params, pads=[1, 1, 1, 1],
        strides=[2, 2], group=2, constants=["w", "b"], atol=1e-5,
    )  # fmt: skip


def test_nhwc_fused_conv():
    x, w, bias, z = f32(1, 6, 5, 3), f32(4, 3, 3, 3), f32(4), f32(1, 6, 5, 4)
    proto = microsoft_model("FusedConv", {"x": x.transpose(0, 3, 1, 2), "w": w, "b": bias}, pads=[1] * 4)
    from onnx_cases import run_onnxruntime

    plain = run_onnxruntime(proto, {"x": x.transpose(0, 3, 1, 2), "w": w, "b": bias})[0].transpose(0, 2, 3, 1)
    arrays = {"x": x, "w": w, "b": bias, "z": z}
    check("NhwcFusedConv", arrays, activation="Relu", pads=[1] * 4, wanted=[np.maximum(plain + z, 0)], atol=1e-5)


@pytest.mark.parametrize("skip", [(2, 3, 9), (1, 3, 9), (3, 9)])
@pytest.mark.parametrize("beta", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_skip_layer_normalization(skip, beta, bias):
    arrays = {
        "x": f32(2, 3, 9), "skip": f32(*skip), "gamma": f32(9), "beta": f32(9) if beta else None,
        "bias": f32(9) if bias else None,
    }  # fmt: skip
    check("SkipLayerNormalization", arrays, outputs=4, optional=(1, 2), epsilon=1e-3, atol=1e-5)


def test_statistics_of_skip_layer_normalization():
    x, skip, gamma = f32(2, 3, 9), f32(2, 3, 9), f32(9)
    total = (x + skip).astype(np.float64)
    mean, inverse = total.mean(-1, keepdims=True), 1 / np.sqrt(total.var(-1, keepdims=True) + 1e-3)
    wanted = [(total - mean) * inverse * gamma, mean, inverse, total]
    arrays = {"x": x, "skip": skip, "gamma": gamma}
    wanted = [w.astype(np.float32) for w in wanted]
    check("SkipLayerNormalization", arrays, outputs=4, epsilon=1e-3, wanted=wanted, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_skip_simplified_layer_normalization(bias):
    arrays = {"x": f32(2, 3, 9), "skip": f32(2, 3, 9), "gamma": f32(9), "bias": f32(9) if bias else None}
    check("SkipSimplifiedLayerNormalization", arrays, outputs=4, optional=(1, 2), epsilon=1e-3, atol=1e-5)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("axis", [-1, 1])
def test_simplified_layer_normalization(outputs, axis):
    shape = (2, 3, 9)
    arrays = {"x": f32(*shape), "scale": f32(*shape[axis:])}
    check("SimplifiedLayerNormalization", arrays, outputs=outputs, domain="", axis=axis, atol=1e-5)


def test_layer_normalization_in_half_precision():
    x, scale = f32(2, 3, 33).astype(np.float16), f32(33).astype(np.float16)
    check("SkipSimplifiedLayerNormalization", {"x": x, "s": x, "g": scale}, rtol=2**-9, atol=1e-3)


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("positions", [None, 1, 2])
def test_embed_layer_normalization(segments, mask, positions):
    words, length, width = 11, 5, 9
    arrays = {
        "ids": ids(words, 2, length), "segments": ids(2, 2, length) if segments else None, "words": f32(words, width),
        "places": f32(7, width), "kinds": f32(2, width) if segments else None, "gamma": f32(width),
        "beta": f32(width), "mask": ids(2, 2, length) if mask else None,
        "positions": ids(7, positions, length) if positions else None,
    }  # fmt: skip
    check("EmbedLayerNormalization", arrays, outputs=3, epsilon=1e-3, atol=1e-5)


def normalized_groups(x, groups, epsilon):
    grouped = x.reshape(*x.shape[:-1], groups, -1).astype(np.float64)
    axes = (1, 2, 4)
    mean, variance = grouped.mean(axes, keepdims=True), grouped.var(axes, keepdims=True)
    return ((grouped - mean) / np.sqrt(variance + epsilon)).reshape(x.shape)


@pytest.mark.parametrize("channels_last", [1, 0])
@pytest.mark.parametrize("skip", [None, (2, 8), (2, 1, 1, 8), (2, 3, 5, 8)])
def test_group_norm(channels_last, skip):
    x, gamma, beta, bias = f32(2, 3, 5, 8), f32(8), f32(8), f32(8)
    added = None if skip is None else f32(*skip)
    total = x if added is None else x + (added if added.ndim == 4 else added.reshape(2, 1, 1, 8)) + bias
    y = normalized_groups(total, 4, 1e-3) * gamma + beta
    y = (y / (1 + np.exp(-y))).astype(np.float32)
    move = (lambda a: a) if channels_last else (lambda a: np.ascontiguousarray(a.transpose(0, 3, 1, 2)))
    arrays = {"x": move(x), "gamma": gamma, "beta": beta}
    wanted = [move(y)]
    if added is not None:
        arrays |= {"skip": added, "bias": bias}
        wanted.append(move(total))
    op, outputs = ("GroupNorm", 1) if added is None else ("SkipGroupNorm", 2)
    options = {"activation": 1, "groups": 4, "epsilon": 1e-3, "channels_last": channels_last, "outputs": outputs}
    check(op, arrays, **options, wanted=wanted, atol=1e-5)
