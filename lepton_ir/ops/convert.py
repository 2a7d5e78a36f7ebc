"""Conversion between element types."""

from __future__ import annotations

import numpy as np

from lepton_ir.ir.types import DType
from lepton_ir.ops.support import Array

ROUND_MODES = ("up", "down", "nearest")
"""How numbers between powers of two become f8e8m0fnu."""

_FLOAT8 = frozenset({DType.F8E4M3FN, DType.F8E4M3FNUZ, DType.F8E5M2, DType.F8E5M2FNUZ})
_SUB_BYTE = {DType.I4: (4, True), DType.U4: (4, False), DType.I2: (2, True), DType.U2: (2, False)}


def convert(x: Array, to: DType, *, saturate: bool = True, round_mode: str = "up") -> Array:
    """Return ``x`` in the element type ``to``; see the operator ``cast``."""
    if x.dtype == np.object_:
        return _from_objects(x, to)
    if x.dtype == to.numpy:
        return x
    if to is DType.STR:
        return np.array([_spell(v) for v in x.reshape(-1)], dtype=object).reshape(x.shape)
    if to is DType.BOOL:
        return np.asarray(x.astype(np.float32) != 0) if x.dtype.kind == "V" else x.astype(np.bool_)
    with np.errstate(all="ignore"):
        if to in _FLOAT8 and saturate:
            return _saturate(x, to)
        if to is DType.F8E8M0FNU:
            return _to_power_of_two(x.astype(np.float32), saturate, round_mode)
        if to in _SUB_BYTE:
            return _to_sub_byte(x, to)
        return x.astype(to.numpy)


def _from_objects(x: Array, to: DType) -> Array:
    """Convert strings; arrays of dimensions stay what they are for integer types."""
    if x.size and isinstance(x.reshape(-1)[0], (str, bytes)):
        if to is DType.STR:
            return x
        text = np.array([v.decode() if isinstance(v, bytes) else v for v in x.reshape(-1)], dtype=object)
        number = int if to.is_integer else float
        return np.array([number(v) for v in text]).reshape(x.shape).astype(to.numpy)
    if to.is_integer or not x.size:
        return x
    return x.astype(to.numpy)


def _spell(value: object) -> str:
    return str(value) if not isinstance(value, np.floating) else np.format_float_positional(value, trim="-")


def _saturate(x: Array, to: DType) -> Array:
    import ml_dtypes

    limit = np.float32(ml_dtypes.finfo(to.numpy).max)
    wide = x.astype(np.float32)
    return np.where(np.isnan(wide), wide, np.clip(wide, -limit, limit)).astype(to.numpy)


def _to_power_of_two(x: Array, saturate: bool, round_mode: str) -> Array:
    """Return the numbers as f8e8m0fnu (OCP Microscaling Formats specification 1.0; ONNX's Cast-24)."""
    mantissa, exponent = np.frexp(x)  # x is mantissa * 2**exponent, the mantissa in [0.5, 1).
    up = {"up": mantissa > 0.5, "down": np.zeros(x.shape, np.bool_), "nearest": mantissa >= 0.75}[round_mode]
    code = np.where(x == 0, -1, exponent - 1 + up + 127)
    code = np.where(np.isposinf(x), 255, code)
    code = np.clip(code, 0, 254) if saturate else np.where(code < 0, 255, np.minimum(code, 255))
    return np.where(np.isnan(x) | (x < 0), 255, code).astype(np.uint8).view(DType.F8E8M0FNU.numpy)


def _to_sub_byte(x: Array, to: DType) -> Array:
    bits, signed = _SUB_BYTE[to]
    low = x.astype(np.int64) & ((1 << bits) - 1)
    if signed:
        low = np.where(low >> (bits - 1), low - (1 << bits), low)
    return low.astype(to.numpy)
