"""Whole networks in kernel form, every kernel scheduled for GPUs and run on PoCL."""

from pathlib import Path

import numpy as np
import pytest
from gpu_kernels import in_kernel_form, run_module

from lepton_ir.compiler import import_model
from lepton_ir.interp import run
from lepton_ir.ir import Builder, DType, Function, Module, tensor
from lepton_ir.ir.dim import sym
from lepton_ir.ir.opdef import REGISTRY

ROOT = Path(__file__).parents[2]
N, S = sym("N"), sym("S")


@pytest.mark.parametrize("batch", [1, 3])
def test_trained_digits_network(batch):
    model = ROOT / "examples" / "digits" / "digits.onnx"
    image = np.load(ROOT / "examples" / "digits" / "test.npz")["image"][:batch]
    (wanted,) = run(import_model(model), [image])
    (logits,) = run_module(in_kernel_form(model), [image], {"N": batch})
    assert logits.shape == (batch, 10)
    assert np.abs(logits - wanted).max() <= 5e-6 * np.abs(wanted).max()


def encoder_layer(hidden=32, heads=4, vocabulary=60):
    """Return one BERT layer with embeddings, written in the primitive form that exporters write."""
    rng = np.random.default_rng(3)
    types = [tensor((N, S), DType.I64), tensor((N, S), DType.I64)]
    main = Function("main", types)
    b = Builder(main.body)
    ids, kept = main.arguments

    def weight(*shape):
        return b.const((rng.standard_normal(shape) * 0.2).astype(np.float32))

    def dense(x, columns):
        return b.add(b.linalg_matmul(x, weight(x.shape[-1], columns)), weight(columns))

    def norm(x):
        return b.nn_layer_norm(x, weight(hidden), weight(hidden))

    def split(x):
        y = b.tensor_reshape(x, shape=(N, S, heads, hidden // heads))
        return b.tensor_transpose(y, perm=(0, 2, 1, 3))

    x = norm(b.tensor_gather(weight(vocabulary, hidden), ids, axis=0))
    visible = b.tensor_reshape(b.cast(kept, to=DType.BOOL), shape=(N, 1, 1, S))
    mask = b.where(visible, b.const(np.float32(0)), b.const(np.float32(-1e4)))
    q, k, v = (split(dense(x, hidden)) for _ in range(3))
    scores = b.mul(b.linalg_matmul(q, k, transpose_b=True), b.const(np.float32((hidden // heads) ** -0.5)))
    mixed = b.linalg_matmul(b.nn_softmax(b.add(scores, mask)), v)
    joined = b.tensor_reshape(b.tensor_transpose(mixed, perm=(0, 2, 1, 3)), shape=(N, S, hidden))
    x = norm(b.add(x, dense(joined, hidden)))
    x = norm(b.add(x, dense(b.gelu(dense(x, 4 * hidden)), hidden)))
    b.create(REGISTRY["return"], [x])
    return Module([main])


@pytest.mark.parametrize(("batch", "length"), [(1, 7), (3, 33)])
def test_encoder_layer_of_named_batch_and_length(batch, length):
    rng = np.random.default_rng(batch)
    module = encoder_layer()
    inputs = [rng.integers(0, 60, (batch, length)), rng.integers(0, 2, (batch, length))]
    inputs[1][:, 0] = 1
    (wanted,) = run(module, inputs)
    (result,) = run_module(in_kernel_form(module), inputs, {"N": batch, "S": length})
    assert result.shape == wanted.shape
    assert np.abs(result - wanted).max() <= 5e-6 * np.abs(wanted).max()
