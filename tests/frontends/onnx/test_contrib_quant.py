"""Quantized operators of com.microsoft, compiled, against ONNX Runtime."""

import numpy as np
import pytest
from lepton_frontends.onnx.load import import_model
from quantized_cases import F32, I8, U8, check, compiled, numbers, onnxruntime, proto_of, scale

from lepton_ir.diagnostics import LeptonError

MICROSOFT = {"domain": "com.microsoft"}
RNG = np.random.default_rng(7)
KINDS = pytest.mark.parametrize("kind", [U8, I8])


def zero(kind, value=5):
    return np.array(value, kind)


@KINDS
@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("shapes", [((3, 40), (3, 40)), ((2, 3, 50), (3, 1)), ((7,), (200, 7))])
def test_sums_and_products(op, kind, shapes):
    a, b = (numbers(kind, *s) for s in shapes)
    sy = scale(low=0.1, high=0.2) if op == "QLinearAdd" else scale(low=0.5, high=1)
    arrays = {
        "a": a,
        "sa": scale(),
        "za": zero(kind),
        "b": b,
        "sb": scale(),
        "zb": zero(kind, 9),
        "sy": sy,
        "zy": zero(kind, 20),
    }
    got = check(op, arrays, off_by_one=0.005, **MICROSOFT)[0]
    assert len(np.unique(got)) > 20


def test_without_zero_points():
    a, b = numbers(U8, 30), numbers(U8, 30)
    arrays = {"a": a, "sa": F32(0.5), "za": None, "b": b, "sb": F32(0.25), "zb": None, "sy": F32(1)}
    got = compiled(proto_of("QLinearAdd", arrays, **MICROSOFT), arrays)[0]
    np.testing.assert_array_equal(got, np.minimum(np.rint(a * 0.5 + b * 0.25), 255))
    got = compiled(proto_of("QLinearMul", arrays, **MICROSOFT), arrays)[0]
    np.testing.assert_array_equal(got, np.minimum(np.rint(a.astype(np.float64) * b * 0.125), 255))


@KINDS
@pytest.mark.parametrize("op", ["QLinearSigmoid", "QLinearLeakyRelu"])
def test_activations(op, kind):
    x = np.arange(np.iinfo(kind).min, np.iinfo(kind).max + 1).astype(kind)
    attributes = {"alpha": 0.3} if op == "QLinearLeakyRelu" else {}
    arrays = {"x": x, "sx": scale(low=0.03), "zx": zero(kind), "sy": scale(low=0.004, high=0.1), "zy": zero(kind, 3)}
    weights = ("sx", "zx", "sy", "zy")
    check(op, arrays, off_by_one=0.005, weights=weights, **MICROSOFT, **attributes)


@KINDS
@pytest.mark.parametrize(("opset", "axis"), [(13, -1), (13, 3), (11, 2), (11, 3)])
def test_softmax(kind, opset, axis):
    x = numbers(kind, 2, 3, 4, 10)
    arrays = {"x": x, "sx": np.array(0.02, F32), "zx": zero(kind), "sy": np.array(1 / 256, F32), "zy": zero(kind, 3)}
    weights = ("sx", "zx", "sy", "zy")
    proto = proto_of("QLinearSoftmax", arrays, weights, opset=opset, domain="com.microsoft", axis=axis)
    proto.graph.node[0].attribute.add(name="opset", i=opset, type=2)
    got, theirs = compiled(proto, arrays)[0], onnxruntime(proto, arrays)[0]
    wide = np.exp((x.astype(np.float64) - 5) * np.float64(F32(0.02)))
    wide /= wide.sum((2, 3) if (opset, axis) == (11, 2) else -1, keepdims=True)
    info = np.iinfo(kind)
    np.testing.assert_array_equal(got, np.clip(np.rint(wide * 256) + 3, info.min, info.max).astype(kind))
    # ONNX Runtime takes exponentials from a table of integers.
    assert np.abs(got.astype(int) - theirs).max() <= 1


