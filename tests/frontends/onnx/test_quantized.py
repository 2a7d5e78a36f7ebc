"""Products and convolutions of quantized numbers, compiled, against ONNX Runtime and the formulas of ONNX."""

import numpy as np
import pytest
from quantized_cases import I8, U8, check, compiled, numbers, proto_of, requantized, scale

RNG = np.random.default_rng(6)
TYPES = [(U8, U8), (U8, I8), (I8, I8), (I8, U8)]


@pytest.mark.parametrize("kinds", TYPES)
@pytest.mark.parametrize("per", ["tensor", "row and column", "stack"])
def test_matmul_integer(kinds, per):
    a, b = numbers(kinds[0], 3, 5, 7), numbers(kinds[1], 3, 7, 9)
    shapes = {"tensor": ((), (1,)), "row and column": ((5,), (9,)), "stack": ((3, 5, 1), (3, 1, 9))}[per]
    za, zb = (numbers(k, *s) for k, s in zip(kinds, shapes, strict=True))
    rows = za.reshape(5, 1) if za.shape == (5,) else za
    wanted = (a.astype(np.int64) - rows) @ (b.astype(np.int64) - zb)
    got = compiled(
        proto_of("MatMulInteger", {"a": a, "b": b, "za": za, "zb": zb}), {"a": a, "b": b, "za": za, "zb": zb}
    )
    np.testing.assert_array_equal(got[0], wanted)
    assert got[0].dtype == np.int32


@pytest.mark.parametrize("kinds", TYPES)
@pytest.mark.parametrize("per", ["tensor", "row and column"])
def test_qlinear_matmul(kinds, per):
    a, b = numbers(kinds[0], 4, 6, 33, most=60), numbers(kinds[1], 33, 9, most=60)
    m, n = ((), ()) if per == "tensor" else ((6,), (9,))
    sa, sb, sy = scale(*m), scale(*n), scale(low=0.2, high=0.3)
    middle = [30 if k is U8 else 0 for k in kinds]
    za, zb = ((numbers(k, *s, most=5) + mid).astype(k) for k, s, mid in zip(kinds, (m, n), middle, strict=True))
    zy = np.array(90, kinds[0])
    rows = (lambda v: v.reshape(-1, 1)) if m else (lambda v: v)
    total = (a.astype(np.int64) - rows(za)) @ (b.astype(np.int64) - zb)
    wanted = requantized(total, rows(sa) * sb / sy, zy)
    arrays = {"a": a, "sa": sa, "za": za, "b": b, "sb": sb, "zb": zb, "sy": sy, "zy": zy}
    np.testing.assert_array_equal(compiled(proto_of("QLinearMatMul", arrays), arrays)[0], wanted)
    assert len(np.unique(wanted)) > 20


CONVS = {
    "plain": ((2, 3, 9, 8), (4, 3, 3, 3), {}),
    "groups, pads and strides": ((1, 6, 9, 7), (4, 3, 3, 2), {"group": 2, "pads": [1, 0, 2, 1], "strides": [2, 1]}),
    "dilated": ((1, 2, 11, 12), (3, 2, 3, 2), {"dilations": [2, 3]}),
    "same": ((1, 2, 7, 9), (3, 2, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "depthwise": ((1, 5, 8, 8), (5, 1, 3, 3), {"group": 5, "pads": [1, 1, 1, 1]}),
    "one axis": ((2, 3, 13), (4, 3, 3), {"pads": [2, 1]}),
    "three axes": ((1, 2, 4, 5, 6), (3, 2, 2, 1, 3), {}),
}


@pytest.mark.parametrize("name", CONVS)
@pytest.mark.parametrize("kinds", [(U8, I8), (U8, U8), (I8, I8)])
def test_convolutions(name, kinds):
    shape, kernel, attributes = CONVS[name]
    # Small weights: ONNX Runtime's products of u8 and i8 saturate at 16 bits on processors without VNNI.
    x, w = numbers(kinds[0], *shape), numbers(kinds[1], *kernel, most=40)
    per_channel = kinds[1] is I8
    of_w = (kernel[0],) if per_channel else ()
    zx, zw = np.array(7, kinds[0]), np.zeros(of_w, kinds[1]) if per_channel else np.array(20, kinds[1])
    if len(shape) == 4:
        whole = {"x": x, "w": w, "zx": zx, "zw": np.array(0, I8) if per_channel else zw}
        total = check("ConvInteger", whole, **attributes)[0]
        assert total.dtype == np.int32
    arrays = {
        "x": x, "sx": scale(), "zx": zx, "w": w, "sw": scale(*of_w), "zw": zw, "sy": scale(low=0.2, high=0.4),
        "zy": np.array(90, kinds[0]), "bias": RNG.integers(-999, 999, kernel[0]).astype(np.int32),
    }  # fmt: skip
    weights = ("sx", "zx", "w", "sw", "zw", "sy", "zy", "bias")
    got = check("QLinearConv", arrays, weights=weights, off_by_one=0.002, **attributes)[0]
    assert len(np.unique(got)) > 8
    if len(shape) == 4:
        line = (1, -1, 1, 1)
        with_bias = total.astype(np.int64) + arrays["bias"].reshape(line)
        factor = arrays["sx"] * arrays["sw"].reshape(line if per_channel else ()) / arrays["sy"]
        np.testing.assert_array_equal(got, requantized(with_bias, factor, arrays["zy"]))


def test_zero_points_per_channel():
    x, w, zw = numbers(U8, 1, 3, 6, 6), numbers(U8, 4, 3, 3, 3), numbers(U8, 4)
    arrays = {"x": x, "w": w, "zx": np.array(9, U8), "zw": zw}
    got = compiled(proto_of("ConvInteger", arrays), arrays)[0]
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64) - 9, (3, 3), (2, 3))
    np.testing.assert_array_equal(
        got, np.einsum("nchwij,ocij->nohw", windows, w - zw.astype(np.int64)[:, None, None, None])
    )
