"""Random operators: the kernels agree with the operators' meaning, and the numbers have their distribution."""

import math

import numpy as np
import onnx
import pytest
from lepton_frontends.onnx.load import import_model, load_onnx
from node_checks import compiled, feeds_of, node_model, refused
from onnx import TensorProto, helper

import lepton_ir
from lepton_ir.interp import run
from lepton_ir.reference import INTERPRETER, ReferenceRunner

SHAPE = (53, 641)
"""Large enough to be computed at run time, with remainders."""


def drawn(op, arrays, opset=22, **attributes):
    """Return what a node draws, compiled without folding; checked against the interpreter's numbers."""
    return compiled(node_model(op, arrays, opset, **attributes), arrays, opt_level=0)[0]


def kolmogorov(x, distribution):
    """Return the largest difference between the distribution of x and the one it should have, times sqrt(n)."""
    ordered = np.sort(x.astype(np.float64), axis=None)
    n = len(ordered)
    wanted = distribution(ordered)
    steps = np.arange(n + 1) / n
    return max((steps[1:] - wanted).max(), (wanted - steps[:-1]).max()) * math.sqrt(n)


def normal_distribution(x):
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


# A fair generator exceeds 1.95 once in a thousand keys (Kolmogorov's distribution); the keys here are fixed.
@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_uniform_numbers(dtype):
    x = drawn("RandomUniform", [], shape=SHAPE, dtype=dtype, low=-2.0, high=6.0, seed=3.0)
    assert x.min() >= -2 and x.max() < 6
    assert kolmogorov(x, lambda v: (v + 2) / 8) < 1.95
    rows = (x[:-1].astype(np.float64) - 2) * (x[1:] - 2)
    assert abs(rows.mean()) < 4 * rows.std() / math.sqrt(rows.size)


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_normal_numbers(dtype):
    x = drawn("RandomNormal", [], shape=SHAPE, dtype=dtype, mean=3.0, scale=0.5, seed=8.0).astype(np.float64)
    assert kolmogorov((x - 3) / 0.5, normal_distribution) < 1.95
    assert abs(x.mean() - 3) < 4 * 0.5 / math.sqrt(x.size)
    assert abs(x.var() / 0.25 - 1) < 4 * math.sqrt(2 / x.size)


@pytest.mark.parametrize("op", ["RandomUniformLike", "RandomNormalLike"])
def test_types_and_shapes_follow_the_input(op):
    for dtype in (np.float16, np.float32, np.float64):
        x = drawn(op, [np.zeros((31, 67), dtype)])
        assert (x.shape, x.dtype) == ((31, 67), dtype)
    assert drawn(op, [np.zeros((31, 67), np.int32)], dtype=TensorProto.FLOAT).dtype == np.float32


def test_numbers_of_a_tensor_of_any_size():
    x = np.zeros(SHAPE, np.float32)
    fixed = compiled(node_model("RandomNormalLike", [x], 22), [x])[0]
    dynamic = compiled(node_model("RandomNormalLike", [x], 22, shapes={"x0": ["N", "M"]}), [x])[0]
    np.testing.assert_allclose(fixed, dynamic, atol=2e-6)


@pytest.mark.parametrize("dtype", [None, TensorProto.BOOL, TensorProto.INT32])
def test_bernoulli(dtype):
    p = np.linspace(0, 1, 401 * 300, dtype=np.float32).reshape(300, 401)
    hits = drawn("Bernoulli", [p], **({} if dtype is None else {"dtype": dtype})).astype(np.float64)
    assert hits[p == 0].sum() == 0 and hits[p == 1].all()
    for part, q in zip(np.array_split(hits.reshape(-1), 10), np.array_split(p.reshape(-1), 10), strict=True):
        assert abs(part.mean() - q.mean()) < 4 * math.sqrt((q * (1 - q)).mean() / len(q))


