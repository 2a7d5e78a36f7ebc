"""Every family of kernels in ResNet-50 and BERT-base, as scheduled for GPUs, against numpy on PoCL."""

import math

import numpy as np
import pytest
from gpu_kernels import make_kernel, run_on_pocl

from lepton_ir.ir import DType, tensor
from lepton_ir.ir.dim import sym
from lepton_ir.ops.conv import pack_weight
from lepton_ir.ops.linalg import pack_columns

N, S = sym("N"), sym("S")
SIZES = {"N": 2, "S": 19}
TOLERANCE = 2e-6
"""Of the largest result. f32 sums of a few hundred products differ by this much between orders of summation."""

rng = np.random.default_rng(7)


def rand(*shape):
    return rng.standard_normal(shape, dtype=np.float32)


def check(types, build, inputs, expected, env=None):
    results = run_on_pocl(make_kernel(types, build), inputs, env)
    expected = expected if isinstance(expected, (list, tuple)) else [expected]
    for result, wanted in zip(results, expected, strict=True):
        assert result.shape == wanted.shape and result.dtype == wanted.dtype
        assert np.abs(result - wanted.astype(np.float64)).max() <= TOLERANCE * max(np.abs(wanted).max(), 1e-30)


def conv(x, w, stride=1, pads=(0, 0, 0, 0), dilation=1, group=1):
    """Return a channels-last convolution of x [N, H, W, C] and w [O, C / group, KH, KW], in f64."""
    x = np.pad(x.astype(np.float64), [(0, 0), (pads[0], pads[2]), (pads[1], pads[3]), (0, 0)])
    kh, kw = ((k - 1) * dilation + 1 for k in w.shape[2:])
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))
    windows = windows[:, ::stride, ::stride, :, ::dilation, ::dilation]
    n, h, wd, c = windows.shape[:4]
    grouped = windows.reshape(n, h, wd, group, c // group, *w.shape[2:])
    weights = w.astype(np.float64).reshape(group, -1, *w.shape[1:])
    return np.einsum("nhwgcij,gocij->nhwgo", grouped, weights).reshape(n, h, wd, -1).astype(np.float32)


def softmax(x, axis=-1):
    e = np.exp(x.astype(np.float64) - x.max(axis, keepdims=True))
    return (e / e.sum(axis, keepdims=True)).astype(np.float32)


def layer_norm(x, scale, bias, epsilon=1e-5):
    x = x.astype(np.float64)
    centered = x - x.mean(-1, keepdims=True)
    return (centered / np.sqrt((centered**2).mean(-1, keepdims=True) + epsilon) * scale + bias).astype(np.float32)


def nchw(x):
    return x.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("batch", [1, N], ids=["static", "dynamic"])
@pytest.mark.parametrize(
    ("channels", "out", "size", "kernel", "stride", "pad"),
    [(3, 24, 23, 7, 2, 3), (16, 24, 14, 3, 1, 1), (20, 36, 7, 3, 2, 1), (32, 40, 7, 1, 1, 0), (16, 24, 14, 1, 2, 0)],
    ids=["7x7", "3x3", "3x3-stride", "1x1", "1x1-stride"],
)
def test_convolution_of_resnet(batch, channels, out, size, kernel, stride, pad):
    n = batch if isinstance(batch, int) else SIZES["N"]
    panel = 16
    x, w, bias = rand(n, size, size, channels), rand(out, channels, kernel, kernel), rand(out)
    plain = conv(x, w, stride, (pad,) * 4) + bias
    other = rand(*plain.shape)

    def build(b, x, w, bias, other):
        y = b.nn_conv_packed(
            x, w, bias, channels=out, kernel_shape=(kernel, kernel), panel=panel, strides=(stride,) * 2, pads=(pad,) * 4
        )
        return b.relu(b.add(y, other))

    packed = pack_weight(w, panel)
    types = [(batch, *x.shape[1:]), packed.shape, bias.shape, (batch, *other.shape[1:])]
    check(types, build, [x, packed, bias, other], np.maximum(plain + other, 0), SIZES)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("group", "dilation", "pads"),
    [(1, 2, (2, 1, 3, 2)), (4, 1, (0, 1, 2, 3)), (16, 1, (1, 1, 1, 1))],
    ids=["dilated", "grouped", "depthwise"],
)
def test_convolution_in_both_layouts(layout, group, dilation, pads):
    x, w, bias = (
        rand(2, 13, 13, 16),
        rand(16 if group == 16 else 20, 16 // group, 3, 3),
        rand(16 if group == 16 else 20),
    )
    plain = np.maximum(conv(x, w, 1, pads, dilation, group) + bias, 0)
    given = x if layout == "NHWC" else nchw(x)
    wanted = plain if layout == "NHWC" else nchw(plain)

    def build(b, x, w, bias):
        attributes = {"pads": pads, "dilations": (dilation,) * 2, "group": group, "layout": layout}
        return b.relu(b.nn_conv(x, w, bias, **attributes))

    check([(N, *given.shape[1:]), w.shape, bias.shape], build, [given, w, bias], wanted, SIZES)


def test_wide_groups_are_products_of_their_own():
    x, w = rand(2, 9, 9, 16), rand(128, 8, 3, 3)
    wanted = conv(x, w, 1, (1, 1, 1, 1), 1, 2)
    attributes = {"pads": (1, 1, 1, 1), "group": 2, "layout": "NHWC"}
    check([(N, 9, 9, 16), w.shape], lambda b, x, w: b.nn_conv(x, w, None, **attributes), [x, w], wanted, SIZES)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_max_pool(layout):
    x = rand(2, 15, 15, 12)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    wanted = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2].max((-1, -2))
    given, wanted = (x, wanted) if layout == "NHWC" else (nchw(x), nchw(wanted))

    def build(b, x):
        return b.nn_max_pool(x, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1), layout=layout)

    check([(N, *given.shape[1:])], build, [given], wanted, SIZES)