@KINDS
@pytest.mark.parametrize("last", [0, 1])
def test_pools(kind, last):
    shape = (2, 9, 11, 3) if last else (2, 3, 9, 11)
    arrays = {
        "x": numbers(kind, *shape),
        "sx": scale(),
        "zx": zero(kind),
        "sy": scale(low=0.02, high=0.03),
        "zy": zero(kind, 9),
    }
    weights = ("sx", "zx", "sy", "zy")
    common = {"channels_last": last, "weights": weights, "off_by_one": 0.02, **MICROSOFT}
    check("QLinearGlobalAveragePool", arrays, **common)
    check("QLinearAveragePool", arrays, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1], **common)
    check("QLinearAveragePool", arrays, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, **common)
    pads = {"pads": [1, 1, 1, 1], "count_include_pad": 1}
    check("QLinearAveragePool", arrays, kernel_shape=[3, 3], **pads, **common)


@KINDS
@pytest.mark.parametrize(("axes", "keepdims"), [([1], 1), ([0, 2], 0), ([-1], 0)])
def test_means(kind, axes, keepdims):
    x = numbers(kind, 6, 7, 8)
    arrays = {"x": x, "sx": F32(0.5), "zx": zero(kind), "sy": F32(0.125), "zy": zero(kind, 9)}
    proto = proto_of("QLinearReduceMean", arrays, axes=axes, keepdims=keepdims, **MICROSOFT)
    means = (x.astype(np.int64) - 5).mean(tuple(axes), keepdims=bool(keepdims))
    info = np.iinfo(kind)
    wanted = np.clip(np.rint(means * 4) + 9, info.min, info.max)
    np.testing.assert_allclose(compiled(proto, arrays)[0], wanted, atol=1)
    assert np.mean(compiled(proto, arrays)[0] == wanted) > 0.9


@KINDS
def test_choice(kind):
    arrays = {
        "c": RNG.integers(0, 2, (4, 1)).astype(bool), "x": numbers(kind, 4, 30), "sx": scale(), "zx": zero(kind),
        "y": numbers(kind, 30), "sy": scale(), "zy": zero(kind, 1), "sz": scale(), "zz": zero(kind, 2),
    }  # fmt: skip
    weights = ("sx", "zx", "sy", "zy", "sz", "zz")
    check("QLinearWhere", arrays, off_by_one=0.01, weights=weights, **MICROSOFT)


@KINDS
def test_concatenation(kind):
    arrays = {
        "s": scale(), "z": zero(kind, 1), "x": numbers(kind, 4, 30), "sx": scale(), "zx": zero(kind),
        "y": numbers(kind, 4, 3), "sy": scale(), "zy": zero(kind, 2),
    }  # fmt: skip
    check("QLinearConcat", arrays, off_by_one=0.02, weights=("s", "z", "sx", "zx", "sy", "zy"), axis=1, **MICROSOFT)


@pytest.mark.parametrize("last", [0, 1])
def test_convolution_with_channels_last(last):
    x = numbers(U8, 2, 9, 8, 4) if last else numbers(U8, 2, 4, 9, 8)
    arrays = {
        "x": x, "sx": scale(), "zx": zero(U8), "w": numbers(I8, 6, 2, 3, 3, most=40), "sw": scale(6),
        "zw": np.zeros(6, I8), "sy": scale(low=1, high=2), "zy": zero(U8, 100),
        "bias": RNG.integers(-99, 99, 6).astype(np.int32),
    }  # fmt: skip
    weights = ("sx", "zx", "w", "sw", "zw", "sy", "zy", "bias")
    attributes = {"group": 2, "pads": [1, 1, 0, 0], "strides": [1, 2]}
    got = check("QLinearConv", arrays, weights=weights, channels_last=last, off_by_one=0.01, **attributes, **MICROSOFT)
    assert len(np.unique(got[0])) > 20


@pytest.mark.parametrize("kinds", [(U8, U8), (U8, I8), (I8, I8)])
@pytest.mark.parametrize("trans", [(0, 0), (1, 0), (0, 1)])
@pytest.mark.parametrize("result", ["quantized", "real"])
def test_qgemm(kinds, trans, result):
    k = 24
    a = numbers(kinds[0], *((k, 5) if trans[0] else (5, k)), most=60)
    b = numbers(kinds[1], *((9, k) if trans[1] else (k, 9)), most=60)
    per_column = kinds[1] is I8
    shape = (9,) if per_column else ()
    arrays = {
        "a": a, "sa": scale(), "za": zero(kinds[0], 3), "b": b, "sb": scale(*shape),
        "zb": np.full(shape, 0 if per_column else 4, kinds[1]),
        "c": RNG.integers(-999, 999, 9).astype(np.int32),
    }  # fmt: skip
    if result == "quantized":
        arrays |= {"sy": scale(low=0.3, high=0.4), "zy": zero(kinds[0], 9)}
    options = {"transA": trans[0], "transB": trans[1], "alpha": 0.7}
    check("QGemm", arrays, weights=("b", "sb", "zb", "c"), off_by_one=0.03, atol=1e-4, **options, **MICROSOFT)


