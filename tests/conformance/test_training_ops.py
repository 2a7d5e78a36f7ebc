"""Training: batch statistics, losses, optimizers; and the older forms of Scan and TfIdfVectorizer."""

from itertools import product

import numpy as np
import onnxruntime
import pytest
from lepton_frontends.onnx.load import import_model
from node_checks import check, close, compiled, node_model, onnxruntime_of, reference_of, refused
from onnx import TensorProto, helper

import lepton_ir

RNG = np.random.default_rng(13)
TRAINING = "ai.onnx.preview.training"


def floats(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def batch_norm_arrays(shape, parameters, dtype=np.float32):
    return [floats(*shape, dtype=dtype) * 3 + 5, *(floats(*parameters) for _ in range(3)),
            RNG.uniform(0.5, 2, parameters).astype(np.float32)]  # fmt: skip


def trained(arrays, axes, epsilon, momentum):
    """Return what batch normalization gives in training mode, by numpy in f64."""
    x, scale, bias, mean, var = (a.astype(np.float64) for a in arrays)
    own = x.mean(axes), x.var(axes)
    whole = [v.reshape([1 if a in axes else d for a, d in enumerate(x.shape)]) for v in (scale, bias, *own)]
    y = (x - whole[2]) / np.sqrt(whole[3] + epsilon) * whole[0] + whole[1]
    return [y, *(r * momentum + v * (1 - momentum) for r, v in zip((mean, var), own, strict=True)), *own]


@pytest.mark.parametrize("shape", [(4, 3), (5, 3, 7), (2, 5, 3, 4), (1, 2, 3, 2, 5)])
def test_batch_norm_training(shape):
    arrays = batch_norm_arrays(shape, (shape[1],))
    axes = tuple(a for a in range(len(shape)) if a != 1)
    for opset in (14, 15):
        model = node_model("BatchNormalization", arrays, opset, 3, training_mode=1, epsilon=1e-2, momentum=0.7)
        for found, wanted in zip(compiled(model, arrays), trained(arrays, axes, 1e-2, 0.7), strict=False):
            close(found, wanted.astype(np.float32), 1e-6)


@pytest.mark.parametrize("opset", [7, 9])
def test_batch_norm_training_is_said_by_the_outputs_before_opset_14(opset):
    arrays = batch_norm_arrays((4, 3, 5), (3,))
    found = compiled(node_model("BatchNormalization", arrays, opset, 5), arrays)
    for f, wanted in zip(found, trained(arrays, (0, 2), 1e-5, 0.9), strict=True):
        close(f, wanted.astype(np.float32), 1e-6)


@pytest.mark.parametrize("outputs", [1, 5])
def test_batch_norm_by_position(outputs):
    arrays = batch_norm_arrays((6, 3, 2), (3, 2))
    found = compiled(node_model("BatchNormalization", arrays, 7, outputs, spatial=0), arrays)
    if outputs == 5:
        wanted = trained(arrays, (0,), 1e-5, 0.9)
    else:
        x, scale, bias, mean, var = (a.astype(np.float64) for a in arrays)
        wanted = [(x - mean) / np.sqrt(var + 1e-5) * scale + bias]
    for f, w in zip(found, wanted, strict=True):
        close(f, w.astype(np.float32), 1e-6)


def test_batch_norm_training_of_narrow_floats_keeps_the_type_of_each_value():
    arrays = batch_norm_arrays((8, 3, 5), (3,), np.float16)
    found = compiled(node_model("BatchNormalization", arrays, 15, 3, training_mode=1), arrays)
    wanted = trained(arrays, (0, 2), 1e-5, 0.9)
    close(found[0].astype(np.float32), wanted[0].astype(np.float32), 2e-3)
    close(found[1], wanted[1].astype(np.float32), 1e-6)
    close(found[2], wanted[2].astype(np.float32), 1e-6)


@pytest.mark.parametrize("op", ["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"])
def test_losses(op):
    for number, (reduction, weighted, ignored) in enumerate(product(["none", "mean", "sum"], [0, 1], [None, 2])):
        shape = (3, 5, 2, 3) if reduction == "none" else (7, 5)
        labels = RNG.integers(0, 5, (shape[0], *shape[2:]))
        if ignored is not None:
            labels.reshape(-1)[:2] = ignored
        arrays = [floats(*shape), labels, *([RNG.uniform(0.1, 1, 5).astype(np.float32)] * weighted)]
        attributes = {"reduction": reduction, **({} if ignored is None else {"ignore_index": ignored})}
        check(op, arrays, 12 if number % 3 == 0 else 13, onnxruntime_of, **attributes)


def test_log_probabilities_of_a_loss():
    arrays = [floats(4, 6, 3), RNG.integers(0, 6, (4, 3))]
    check("SoftmaxCrossEntropyLoss", arrays, 13, outputs=2)


@pytest.mark.parametrize("step", [0, 3])
@pytest.mark.parametrize(
    "op, tensors, attributes",
    [
        ("Adagrad", 3, {"decay_factor": 0.1, "epsilon": 1e-5, "norm_coefficient": 0.01}),
        ("Adam", 4, {"alpha": 0.8, "beta": 0.9, "epsilon": 1e-2, "norm_coefficient": 0.1,
                     "norm_coefficient_post": 0.02}),
        ("Momentum", 3, {"alpha": 0.9, "beta": 0.7, "mode": "standard", "norm_coefficient": 0.01}),
        ("Momentum", 3, {"alpha": 0.9, "beta": 0.7, "mode": "nesterov", "norm_coefficient": 0.01}),
    ],
)  # fmt: skip
def test_optimizers(op, tensors, attributes, step):
    shapes = [(3, 5), (17,)]
    arrays = [np.float32(0.1), np.array(step)]
    for _ in range(tensors):
        arrays += [np.abs(floats(*s)) for s in shapes]
    check(op, arrays, 20, reference_of, outputs=len(shapes) * (tensors - 1), tolerance=1e-6,
          domain=TRAINING, **attributes)  # fmt: skip


def test_refusals_of_optimizers_name_the_node():
    arrays = [np.float32(0.1), np.array(1), *(floats(3) for _ in range(3))]
    given = {"alpha": 0.9, "beta": 0.9, "norm_coefficient": 0.1}
    refused("its mode is", "Momentum", arrays, 20, domain=TRAINING, outputs=2, mode="other", **given)
    refused("3 tensors, not a multiple of 4", "Adam", arrays, 20, domain=TRAINING, outputs=2)
    refused("differ in type", "Adagrad", [*arrays[:4], floats(4)], 20, domain=TRAINING, outputs=2)


@pytest.mark.parametrize("lengths", [None, [4, 2, 1]])
@pytest.mark.parametrize("direction", [0, 1])
def test_scan_of_a_batch(direction, lengths):
    def info(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    body = helper.make_graph(
        [helper.make_node("Add", ["s", "v"], ["t"]), helper.make_node("Mul", ["t", "v"], ["o"])],
        "body", [info("s", [2]), info("v", [2])], [info("t", [2]), info("o", [2])])  # fmt: skip
    arrays = [None if lengths is None else np.array(lengths), floats(3, 2), floats(3, 4, 2)]
    model = node_model("Scan", arrays, 8, 2, body=body, num_scan_inputs=1, directions=[direction])
    found = compiled(model, arrays, fixed=() if lengths is None else (0,))
    state, out = arrays[1].copy(), np.zeros((3, 4, 2), np.float32)
    for i, n in enumerate(lengths or [4] * 3):
        for k in range(n):
            v = arrays[2][i, n - 1 - k if direction else k]
            state[i] = state[i] + v
            out[i, k] = state[i] * v
    close(found[0], state)
    close(found[1], out)
    if lengths is None:
        for f, w in zip(found, onnxruntime_of(model, arrays), strict=True):
            close(f, w)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
def test_n_grams(mode, dtype):
    pool = [2, 3, 5, 4, 5, 6, 7, 8, 6, 7, 3, 4, 5, 3, 3, 3]
    common = {"mode": mode, "pool_int64s": pool, "ngram_counts": [0, 4, 10],
              "ngram_indexes": [1, 0, 8, 2, 5, 4, 3, 6, 7]}  # fmt: skip
    weights = {} if mode == "IDF" else {"weights": [float(i + 1) for i in range(9)]}
    for shape, shortest, longest, skips in (((7,), 1, 3, 0), ((3, 40), 1, 2, 2), ((3, 40), 2, 3, 5), ((2, 2), 3, 3, 1)):
        x = RNG.integers(2, 9, shape).astype(dtype)
        check("TfIdfVectorizer", [x], 9, min_gram_length=shortest, max_gram_length=longest, max_skip_count=skips,
              **common, **weights)  # fmt: skip


def test_n_grams_of_strings():
    given = {"mode": "TF", "ngram_counts": [0, 2], "ngram_indexes": [0, 1, 2], "min_gram_length": 1}
    node = helper.make_node(
        "TfIdfVectorizer", ["x"], ["y"], max_gram_length=2, max_skip_count=1, pool_strings=["a", "b", "b", "a"], **given
    )
    x = np.array([["a", "b", "z", "a"], ["b", "b", "a", "b"]], object)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.STRING, x.shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    wanted = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0]
    model = lepton_ir.runtime.load(lepton_ir.compile(import_model(proto), verify=False))
    np.testing.assert_array_equal(model(x)[0], wanted)
    assert wanted.any()


def test_n_grams_that_do_not_fit_are_refused():
    given = {"mode": "TF", "ngram_counts": [0], "ngram_indexes": [0], "min_gram_length": 1, "max_gram_length": 1}
    x = np.ones(3, np.int64)
    refused("needs strings", "TfIdfVectorizer", [x], 9, max_skip_count=0, pool_strings=["a"], **given)
    refused("1 ngram_indexes for 2", "TfIdfVectorizer", [x], 9, max_skip_count=0, pool_int64s=[1, 2], **given)
    refused("its mode", "TfIdfVectorizer", [x], 9, max_skip_count=0, pool_int64s=[1], **{**given, "mode": "IF"})
