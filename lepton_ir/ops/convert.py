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
    if not x.size:
        return x.astype(to.numpy)
    if isinstance(x.reshape(-1)[0], (str, bytes)):
        if to is DType.STR:
            return x
        text = [v.decode() if isinstance(v, bytes) else v for v in x.reshape(-1)]
        read = _integer if to.is_integer else _truth if to is DType.BOOL else _number
        return np.array([read(v.strip(), to) for v in text]).reshape(x.shape).astype(to.numpy)
    return x if to.is_integer else x.astype(to.numpy)


def _number(text: str, to: DType) -> float:
    """Return the number that a string spells, plainly, with an exponent, or as inf or nan in any case."""
    if "_" in text:  # Python's own spelling.
        raise ValueError(f"{text!r} is no number")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None


def _integer(text: str, to: DType) -> int:
    try:
        number = int(text) if "_" not in text else int(_number(text, to))
    except ValueError:
        exact = _number(text, to)
        if not np.isfinite(exact):
            raise ValueError(f"{text!r} is no integer") from None
        number = int(exact)
    low = -(1 << (to.bits - 1)) if to.is_signed else 0
    if not low <= number < low + (1 << to.bits):
        raise ValueError(f"{text} does not fit {to}")
    return number


def _truth(text: str, to: DType) -> bool:
    named = {"true": True, "false": False}.get(text.lower())
    return _number(text, to) != 0 if named is None else named


def _spell(value: object) -> str:
    if isinstance(value, (bool, np.bool_, int, np.integer, complex, np.complexfloating)):
        return str(value)
    number = float(value)  # type: ignore[arg-type]
    if not np.isfinite(number):
        return "NaN" if np.isnan(number) else "INF" if number > 0 else "-INF"
    # Of a type that numpy does not know, the shortest spelling is in its own text.
    known = value if isinstance(value, np.floating) else np.float32(str(value))
    return np.format_float_positional(known, trim="-")


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