@pytest.mark.parametrize("include", [False, True])
def test_average_pool_with_padding(include):
    x = rand(2, 9, 9, 6)
    padded = np.pad(x.astype(np.float64), [(0, 0), (1, 1), (1, 1), (0, 0)])
    ones = np.pad(np.ones_like(x, np.float64), [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=float(include))
    total, count = (
        np.lib.stride_tricks.sliding_window_view(a, (3, 3), axis=(1, 2))[:, ::2, ::2].sum((-1, -2))
        for a in (padded, ones)
    )

    def build(b, x):
        attributes = {"strides": (2, 2), "pads": (1, 1, 1, 1), "layout": "NHWC", "count_include_pad": include}
        return b.nn_avg_pool(x, kernel_shape=(3, 3), **attributes)

    check([(N, 9, 9, 6)], build, [x], (total / count).astype(np.float32), SIZES)


def test_global_average_and_flatten():
    x = rand(2, 7, 7, 96)

    def build(b, x):
        return b.tensor_reshape(b.reduce_mean(x, axes=(1, 2)), shape=(N, 96))

    check([(N, 7, 7, 96)], build, [x], x.astype(np.float64).mean((1, 2)).astype(np.float32), SIZES)


@pytest.mark.parametrize("rows", [1, N * S], ids=["one-row", "dynamic"])
def test_classifier_with_packed_weight(rows):
    m = rows if isinstance(rows, int) else SIZES["N"] * SIZES["S"]
    a, w, bias = rand(m, 200), rand(200, 100), rand(100)
    packed = pack_columns(w, 32)

    def build(b, a, w, bias):
        return b.add(b.linalg_matmul_packed(a, w, n=100, panel=32), bias)

    check([(rows, 200), packed.shape, (100,)], build, [a, packed, bias], a @ w + bias, SIZES)


def test_dense_with_gelu():
    a, w, bias = rand(2, 19, 48), rand(48, 72), rand(72)
    y = (a.astype(np.float64) @ w + bias).astype(np.float32)
    wanted = 0.5 * y * (1 + np.vectorize(math.erf)(y.astype(np.float64) / math.sqrt(2)))

    def build(b, a, w, bias):
        return b.gelu(b.add(b.linalg_matmul(a, w), bias))

    check([(N, S, 48), w.shape, bias.shape], build, [a, w, bias], wanted.astype(np.float32), SIZES)


def test_heads_are_cut_apart_where_the_product_is_stored():
    a, w, bias = rand(2, 19, 48), rand(48, 80), rand(80)
    wanted = (a @ w + bias).reshape(2, 19, 4, 20).transpose(0, 2, 1, 3)

    def build(b, a, w, bias):
        y = b.tensor_reshape(b.add(b.linalg_matmul(a, w), bias), shape=(N, S, 4, 20))
        return b.tensor_transpose(y, perm=(0, 2, 1, 3))

    check([(N, S, 48), w.shape, bias.shape], build, [a, w, bias], np.ascontiguousarray(wanted), SIZES)


def test_heads_are_joined_in_a_kernel_of_their_own():
    # 20 columns are padded to 32 in the schedule: joined with the head they would overwrite the next head.
    a, v = rand(2, 4, 19, 19), rand(2, 4, 19, 20)
    wanted = (a @ v).transpose(0, 2, 1, 3).reshape(2, 19, 80)

    def build(b, a, v):
        y = b.tensor_transpose(b.linalg_matmul(a, v), perm=(0, 2, 1, 3))
        return b.tensor_reshape(y, shape=(N, S, 80))

    check([(N, 4, S, S), (N, 4, S, 20)], build, [a, v], wanted, SIZES)


@pytest.mark.parametrize("swap", [False, True])
def test_batched_product(swap):
    a, other = rand(6, 33, 40), rand(6, 40, 50)
    given = np.ascontiguousarray(other.swapaxes(1, 2)) if swap else other
    check([(6, 33, 40), given.shape], lambda b, a, c: b.linalg_matmul(a, c, transpose_b=swap), [a, given], a @ other)


@pytest.mark.parametrize("mask", [False, True])
def test_attention(mask):
    q, k, v = (rand(2, 4, 19, 24) for _ in range(3))
    added = np.where(rng.random((2, 1, 1, 19)) < 0.3, -1e4, 0).astype(np.float32)
    scores = (q @ k.swapaxes(-1, -2)) * np.float32(24**-0.5) + (added if mask else 0)
    types = [(N, 4, S, 24)] * 3 + ([(N, 1, 1, S)] if mask else [])

    def build(b, *operands):
        return b.nn_attention(*operands, scale=24**-0.5)

    check(types, build, [q, k, v, added][: len(types)], softmax(scores) @ v, SIZES)


@pytest.mark.parametrize("axis", [-1, 1])
def test_softmax_with_prologue(axis):
    x = rand(2, 12, 19, 33)
    check(
        [(N, 12, S, 33)], lambda b, x: b.nn_softmax(b.mul(x, b.const(np.float32(0.25))), axis=axis), [x],
        softmax(x * np.float32(0.25), axis), SIZES,
    )  # fmt: skip


def test_residual_and_layer_norm_with_both_results():
    x, y, scale, bias = rand(2, 19, 96) + 3, rand(2, 19, 96), rand(96), rand(96)

    def build(b, x, y, scale, bias):
        total = b.add(x, y)
        return [total, b.nn_layer_norm(total, scale, bias)]

    types = [(N, S, 96)] * 2 + [(96,)] * 2
    check(types, build, [x, y, scale, bias], [x + y, layer_norm(x + y, scale, bias)], SIZES)


def test_embedding():
    table, position, ids = rand(50, 24), rand(19, 24), rng.integers(-50, 50, (2, 19))
    types = [(50, 24), tensor((N, 19), DType.I64), (19, 24)]
    check(
        types, lambda b, t, i, p: b.add(b.tensor_gather(t, i, axis=0), p), [table, ids, position],
        table[ids] + position, SIZES,
    )  # fmt: skip


def test_attention_mask():
    ids = rng.integers(0, 2, (2, 19))
    wanted = np.where(ids.astype(bool)[:, None, None, :], np.float32(0), np.float32(-3.4e38))

    def build(b, ids):
        kept = b.tensor_reshape(b.cast(ids, to=DType.BOOL), shape=(N, 1, 1, S))
        return b.where(kept, b.const(np.float32(0)), b.const(np.float32(-3.4e38)))

    check([tensor((N, S), DType.I64)], build, [ids], wanted, SIZES)


@pytest.mark.parametrize(
    ("name", "numpy"),
    [("sum", np.sum), ("mean", np.mean), ("max", np.max), ("min", np.min)],
    ids=["sum", "mean", "max", "min"],
)
@pytest.mark.parametrize("axes", [(2,), (1,), (0, 2)], ids=str)
def test_reductions(name, numpy, axes):
    x = rand(2, 40, 19)
    wanted = np.asarray(numpy(x.astype(np.float64), axis=axes, keepdims=True)).astype(np.float32)
    check([(N, 40, S)], lambda b, x: getattr(b, f"reduce_{name}")(x, axes=axes), [x], wanted, SIZES)


@pytest.mark.parametrize("last", [False, True])
def test_index_of_the_largest_takes_ties_as_told(last):
    x = rng.integers(0, 4, (2, 30)).astype(np.float32)
    wanted = 29 - x[:, ::-1].argmax(1) if last else x.argmax(1)
    check(
        [(N, 30)], lambda b, x: b.reduce_argmax(x, axis=1, keepdims=False, select_last_index=last), [x],
        wanted.astype(np.int64), SIZES,
    )  # fmt: skip


def test_elementwise_functions():
    x = np.linspace(-6, 6, 2 * 97, dtype=np.float32).reshape(2, 97)
    wide = x.astype(np.float64)
    erf = np.vectorize(math.erf)(wide)
    wanted = [np.exp(wide), np.tanh(wide), erf, 1 / (1 + np.exp(-wide)), np.log1p(np.exp(wide)), np.expm1(wide)]

    def build(b, x):
        return [getattr(b, name)(x) for name in ("exp", "tanh", "erf", "sigmoid", "softplus", "expm1")]

    check([(N, 97)], build, [x], [w.astype(np.float32) for w in wanted], SIZES)
