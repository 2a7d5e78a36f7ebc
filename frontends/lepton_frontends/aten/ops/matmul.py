"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.views import transposed
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import Number, axis_of, category, ints_of, result_type, tensor_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import product
from lepton_ir.ir.types import DType
from lepton_ir.ops.einsum import parse_equation


@aten_op("matmul", "mm", "bmm", "mv", "linalg_matmul")
def matmul(b: AtenBuilder, self: Value, other: Value, out_dtype: Any = None) -> Value:
    x, y = (_numbers(b, v) for v in (self, other))
    return b.convert(b.linalg_matmul(x, y), self.tensor.dtype)


def _numbers(b: AtenBuilder, x: Value) -> Value:
    return b.convert(x, DType.I32) if x.tensor.dtype is DType.BOOL else x


@aten_op("dot", "vdot", "inner")
def inner(b: AtenBuilder, self: Value, other: Value) -> Value:
    if not self.rank or not other.rank:
        return b.mul(self, other)
    if self.rank == 1 and other.rank == 1:
        return b.linalg_matmul(self, other)
    left, right = b.reshaped(self, (product(self.shape[:-1]), self.shape[-1])), other
    right = b.reshaped(right, (product(right.shape[:-1]), right.shape[-1]))
    y = b.linalg_matmul(left, right, transpose_b=True)
    return b.reshaped(y, (*self.shape[:-1], *other.shape[:-1]))


@aten_op("outer", "ger")
def outer(b: AtenBuilder, self: Value, vec2: Value) -> Value:
    dtype = result_type(self, vec2)
    x, y = b.convert(self, dtype), b.convert(vec2, dtype)
    product_of = b.and_ if dtype is DType.BOOL else b.mul
    return product_of(b.reshaped(x, (*x.shape, 1)), b.reshaped(y, (1, *y.shape)))


@aten_op("linear")
def linear(b: AtenBuilder, input: Value, weight: Value, bias: Value | None = None) -> Value:
    """x W^T + b; a weight of rank 1 gives one number per row."""
    y = b.linalg_matmul(input, weight, transpose_b=weight.rank == 2)
    return y if bias is None else b.add(y, bias)


def _scaled(b: AtenBuilder, x: Value, factor: Number) -> Value:
    if not isinstance(factor, (int, float)) or factor != 1:
        dtype = x.tensor.dtype
        scale = tensor_of(b, factor, dtype)
        return b.and_(x, scale) if category(dtype) == 0 else b.mul(x, scale)
    return x


def _added(b: AtenBuilder, base: Value, products: Value, beta: Number, alpha: Number) -> Value:
    """Return beta * base + alpha * products; a base times 0 is not looked at, NaN or not."""
    y = _scaled(b, products, alpha)
    if isinstance(beta, (int, float)) and beta == 0:
        return y
    x = _scaled(b, b.convert(base, y.tensor.dtype), beta)
    return b.or_(x, y) if y.tensor.dtype is DType.BOOL else b.add(x, y)


@aten_op("addmm", "addmv", "baddbmm")
def addmm(
    b: AtenBuilder, self: Value, mat1: Value, mat2: Value, *, beta: Number = 1, alpha: Number = 1, out_dtype: Any = None
) -> Value:
    return _added(b, self, b.linalg_matmul(mat1, mat2), beta, alpha)


@aten_op("addbmm")
def addbmm(b: AtenBuilder, self: Value, batch1: Value, batch2: Value, *, beta: Number = 1, alpha: Number = 1) -> Value:
    total = b.reduce_sum(b.linalg_matmul(batch1, batch2), axes=(0,), keepdims=False)
    return _added(b, self, total, beta, alpha)


@aten_op("addr")
def addr(b: AtenBuilder, self: Value, vec1: Value, vec2: Value, *, beta: Number = 1, alpha: Number = 1) -> Value:
    return _added(b, self, outer(b, vec1, vec2), beta, alpha)


@aten_op("bilinear")
def bilinear(b: AtenBuilder, input1: Value, input2: Value, weight: Value, bias: Value | None = None) -> Value:
    """y_o = x1^T W_o x2 + b_o."""
    lead = input1.shape[:-1]
    rows = product(lead)
    x, y = (b.reshaped(v, (rows, v.shape[-1])) for v in (input1, input2))
    z = b.linalg_einsum([x, weight, y], equation="ni,oij,nj->no")
    z = b.reshaped(z, (*lead, weight.shape[0]))
    return z if bias is None else b.add(z, bias)


