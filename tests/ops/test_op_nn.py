"""Convolutions, pools, norms, softmax, matrix products against ONNX Runtime and the ONNX reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from op_harness import assert_close, evaluate, floats, integers, make, ort, reference

from lepton_ir.ir import InferenceError, sym, tensor
from lepton_ir.ops.conv import pack_weight
from lepton_ir.ops.linalg import pack_columns

N, H = sym("N"), sym("H")


def last(x: np.ndarray) -> np.ndarray:
    """Return a channels-first array with its channels last."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 9, 8), (6, 3, 3, 3), {"pads": (1, 1, 1, 1)}),
    ((1, 4, 11, 9), (8, 4, 3, 5), {"strides": (2, 3), "pads": (1, 0, 2, 1)}),
    ((1, 4, 11, 9), (8, 4, 3, 3), {"dilations": (2, 3)}),
    ((2, 6, 7, 7), (6, 1, 3, 3), {"group": 6, "pads": (1, 1, 1, 1)}),
    ((1, 6, 7, 7), (12, 1, 3, 3), {"group": 6}),
    ((1, 8, 6, 6), (4, 4, 1, 1), {"group": 2}),
    ((2, 3, 12), (5, 3, 4), {"strides": (2,), "pads": (2, 1)}),
    ((1, 2, 5, 6, 7), (4, 2, 2, 3, 2), {"strides": (1, 2, 1)}),
]


@pytest.mark.parametrize(("x", "w", "attributes"), CONVS)
@pytest.mark.parametrize("with_bias", [False, True])
def test_conv(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any], with_bias: bool) -> None:
    data, weight = floats(*x, seed=1), floats(*w, seed=2)
    bias = floats(w[0], seed=3) if with_bias else None
    expected = ort("Conv", data, weight, bias, **attributes)
    assert_close(evaluate("nn.conv", data, weight, bias, **attributes), expected, 1e-5, 1e-4)
    found = evaluate("nn.conv", last(data), weight, bias, layout="NHWC", **attributes)
    assert_close(found, last(expected), 1e-5, 1e-4)


@pytest.mark.parametrize(("x", "w", "attributes"), [c for c in CONVS if len(c[0]) == 4])
@pytest.mark.parametrize("panel", [4, 16])
def test_packed_conv(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any], panel: int) -> None:
    data, weight, bias = floats(*x, seed=1), floats(*w, seed=2), floats(w[0], seed=3)
    depthwise = attributes.get("group", 1) == x[1] == w[0]
    packed = np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0)) if depthwise else pack_weight(weight, panel)
    found = evaluate(
        "nn.conv_packed", last(data), packed, bias, channels=w[0], kernel_shape=w[2:], panel=0 if depthwise else panel,
        **attributes,
    )  # fmt: skip
    assert_close(found, last(ort("Conv", data, weight, bias, **attributes)), 1e-5, 1e-4)


TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 4, 5, 6), (4, 3, 3, 3), {"strides": (2, 2), "pads": (1, 1, 1, 1), "output_padding": (1, 0)}),
    ((1, 4, 5, 6), (4, 2, 3, 2), {"group": 2, "strides": (1, 3), "dilations": (2, 1)}),
    ((1, 3, 7), (3, 2, 4), {"strides": (2,), "pads": (1, 0)}),
]


@pytest.mark.parametrize(("x", "w", "attributes"), TRANSPOSED)
def test_conv_transpose(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any]) -> None:
    data, weight = floats(*x, seed=1), floats(*w, seed=2)
    bias = floats(w[1] * attributes.get("group", 1), seed=3)
    expected = ort("ConvTranspose", data, weight, bias, **attributes)
    assert_close(evaluate("nn.conv_transpose", data, weight, bias, **attributes), expected, 1e-5, 1e-4)
    found = evaluate("nn.conv_transpose", last(data), weight, bias, layout="NHWC", **attributes)
    assert_close(found, last(expected), 1e-5, 1e-4)


def test_integer_convolution_is_exact() -> None:
    x, w = integers(1, 3, 6, 6, dtype=np.int32, low=-128, high=127), integers(4, 3, 3, 3, dtype=np.int32, low=-128)
    expected = ort("ConvInteger", x.astype(np.int8), w.astype(np.int8))
    assert_close(evaluate("nn.conv", x, w), expected)


