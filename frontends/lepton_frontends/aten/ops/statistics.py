"""Covariance, correlation, and the trapezoidal rule."""

from __future__ import annotations

from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.arithmetic import div, mul, sub
from lepton_frontends.aten.ops.opmath import dim_tensor, refuse_complex
from lepton_frontends.aten.ops.reduce import sum_
from lepton_frontends.aten.ops.scan import cumsum
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axis_of, floats, number_of, promoted
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import product
from lepton_ir.ir.types import DType


def neighbours(b: AtenBuilder, x: Value, axis: int) -> tuple[Value, Value]:
    """Return all elements along an axis but the last, and all but the first."""
    size = x.shape[axis]
    return (
        b.tensor_slice(x, starts=(0,), ends=(size - 1,), axes=(axis,), steps=(1,)),
        b.tensor_slice(x, starts=(1,), ends=(size,), axes=(axis,), steps=(1,)),
    )


@aten_op("trapezoid", "trapz", "cumulative_trapezoid")
def trapezoid(b: AtenBuilder, y: Value, x: Value | None = None, *, dx: Any = 1, dim: Any = -1) -> Value:
    """The sum of the means of neighbours, each times their distance."""
    axis, running = axis_of(dim, y.rank), b.op.startswith("cum")
    if y.shape[axis] == 0:
        rest = tuple(d for i, d in enumerate(y.shape) if i != axis)
        return y if running else b.full(rest, 0, floats(b, y).tensor.dtype)
    left, right = neighbours(b, y, axis)
    area = b.add(left, right)
    if x is not None:
        points = x if x.rank > 1 else b.reshaped(x, tuple(x.shape[0] if i == axis else 1 for i in range(y.rank)))
        before, after = neighbours(b, points, axis_of(dim, points.rank))
        area = b.mul(*promoted(b, area, b.sub(after, before)))
    total = floats(b, cumsum(b, area, axis) if running else sum_(b, area, axis))
    factor = 0.5 if x is not None else number_of(dx, "distance") / 2
    return b.mul(total, b.like(total, factor))


@aten_op("cov")
def covariance(
    b: AtenBuilder, self: Value, *, correction: Any = 1, fweights: Value | None = None, aweights: Value | None = None
) -> Value:
    """Rows are variables, columns observations; fweights say how often each was made, aweights what it counts."""
    refuse_complex(self)
    x = floats(b, self if self.rank == 2 else b.reshaped(self, (1, product(self.shape))))
    weights = [w for w in (fweights, aweights) if w is not None]
    weight = weights[0] if len(weights) == 1 else mul(b, *weights) if weights else None
    total = dim_tensor(b, x.shape[1], DType.I64) if weight is None else sum_(b, weight)
    missing: Any = number_of(correction, "correction")
    if weight is not None and aweights is not None:
        missing = mul(b, div(b, sum_(b, mul(b, weight, aweights)), total), missing)
    freedom = floats(b, sub(b, total, missing))
    freedom = b.maximum(freedom, b.like(freedom, 0))
    average = div(b, sum_(b, x if weight is None else mul(b, x, weight), 1, keepdim=True), total)
    centered = sub(b, x, average)
    other = centered if weight is None else mul(b, centered, weight)
    found = div(b, b.linalg_matmul(*promoted(b, centered, other), transpose_b=True), freedom)
    return b.reshaped(found, ()) if x.shape[0] == 1 else found


@aten_op("corrcoef")
def correlation(b: AtenBuilder, self: Value) -> Value:
    found = covariance(b, self)
    if not found.rank:
        return b.div(found, found)
    size = found.shape[0]
    on_diagonal = b.eq(b.tensor_iota(shape=(size, 1), axis=0), b.tensor_iota(shape=(1, size), axis=1))
    own = b.sqrt(b.reduce_sum(b.where(on_diagonal, found, b.like(found, 0)), axes=(1,)))
    scaled = b.div(b.div(found, own), b.reshaped(own, (1, size)))
    return b.clip(scaled, b.like(found, -1), b.like(found, 1))
