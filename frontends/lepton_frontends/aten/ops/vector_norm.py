"""Norms, and distances between vectors."""

from __future__ import annotations

import math
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.opmath import refuse_complex, wide_type
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import axes_of, axis_of, dtype_of, floats, number_of, promoted
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType

_FIX = "use a norm that is computed element by element"


def _wide(b: AtenBuilder, x: Value) -> Value:
    refuse_complex(x)
    return b.convert(x, wide_type(x.tensor.dtype))


def lp_norm(b: AtenBuilder, x: Value, order: float, axes: tuple[int, ...], keepdims: bool = False) -> Value:
    """Return the p-norm of floats along axes; of order 0 the number of elements that are not 0."""
    size = b.abs(x)
    if math.isinf(order):
        if any(x.shape[a] == 0 for a in axes):
            if order < 0:
                raise UnsupportedError("it takes the least of no elements")
            size = b.full(x.shape, 0, x.tensor.dtype)
            return b.reduce_sum(size, axes=axes, keepdims=keepdims)
        return (b.reduce_max if order > 0 else b.reduce_min)(size, axes=axes, keepdims=keepdims)
    if order == 0:
        return b.reduce_sum(b.convert(b.ne(x, b.like(x, 0)), x.tensor.dtype), axes=axes, keepdims=keepdims)
    if order == 1:
        return b.reduce_sum(size, axes=axes, keepdims=keepdims)
    if order == 2:
        return b.sqrt(b.reduce_sum(b.mul(x, x), axes=axes, keepdims=keepdims))
    total = b.reduce_sum(b.pow(size, b.like(x, order)), axes=axes, keepdims=keepdims)
    return b.pow(total, b.like(x, 1 / order))


def vector_norm(b: AtenBuilder, x: Value, order: Any, dim: Any, keepdim: Any, dtype: Any) -> Value:
    """Return the norm of order ``order`` (2 for None) along axes, in an element type."""
    given = x if dtype is None else b.convert(x, dtype_of(dtype))
    refuse_complex(given)
    found = lp_norm(
        b,
        _wide(b, given),
        2.0 if order is None else float(number_of(order, "order")),
        axes_of(dim, x.rank),
        bool(keepdim),
    )
    return b.convert(found, floats(b, given).tensor.dtype)


@aten_op("linalg_vector_norm")
def linalg_vector_norm(
    b: AtenBuilder, self: Value, ord: Any = 2, dim: Any = None, keepdim: Any = False, *, dtype: Any = None
) -> Value:
    return vector_norm(b, self, ord, dim, keepdim, dtype)


@aten_op("norm", "frobenius_norm")
def norm(b: AtenBuilder, self: Value, p: Any = 2, dim: Any = None, keepdim: Any = False, *, dtype: Any = None) -> Value:
    """Of all elements, or along axes; frobenius_norm has no order and takes the axes first."""
    if b.op == "frobenius_norm":
        return vector_norm(b, self, 2, p if p != 2 else dim, keepdim if dim is None else dim, dtype)
    if p == "nuc":
        raise UnsupportedError("the nuclear norm needs singular values", _FIX)
    return vector_norm(b, self, 2 if p in (None, "fro") else p, dim, keepdim, dtype)


@aten_op("linalg_norm")
def linalg_norm(
    b: AtenBuilder, self: Value, ord: Any = None, dim: Any = None, keepdim: Any = False, *, dtype: Any = None
) -> Value:
    """Of all elements, of vectors or, for two axes, of matrices."""
    if ord is None:
        return vector_norm(b, self, 2, dim, keepdim, dtype)
    count = self.rank if dim is None else len(dim) if isinstance(dim, (list, tuple)) else 1
    if count != 2:
        return vector_norm(b, self, ord, dim, keepdim, dtype)
    return linalg_matrix_norm(b, self, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)