@pytest.mark.parametrize("kinds", [(U8, U8), (U8, I8)])
@pytest.mark.parametrize("bias", [False, True])
def test_products_to_floats(kinds, bias):
    a, b = numbers(kinds[0], 3, 5, 20, most=60), numbers(kinds[1], 20, 7, most=60)
    arrays = {
        "a": a, "b": b, "sa": scale(), "sb": scale(7), "za": zero(kinds[0], 9), "zb": numbers(kinds[1], 7, most=9),
        "bias": scale(7) if bias else None,
    }  # fmt: skip
    check("MatMulIntegerToFloat", arrays, weights=("b", "sb", "zb"), atol=1e-4, **MICROSOFT)


@pytest.mark.parametrize("kind", [U8, I8])
def test_dynamic_quantization(kind):
    x = RNG.standard_normal((2, 5, 20)).astype(F32)
    arrays = {
        "x": x,
        "b": numbers(kind, 20, 7, most=60),
        "sb": scale(7),
        "zb": numbers(kind, 7, most=9),
        "bias": scale(7),
    }
    check("DynamicQuantizeMatMul", arrays, weights=("b", "sb", "zb"), atol=1e-3, **MICROSOFT)
    per_tensor = {"x": x, "b": arrays["b"], "sb": scale()}
    check("DynamicQuantizeMatMul", per_tensor, weights=("b",), atol=1e-3, **MICROSOFT)


def test_integers_that_stay_integers():
    a, b = numbers(np.int16, 4, 9), numbers(np.int16, 9, 5)
    proto = proto_of("MatMulInteger16", {"a": a, "b": b}, domain="com.microsoft")
    np.testing.assert_array_equal(compiled(proto, {"a": a, "b": b})[0], (a.astype(np.int64) @ b).astype(np.int32))
    for kind, wide in ((U8, np.uint32), (I8, np.int32)):
        x = numbers(kind, 5, 6)
        proto = proto_of("ReduceSumInteger", {"x": x}, domain="com.microsoft", axes=[1], keepdims=1)
        np.testing.assert_array_equal(compiled(proto, {"x": x})[0], x.astype(wide).sum(1, keepdims=True, dtype=wide))
        y, zx, zy = numbers(kind, 6), zero(kind), zero(kind, 7)
        arrays = {"x": x, "zx": zx, "y": y, "zy": zy}
        got = compiled(proto_of("MulInteger", arrays, domain="com.microsoft"), arrays)[0]
        np.testing.assert_array_equal(got, (x.astype(np.int32) - 5) * (y.astype(np.int32) - 7))


def test_linear_quantization():
    x, s, z = RNG.uniform(-5, 5, (3, 40)).astype(F32), scale(3), numbers(I8, 3, most=9)
    q = check("QuantizeLinear", {"x": x, "s": s, "z": z}, weights=("s", "z"), axis=0, **MICROSOFT)[0]
    check("DequantizeLinear", {"x": q, "s": s, "z": z}, weights=("s", "z"), axis=0, **MICROSOFT)


def packed(codes, bits):
    """Return codes [N, blocks, size] as bytes, the first in the lowest bits."""
    each = 8 // bits
    padding = -codes.shape[-1] % each
    codes = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, padding)])
    groups = codes.reshape(*codes.shape[:-1], -1, each).astype(np.uint8)
    return np.bitwise_or.reduce(groups << (np.arange(each, dtype=np.uint8) * bits), axis=-1).astype(np.uint8)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zeros", ["none", "packed", "floats"])
