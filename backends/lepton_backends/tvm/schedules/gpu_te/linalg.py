"""Matrix products."""

from __future__ import annotations

from collections.abc import Callable

from tvm import te

from lepton_backends.tvm.schedules.gpu_te.core import (
    Expr,
    Index,
    Shape,
    Tensor,
    accumulator,
    broadcast_at,
    cast,
    compute,
    index,
    is_one,
    reduce_axes,
    rounded,
    shape_of,
    static,
)

At = Callable[..., Expr]


def matmul(a: Tensor, b: Tensor, *, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """Return numpy's matrix product: vectors, batch axes and their broadcasting included."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    if len(a_shape) == 1 or len(b_shape) == 1:
        return _with_vectors(a, b, transpose_a, transpose_b)
    batch = broadcast_shape(a_shape[:-2], b_shape[:-2])
    rows, inner = _swap(a_shape[-2:], transpose_a)
    columns = b_shape[-2] if transpose_b else b_shape[-1]
    (k,) = reduce_axes([inner])
    left, right = _expanded(a, len(batch)), _expanded(b, len(batch))
    wide = accumulator(str(a.dtype))

    def body(*i: Index) -> Expr:
        lhs = left([*i[:-2], *_swap([i[-2], k], transpose_a)])
        rhs = right([*i[:-2], *_swap([k, i[-1]], transpose_b)])
        return te.sum(cast(lhs, wide) * cast(rhs, wide), axis=k)

    return rounded(compute([*batch, rows, columns], body, "matmul"), str(a.dtype))


def product_of_rows(rows: Shape, columns: Index, inner: Index, a: At, b: At, dtype: str) -> Tensor:
    """Return ``sum over k of a(*rows, k) * b(column, k)`` as one stage of shape ``[*rows, columns]``.

    Both factors become stages of their own, so that a schedule sees plain matrices whatever the loads compute.
    """
    wide = accumulator(dtype)
    left = compute([*rows, inner], a, "rows")
    right = compute([columns, inner], b, "columns")
    (k,) = reduce_axes([inner])

    def body(*i: Index) -> Expr:
        return te.sum(cast(left(*i[:-1], k), wide) * cast(right(i[-1], k), wide), axis=k)

    return rounded(compute([*rows, columns], body, "matmul"), dtype)


def packed_matmul(a: Tensor, weight: Tensor, columns: int) -> Tensor:
    """Return the product with a weight packed in panels, ``[ceil(columns / p), K, p]``."""
    shape = shape_of(a)
    panel = int(shape_of(weight)[2])
    return product_of_rows(
        shape[:-1], columns, shape[-1], lambda *i: a(*i), lambda j, k: weight(j // panel, k, j % panel), str(a.dtype)
    )


def broadcast_shape(*shapes: Shape) -> list[Index]:
    """Return the numpy broadcast of shapes; of two unknown extents the first is taken."""
    rank = max(len(shape) for shape in shapes)
    padded = [[1] * (rank - len(shape)) + list(shape) for shape in shapes]
    result: list[Index] = []
    for extents in zip(*padded, strict=True):
        known = [e for e in extents if not is_one(e)]
        result.append(next((e for e in known if static(e) is not None), known[0] if known else 1))
    return result


def _swap(pair: Shape, swapped: bool) -> list[Index]:
    return list(reversed(pair)) if swapped else list(pair)


def _expanded(tensor: Tensor, batch_rank: int) -> Callable[[Shape], Expr]:
    """Return a load of ``tensor`` at batch, row and column indices, its batch axes broadcast."""
    extra = len(shape_of(tensor)) - 2
    return lambda i: broadcast_at(tensor, list(i)[batch_rank - extra :])


def _with_vectors(a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool) -> Tensor:
    """Return the product where one operand is a vector: a row on the left, a column on the right."""
    a_rank, b_rank = len(a.shape), len(b.shape)
    row = compute([1, *shape_of(a)], lambda _, k: a(k), "row") if a_rank == 1 else a
    column = compute([*shape_of(b), 1], lambda k, _: b(k), "column") if b_rank == 1 else b
    full = matmul(row, column, transpose_a=transpose_a, transpose_b=transpose_b)
    keep_row, keep_column = a_rank > 1, b_rank > 1
    shape = shape_of(full)
    kept = shape[:-2] + ([shape[-2]] if keep_row else []) + ([shape[-1]] if keep_column else [])

    def body(*i: Index) -> Expr:
        batch = list(i[: len(shape) - 2])
        rest = list(i[len(shape) - 2 :])
        row_index = rest.pop(0) if keep_row else index(0)
        return full(*batch, row_index, rest.pop(0) if keep_column else index(0))

    return compute(kept, body, "product")
