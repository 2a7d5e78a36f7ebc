"""Quantization against ONNX Runtime and numpy."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from op_harness import assert_close, evaluate, floats, make, ort, reference

from lepton_ir.ir import DType, InferenceError, TensorType, tensor

QUANTIZED = [np.uint8, np.int8, np.uint16, np.int16]


@pytest.mark.parametrize("dtype", QUANTIZED)
@pytest.mark.parametrize("per_axis", [False, True])
def test_quantize_and_dequantize(dtype: Any, per_axis: bool) -> None:
    x, to = floats(3, 4, 5, low=-8, high=8), DType.of(np.dtype(dtype))
    shape = (4,) if per_axis else ()
    scale = floats(*shape, low=0.01, high=0.1).reshape(shape)
    zero = np.asarray(np.full(shape, 3), dtype)
    q = evaluate("quant.quantize", x, scale, zero, to=to)
    assert_close(q, ort("QuantizeLinear", x, scale, zero, axis=1))
    assert_close(evaluate("quant.dequantize", q, scale, zero, to=DType.F32), ort("DequantizeLinear", q, scale, zero))


def test_quantization_rounds_halves_to_even_and_clamps() -> None:
    x = np.array([0.5, 1.5, -0.5, 2.5, 1e9, -1e9], np.float32)
    found = evaluate("quant.quantize", x, np.float32(1).reshape(()), to=DType.I8)
    np.testing.assert_array_equal(found, [0, 2, 0, 2, 127, -128])


def test_blocked_quantization() -> None:
    x, scale, zero = floats(2, 7), floats(2, 3, low=0.1, high=1.0), np.full((2, 3), 2, np.uint8)
    found = evaluate("quant.quantize", x, scale, zero, axis=1, block_size=3, to=DType.U8)
    spread = np.repeat(scale, 3, 1)[:, :7]
    np.testing.assert_array_equal(found, np.clip(np.rint(x / spread) + 2, 0, 255))
    back = evaluate("quant.dequantize", found, scale, zero, axis=1, block_size=3, to=DType.F32)
    np.testing.assert_allclose(back, (found.astype(np.float32) - 2) * spread, rtol=1e-6)


def test_quantization_to_float8() -> None:
    x, scale = floats(3, 4), np.float32(0.25).reshape(())
    found = evaluate("quant.quantize", x, scale, to=DType.F8E4M3FN)
    np.testing.assert_array_equal(found.astype(np.float32), (x / scale).astype(DType.F8E4M3FN.numpy).astype(np.float32))


def test_quantization_errors() -> None:
    with pytest.raises(InferenceError, match="3 elements along axis 1, but the scale is"):
        make("quant.quantize", tensor((2, 3)), tensor((4,)), to=DType.I8)
    with pytest.raises(InferenceError, match="differ in shape"):
        make("quant.quantize", tensor((2, 3)), tensor((3,)), TensorType((), DType.I8), to=DType.I8)


def test_reference_agrees_on_int4() -> None:
    x, scale = floats(8, low=-20, high=20), np.float32(1.5).reshape(())
    zero = np.zeros((), DType.I4.numpy)
    expected = reference("QuantizeLinear", x, scale, zero)
    found = evaluate("quant.quantize", x, scale, zero, to=DType.I4)
    np.testing.assert_array_equal(found.astype(np.int8), np.asarray(expected).astype(np.int8))


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_quantization_divides_in_its_precision(kind: Any) -> None:
    x, scale, zero = floats(4000, low=-100, high=100), np.float32(0.7).reshape(()), np.int8(3).reshape(())
    quotient = x.astype(kind).astype(np.float32) / np.float32(scale.astype(kind))
    wanted = np.clip(np.rint(quotient.astype(kind).astype(np.float32)) + 3, -128, 127)
    precision = DType.of(np.dtype(kind))
    found = evaluate("quant.quantize", x, scale, zero, to=DType.I8, precision=precision)
    np.testing.assert_array_equal(found, wanted)
    assert (evaluate("quant.quantize", x, scale, zero, to=DType.I8) != wanted).any()
    if kind is np.float16:
        halves = x.astype(kind), np.asarray(scale.astype(kind)), np.asarray(zero)
        found = evaluate("quant.quantize", *halves, to=DType.I8, precision=precision)
        np.testing.assert_array_equal(found, ort("QuantizeLinear", *halves, opset=23))


def test_quantization_of_integers_in_double_precision() -> None:
    x, scale = np.array([2**24 + 1, -5, 7], np.int32), np.array(2, np.int32)
    found = evaluate("quant.quantize", x, scale, to=DType.I16, precision=DType.F64)
    np.testing.assert_array_equal(found, [32767, -2, 4])


@pytest.mark.parametrize("saturate", [False, True])
def test_quantization_to_float8_beyond_its_range(saturate: bool) -> None:
    x = np.array([1e6, -1e6, 3, np.nan], np.float32)
    found = evaluate("quant.quantize", x, np.float32(1).reshape(()), to=DType.F8E4M3FN, saturate=saturate)
    wanted = [448, -448, 3, np.nan] if saturate else [np.nan, np.nan, 3, np.nan]
    np.testing.assert_array_equal(found.astype(np.float32), np.float32(wanted))