def test_multinomial():
    p = np.array([[0.1, 0.2, 0, 0.7, 0], [0.5, 0.125, 0.25, 0.125, 0]])
    with np.errstate(divide="ignore"):
        logits = np.log(p).astype(np.float32) + np.float32([[3], [-40]])
    n = 20011
    x = drawn("Multinomial", [logits], sample_size=n, dtype=TensorProto.INT64)
    assert x.shape == (2, n) and x.dtype == np.int64
    for row, wanted in zip(x, p, strict=True):
        counts = np.bincount(row, minlength=5)
        assert (counts[wanted == 0] == 0).all()
        expected = wanted[wanted > 0] * n
        # Chi-square of 3 degrees of freedom at most: 16.3 is exceeded once in a thousand keys.
        assert ((counts[wanted > 0] - expected) ** 2 / expected).sum() < 16.3


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_dropout(mode, known):
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    arrays = [x, np.float32(0.25), np.bool_(mode)]
    y, mask = compiled(node_model("Dropout", arrays, 22, 2), arrays, fixed=(1, 2) if known else ())
    np.testing.assert_array_equal(y, np.where(mask, x * np.float32(4 / 3 if mode else 1), np.float32(0)))
    share = 0.75 if mode else 1
    assert abs(mask.mean() - share) <= 4 * math.sqrt(0.75 * 0.25 / x.size) * mode


def test_dropout_of_nothing_and_half():
    x = np.ones(SHAPE, np.float16)
    arrays = [x, np.float32(0), np.bool_(True)]
    y, mask = compiled(node_model("Dropout", arrays, 13, 2), arrays)
    assert mask.all() and (y == x).all()
    arrays = [x, None, np.bool_(True)]
    y, mask = compiled(node_model("Dropout", arrays, 13, 2, seed=4), arrays)
    assert abs(mask.mean() - 0.5) < 4 * 0.5 / math.sqrt(x.size) and set(np.unique(y)) == {0, 2}


def test_dropout_before_opset_12_keeps_all():
    x = np.ones((3, 4), np.float32)
    for opset, kind in ((7, np.float32), (10, np.bool_)):
        y, mask = compiled(node_model("Dropout", [x], opset, 2, ratio=0.9), [x])
        assert (y == x).all() and mask.all() and mask.dtype == kind


def numbers_of(nodes, outputs):
    graph = helper.make_graph(nodes, "g", [], [helper.make_tensor_value_info(o, 1, None) for o in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    return run(import_model(model), feeds_of([]))


def test_names_and_seeds_give_the_numbers():
    def node(name, out, **attributes):
        return helper.make_node("RandomUniform", [], [out], name=name, shape=[40], **attributes)

    a, b, c, d = numbers_of(
        [node("a", "a"), node("b", "b"), node("c", "c", seed=1.0), node("d", "d", seed=1.0)], "abcd"
    )
    assert not np.array_equal(a, b) and np.array_equal(c, d) and not np.array_equal(a, c)
    again = numbers_of([node("b", "b"), node("a", "a")], "ab")
    assert np.array_equal(again[0], a) and np.array_equal(again[1], b)


def test_unrolled_trips_draw_different_numbers():
    body = helper.make_graph(
        [helper.make_node("RandomUniform", [], ["r"], name="r", shape=[5]),
         helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("go", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("r", 1, [5])],
    )  # fmt: skip
    count = helper.make_node("Constant", [], ["n"], value_int=3)
    rows = numbers_of([count, helper.make_node("Loop", ["n", ""], ["y"], body=body)], ["y"])[0]
    assert len({tuple(r) for r in rows}) == 3


def test_the_interpreter_is_the_reference_of_a_model_that_draws(tmp_path):
    x = np.ones((4, 5), np.float32)
    path = tmp_path / "model.onnx"
    onnx.save(node_model("RandomNormalLike", [x], 22), path)
    runner = ReferenceRunner(load_onnx(path), path)
    assert runner.source == INTERPRETER
    model = lepton_ir.runtime.load(lepton_ir.compile(path))
    np.testing.assert_allclose(model(x)[0], runner({"x0": x}).outputs["y0"], atol=1e-6)


def test_refusals_name_the_node():
    refused("numbers of the type i32", "RandomUniformLike", [np.zeros(3, np.int32)], 22)
    refused("samples from", "Multinomial", [np.zeros(3, np.float32)], 22)
