"""Random graphs keep their meaning under the standard pipelines."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_harness import assert_same_meaning

import lepton_ir.ops
from lepton_ir.ir import REGISTRY, Builder, Function, Module, Value, sym, tensor
from lepton_ir.passes import PassContext, run_pipeline
from lepton_ir.rewrite import RewriteControl
from lepton_ir.verifier import verify

assert lepton_ir.ops


class Grower:
    """Grows a graph of image-like and matrix-like values, with operations that layout and fusion care about."""

    def __init__(self, seed: int, dynamic: bool) -> None:
        self.rng = random.Random(seed)
        self.data = np.random.default_rng(seed)
        batch = sym("N") if dynamic else 2
        self.function = Function("main", [tensor([batch, 4, 6, 6])], ["x"])
        self.b = Builder(self.function.body)
        self.values: list[Value] = [self.function.arguments[0]]

    def constant(self, *shape: int) -> Value:
        return self.b.const(self.data.standard_normal(shape).astype(np.float32) * 0.5)

    def grow(self, steps: int) -> Module:
        for _ in range(steps):
            x = self.rng.choice(self.values[-4:])
            self.values.append(self.image(x) if x.rank == 4 else self.matrix(x))
        used = [v for v in self.values if not v.is_used][-3:] or [self.values[-1]]
        self.b.create(REGISTRY["return"], used)
        return Module([self.function])

    def image(self, x: Value) -> Value:
        b, c = self.b, x.shape[1]
        assert isinstance(c, int)
        choice = self.rng.randrange(14)
        if choice <= 1:
            size = self.rng.choice([1, 3])
            bias = self.constant(4) if self.rng.random() < 0.5 else None
            return b.nn_conv(x, self.constant(4, c, size, size), bias, pads=[size // 2] * 4)
        if choice == 2:
            return b.nn_conv(x, self.constant(c, 1, 3, 3), pads=[1] * 4, group=c)
        if choice == 3:
            stats = [self.constant(c), self.constant(c), self.constant(c), b.const(np.full(c, 0.7, np.float32))]
            return b.nn_batch_norm(x, *stats)
        if choice == 4:
            return b.nn_max_pool(x, kernel_shape=[3, 3], pads=[1] * 4)
        if choice == 5:
            return b.mul(x, b.sigmoid(x))
        if choice == 6:
            return b.add(x, self.constant(c, 1, 1))
        if choice == 7:
            same = [v for v in self.values if v.type == x.type]
            return b.add(x, self.rng.choice(same))
        if choice == 8:
            return b.mul(x, b.reduce_mean(x, axes=[2, 3]))
        if choice == 9:
            return (
                b.tensor_concat([x, b.relu(x)], axis=1)
                if c <= 4
                else b.tensor_slice(x, starts=[1], ends=[3], axes=[1], steps=[1])
            )
        if choice == 10:
            return b.nn_softmax(x, axis=1)
        if choice == 11:
            return b.tensor_transpose(x, perm=[0, 1, 3, 2])
        if choice == 12:
            return b.reduce_mean(x, axes=[2, 3], keepdims=False)
        return b.tensor_reshape(x, shape=[x.shape[0], c, x.shape[2] * x.shape[3]])

    def matrix(self, x: Value) -> Value:
        b, last = self.b, x.shape[-1]
        assert isinstance(last, int)
        choice = self.rng.randrange(8)
        if choice <= 1:
            y = b.linalg_matmul(x, self.constant(last, 5))
            return b.add(y, self.constant(5)) if self.rng.random() < 0.7 else y
        if choice == 2:
            return b.nn_layer_norm(x, self.constant(last), self.constant(last))
        if choice == 3:
            return b.nn_softmax(b.mul(x, b.const(np.float32(0.3))), axis=-1)
        if choice == 4:
            return b.div(b.exp(b.tanh(x)), b.const(np.float32(2)))
        if choice == 5 and x.rank == 3:
            return b.tensor_transpose(x, perm=[0, 2, 1])
        if choice == 6 and x.rank == 3:
            scores = b.nn_softmax(b.linalg_matmul(x, x, transpose_b=True), axis=-1)
            return b.linalg_matmul(scores, x)
        return b.add(x, b.neg(x)) if choice == 7 else b.relu(x)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(3, 14), st.booleans(), st.sampled_from(["O0", "O1", "O3"]))
def test_meaning_is_kept(seed: int, steps: int, dynamic: bool, level: str) -> None:
    before = Grower(seed, dynamic).grow(steps)
    verify(before)
    after = before.clone()
    run_pipeline(after, level)
    assert_same_meaning(before, after, rtol=2e-4, atol=2e-4)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(0, 40))
def test_meaning_is_kept_up_to_any_rewrite_limit(seed: int, limit: int) -> None:
    before = Grower(seed, False).grow(10)
    after = before.clone()
    ctx = PassContext(control=RewriteControl(limit=limit))
    run_pipeline(after, "O3", ctx)
    assert ctx.control.done <= limit
    assert_same_meaning(before, after, rtol=2e-4, atol=2e-4)