@aten_op("_trilinear")
def trilinear(
    b: AtenBuilder, i1: Value, i2: Value, i3: Value, expand1: Any, expand2: Any, expand3: Any, sumdim: Any,
    unroll_dim: Any = 1,
) -> Value:  # fmt: skip
    """The product of three tensors, each with new axes, summed along some axes."""
    given = [(x, ints_of(new, "axes")) for x, new in ((i1, expand1), (i2, expand2), (i3, expand3))]
    letters = ascii_lowercase[: i1.rank + len(given[0][1])]
    terms = ["".join(c for i, c in enumerate(letters) if i not in new) for _, new in given]
    summed = ints_of(sumdim, "axes")
    out = "".join(c for i, c in enumerate(letters) if i not in summed)
    return b.linalg_einsum([x for x, _ in given], equation=f"{','.join(terms)}->{out}")


@aten_op("einsum")
def einsum(b: AtenBuilder, equation: str, tensors: Sequence[Value], path: Any = None) -> Value:
    plain = equation.replace(" ", "")
    xs = list(tensors)
    terms, out = parse_equation(plain, [x.rank for x in xs])
    alone = {c for term in terms for c in term if c not in out and sum(c in other for other in terms) == 1}
    if alone and category(result_type(*xs)) < 2:
        # What stands in one tensor only is summed before the product, and sums of whole numbers are i64.
        xs = [b.convert(x, DType.I64) for x in xs]
    return b.linalg_einsum(xs, equation=plain)


@aten_op("tensordot")
def tensordot(b: AtenBuilder, self: Value, other: Value, dims_self: Any, dims_other: Any) -> Value:
    mine = [axis_of(d, self.rank) for d in ints_of(dims_self, "axes")]
    theirs = [axis_of(d, other.rank) for d in ints_of(dims_other, "axes")]
    left, right = _summed(b, self, mine, other, theirs), _summed(b, other, theirs, self, mine)
    free_a = [i for i in range(left.rank) if i not in mine]
    free_b = [i for i in range(right.rank) if i not in theirs]
    x, y = transposed(b, left, (*free_a, *mine)), transposed(b, right, (*theirs, *free_b))
    inner_size = product([left.shape[i] for i in mine])
    x = b.reshaped(x, (product([left.shape[i] for i in free_a]), inner_size))
    y = b.reshaped(y, (inner_size, product([right.shape[i] for i in free_b])))
    shape = (*(left.shape[i] for i in free_a), *(right.shape[i] for i in free_b))
    return b.reshaped(b.linalg_matmul(x, y), shape)


def _summed(b: AtenBuilder, x: Value, axes: Sequence[int], other: Value, its: Sequence[int]) -> Value:
    """Return x summed along axes where the other tensor has size 1, which is multiplied by each element."""
    wide = tuple(a for a, i in zip(axes, its, strict=True) if other.shape[i] == 1 and x.shape[a] != 1)
    return b.reduce_sum(x, axes=wide) if wide else x


@aten_op("kron")
def kron(b: AtenBuilder, self: Value, other: Value) -> Value:
    rank = max(self.rank, other.rank)
    dtype = result_type(self, other)
    x, y = (b.reshaped(b.convert(v, dtype), (*[1] * (rank - v.rank), *v.shape)) for v in (self, other))
    sizes = list(zip(x.shape, y.shape, strict=True))
    wide = b.reshaped(x, [d for pair in sizes for d in (pair[0], 1)])
    narrow = b.reshaped(y, [d for pair in sizes for d in (1, pair[1])])
    products = b.and_(wide, narrow) if dtype is DType.BOOL else b.mul(wide, narrow)
    return b.reshaped(products, [m * n for m, n in sizes])


@aten_op("chain_matmul", "linalg_multi_dot")
def chain(b: AtenBuilder, matrices: Sequence[Value]) -> Value:
    y = matrices[0]
    for other in matrices[1:]:
        y = b.linalg_matmul(y, other)
    return y
