"""Matrix products."""

from __future__ import annotations

from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_ir.ir.core import Value


@onnx_op("MatMul")
def matmul(b: OnnxBuilder, x: Value, y: Value) -> Value:
    return b.linalg_matmul(x, y)


@onnx_op("Gemm")
def gemm(
    b: OnnxBuilder,
    x: Value,
    y: Value,
    c: Value | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX's name
    transB: int = 0,  # noqa: N803
) -> Value:
    product = b.linalg_matmul(x, y, transpose_a=bool(transA), transpose_b=bool(transB))
    if alpha != 1.0:
        product = b.mul(product, b.like(product, alpha))
    if c is None or beta == 0.0:
        return product
    return b.add(product, c if beta == 1.0 else b.mul(c, b.like(c, beta)))


@onnx_op("Einsum", since=12)
def einsum(b: OnnxBuilder, *xs: Value, equation: str) -> Value:
    return b.linalg_einsum(xs, equation=equation.replace(" ", ""))


@onnx_op("Det", since=11)
def det(b: OnnxBuilder, x: Value) -> Value:
    return b.linalg_det(x)
