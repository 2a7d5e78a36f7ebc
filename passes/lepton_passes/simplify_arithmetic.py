"""Joining of constants in chains of arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import Failure, Pattern, Rewrite, constant_array, rewrite_pattern

_SMALL = 65536
"""Constants of more elements than this are data."""


@rewrite_pattern("mul", "add")
def join_constants(op: Any) -> Failure | Rewrite:
    """(x * a) * b is x * (a * b), and (x + a) + b is x + (a + b)."""
    outer = _with_constant(op, op.name)
    inner = _with_constant(outer[0].op, op.name) if outer is not None else None
    if outer is None or inner is None or not outer[0].has_one_use:
        return Failure("no two constants follow each other", op)
    joined = inner[1] * outer[1] if op.name == "mul" else inner[1] + outer[1]
    if joined.size > max(inner[1].size, outer[1].size) or not np.isfinite(joined).all():
        return Failure("the joined constant would be larger, or overflow", op)
    return lambda rw: getattr(rw, op.name)(inner[0], rw.const(joined, dtype=op.y.tensor.dtype))


@rewrite_pattern("mul")
def scale_of_affine(op: Any) -> Failure | Rewrite:
    """(x * a + b) * c is x * (a * c) + b * c."""
    outer = _with_constant(op, "mul")
    added = _with_constant(outer[0].op, "add") if outer is not None else None
    inner = _with_constant(added[0].op, "mul") if added is not None else None
    if outer is None or added is None or inner is None:
        return Failure("the operand is not x * a + b", op)
    if not outer[0].has_one_use or not added[0].has_one_use:
        return Failure("a value inside is read elsewhere too", op)
    factor, shift = inner[1] * outer[1], added[1] * outer[1]
    sizes = (inner[1].size, added[1].size, outer[1].size)
    if max(factor.size, shift.size) > max(sizes) or not (np.isfinite(factor).all() and np.isfinite(shift).all()):
        return Failure("the joined constants would be larger, or overflow", op)
    dtype = op.y.tensor.dtype
    return lambda rw: rw.add(rw.mul(inner[0], rw.const(factor, dtype=dtype)), rw.const(shift, dtype=dtype))


def _with_constant(op: Any, name: str) -> tuple[Any, np.ndarray] | None:
    """Return the other operand and the constant, in float64, of an addition or multiplication by a small constant."""
    if op is None or op.name != name or not op.y.tensor.dtype.is_float:
        return None
    for x, c in ((op.a, op.b), (op.b, op.a)):
        array = constant_array(c)
        if array is not None and array.size <= _SMALL and x.type == op.y.type:
            wide = array.astype(np.float64)
            return (x, wide) if np.isfinite(wide).all() else None
    return None


@register_pass("simplify-arithmetic")
@dataclass(frozen=True)
class SimplifyArithmetic(PatternPass):
    """Join the constants in chains of multiplications and additions."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        return [join_constants, scale_of_affine]
