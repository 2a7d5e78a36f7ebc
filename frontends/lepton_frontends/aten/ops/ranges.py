"""Ranges of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.opmath import dim_tensor
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import Number, dim_of, dims_of, dtype_of, int_of, number_of, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, Expr, ceildiv
from lepton_ir.ir.types import DType


@aten_op("arange", "range")
def arange(
    b: AtenBuilder, *given: Number, dtype: Any = None, start: Any = None, end: Any = None, step: Any = None, **_: Any
) -> Value:
    """``end``; ``start, end``; or ``start, end, step``. A range includes its end."""
    numbers = [g for g in given if g is not None]
    if end is not None:
        numbers = [*([start] if start is not None else numbers[:1] or [0]), end]
    numbers += [step] if step is not None else []
    first, last, by = (0, numbers[0], 1) if len(numbers) == 1 else (*numbers, 1)[:3]
    is_whole = not any(isinstance(n, float) for n in (first, last, by))
    if b.op == "range":
        return _stepped(b, first, last, by, dtype_of(dtype, DType.F32), inclusive=True)
    kind = dtype_of(dtype, DType.I64 if is_whole else DType.F32)
    if is_whole:
        return b.convert(_counted(b, first, last, by), kind)
    if kind is DType.I64:
        # PyTorch cuts the bounds of i64 off, but not those of narrower integers.
        return _counted(b, *(int(number_of(n, "bound")) for n in (first, last, by)))
    return _stepped(b, first, last, by, kind)


def _stepped(b: AtenBuilder, first: Any, last: Any, by: Any, kind: DType, inclusive: bool = False) -> Value:
    low, high, step = (float(number_of(n, "bound")) for n in (first, last, by))
    if step == 0:
        raise UnsupportedError("its step is 0")
    steps = (high - low) / step
    count = max(0, math.floor(steps) + 1 if inclusive else math.ceil(steps))
    if not kind.is_float:
        low, step = float(int(low)), float(int(step))
    line = b.tensor_iota(shape=(count,), axis=0, dtype=DType.F64)
    return b.convert(b.add(b.mul(line, b.like(line, step)), b.like(line, low)), kind)


def _counted(b: AtenBuilder, first: Any, last: Any, by: Any) -> Value:
    low, high = (_bound(b, n) for n in (first, last))
    step = int_of(by, "step")
    if step == 0:
        raise UnsupportedError("its step is 0")
    if isinstance(low, Expr) or isinstance(high, Expr):
        count: Dim = ceildiv(high - low, step) if step > 0 else ceildiv(low - high, -step)
    else:
        count = len(range(low, high, step))
    return b.tensor_iota(shape=(count,), axis=0, start=low, step=step)


def _bound(b: AtenBuilder, given: Any) -> Dim:
    """Return a bound, which may be negative where it is known."""
    return given if isinstance(given, (int, Expr)) else dims_of(b, [given], "bound of the range")[0]


@aten_op("linspace")
def linspace(b: AtenBuilder, start: Any, end: Any, steps: Any, *, dtype: Any = None) -> Value:
    return _spaced(b, start, end, steps, dtype_of(dtype, DType.F32), lambda x: x)


@aten_op("logspace")
def logspace(b: AtenBuilder, start: Any, end: Any, steps: Any, base: Any = 10.0, *, dtype: Any = None) -> Value:
    root = b.const(float(number_of(base, "base")), dtype=DType.F64)
    return _spaced(b, start, end, steps, dtype_of(dtype, DType.F32), lambda x: b.pow(root, x))


def _spaced(b: AtenBuilder, start: Any, end: Any, steps: Any, kind: DType, function: Callable[[Value], Value]) -> Value:
    """Return a function of numbers at equal distances, counted from both ends to the middle; computed in f64."""
    count = dim_of(b, steps, "number of steps")
    # Bounds are converted to the type of the result first.
    low, high = (b.convert(tensor_of(b, n, kind), DType.F64) for n in (start, end))
    if count == 1:
        return b.convert(b.reshaped(function(low), (1,)), kind)
    size = dim_tensor(b, count, DType.F64)
    last = b.sub(size, b.like(size, 1))
    step = b.div(b.sub(high, low), last)
    place = b.tensor_iota(shape=(count,), axis=0, dtype=DType.F64)
    upwards, downwards = b.add(low, b.mul(step, place)), b.sub(high, b.mul(step, b.sub(last, place)))
    in_first_half = b.lt(place, b.floor(b.mul(size, b.like(size, 0.5))))
    return b.convert(function(b.where(in_first_half, upwards, downwards)), kind)