POOLS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 3, 8, 9), {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}),
    ((2, 2, 7, 7), {"kernel_shape": (2, 3), "strides": (2, 2), "ceil_mode": True}),
    ((1, 2, 10, 10), {"kernel_shape": (3, 3), "strides": (3, 2), "pads": (1, 0, 1, 1), "ceil_mode": True}),
    ((1, 2, 11), {"kernel_shape": (3,), "strides": (2,)}),
]


def onnx_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes with booleans as integers."""
    return {k: int(v) if isinstance(v, bool) else v for k, v in attributes.items()}


@pytest.mark.parametrize(("shape", "attributes"), POOLS)
def test_max_pool(shape: tuple[int, ...], attributes: dict[str, Any]) -> None:
    x = floats(*shape) - 5
    y, indices = ort("MaxPool", x, outputs=2, **onnx_attributes(attributes))
    assert_close(evaluate("nn.max_pool", x, **attributes), y)
    assert_close(evaluate("nn.max_pool", last(x), layout="NHWC", **attributes), last(y))
    found = evaluate("nn.max_pool_indices", x, **attributes)
    assert_close(found[0], y)
    assert_close(found[1], indices)


def test_max_pool_in_column_major_order() -> None:
    x, attributes = floats(1, 2, 5, 6), {"kernel_shape": (2, 2), "storage_order": 1}
    assert_close(evaluate("nn.max_pool_indices", x, **attributes)[1], ort("MaxPool", x, outputs=2, **attributes)[1])


def test_max_pool_with_dilation() -> None:
    x, attributes = floats(1, 2, 9, 9), {"kernel_shape": (3, 2), "dilations": (2, 3)}
    assert_close(evaluate("nn.max_pool", x, **attributes), ort("MaxPool", x, **attributes))


@pytest.mark.parametrize(("shape", "attributes"), POOLS)
@pytest.mark.parametrize("count_include_pad", [False, True])
def test_avg_pool(shape: tuple[int, ...], attributes: dict[str, Any], count_include_pad: bool) -> None:
    x = floats(*shape)
    given = {**attributes, "count_include_pad": count_include_pad}
    expected = ort("AveragePool", x, **onnx_attributes(given))
    assert_close(evaluate("nn.avg_pool", x, **given), expected)
    assert_close(evaluate("nn.avg_pool", last(x), layout="NHWC", **given), last(expected))


@pytest.mark.parametrize("p", [1, 2, 3])
def test_lp_pool(p: int) -> None:
    x, attributes = floats(1, 2, 8, 8), {"kernel_shape": (3, 2), "strides": (2, 1), "pads": (1, 0, 1, 0)}
    assert_close(evaluate("nn.lp_pool", x, p=p, **attributes), ort("LpPool", x, p=p, **attributes), 1e-5, 1e-5)
    evaluate("nn.lp_pool", floats(1, 2, 7, 7), kernel_shape=(2, 2), strides=(2, 2), ceil_mode=True)


def test_batch_norm() -> None:
    x, scale, bias, mean = floats(2, 3, 4, 5), floats(3, seed=1), floats(3, seed=2), floats(3, seed=3)
    var = np.abs(floats(3, seed=4)) + 0.1
    expected = ort("BatchNormalization", x, scale, bias, mean, var, epsilon=1e-3)
    assert_close(evaluate("nn.batch_norm", x, scale, bias, mean, var, epsilon=1e-3), expected, 1e-5, 1e-5)
    found = evaluate("nn.batch_norm", last(x), scale, bias, mean, var, epsilon=1e-3, layout="NHWC")
    assert_close(found, last(expected), 1e-5, 1e-5)


@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_layer_norm(axis: int) -> None:
    x = floats(2, 3, 4)
    shape = x.shape[axis if axis >= 0 else axis + 3 :]
    scale, bias = floats(*shape, seed=1), floats(*shape, seed=2)
    expected = ort("LayerNormalization", x, scale, bias, axis=axis, epsilon=1e-3)
    assert_close(evaluate("nn.layer_norm", x, scale, bias, axis=axis, epsilon=1e-3), expected, 1e-5, 1e-5)


def test_rms_norm() -> None:
    x, scale = floats(2, 3, 8), floats(8, seed=1)
    expected = reference("RMSNormalization", x, scale, axis=-1, epsilon=1e-4, opset=23)
    assert_close(evaluate("nn.rms_norm", x, scale, epsilon=1e-4), expected, 1e-5, 1e-5)


def test_group_and_instance_norm() -> None:
    x, scale, bias = floats(2, 6, 4, 5), floats(6, seed=1), floats(6, seed=2)
    expected = reference("GroupNormalization", x, scale, bias, num_groups=3, epsilon=1e-3)
    assert_close(evaluate("nn.group_norm", x, scale, bias, groups=3, epsilon=1e-3), expected, 1e-5, 1e-5)
    expected = ort("InstanceNormalization", x, scale, bias, epsilon=1e-3)
    assert_close(evaluate("nn.instance_norm", x, scale, bias, epsilon=1e-3), expected, 1e-5, 1e-5)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_lrn(size: int) -> None:
    x = floats(2, 7, 3, 3)
    before = (size - 1) // 2
    total = np.stack([np.square(x[:, max(0, c - before) : c - before + size]).sum(1) for c in range(7)], 1)
    expected = x / (1.5 + 0.1 / size * total) ** 0.6
    if size % 2:
        assert_close(expected, ort("LRN", x, size=size, alpha=0.1, beta=0.6, bias=1.5), 1e-5, 1e-5)
    assert_close(evaluate("nn.lrn", x, size=size, alpha=0.1, beta=0.6, bias=1.5), expected, 1e-5, 1e-5)
    found = evaluate("nn.lrn", last(x), size=size, alpha=0.1, beta=0.6, bias=1.5, layout="NHWC")
    assert_close(found, last(expected), 1e-5, 1e-5)


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
def test_softmax(name: str, axis: int) -> None:
    x = floats(3, 4, 5) * 20
    assert_close(
        evaluate("nn.softmax" if name == "Softmax" else "nn.log_softmax", x, axis=axis), ort(name, x, axis=axis), 1e-5
    )


@pytest.mark.parametrize("with_mask", [False, True])
def test_attention(with_mask: bool) -> None:
    q, k, v = floats(2, 3, 5, 8, seed=1), floats(2, 3, 7, 8, seed=2), floats(2, 3, 7, 6, seed=3)
    mask = floats(5, 7, seed=4) if with_mask else None
    expected = reference("Attention", q, k, v, mask, scale=0.3, opset=23)
    assert_close(evaluate("nn.attention", q, k, v, mask, scale=0.3), expected, 1e-4, 1e-5)


MATMULS = [
    ((3, 4), (4, 5)),
    ((2, 3, 4), (4, 5)),
    ((4,), (4, 5)),
    ((3, 4), (4,)),
    ((2, 1, 3, 4), (5, 4, 2)),
    ((4,), (4,)),
]


@pytest.mark.parametrize("shapes", MATMULS)
def test_matmul(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = floats(*shapes[0], seed=1), floats(*shapes[1], seed=2)
    assert_close(evaluate("linalg.matmul", a, b), ort("MatMul", a, b), 1e-5, 1e-5)


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_transposed_matmul(transpose_a: bool, transpose_b: bool) -> None:
    a, b = floats(*((4, 3) if transpose_a else (3, 4))), floats(*((5, 4) if transpose_b else (4, 5)), seed=1)
    expected = ort("Gemm", a, b, transA=int(transpose_a), transB=int(transpose_b))
    assert_close(
        evaluate("linalg.matmul", a, b, transpose_a=transpose_a, transpose_b=transpose_b), expected, 1e-5, 1e-5
    )


def test_large_integer_matmul_wraps() -> None:
    a, b = integers(3, 4, low=-(2**62), high=2**62), integers(4, 2, low=-(2**62), high=2**62)
    np.testing.assert_array_equal(evaluate("linalg.matmul", a, b), a @ b)


@pytest.mark.parametrize("n", [5, 16, 33])
def test_packed_matmul(n: int) -> None:
    a, w, bias = floats(2, 3, 7), floats(7, n, seed=1), floats(n, seed=2)
    found = evaluate("linalg.matmul_packed", a, pack_columns(w, 16), bias, n=n, panel=16)
    assert_close(found, a @ w + bias, 1e-5, 1e-5)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(3, 4), (4, 5)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("bhid,bhjd->bhij", [(2, 2, 3, 4), (2, 2, 5, 4)]),
        ("...ij,...jk->...ik", [(2, 3, 4), (1, 4, 5)]),
        ("i,j->ij", [(3,), (4,)]),
        ("ij->ji", [(3, 4)]),
        ("ij->", [(3, 4)]),
        ("ii->i", [(3, 3)]),
        ("iij->j", [(3, 3, 2)]),
        ("ij,jk", [(3, 4), (4, 5)]),
        ("ab,bc,cd->da", [(2, 3), (3, 4), (4, 5)]),
        ("bij,bi->j", [(2, 3, 4), (2, 3)]),
        ("i...,j...->ij...", [(3, 2), (4, 2)]),
    ],
)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    xs = [floats(*s, seed=i) for i, s in enumerate(shapes)]
    assert_close(evaluate("linalg.einsum", xs, equation=equation), ort("Einsum", *xs, equation=equation), 1e-4, 1e-5)


def test_inference_of_symbolic_shapes() -> None:
    conv = make("nn.conv", tensor((N, 3, H, 224)), tensor((64, 3, 7, 7)), strides=(2, 2), pads=(3, 3, 3, 3))
    assert str(conv.result.type) == "tensor<Nx64x(floordiv(H + 1, 2))x112xf32>"
    pool = make("nn.max_pool", tensor((N, H, H, 8)), kernel_shape=(2, 2), strides=(2, 2), layout="NHWC")
    assert pool.result.shape[3] == 8
    assert make("linalg.matmul", tensor((N, H, 64)), tensor((64, 8))).result.type == tensor((N, H, 8))
    attention = make("nn.attention", tensor((N, 2, H, 8)), tensor((N, 2, H, 8)), tensor((N, 2, H, 4)), scale=1.0)
    assert attention.result.type == tensor((N, 2, H, 4))
    up = make("nn.conv_transpose", tensor((N, 4, H, 8)), tensor((4, 2, 2, 2)), strides=(2, 2))
    assert up.result.type == tensor((N, 2, 2 * H, 16))


X = tensor((1, 4, 8, 8))


@pytest.mark.parametrize(
    ("name", "operands", "attributes", "message"),
    [
        ("nn.conv", (X, tensor((8, 3, 3, 3))), {}, "takes 3 channels in 1 group.* has 4"),
        ("nn.conv", (X, tensor((8, 4, 9, 3))), {}, r"a window of 9 \(dilation 1\) does not fit into 8\+0\+0"),
        ("nn.conv", (X, tensor((8, 4, 3))), {}, "weight of nn.conv must have rank 4"),
        ("nn.conv", (X, tensor((7, 2, 3, 3))), {"group": 2}, "7 output channels cannot be split into 2 groups"),
        ("nn.conv", (X, tensor((8, 4, 3, 3))), {"strides": (1,)}, "strides of nn.conv needs 2 entries"),
        ("nn.conv", (X, tensor((8, 4, 3, 3))), {"strides": (0, 1)}, "strides of nn.conv must be at least 1"),
        ("nn.conv", (X, tensor((8, 4, 3, 3))), {"pads": (-1, 0, 0, 0)}, "must not be negative"),
        ("nn.conv", (X, tensor((8, 4, 3, 3)), tensor((4,))), {}, "the bias of nn.conv must have 8 elements"),
        ("nn.conv", (X, tensor((8, 4, 3, 3))), {"layout": "CHWN"}, 'layout of nn.conv must be "NCHW" or "NHWC"'),
        ("nn.max_pool", (X,), {"kernel_shape": (2,)}, "the kernel of nn.max_pool needs 2 entries"),
        ("nn.softmax", (X,), {"axis": 4}, "axis 4 is out of range for a tensor of rank 4"),
        ("linalg.matmul", (tensor((2, 3)), tensor((4, 5))), {}, "the inner dimensions 3 and 4 differ"),
        ("linalg.einsum", ([tensor((2, 3))],), {"equation": "ijk->i"}, "does not name the 2 axes"),
        ("nn.batch_norm", (X, *[tensor((3,))] * 4), {}, "scale of nn.batch_norm must have 4 elements"),
        ("nn.group_norm", (X, tensor((4,)), tensor((4,))), {"groups": 3}, "4 channels cannot be split into 3 groups"),
        ("nn.layer_norm", (X, tensor((7,))), {}, "must broadcast"),
        ("nn.attention", (X, tensor((1, 4, 8, 9)), X), {"scale": 1.0}, "differ in their last dimension"),
    ],
)
def test_errors(name: str, operands: Any, attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(InferenceError, match=message):
        make(name, *operands, **attributes)
