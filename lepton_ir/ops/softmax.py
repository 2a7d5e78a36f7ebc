"""Softmax and attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.opdef import (
    FusionKind,
    InferenceError,
    Operation,
    attribute,
    operand,
    optional_operand,
    result,
)
from lepton_ir.ir.types import TensorType, Type
from lepton_ir.ops.support import (
    Array,
    broadcast,
    broadcasts_to,
    dims_differ,
    narrow,
    normalize_axis,
    require_same_dtype,
    widen,
)


class Softmax(Operation):
    """exp(x) divided by its sum along an axis."""

    name = "nn.softmax"
    fusion = FusionKind.ANCHOR
    x: Value = operand()
    axis = attribute(int, default=-1)
    y: OpResult = result()

    def infer(self) -> Type:
        normalize_axis(self.axis, self.x.rank)
        return self.x.type

    def verify(self) -> None:
        if not self.x.tensor.dtype.is_float:
            raise InferenceError(f"{self.name} needs floats, got {self.x.type}")

    def evaluate(self, x: Array) -> Array:
        return narrow(softmax(widen(x), self.axis), self.x.tensor.dtype)

    def decompose(self, b: Builder) -> Sequence[Value]:
        axis = (normalize_axis(self.axis, self.x.rank),)
        e = b.exp(b.sub(self.x, b.reduce_max(self.x, axes=axis)))
        return [b.div(e, b.reduce_sum(e, axes=axis))]


class LogSoftmax(Softmax):
    """x minus the logarithm of the sum of exp(x) along an axis."""

    name = "nn.log_softmax"

    def evaluate(self, x: Array) -> Array:
        wide = widen(x)
        shifted = wide - wide.max(self.axis, keepdims=True, initial=-np.inf)
        y = shifted - np.log(np.exp(shifted).sum(self.axis, keepdims=True))
        return narrow(y, self.x.tensor.dtype)

    def decompose(self, b: Builder) -> Sequence[Value]:
        axis = (normalize_axis(self.axis, self.x.rank),)
        shifted = b.sub(self.x, b.reduce_max(self.x, axes=axis))
        return [b.sub(shifted, b.log(b.reduce_sum(b.exp(shifted), axes=axis)))]


class Attention(Operation):
    """softmax(q k^T * scale + mask) v."""

    name = "nn.attention"
    fusion = FusionKind.ANCHOR
    q: Value = operand("[B..., M, D]")
    k: Value = operand("[B..., S, D]")
    v: Value = operand("[B..., S, E]")
    mask: Value | None = optional_operand("added to the scores; broadcasts to [B..., M, S]")
    scale = attribute(float, doc="what the scores are multiplied by, commonly 1 / sqrt(D)")
    y: OpResult = result("[B..., M, E]")

    def infer(self) -> Type:
        q, k, v = self.q.tensor, self.k.tensor, self.v.tensor
        require_same_dtype("q, k and v of nn.attention", q, k, v)
        if min(q.rank, k.rank, v.rank) < 2:
            raise InferenceError(f"nn.attention needs matrices, got {q}, {k} and {v}")
        if dims_differ(q.shape[-1], k.shape[-1]):
            raise InferenceError(f"q {q} and k {k} of nn.attention differ in their last dimension")
        if dims_differ(k.shape[-2], v.shape[-2]):
            raise InferenceError(f"k {k} and v {v} of nn.attention differ in their length")
        batch = broadcast(q.shape[:-2], k.shape[:-2], v.shape[:-2])
        scores = (*batch, q.shape[-2], k.shape[-2])
        if self.mask is not None and not broadcasts_to(self.mask.shape, scores):
            raise InferenceError(f"the mask {self.mask.type} does not broadcast to the scores {list(scores)}")
        return TensorType((*batch, q.shape[-2], v.shape[-1]), q.dtype)

    def verify(self) -> None:
        if not self.q.tensor.dtype.is_float:
            raise InferenceError(f"nn.attention needs floats, got {self.q.type}")
        if self.mask is not None:
            require_same_dtype("q and mask of nn.attention", self.q.tensor, self.mask.tensor)

    def evaluate(self, q: Array, k: Array, v: Array, mask: Array | None = None) -> Array:
        wide = widen(q)
        scores = np.matmul(wide, np.swapaxes(widen(k), -1, -2)) * wide.dtype.type(self.scale)
        weights = softmax(scores if mask is None else scores + widen(mask), -1)
        return narrow(np.matmul(weights, widen(v)), self.q.tensor.dtype)

    def decompose(self, b: Builder) -> Sequence[Value]:
        scores = b.linalg_matmul(self.q, self.k, transpose_b=True)
        scores = b.mul(scores, b.const(self.scale, dtype=self.q.tensor.dtype))
        if self.mask is not None:
            scores = b.add(scores, self.mask)
        return [b.linalg_matmul(b.nn_softmax(scores, axis=-1), self.v)]


def softmax(x: Array, axis: int) -> Array:
    """Return the softmax along an axis, without overflow."""
    with np.errstate(all="ignore"):
        e = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
        return np.asarray(e / e.sum(axis, keepdims=True))
