"""Elementwise operators of several tensors."""

from __future__ import annotations

from functools import reduce

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_ir.ir.core import Value

_BINARY = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "And": "and_", "Or": "or_", "Xor": "xor",
    "Equal": "eq", "Less": "lt", "Greater": "gt",
}  # fmt: skip
_SINCE_12 = {"LessOrEqual": "le", "GreaterOrEqual": "ge"}
_SINCE_18 = {"BitwiseAnd": "bitwise_and", "BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor"}
_VARIADIC = {"Min": "minimum", "Max": "maximum", "Sum": "add", "Mean": "add"}
_ALL = {**_BINARY, **_SINCE_12, **_SINCE_18, **_VARIADIC}


@onnx_op(*_BINARY)
def binary(b: OnnxBuilder, x: Value, y: Value) -> Value:
    return getattr(b, _ALL[b.op_type])(x, y)


onnx_op(*_SINCE_12, since=12)(binary)
onnx_op(*_SINCE_18, since=18)(binary)


@onnx_op(*_VARIADIC)
def variadic(b: OnnxBuilder, *xs: Value) -> Value:
    if not xs:
        raise UnsupportedError("it has no inputs", "the model is not valid ONNX")
    total = reduce(getattr(b, _ALL[b.op_type]), xs)
    return b.div(total, b.like(total, len(xs))) if b.op_type == "Mean" and len(xs) > 1 else total


@onnx_op("Pow")
def power(b: OnnxBuilder, x: Value, y: Value) -> Value:
    return b.pow(x, y)


@onnx_op("Mod", since=10)
def mod(b: OnnxBuilder, x: Value, y: Value, *, fmod: int = 0) -> Value:
    return b.mod(x, y, fmod=bool(fmod))


@onnx_op("BitShift", since=11)
def bit_shift(b: OnnxBuilder, x: Value, y: Value, *, direction: str) -> Value:
    return b.shift_left(x, y) if direction == "LEFT" else b.shift_right(x, y)


@onnx_op("PRelu")
def prelu(b: OnnxBuilder, x: Value, slope: Value) -> Value:
    return b.prelu(x, slope)


@onnx_op("Where", since=9)
def where(b: OnnxBuilder, condition: Value, x: Value, y: Value) -> Value:
    return b.where(condition, x, y)
