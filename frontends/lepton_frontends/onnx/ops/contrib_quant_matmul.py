"""Matrix products of com.microsoft with quantized operands, but for those with weights of few bits."""

from __future__ import annotations

from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.ops.qlinear import matmul_integer, per_row
from lepton_frontends.onnx.ops.quant import dynamic_quantize_linear, integers, requantized, scalar
from lepton_frontends.onnx.rules import MICROSOFT, onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType


@onnx_op("MatMulInteger16", since=1, domain=MICROSOFT)
def matmul_integer16(b: OnnxBuilder, x: Value, y: Value) -> Value:
    signed = any(v.tensor.dtype.is_signed for v in (x, y))
    to = DType.I32 if signed else DType.U32
    return b.linalg_matmul(b.cast(x, to=to), b.cast(y, to=to))


@onnx_op("MatMulIntegerToFloat", since=1, domain=MICROSOFT)
def matmul_integer_to_float(
    b: OnnxBuilder,
    x: Value,
    y: Value,
    x_scale: Value,
    y_scale: Value,
    x_zero: Value | None = None,
    y_zero: Value | None = None,
    bias: Value | None = None,
) -> Value:
    to = x_scale.tensor.dtype
    of_x, of_y = (b.cast_to(v, DType.F32) for v in (per_row(b, x_scale), scalar(b, y_scale)))
    product = b.cast(matmul_integer(b, x, y, x_zero, y_zero), to=DType.F32)
    z = b.mul(product, b.mul(of_x, of_y))
    return b.cast_to(z if bias is None else b.add(z, b.cast_to(bias, DType.F32)), to)


@onnx_op("DynamicQuantizeMatMul", since=1, domain=MICROSOFT)
def dynamic_quantize_matmul(
    b: OnnxBuilder, x: Value, y: Value, y_scale: Value, y_zero: Value | None = None, bias: Value | None = None
) -> Value:
    quantized, x_scale, x_zero = dynamic_quantize_linear(b, x)
    return matmul_integer_to_float(b, quantized, y, x_scale, y_scale, x_zero, y_zero, bias)


@onnx_op("QGemm", since=1, domain=MICROSOFT)
def qgemm(
    b: OnnxBuilder,
    x: Value,
    x_scale: Value,
    x_zero: Value,
    y: Value,
    y_scale: Value,
    y_zero: Value,
    c: Value | None = None,
    scale: Value | None = None,
    zero: Value | None = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,  # noqa: N803 - the operator's name
    transB: int = 0,  # noqa: N803
) -> Value:
    columns = scalar(b, y_zero)
    if transB and columns.rank == 1:
        columns = b.reshaped(columns, (columns.shape[0], 1))
    operands = integers(b, x, scalar(b, x_zero)), integers(b, y, columns)
    total = b.linalg_matmul(*operands, transpose_a=bool(transA), transpose_b=bool(transB))
    if c is not None:
        total = b.add(total, c)
    of_x = scalar(b, x_scale)
    factor = b.mul(of_x if alpha == 1.0 else b.mul(b.like(of_x, alpha), of_x), scalar(b, y_scale))
    if scale is None:
        return b.mul(b.cast(total, to=DType.F32), factor)
    offset = b.const(0, DType.U8) if zero is None else scalar(b, zero)
    return requantized(b, total, b.div(factor, scalar(b, scale)), offset)