@aten_op("linalg_matrix_norm")
def linalg_matrix_norm(
    b: AtenBuilder, self: Value, ord: Any = "fro", dim: Any = (-2, -1), keepdim: Any = False, *, dtype: Any = None
) -> Value:
    if ord == "fro":
        return vector_norm(b, self, 2, dim, keepdim, dtype)
    if ord == "nuc" or abs(float(number_of(ord, "order"))) == 2:
        raise UnsupportedError(f"the matrix norm {ord} needs singular values", _FIX)
    x = self if dtype is None else b.convert(self, dtype_of(dtype))
    rows, columns = (axis_of(d, x.rank) for d in dim)
    summed, picked = (rows, columns) if abs(ord) == 1 else (columns, rows)
    if x.shape[picked] == 0:
        raise UnsupportedError("it looks for the extreme row or column of a matrix that has none")
    totals = b.reduce_sum(b.abs(_wide(b, x)), axes=(summed,))
    reduce = b.reduce_max if ord > 0 else b.reduce_min
    y = b.convert(reduce(totals, axes=(picked,)), x.tensor.dtype)
    return y if keepdim else b.reshaped(y, tuple(d for i, d in enumerate(x.shape) if i not in (rows, columns)))


@aten_op("dist")
def dist(b: AtenBuilder, self: Value, other: Value, p: Any = 2) -> Value:
    return vector_norm(b, b.sub(*promoted(b, self, other)), p, None, False, None)


@aten_op("pairwise_distance")
def pairwise_distance(b: AtenBuilder, x1: Value, x2: Value, p: Any = 2, eps: Any = 1e-6, keepdim: Any = False) -> Value:
    x, y = promoted(b, x1, x2)
    distance = floats(b, b.sub(x, y))
    distance = b.add(distance, b.like(distance, number_of(eps, "epsilon")))
    return vector_norm(b, distance, p, distance.rank - 1, keepdim, None)


@aten_op("cosine_similarity")
def cosine_similarity(b: AtenBuilder, x1: Value, x2: Value, dim: Any = 1, eps: Any = 1e-8) -> Value:
    x, y = promoted(b, x1, x2, floating=True)
    dtype = x.tensor.dtype
    x, y = _wide(b, x), _wide(b, y)
    axis = axis_of(dim, max(x.rank, y.rank))
    shape = b.add(x, y).shape
    x, y = (v if tuple(v.shape) == tuple(shape) else b.tensor_expand(v, shape=shape) for v in (x, y))
    axes = (axis,) if shape else ()
    least = b.like(x, number_of(eps, "epsilon"))
    x, y = (b.div(v, b.maximum(lp_norm(b, v, 2, axes, keepdims=True), least)) for v in (x, y))
    return b.convert(b.reduce_sum(b.mul(x, y), axes=axes, keepdims=False), dtype)


@aten_op("cdist", "_cdist_forward", "_euclidean_dist")
def cdist(b: AtenBuilder, x1: Value, x2: Value, p: Any = 2, compute_mode: Any = None) -> Value:
    """The distance of every row of one matrix from every row of the other."""
    x, y = promoted(b, x1, x2)
    apart = b.sub(b.reshaped(x, (*x.shape[:-1], 1, x.shape[-1])), b.reshaped(y, (*y.shape[:-2], 1, *y.shape[-2:])))
    return vector_norm(b, apart, p, apart.rank - 1, False, None)


@aten_op("pdist", "_pdist_forward")
def pdist(b: AtenBuilder, self: Value, p: Any = 2) -> Value:
    """The distances of every row from all that come after it."""
    rows = self.shape[0]
    if not isinstance(rows, int):
        raise UnsupportedError("the number of its rows is dynamic", 'set it, with dims={"name": size}')
    pairs = [(i, j) for i in range(rows) for j in range(i + 1, rows)]
    if not pairs:
        return b.full((0,), 0, self.tensor.dtype)
    first, second = (b.tensor_gather(self, b.const([q[k] for q in pairs], dtype=DType.I64), axis=0) for k in (0, 1))
    return vector_norm(b, b.sub(first, second), p, 1, False, None)


@aten_op("renorm")
def renorm(b: AtenBuilder, self: Value, p: Any, dim: Any, maxnorm: Any) -> Value:
    """Scale the slices along an axis whose norm is too large down to the largest norm allowed."""
    axis = axis_of(dim, self.rank)
    x = _wide(b, self)
    others = tuple(i for i in range(x.rank) if i != axis)
    size = lp_norm(b, x, float(number_of(p, "order")), others, keepdims=True)
    limit = b.like(x, number_of(maxnorm, "largest norm"))
    factor = b.div(limit, b.add(size, b.like(x, 1e-7)))
    return b.convert(b.mul(x, b.where(b.gt(size, limit), factor, b.like(x, 1))), self.tensor.dtype)
