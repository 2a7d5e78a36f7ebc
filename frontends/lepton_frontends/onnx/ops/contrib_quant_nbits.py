"""Matrix products of com.microsoft with weights of 2, 4 or 8 bits, packed in blocks."""

from __future__ import annotations

import numpy as np

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import MICROSOFT, onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import product
from lepton_ir.ir.types import DType

_TYPES = {2: DType.U2, 4: DType.U4, 8: DType.U8}


@onnx_op("MatMulNBits", since=1, domain=MICROSOFT)
def matmul_nbits(
    b: OnnxBuilder,
    x: Value,
    packed: Value,
    scales: Value,
    zero_points: Value | None = None,
    g_idx: Value | None = None,
    bias: Value | None = None,
    *,
    K: int,  # noqa: N803 - the operator's name
    N: int,  # noqa: N803
    block_size: int,
    bits: int = 4,
    accuracy_level: int = 0,
    weight_prepacked: int = 0,
) -> Value:
    if g_idx is not None and zero_points is not None:
        raise UnsupportedError(
            "it has both zero points and g_idx, and ONNX Runtime ignores the zero points then",
            "quantize symmetrically, without zero points",
        )
    if weight_prepacked:
        raise UnsupportedError("its weight is packed for CUDA", "quantize without prepacking the weights")
    if bits not in _TYPES:
        raise UnsupportedError(f"weights of {bits} bits are not supported", "quantize to 2, 4 or 8 bits")
    if any(d == 0 for d in packed.shape):
        y = b.tensor_full(b.like(x, 0), shape=(*x.shape[:-1], N))
    else:
        weight = _weight(b, packed, scales, zero_points, g_idx, (N, K), block_size, bits)
        y = b.linalg_matmul(x, weight, transpose_b=True)
    return y if bias is None else b.add(y, bias)


def _weight(
    b: OnnxBuilder,
    packed: Value,
    scales: Value,
    zero_points: Value | None,
    g_idx: Value | None,
    shape: tuple[int, int],
    block_size: int,
    bits: int,
) -> Value:
    """Return the weight [N, K] in the type of the scales, of which ``g_idx`` names the one of each column."""
    rows, columns = shape
    blocks = -(-columns // block_size)
    if product(packed.shape) != rows * blocks * (block_size * bits // 8):
        raise UnsupportedError(
            f"its weight {packed.type} is not that of {list(shape)} in blocks of {block_size}", "the model is not valid"
        )
    codes = _unpacked(b, packed, (rows, blocks * block_size * bits // 8), bits, columns)
    of_blocks = b.reshaped(scales, (rows, blocks))
    if zero_points is None:
        offset = b.const(np.full((rows, blocks), 1 << (bits - 1)), _TYPES[bits])
    elif zero_points.tensor.dtype.is_float:
        offset = b.reshaped(zero_points, (rows, blocks))
    else:
        offset = _unpacked(b, zero_points, (rows, -(-blocks * bits // 8)), bits, blocks)
    dtype = scales.tensor.dtype
    if g_idx is not None:
        # It may be filled up to whole blocks.
        line = b.reshaped(g_idx, (g_idx.tensor.size,))
        return _of_groups(
            b, codes, of_blocks, offset, b.tensor_slice(line, starts=(0,), ends=(columns,), axes=(0,), steps=(1,))
        )
    if offset.tensor.dtype.is_float:
        return _of_groups(b, codes, of_blocks, offset, b.const(np.arange(columns) // block_size))
    return b.quant_dequantize(codes, of_blocks, offset, axis=1, block_size=block_size, to=dtype)


def _of_groups(b: OnnxBuilder, codes: Value, scales: Value, zeros: Value, groups: Value) -> Value:
    """Return codes [N, K] as numbers, each column by the scale and zero point of its group."""
    dtype = scales.tensor.dtype
    factor, offset = (b.tensor_gather(v, groups, axis=1) for v in (scales, b.cast_to(zeros, dtype)))
    return b.mul(b.sub(b.cast(codes, to=dtype), offset), factor)


def _unpacked(b: OnnxBuilder, packed: Value, shape: tuple[int, int], bits: int, count: int) -> Value:
    """Return the first ``count`` codes of each row of bytes, the first one from the lowest bits of a byte."""
    rows, size = shape
    wide = (rows, size * 8 // bits)
    known = b.array(packed)
    if known is not None:
        # Large constants are unpacked here, not by operations that would hold them several times.
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        codes = (known.reshape(rows, size, 1) >> shifts) & np.uint8((1 << bits) - 1)
        return b.const(codes.reshape(wide)[:, :count].astype(_TYPES[bits].numpy))
    shifted = b.shift_right(b.tensor_reshape(packed, shape=(rows, size, 1)), b.const(np.arange(0, 8, bits), DType.U8))
    whole = b.tensor_reshape(b.cast_to(shifted, _TYPES[bits]), shape=wide)
    return b.tensor_slice(whole, starts=(0,), ends=(count,), axes=(1,), steps=(1,))
