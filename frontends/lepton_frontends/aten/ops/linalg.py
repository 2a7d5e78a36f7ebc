"""Determinants, powers and other functions of matrices and vectors."""

from __future__ import annotations

from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.shape import roll
from lepton_frontends.aten.ops.strided import diagonal_of, line
from lepton_frontends.aten.ops.views import expanded, with_rank
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axis_of, category, dim_of, int_of, promoted
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType, broadcast_shapes


@aten_op("trace")
def trace(b: AtenBuilder, self: Value) -> Value:
    x = b.convert(self, DType.I64) if category(self.tensor.dtype) < 2 else self
    return b.reduce_sum(diagonal_of(b, x, 0, 0, 1), axes=(0,), keepdims=False)


@aten_op("cross")
def cross(b: AtenBuilder, self: Value, other: Value, dim: Any = None) -> Value:
    """The product of vectors of size 3, along the first axis of that size by default."""
    if dim is None:
        shape = broadcast_shapes(self.shape, other.shape)
        dim = next((i for i, d in enumerate(shape) if d == 3), None)
        if dim is None:
            raise UnsupportedError("none of its axes has size 3")
    return linalg_cross(b, self, other, dim=dim)


@aten_op("linalg_cross")
def linalg_cross(b: AtenBuilder, self: Value, other: Value, *, dim: Any = -1) -> Value:
    shape = broadcast_shapes(self.shape, other.shape)
    x, y = (expanded(b, v, shape) for v in promoted(b, self, other))
    axis = axis_of(dim, len(shape))
    forward = b.mul(roll(b, x, -1, axis), roll(b, y, -2, axis))
    return b.sub(forward, b.mul(roll(b, x, -2, axis), roll(b, y, -1, axis)))


@aten_op("linalg_vecdot")
def vecdot(b: AtenBuilder, x: Value, y: Value, *, dim: Any = -1) -> Value:
    products = b.mul(*promoted(b, x, y))
    return b.reduce_sum(products, axes=(axis_of(dim, products.rank),), keepdims=False)


@aten_op("linalg_vander")
def vander(b: AtenBuilder, x: Value, *, N: Any = None) -> Value:
    """The powers of each element, from the power 0 on, along a new last axis."""
    base = with_rank(b, b.convert(x, DType.I64) if category(x.tensor.dtype) < 2 else x, 1)
    count = base.shape[-1] if N is None else dim_of(b, N)
    powers = line(b, count, base.rank + 1, base.rank)
    return b.pow(b.reshaped(base, (*base.shape, 1)), powers)


@aten_op("det", "linalg_det")
def det(b: AtenBuilder, self: Value) -> Value:
    return b.linalg_det(self)


@aten_op("_linalg_det")
def det_with_factors(b: AtenBuilder, A: Value) -> tuple[Value, None, None]:
    """The determinant; its factors are for the gradient only."""
    return det(b, A), None, None


@aten_op("slogdet", "linalg_slogdet")
def slogdet(b: AtenBuilder, self: Value) -> tuple[Value, Value]:
    found = b.linalg_det(self)
    return b.sign(found), b.log(b.abs(found))


@aten_op("_linalg_slogdet")
def slogdet_with_factors(b: AtenBuilder, A: Value) -> tuple[Value, Value, None, None]:
    return *slogdet(b, A), None, None


@aten_op("logdet")
def logdet(b: AtenBuilder, self: Value) -> Value:
    return b.log(b.linalg_det(self))


@aten_op("matrix_power", "linalg_matrix_power")
def matrix_power(b: AtenBuilder, self: Value, n: Any) -> Value:
    """Squares of squares, multiplied for each bit of the exponent."""
    exponent = int_of(n, "exponent")
    if exponent < 0:
        raise UnsupportedError("it inverts a matrix", "compute the inverse before the model is exported")
    if exponent == 0:
        size = self.shape[-1]
        unit = b.cast(b.eq(line(b, size, 2, 0), line(b, size, 2, 1)), to=self.tensor.dtype)
        return expanded(b, unit, self.shape)
    power: Value = self
    result: Value | None = None
    for bit in bin(exponent)[:1:-1]:
        if bit == "1":
            result = power if result is None else b.linalg_matmul(result, power)
        power = b.linalg_matmul(power, power)
    assert result is not None
    return result
