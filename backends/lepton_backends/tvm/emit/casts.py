"""Conversions between element types, element by element."""

from __future__ import annotations

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import float8
from lepton_backends.tvm.emit.rules import compute_dtype, scalar, storage_dtype
from lepton_backends.tvm.emit.scalars import clip, ne, to_integer
from lepton_backends.tvm.emit.vector_math import like
from lepton_backends.tvm.tir import Expr
from lepton_ir.ir import DType

_LIMITS = {DType.F8E4M3FN: 448.0, DType.F8E4M3FNUZ: 240.0, DType.F8E5M2: 57344.0, DType.F8E5M2FNUZ: 57344.0}
_SUB_BYTE = {DType.I4: 4, DType.U4: 4, DType.I2: 2, DType.U2: 2}
_SMALL = {DType.F6E2M3: float8.F6E2M3, DType.F6E3M2: float8.F6E3M2, DType.F4E2M1: float8.F4E2M1}
"""Floats below a byte; kernels hold them as longer floats, so that only casts round to them."""


@scalar("cast")
def cast(x: Expr, *, to: DType, saturate: bool, round_mode: str, dtype: DType) -> Expr:
    if to is dtype:
        return x
    if to is DType.BOOL:
        return ne(x, like(0, x))
    if to in _SUB_BYTE:
        return wrap(to_integer(x, "int32"), _SUB_BYTE[to], storage_dtype(to))
    if not to.is_float:
        return to_integer(x, storage_dtype(to))
    x = tir.cast(x, compute_dtype(to))
    if saturate and to in _LIMITS:
        x = clip(x, like(-_LIMITS[to], x), like(_LIMITS[to], x))
    # Narrow floats are computed in float32, but a conversion that the model asks for rounds.
    if to is DType.F8E8M0FNU:
        return float8.power_of_two(x, saturate, round_mode)
    layout = _SMALL.get(to, float8.FORMATS.get(storage_dtype(to)))
    if layout is not None:
        return float8.rounded(x, layout)
    return tir.cast(tir.cast(x, storage_dtype(to)), compute_dtype(to))


def wrap(x: Expr, bits: int, to: str) -> Expr:
    """Keep the low bits of int32 numbers, with their sign where ``to`` is signed."""
    if to.startswith("uint"):
        return tir.cast(tirx.bitwise_and(x, like((1 << bits) - 1, x)), to)
    shift = like(32 - bits, x)
    return tir.cast((x << shift) >> shift, to)