@pytest.mark.parametrize(("k", "size", "constant"), [(64, 16, True), (30, 16, True), (80, 32, False)])
def test_weights_of_few_bits(bits, zeros, k, size, constant):
    n, blocks = 12, -(-k // size)
    codes = RNG.integers(0, 1 << bits, (n, blocks, size))
    scales = scale(n, blocks)
    offsets = np.full((n, blocks), 1 << (bits - 1), np.float64)
    arrays = {"a": RNG.standard_normal((2, 3, k)).astype(F32), "b": packed(codes, bits), "s": scales}
    if zeros == "packed":
        offsets = RNG.integers(0, 1 << bits, (n, blocks))
        arrays["z"] = packed(offsets, bits)
    elif zeros == "floats":
        arrays["z"] = offsets = RNG.uniform(0, 1 << bits, (n, blocks)).astype(F32)
    weight = ((codes - offsets[..., None]) * scales[..., None]).reshape(n, -1)[:, :k]
    bias = scale(n) if constant else None
    if bias is not None:
        arrays |= {name: arrays.get(name) for name in "zg"} | {"bias": bias}
    wanted = arrays["a"].astype(np.float64) @ weight.T + (0 if bias is None else bias)
    given = [name for name in arrays if name != "a" and arrays[name] is not None]
    options = {"K": k, "N": n, "bits": bits, "block_size": size}
    proto = proto_of("MatMulNBits", arrays, given if constant else (), domain="com.microsoft", **options)
    got = compiled(proto, arrays)[0]
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    if constant and zeros != "floats" and k % size == 0:
        np.testing.assert_allclose(got, onnxruntime(proto, arrays)[0], rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


@pytest.mark.parametrize("constant", [True, False])
def test_columns_in_groups_of_any_order(constant):
    n, k, size = 12, 64, 16
    codes, scales = RNG.integers(0, 16, (n, k // size, size)), scale(n, k // size)
    groups = RNG.permutation(k) // size
    arrays = {
        "a": RNG.standard_normal((3, k)).astype(F32),
        "b": packed(codes, 4),
        "s": scales,
        "z": None,
        "g": groups.astype(np.int32),
    }
    weight = (codes.reshape(n, k) - 8) * scales[:, groups]
    proto = proto_of(
        "MatMulNBits", arrays, "bsg" if constant else (), domain="com.microsoft", K=k, N=n, bits=4, block_size=size
    )
    got = compiled(proto, arrays)[0]
    np.testing.assert_allclose(got, arrays["a"] @ weight.T, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(got, onnxruntime(proto, arrays)[0], rtol=1e-4, atol=1e-3)


def test_a_weight_left_out():
    arrays = {"a": np.ones((2, 32), F32), "b": np.zeros((0, 2, 8), U8), "s": np.zeros((0,), F32)}
    proto = proto_of("MatMulNBits", arrays, domain="com.microsoft", K=32, N=5, bits=4, block_size=16)
    np.testing.assert_array_equal(compiled(proto, arrays)[0], np.zeros((2, 5), F32))


REFUSED = {
    "ignores the zero points": {"g": np.zeros(32, np.int32), "z": np.zeros((5, 1), U8)},
    "packed for CUDA": {"weight_prepacked": 1},
    "weights of 3 bits": {"bits": 3},
    "is not that of": {"K": 48},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_refused(reason):
    given = {"K": 32, "N": 5, "bits": 4, "block_size": 16, "g": None, "z": None} | REFUSED[reason]
    arrays = {
        "a": np.ones((2, 32), F32),
        "b": np.zeros((5, 2, 8), U8),
        "s": np.ones((5, 2), F32),
        "z": given.pop("z"),
        "g": given.pop("g"),
    }
    with pytest.raises(LeptonError, match=reason):
        import_model(proto_of("MatMulNBits", arrays, domain="com.microsoft", **given))


def test_operators_that_lack_a_scale():
    x, s = numbers(U8, 4), scale()
    for op, arrays in {
        "QLinearAdd": {"x": x, "s": s},
        "QLinearMul": {"x": x, "s": s, "z": None, "y": x},
        "QLinearSigmoid": {"x": x, "s": s},
        "QLinearConcat": {"s": s, "z": zero(U8), "x": x},
    }.items():
        with pytest.raises(LeptonError, match="not valid"):
            attributes = {"axis": 0} if op == "QLinearConcat" else {}
            import_model(proto_of(op, arrays, domain="com.microsoft", **attributes))
