"""Operators in the opsets that the onnx package has no cases for, and in more attributes, against ONNX Runtime."""

import numpy as np
import pytest
from onnx_cases import check_with_onnxruntime, node_model

RNG = np.random.default_rng(7)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def i64(*values):
    return np.array(values, np.int64)


X = f32(2, 3, 4, 5)

# (operator, opset, arrays, names that are weights, number of outputs, attributes)
CASES = [
    ("Clip", 7, {"x": X}, (), 1, {"min": -0.5, "max": 0.25}),
    ("Clip", 7, {"x": X}, (), 1, {"min": 0.0}),
    ("Clip", 7, {"x": X}, (), 1, {}),
    ("Clip", 12, {"x": X, "lo": np.float32(-0.1), "hi": np.float32(0.1)}, ("lo", "hi"), 1, {}),
    *[(op, 7, {"x": X}, (), 1, {"axis": a}) for op in ("Softmax", "LogSoftmax", "Hardmax") for a in (0, 1, 2, 3)],
    *[(op, 11, {"x": X}, (), 1, {}) for op in ("Softmax", "LogSoftmax", "Hardmax")],
    ("Softmax", 11, {"x": X}, (), 1, {"axis": -2}),
    ("Softmax", 13, {"x": X}, (), 1, {"axis": 1}),
    ("Pad", 7, {"x": X}, (), 1, {"pads": [0, 0, 1, 2, 0, 0, 3, 4], "value": 1.5}),
    ("Pad", 10, {"x": X}, (), 1, {"pads": [0, 0, 1, 2, 0, 0, 3, 2], "mode": "reflect"}),
    ("Pad", 10, {"x": X}, (), 1, {"pads": [0, 0, -1, 2, 0, 0, 1, -2], "mode": "edge"}),
    ("Pad", 13, {"x": X, "p": i64(0, 0, -1, 2, 0, 0, 1, -2), "v": np.float32(3)}, ("p", "v"), 1, {}),
    ("Pad", 18, {"x": X, "p": i64(1, 2), "v": np.float32(3), "a": i64(-1)}, ("p", "v", "a"), 1, {}),
    ("Pad", 19, {"x": X, "p": i64(0, 0, 1, 2, 0, 0, 3, 4)}, ("p",), 1, {"mode": "wrap"}),
    ("Slice", 7, {"x": X}, (), 1, {"starts": [1, -3], "ends": [2, 1000], "axes": [1, 3]}),
    ("Slice", 9, {"x": X}, (), 1, {"starts": [0, 1], "ends": [-1, 2]}),
    ("Slice", 13, {"x": X, "s": i64(-1), "e": i64(-(2**63) + 1), "a": i64(3), "t": i64(-2)}, "seat", 1, {}),
    ("Slice", 13, {"x": X, "s": i64(2**62), "e": i64(0), "a": i64(-1), "t": i64(-1)}, "seat", 1, {}),
    ("Slice", 13, {"x": X, "s": i64(3, 1), "e": i64(1, 1)}, "se", 1, {}),
    ("Split", 7, {"x": X}, (), 2, {"axis": 2}),
    ("Split", 11, {"x": X}, (), 3, {"axis": -1, "split": [1, 3, 1]}),
    ("Split", 13, {"x": X, "s": i64(2, 3)}, ("s",), 2, {"axis": 3}),
    ("Split", 18, {"x": X}, (), 3, {"axis": 3, "num_outputs": 3}),
    ("Squeeze", 7, {"x": f32(1, 3, 1)}, (), 1, {}),
    ("Squeeze", 11, {"x": f32(1, 3, 1)}, (), 1, {"axes": [-1]}),
    ("Squeeze", 13, {"x": f32(1, 3, 1), "a": i64(0)}, ("a",), 1, {}),
    ("Unsqueeze", 7, {"x": f32(3, 4)}, (), 1, {"axes": [0, 2]}),
    ("Unsqueeze", 13, {"x": f32(3, 4), "a": i64(-1, 0)}, ("a",), 1, {}),
    *[("ReduceSum", 11, {"x": X}, (), 1, {"axes": [1, -1], "keepdims": k}) for k in (0, 1)],
    *[(f"Reduce{r}", 13, {"x": np.abs(X) + 1}, (), 1, {"axes": [2], "keepdims": 0})
      for r in ("Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")],
    *[(f"Reduce{r}", 18, {"x": np.abs(X), "a": np.array([], np.int64)}, ("a",), 1, {"noop_with_empty_axes": n})
      for r in ("Mean", "Max", "Sum") for n in (0, 1)],
    ("ReduceMax", 12, {"x": RNG.integers(-9, 9, (3, 4)).astype(np.int32)}, (), 1, {}),
    ("ArgMax", 11, {"x": X}, (), 1, {"axis": -1, "keepdims": 0}),
    ("ArgMin", 12, {"x": np.round(X)}, (), 1, {"axis": 2, "select_last_index": 1}),
    ("TopK", 7, {"x": X}, (), 2, {"k": 2, "axis": 3}),
    ("TopK", 10, {"x": X, "k": i64(3)}, ("k",), 2, {}),
    ("TopK", 11, {"x": X, "k": i64(2)}, ("k",), 2, {"axis": 1, "largest": 0}),
    ("Dropout", 7, {"x": X}, (), 1, {"ratio": 0.3}),
    ("Dropout", 13, {"x": X, "r": np.float32(0.4)}, ("r",), 1, {}),
    ("Upsample", 7, {"x": X}, (), 1, {"scales": [1.0, 1.0, 2.0, 3.0], "mode": "nearest"}),
    ("Upsample", 9, {"x": X, "s": np.array([1, 1, 2, 2], np.float32)}, ("s",), 1, {"mode": "linear"}),
    ("Resize", 10, {"x": X, "s": np.array([1, 1, 0.5, 2], np.float32)}, ("s",), 1, {}),
    ("Resize", 10, {"x": X, "s": np.array([1, 1, 1.5, 2], np.float32)}, ("s",), 1, {"mode": "linear"}),
    ("BatchNormalization", 7, {"x": X, **{n: np.abs(f32(3)) for n in "sbmv"}}, "sbmv", 1, {"epsilon": 1e-3}),
    ("BatchNormalization", 9, {"x": f32(4, 3), **{n: np.abs(f32(3)) for n in "sbmv"}}, "sbmv", 1, {}),
    ("Scatter", 9, {"x": f32(3, 3), "i": i64(1, 0, 2).reshape(1, 3), "u": f32(1, 3)}, ("i",), 1, {"axis": 0}),
    ("Reshape", 7, {"x": X, "s": i64(0, -1, 5)}, ("s",), 1, {}),
    ("Reshape", 14, {"x": f32(0, 3), "s": i64(3, 0)}, ("s",), 1, {"allowzero": 1}),
    ("Flatten", 9, {"x": X}, (), 1, {"axis": 0}),
    ("Flatten", 13, {"x": X}, (), 1, {"axis": -1}),
    ("Gemm", 7, {"a": f32(3, 4), "b": f32(5, 4), "c": f32(5)}, ("b", "c"), 1, {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", 11, {"a": f32(4, 3), "b": f32(4, 5)}, (), 1, {"transA": 1}),
    ("Gemm", 13, {"a": f32(3, 4), "b": f32(4, 5), "c": f32(3, 1)}, (), 1, {"beta": 0.0}),
    *[("MatMul", 13, {"a": f32(*a), "b": f32(*b)}, (), 1, {}) for a, b in
      [((4,), (4,)), ((4,), (4, 3)), ((3, 4), (4,)), ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (3, 4, 5))]],
    ("Div", 13, {"a": i64(-7, 7, -7, 7), "b": i64(2, 2, -2, -2)}, (), 1, {}),
    ("Mod", 13, {"a": i64(-7, 7, -7, 7), "b": i64(3, 3, -3, -3)}, (), 1, {}),
    ("Mod", 13, {"a": f32(9), "b": f32(9) + 3}, (), 1, {"fmod": 1}),
    ("Pow", 12, {"a": np.abs(f32(4)), "b": i64(0, 1, 2, 3)}, (), 1, {}),
    ("Pow", 7, {"a": np.abs(f32(4)), "b": f32(1)}, (), 1, {}),
    ("PRelu", 9, {"x": X, "s": f32(3, 1, 1)}, ("s",), 1, {}),
    ("Gather", 11, {"x": X, "i": i64(-1, 0, -2)}, ("i",), 1, {"axis": -1}),
    ("GatherND", 12, {"x": f32(2, 3, 4), "i": i64(1, -1).reshape(2, 1)}, ("i",), 1, {"batch_dims": 1}),
    ("LRN", 7, {"x": X}, (), 1, {"size": 3, "alpha": 0.01, "beta": 0.6, "bias": 1.5}),
    ("InstanceNormalization", 7, {"x": X, "s": f32(3), "b": f32(3)}, "sb", 1, {}),
    ("LayerNormalization", 17, {"x": X, "s": f32(4, 5), "b": f32(4, 5)}, "sb", 1, {"axis": 2}),
    ("LayerNormalization", 17, {"x": X, "s": f32(5)}, "s", 3, {}),
    ("DepthToSpace", 11, {"x": f32(1, 8, 2, 3)}, (), 1, {"blocksize": 2, "mode": "CRD"}),
    ("DepthToSpace", 7, {"x": f32(1, 8, 2, 3)}, (), 1, {"blocksize": 2}),
    ("OneHot", 9, {"i": i64(0, -1, 3), "d": i64(3), "v": np.array([-1, 2], np.float32)}, "dv", 1, {"axis": 0}),
    ("CumSum", 11, {"x": f32(3, 4), "a": np.int64(1)}, ("a",), 1, {"exclusive": 1, "reverse": 1}),
    ("Trilu", 14, {"x": f32(2, 4, 4), "k": np.int64(-1)}, ("k",), 1, {"upper": 0}),
    ("Einsum", 12, {"a": f32(2, 3, 4), "b": f32(2, 4, 5)}, (), 1, {"equation": "bij, bjk -> bik"}),
    ("QuantizeLinear", 10, {"x": X * 9, "s": np.float32(0.1), "z": np.uint8(128)}, "sz", 1, {}),
    ("QuantizeLinear", 13, {"x": X * 9, "s": np.array([0.1, 0.2, 0.4], np.float32),
                            "z": np.array([0, 1, -2], np.int8)}, "sz", 1, {"axis": 1}),
    ("DequantizeLinear", 13, {"x": RNG.integers(0, 255, (2, 3, 4)).astype(np.uint8),
                              "s": np.array([0.1, 0.2, 0.4], np.float32)}, "s", 1, {"axis": -2}),
    ("LSTM", 7, {"x": f32(5, 2, 3), "w": f32(2, 16, 3), "r": f32(2, 16, 4), "b": f32(2, 32)}, "wrb", 3,
     {"hidden_size": 4, "direction": "bidirectional"}),
    ("GRU", 7, {"x": f32(5, 2, 3), "w": f32(1, 12, 3), "r": f32(1, 12, 4)}, "wr", 2,
     {"hidden_size": 4, "direction": "reverse", "linear_before_reset": 1}),
    ("RNN", 14, {"x": f32(5, 2, 3), "w": f32(1, 4, 3), "r": f32(1, 4, 4)}, "wr", 2,
     {"hidden_size": 4, "activations": ["Relu"]}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "opset", "arrays", "weights", "outputs", "attributes"),
    CASES,
    ids=[f"{c[0]}-{c[1]}-{i}" for i, c in enumerate(CASES)],
)
def test_operator(op, opset, arrays, weights, outputs, attributes):
    proto = node_model(op, arrays, opset, tuple(weights), outputs, **attributes)
    check_with_onnxruntime(proto, {n: a for n, a in arrays.items() if n not in tuple(weights)}, atol=1e-5)


WINDOWS = [
    {},
    {"strides": [2, 3]},
    {"pads": [1, 0, 2, 1], "strides": [2, 2]},
    {"dilations": [2, 1], "pads": [1, 1, 1, 1]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER", "strides": [3, 2]},
    {"auto_pad": "VALID", "strides": [2, 1]},
]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("group", [1, 2, 4])
def test_conv(window, group):
    arrays = {"x": f32(2, 4, 9, 10), "w": f32(8, 4 // group, 3, 2), "b": f32(8)}
    proto = node_model("Conv", arrays, 11, ("w", "b"), group=group, **window)
    check_with_onnxruntime(proto, {"x": arrays["x"]}, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 3])
def test_conv_of_other_ranks(rank):
    arrays = {"x": f32(2, 4, *[7] * rank), "w": f32(6, 4, *[3] * rank)}
    proto = node_model("Conv", arrays, 11, ("w",), pads=[1] * (2 * rank))
    check_with_onnxruntime(proto, {"x": arrays["x"]}, atol=1e-5)


@pytest.mark.parametrize(
    "window",
    [
        {},
        {"strides": [2, 3], "output_padding": [1, 2]},
        {"pads": [1, 0, 2, 1], "strides": [2, 2]},
        {"dilations": [2, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 3]},
        {"auto_pad": "SAME_LOWER", "strides": [3, 2]},
        {"output_shape": [10, 8], "strides": [2, 2]},
    ],
    ids=str,
)
@pytest.mark.parametrize("group", [1, 2])
def test_conv_transpose(window, group):
    arrays = {"x": f32(2, 4, 5, 4), "w": f32(4, 3, 3, 3), "b": f32(3 * group)}
    proto = node_model("ConvTranspose", arrays, 11, ("w", "b"), group=group, **window)
    check_with_onnxruntime(proto, {"x": arrays["x"]}, atol=1e-5)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
def test_pool(op, window, ceil):
    opset = {"MaxPool": 12, "AveragePool": 19, "LpPool": 18}[op]
    attributes = {**window, "ceil_mode": ceil, "kernel_shape": [3, 2]}
    proto = node_model(op, {"x": np.abs(f32(2, 3, 9, 10))}, opset, **attributes)
    check_with_onnxruntime(proto, {"x": np.abs(f32(2, 3, 9, 10))}, atol=1e-5)


@pytest.mark.parametrize("include", [0, 1])
def test_average_pool_and_its_padding(include):
    proto = node_model(
        "AveragePool", {"x": X}, 11, kernel_shape=[3, 3], pads=[1, 2, 1, 0], count_include_pad=include, strides=[2, 1]
    )
    check_with_onnxruntime(proto, {"x": X})


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize(
    "coordinates", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]
)
@pytest.mark.parametrize("sizes", [(2, 3, 9, 3), (2, 3, 2, 11), (2, 3, 8, 10)])
def test_resize(mode, coordinates, sizes):
    arrays = {"x": X, "roi": np.array([], np.float32), "scales": np.array([], np.float32), "sizes": i64(*sizes)}
    proto = node_model(
        "Resize", arrays, 19, ("roi", "scales", "sizes"), mode=mode, coordinate_transformation_mode=coordinates
    )
    check_with_onnxruntime(proto, {"x": X}, atol=1e-4, rtol=1e-4)
