"""Matrix products."""

from __future__ import annotations

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim, ceildiv
from lepton_ir.ir.opdef import FusionKind, InferenceError, Operation, attribute, operand, optional_operand, result
from lepton_ir.ir.types import TensorType, Type
from lepton_ir.ops.numerics import matmul
from lepton_ir.ops.support import (
    Array,
    broadcast,
    dims_differ,
    narrow,
    require_positive,
    require_rank,
    require_same_dtype,
    widen,
)


class MatMul(Operation):
    """The matrix product of the last two axes, with numpy's rules for vectors and for batch axes."""

    name = "linalg.matmul"
    fusion = FusionKind.ANCHOR
    a: Value = operand()
    b: Value = operand()
    transpose_a = attribute(bool, default=False, doc="swap the last two axes of a first")
    transpose_b = attribute(bool, default=False, doc="swap the last two axes of b first")
    y: OpResult = result()

    def infer(self) -> Type:
        a, b = self.a.tensor, self.b.tensor
        require_same_dtype("the operands of linalg.matmul", a, b)
        if not a.rank or not b.rank:
            raise InferenceError(f"linalg.matmul needs vectors or matrices, got {a} and {b}")
        a_shape = _matrix(a, self.transpose_a, row=True)
        b_shape = _matrix(b, self.transpose_b, row=False)
        if dims_differ(a_shape[-1], b_shape[-2]):
            raise InferenceError(
                f"cannot multiply {a} by {b}: the inner dimensions {a_shape[-1]} and {b_shape[-2]} differ"
            )
        rows = a_shape[-2:-1] if a.rank > 1 else ()
        columns = b_shape[-1:] if b.rank > 1 else ()
        return TensorType((*broadcast(a_shape[:-2], b_shape[:-2]), *rows, *columns), a.dtype)

    def verify(self) -> None:
        for value, flag in ((self.a, self.transpose_a), (self.b, self.transpose_b)):
            if flag and value.rank < 2:
                raise InferenceError(f"linalg.matmul cannot transpose a vector, {value.type}")

    def evaluate(self, a: Array, b: Array) -> Array:
        left = np.swapaxes(a, -1, -2) if self.transpose_a else a
        right = np.swapaxes(b, -1, -2) if self.transpose_b else b
        return narrow(matmul(widen(left), widen(right)), self.y.tensor.dtype)


def _matrix(t: TensorType, transposed: bool, *, row: bool) -> tuple[Dim, ...]:
    """Return the shape as that of a matrix: a vector is a row or a column."""
    if t.rank == 1:
        return (1, t.shape[0]) if row else (t.shape[0], 1)
    return (*t.shape[:-2], t.shape[-1], t.shape[-2]) if transposed else t.shape


class PackedMatMul(Operation):
    """A matrix product with a weight whose columns are packed in panels, and an optional bias."""

    name = "linalg.matmul_packed"
    fusion = FusionKind.ANCHOR
    a: Value = operand("[..., K]")
    w: Value = operand("[ceil(n / panel), K, panel], zero beyond column n")
    bias: Value | None = optional_operand("[n]")
    n = attribute(int, doc="columns of the weight, and of the result")
    panel = attribute(int, doc="columns in one panel")
    y: OpResult = result("[..., n]")

    def infer(self) -> Type:
        a, w = self.a.tensor, self.w.tensor
        require_rank("the weight of linalg.matmul_packed", w, 3)
        require_positive("n and panel of linalg.matmul_packed", (self.n, self.panel))
        if not a.rank or dims_differ(a.shape[-1], w.shape[1]):
            raise InferenceError(f"cannot multiply {a} by the packed weight {w}: the inner dimensions differ")
        if dims_differ(w.shape[0], ceildiv(self.n, self.panel)) or dims_differ(w.shape[2], self.panel):
            raise InferenceError(f"the packed weight {w} does not hold {self.n} columns in panels of {self.panel}")
        return TensorType((*a.shape[:-1], self.n), a.dtype)

    def verify(self) -> None:
        if self.bias is not None and tuple(self.bias.shape) != (self.n,):
            raise InferenceError(f"the bias of linalg.matmul_packed must have {self.n} elements, got {self.bias.type}")

    def evaluate(self, a: Array, w: Array, bias: Array | None = None) -> Array:
        y = matmul(widen(a), widen(unpack_columns(w, self.n)))
        return narrow(y if bias is None else y + widen(bias), self.y.tensor.dtype)


def pack_columns(w: Array, panel: int) -> Array:
    """Return a [K, n] weight as panels, [ceil(n / panel), K, panel], padded with zeros."""
    k, n = w.shape
    packed = np.zeros((-(-n // panel), k, panel), dtype=w.dtype)
    # Panel by panel, as weights may be so large that a second copy of them counts.
    for i, start in enumerate(range(0, n, panel)):
        columns = w[:, start : start + panel]
        packed[i, :, : columns.shape[1]] = columns
    return packed


def unpack_columns(w: Array, n: int) -> Array:
    """Return the [K, n] weight that :func:`pack_columns` packed."""
    return w.transpose(1, 0, 2).reshape(w.shape[1], -1)[:, :n]
