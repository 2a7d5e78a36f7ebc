"""Random graphs of the operations that layout, fusion and recognition care about."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

import lepton_ir.ops
from lepton_ir.ir import REGISTRY, Builder, Function, Module, Value, sym, tensor

assert lepton_ir.ops


class Grower:
    """Grows a graph of images, [N, C, H, W], and of matrices, with the operations of networks."""

    def __init__(self, seed: int, dynamic: bool) -> None:
        self.rng = random.Random(seed)
        self.data = np.random.default_rng(seed)
        batch = sym("N") if dynamic else 2
        self.function = Function("main", [tensor([batch, 4, 6, 6])], ["x"])
        self.b = Builder(self.function.body)
        self.values: list[Value] = [self.function.arguments[0]]
        self.on_images = [getattr(self, n) for n in dir(self) if n.startswith("image_")]
        self.on_matrices = [getattr(self, n) for n in dir(self) if n.startswith("matrix_")]

    def grow(self, steps: int) -> Module:
        while len(self.values) <= steps:
            x = self.rng.choice(self.values[-4:])
            rules: list[Callable[[Value], Value | None]] = self.on_images if x.rank == 4 else self.on_matrices
            y = self.rng.choice(rules)(x)
            if y is not None:
                self.values.append(y)
        used = [v for v in self.values if not v.is_used][-3:] or [self.values[-1]]
        self.b.create(REGISTRY["return"], used)
        return Module([self.function])

    def constant(self, *shape: int) -> Value:
        return self.b.const(self.data.standard_normal(shape).astype(np.float32) * 0.5)

    def number(self, value: float) -> Value:
        return self.b.const(np.float32(value))

    # Images ----------------------------------------------------------------------------------------------------------

    def image_conv(self, x: Value) -> Value:
        size, bias = self.rng.choice([1, 3]), self.rng.choice([None, self.constant(4)])
        return self.b.nn_conv(x, self.constant(4, x.shape[1], size, size), bias, pads=[size // 2] * 4)

    def image_conv_gelu(self, x: Value) -> Value:
        return self.b.gelu(self.b.nn_conv(x, self.constant(9, x.shape[1], 3, 3), strides=[2, 2], pads=[1] * 4))

    def image_depthwise(self, x: Value) -> Value:
        return self.b.nn_conv(x, self.constant(x.shape[1], 1, 3, 3), pads=[1] * 4, group=x.shape[1])

    def image_grouped(self, x: Value) -> Value | None:
        if x.shape[1] % 2:
            return None
        return self.b.nn_conv(x, self.constant(6, x.shape[1] // 2, 3, 3), pads=[1] * 4, group=2)

    def image_conv_transpose(self, x: Value) -> Value | None:
        if x.shape[2] > 12:
            return None
        return self.b.nn_conv_transpose(x, self.constant(x.shape[1], 3, 2, 2), strides=[2, 2])

    def image_batch_norm(self, x: Value) -> Value:
        c = x.shape[1]
        return self.b.nn_batch_norm(
            x, self.constant(c), self.constant(c), self.constant(c), self.b.const(np.full(c, 0.7, np.float32))
        )

    def image_max_pool(self, x: Value) -> Value:
        return self.b.nn_max_pool(x, kernel_shape=[3, 3], pads=[1] * 4)

    def image_avg_pool(self, x: Value) -> Value:
        return self.b.nn_avg_pool(x, kernel_shape=[2, 2], strides=[2, 2], pads=[1] * 4)

    def image_silu(self, x: Value) -> Value:
        return self.b.mul(x, self.b.sigmoid(x))

    def image_bias(self, x: Value) -> Value:
        return self.b.add(x, self.constant(x.shape[1], 1, 1))

    def image_residual(self, x: Value) -> Value:
        return self.b.add(x, self.rng.choice([v for v in self.values if v.type == x.type]))

    def image_excite(self, x: Value) -> Value:
        b, c = self.b, x.shape[1]
        squeezed = b.relu(b.nn_conv(b.reduce_mean(x, axes=[2, 3]), self.constant(2, c, 1, 1)))
        return b.mul(x, b.hard_sigmoid(b.nn_conv(squeezed, self.constant(c, 2, 1, 1), self.constant(c))))

    def image_concat(self, x: Value) -> Value | None:
        if x.shape[1] > 8:
            return None
        return self.b.tensor_concat([x, self.b.nn_conv(x, self.constant(3, x.shape[1], 1, 1))], axis=1)

    def image_slice(self, x: Value) -> Value | None:
        if x.shape[1] < 3:
            return None
        return self.b.tensor_slice(x, starts=[1], ends=[3], axes=[1], steps=[1])

    def image_shuffle(self, x: Value) -> Value | None:
        n, c, h, w = x.shape
        if c % 2:
            return None
        split = self.b.tensor_reshape(x, shape=[n, 2, c // 2, h, w])
        return self.b.tensor_reshape(self.b.tensor_transpose(split, perm=[0, 2, 1, 3, 4]), shape=[n, c, h, w])

    def image_pad(self, x: Value) -> Value:
        return self.b.tensor_pad(x, pads=[0, 0, 1, 0, 0, 0, 0, 1])

    def image_softmax(self, x: Value) -> Value:
        return self.b.nn_softmax(x, axis=1)

    def image_expand(self, x: Value) -> Value:
        return self.b.tensor_expand(self.b.reduce_sum(x, axes=[3]), shape=x.shape)

    def image_transpose(self, x: Value) -> Value:
        return self.b.tensor_transpose(x, perm=[0, 1, 3, 2])

    def image_pooled(self, x: Value) -> Value:
        return self.b.reduce_mean(x, axes=[2, 3], keepdims=False)

    def image_flat(self, x: Value) -> Value:
        return self.b.tensor_reshape(x, shape=[x.shape[0], x.shape[1], x.shape[2] * x.shape[3]])

    # Matrices --------------------------------------------------------------------------------------------------------

    def matrix_linear(self, x: Value) -> Value:
        y = self.b.linalg_matmul(x, self.constant(x.shape[-1], 5))
        return self.b.add(y, self.constant(5)) if self.rng.random() < 0.7 else y

    def matrix_layer_norm(self, x: Value) -> Value:
        return self.b.nn_layer_norm(x, self.constant(x.shape[-1]), self.constant(x.shape[-1]))

    def matrix_normalized(self, x: Value) -> Value:
        b, last = self.b, [x.rank - 1]
        centered = b.sub(x, b.reduce_mean(x, axes=last))
        variance = b.reduce_mean(b.mul(centered, centered), axes=last)
        return b.div(centered, b.sqrt(b.add(variance, self.number(1e-2))))

    def matrix_softmax(self, x: Value) -> Value:
        return self.b.nn_softmax(self.b.mul(x, self.number(0.3)), axis=-1)

    def matrix_chain(self, x: Value) -> Value:
        return self.b.div(self.b.exp(self.b.tanh(x)), self.number(2))

    def matrix_transpose(self, x: Value) -> Value | None:
        return self.b.tensor_transpose(x, perm=[0, 2, 1]) if x.rank == 3 else None

    def matrix_self_product(self, x: Value) -> Value | None:
        if x.rank != 3:
            return None
        scores = self.b.nn_softmax(self.b.linalg_matmul(x, x, transpose_b=True), axis=-1)
        return self.b.linalg_matmul(scores, x)

    def matrix_attention(self, x: Value) -> Value | None:
        if x.rank != 3:
            return None
        b, (n, m, d) = self.b, x.shape

        def head() -> Value:
            split = b.tensor_reshape(b.linalg_matmul(x, self.constant(d, 8)), shape=[n, m, 2, 4])
            return b.tensor_transpose(split, perm=[0, 2, 1, 3])

        scores = b.mul(b.linalg_matmul(head(), b.tensor_transpose(head(), perm=[0, 1, 3, 2])), self.number(0.5))
        joined = b.tensor_transpose(b.linalg_matmul(b.nn_softmax(scores, axis=-1), head()), perm=[0, 2, 1, 3])
        return b.tensor_reshape(joined, shape=[n, m, 8])

    def matrix_concat(self, x: Value) -> Value | None:
        return self.b.tensor_concat([x, self.b.neg(x)], axis=x.rank - 1) if x.shape[-1] < 60 else None

    def matrix_gather(self, x: Value) -> Value | None:
        return self.b.tensor_gather(x, self.b.const(np.array([0, -1, 1])), axis=1) if x.shape[1] != 1 else None

    def matrix_halves(self, x: Value) -> Value:
        return self.b.tensor_slice(x, starts=[0], ends=[max(1, x.shape[-1] // 2)], axes=[x.rank - 1], steps=[1])
