"""Small models with sizes that nobody thinks of, compiled without and with optimization, against ONNX Runtime."""

import ml_dtypes
import numpy as np
import onnxruntime as ort
import pytest
from lepton_frontends.onnx.load import import_model
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

import lepton_ir

RNG = np.random.default_rng(3)
LEVELS = pytest.mark.parametrize("level", [0, 3])


def model(nodes, inputs, weights=(), opset=18):
    """Return a model of nodes ``(operator, inputs, attributes)``; the last one's result is the output."""
    made = [
        helper.make_node(op, names, [f"t{i}"], **{"name": f"n{i}", **attributes})
        for i, (op, names, attributes) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info(n, dtype, shape) for n, (dtype, shape) in inputs.items()],
        [ValueInfoProto(name=f"t{len(made) - 1}")],
        [numpy_helper.from_array(a, n) for n, a in dict(weights).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def compiled(proto, level):
    return lepton_ir.runtime.load(lepton_ir.compile(import_model(proto), verify=False, opt_level=level))


def expected(proto, feeds):
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def floats(*shape):
    return RNG.standard_normal(shape, np.float32)


F32 = TensorProto.FLOAT
EMPTY = {
    "sum": ("ReduceSum", {"x": (2, 0, 4)}, {}),
    "prod": ("ReduceProd", {"x": (2, 0, 4)}, {}),
    "relu": ("Relu", {"x": (0, 3)}, {}),
    "matmul over nothing": ("MatMul", {"x": (2, 0), "y": (0, 4)}, {}),
    "matmul of no rows": ("MatMul", {"x": (0, 3), "y": (3, 4)}, {}),
    "concat": ("Concat", {"x": (2, 0, 4), "y": (2, 3, 4)}, {"axis": 1}),
    "softmax": ("Softmax", {"x": (0, 3)}, {}),
    "conv": ("Conv", {"x": (0, 3, 8, 8), "y": (4, 3, 3, 3)}, {}),
}


@LEVELS
@pytest.mark.parametrize("name", EMPTY)
def test_no_elements(name, level):
    op, shapes, attributes = EMPTY[name]
    proto = model([(op, list(shapes), attributes)], {n: (F32, s) for n, s in shapes.items()})
    feeds = {n: floats(*s) for n, s in shapes.items()}
    got, wanted = compiled(proto, level)(*feeds.values())[0], expected(proto, feeds)
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_array_equal(got, wanted)


@LEVELS
def test_mean_of_no_elements_is_not_a_number(level):
    proto = model([("ReduceMean", ["x", "a"], {})], {"x": (F32, [2, 0])}, {"a": np.array([1])})
    assert np.isnan(compiled(proto, level)(floats(2, 0))[0]).tolist() == [[True], [True]]


@LEVELS
def test_reshape_moves_a_zero(level):
    proto = model([("Reshape", ["x", "s"], {"allowzero": 1})], {"x": (F32, [0, 3, 4])}, {"s": np.array([3, 4, 0])})
    assert compiled(proto, level)(floats(0, 3, 4))[0].shape == (3, 4, 0)


@LEVELS
@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"])
def test_8_bit_floats_in_and_out(kind, level):
    dtype = np.dtype(getattr(ml_dtypes, kind))
    to = getattr(TensorProto, kind.upper().replace("_", ""))
    x = np.arange(256, dtype=np.uint8).view(dtype)
    wide = model([("Cast", ["x"], {"to": F32})], {"x": (to, [256])}, opset=19)
    np.testing.assert_array_equal(compiled(wide, level)(x)[0], x.astype(np.float32))
    narrow = model([("Cast", ["x"], {"to": to, "saturate": 0})], {"x": (F32, [64])}, opset=19)
    values = np.linspace(-3, 3, 64, dtype=np.float32)
    got = compiled(narrow, level)(values)[0]
    assert got.dtype == dtype
    np.testing.assert_array_equal(got.astype(np.float32), values.astype(dtype).astype(np.float32))


DYNAMIC = {
    "conv": (
        [("Conv", ["x", "w"], {"pads": [1, 0, 2, 1], "strides": [2, 1]}), ("Relu", ["t0"], {})],
        {"x": ["N", 3, "H", "W"]},
        {"w": floats(5, 3, 3, 2)},
        [(1, 3, 5, 4), (3, 3, 17, 33)],
    ),
    "mlp": (
        [("MatMul", ["x", "w"], {}), ("Add", ["t0", "b"], {}), ("Softmax", ["t1"], {"axis": -1})],
        {"x": ["A", "B", 7]},
        {"w": floats(7, 13), "b": floats(13)},
        [(1, 1, 7), (2, 5, 7), (4, 0, 7), (3, 129, 7)],
    ),
    "norm of the middle": (
        [("Transpose", ["x"], {"perm": [0, 2, 1]}), ("ReduceMean", ["t0"], {"axes": [-1]}), ("Sub", ["t0", "t1"], {})],
        {"x": ["A", "B", "C"]},
        {},
        [(1, 1, 1), (2, 3, 5), (7, 33, 17)],
    ),
    "concat with itself": (
        [("Concat", ["x", "x", "w"], {"axis": 1}), ("Tanh", ["t0"], {})],
        {"x": [2, "N", "M"]},
        {"w": floats(2, 1, 1)},
        [(2, 5, 1), (2, 0, 1)],
    ),
    "flatten": (
        [("Flatten", ["x"], {"axis": 2}), ("Gemm", ["t0", "w"], {})],
        {"x": ["A", "B", 3, 2]},
        {"w": floats(6, 4)},
        [(1, 1, 3, 2), (5, 7, 3, 2)],
    ),
    "pool": (
        [("AveragePool", ["x"], {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1, "pads": [1, 0, 0, 1]})],
        {"x": ["N", "C", "H", "W"]},
        {},
        [(1, 1, 5, 7), (2, 17, 12, 9)],
    ),
}


@LEVELS
@pytest.mark.parametrize("name", DYNAMIC)
def test_sizes_known_when_it_runs(name, level):
    nodes, inputs, weights, shapes = DYNAMIC[name]
    proto = model(nodes, {n: (F32, s) for n, s in inputs.items()}, weights, opset=13)
    ready = compiled(proto, level)
    for shape in shapes:
        x = floats(*shape)
        got, wanted = ready(x)[0], expected(proto, {"x": x})
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


NODES = {
    "three groups": ("Conv", (2, 9, 7, 5), (6, 3, 3, 3), {"group": 3}),
    "even kernel": ("Conv", (1, 3, 9, 9), (5, 3, 2, 4), {"pads": [0, 1, 1, 2]}),
    "dilated, one-sided padding": ("Conv", (1, 5, 13, 11), (7, 5, 3, 2), {"pads": [2, 0, 1, 3], "dilations": [2, 3]}),
    "one axis": ("Conv", (2, 3, 17), (5, 3, 4), {"pads": [1, 2], "strides": [2]}),
    "three axes": ("Conv", (1, 4, 5, 6, 7), (6, 2, 2, 1, 3), {"group": 2, "dilations": [2, 1, 2]}),
    "more padding than kernel": ("Conv", (1, 2, 3, 3), (3, 2, 2, 2), {"pads": [4, 3, 5, 6]}),
    "transposed, grouped": ("ConvTranspose", (2, 6, 5, 4), (6, 2, 3, 3), {"group": 3, "strides": [2, 2]}),
    "vector by matrix stack": ("MatMul", (7,), (3, 7, 5), {}),
    "broadcast stacks": ("MatMul", (3, 1, 5, 7), (4, 7, 2), {}),
    "inner product": ("MatMul", (7,), (7,), {}),
}


@LEVELS
@pytest.mark.parametrize("name", NODES)
def test_odd_shapes(name, level):
    op, shape, weight, attributes = NODES[name]
    w = floats(*weight)
    proto = model([(op, ["x", "w"], attributes)], {"x": (F32, shape)}, {"w": w})
    x = floats(*shape)
    np.testing.assert_allclose(compiled(proto, level)(x)[0], expected(proto, {"x": x}), rtol=1e-4, atol=1e-5)


@LEVELS
@pytest.mark.parametrize("axis", [0, 1])
def test_mean_of_integers_whose_sum_does_not_fit(axis, level):
    proto = model([("ReduceMean", ["x", "a"], {})], {"x": (TensorProto.INT32, [40, 17])}, {"a": np.array([axis])})
    x = RNG.integers(2**30, 2**31, (40, 17)).astype(np.int32)
    wanted = (x.astype(np.int64).sum(axis, keepdims=True) // x.shape[axis]).astype(np.int32)
    np.testing.assert_array_equal(compiled(proto, level)(x)[0], wanted)
