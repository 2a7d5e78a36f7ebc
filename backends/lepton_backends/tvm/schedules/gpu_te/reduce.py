"""Reductions over axes, softmax and normalizations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import te, tirx

from lepton_backends.tvm.schedules.gpu_te.core import (
    Expr,
    Index,
    Tensor,
    accumulator,
    at,
    broadcast_at,
    cast,
    compute,
    product,
    reduce_axes,
    rounded,
    shape_of,
)

_PRODUCT = te.comm_reducer(lambda a, b: a * b, lambda dtype: tirx.const(1, dtype), name="prod")
COMBINERS: dict[str, Callable[..., Expr]] = {"sum": te.sum, "max": te.max, "min": te.min, "prod": _PRODUCT}


def reduce(
    x: Tensor,
    axes: Sequence[int],
    combine: str,
    *,
    keepdims: bool = False,
    prepare: Callable[[Expr], Expr] | None = None,
) -> Tensor:
    """Return ``x`` reduced over ``axes``, in the accumulator's type.

    Args:
        x: the tensor.
        axes: axes counted from 0.
        combine: sum, max, min or prod.
        keepdims: keep reduced axes with extent 1.
        prepare: applied to every element first.
    """
    shape = shape_of(x)
    wide = accumulator(str(x.dtype))
    over: dict[int, Any] = dict(zip(sorted(axes), reduce_axes([shape[a] for a in sorted(axes)]), strict=True))
    kept = [1 if a in over else extent for a, extent in enumerate(shape) if keepdims or a not in over]

    def body(*i: Index) -> Expr:
        value = cast(at(x, _insert(i, over, len(shape), keepdims)), wide)
        return COMBINERS[combine](prepare(value) if prepare else value, axis=list(over.values()))

    if not over:
        return compute(shape, lambda *i: (prepare or (lambda v: v))(cast(at(x, i), wide)), "unreduced")
    return compute(kept, body, f"reduce_{combine}")


def mean(x: Tensor, axes: Sequence[int], *, keepdims: bool = False) -> Tensor:
    """Return the mean over ``axes``, in the accumulator's type."""
    total = reduce(x, axes, "sum", keepdims=keepdims)
    count = count_of(x, axes)
    return compute(shape_of(total), lambda *i: at(total, i) / cast(count, str(total.dtype)), "mean")


def count_of(x: Tensor, axes: Sequence[int]) -> Expr:
    """Return the number of elements that a reduction over ``axes`` joins."""
    total = product([shape_of(x)[a] for a in axes])
    return tirx.const(total, "int64") if isinstance(total, int) else total


def arg_reduce(x: Tensor, axis: int, *, largest: bool, last: bool, keepdims: bool) -> Tensor:
    """Return the int64 index of the largest or smallest element along ``axis``, of equal ones the first or last."""
    shape = shape_of(x)
    (k,) = reduce_axes([shape[axis]])
    kept = [1 if a == axis else extent for a, extent in enumerate(shape) if keepdims or a != axis]

    def better(left: Sequence[Expr], right: Sequence[Expr]) -> Expr:
        ahead = left[1] > right[1] if largest else left[1] < right[1]
        earlier = left[0] > right[0] if last else left[0] < right[0]
        # The neutral element has index -1 and must lose every tie.
        return tirx.any(ahead, tirx.all(left[1] == right[1], earlier, left[0] >= 0), right[0] < 0)

    def combine(left: Sequence[Expr], right: Sequence[Expr]) -> tuple[Expr, Expr]:
        chosen = better(left, right)
        return tuple(tirx.Select(chosen, a, b) for a, b in zip(left, right, strict=True))

    def neutral(index_type: str, value_type: str) -> tuple[Expr, Expr]:
        worst = te.min_value(value_type) if largest else te.max_value(value_type)
        return tirx.const(-1, index_type), worst

    reducer = te.comm_reducer(combine, neutral, name="arg_reduce")

    def body(*i: Index) -> Any:
        value = at(x, _insert(i, {axis: k}, len(shape), keepdims))
        return reducer((k, value), axis=[k])

    stages = te.compute([tirx.IntImm("int64", e) if isinstance(e, int) else e for e in kept], body, name="arg_reduce")
    return compute(kept, lambda *i: at(stages[0], i), "arg_index")


def softmax(x: Tensor, axis: int, *, log: bool = False) -> Tensor:
    """Return the softmax along ``axis``, or its logarithm."""
    shape, dtype = shape_of(x), str(x.dtype)
    wide = accumulator(dtype)
    largest = reduce(x, [axis], "max")

    def shifted(i: Sequence[Index]) -> Expr:
        return cast(at(x, i), wide) - at(largest, _drop(i, axis))

    (k,) = reduce_axes([shape[axis]])

    def total(*i: Index) -> Expr:
        return te.sum(tirx.exp(shifted(_insert(i, {axis: k}, len(shape), False))), axis=k)

    summed = compute(shape[:axis] + shape[axis + 1 :], total, "exp_sum")

    def body(*i: Index) -> Expr:
        denominator = at(summed, _drop(i, axis))
        return shifted(i) - tirx.log(denominator) if log else tirx.exp(shifted(i)) / denominator

    return rounded(compute(shape, body, "softmax"), dtype)


def layer_norm(
    x: Tensor,
    axes: Sequence[int],
    epsilon: float,
    scale: Callable[[Sequence[Index]], Expr] | None = None,
    shift: Callable[[Sequence[Index]], Expr] | None = None,
) -> Tensor:
    """Return ``x`` with mean 0 and variance 1 over ``axes``, scaled and shifted.

    The variance is the mean square distance from the mean, computed in a pass of its own: the difference of the
    mean square and the squared mean loses digits where the mean is large.

    Args:
        x: the tensor.
        axes: the axes that are normalized over.
        epsilon: added to the variance.
        scale: the factor of the element at an index.
        shift: the summand of the element at an index.
    """
    shape, dtype = shape_of(x), str(x.dtype)
    wide = accumulator(dtype)
    center = mean(x, axes)
    over = dict(zip(sorted(axes), reduce_axes([shape[a] for a in sorted(axes)], "v"), strict=True))

    def square(*i: Index) -> Expr:
        distance = cast(at(x, _insert(i, over, len(shape), False)), wide) - at(center, i)
        return te.sum(distance * distance, axis=list(over.values()))

    squares = compute(shape_of(center), square, "squares")
    count = cast(count_of(x, axes), wide)

    def body(*i: Index) -> Expr:
        outer = _drop(i, *over)
        variance = at(squares, outer) / count
        value = (cast(at(x, i), wide) - at(center, outer)) * tirx.rsqrt(variance + tirx.const(epsilon, wide))
        value = value * cast(scale(i), wide) if scale else value
        return value + cast(shift(i), wide) if shift else value

    return rounded(compute(shape, body, "normalized"), dtype)


def rms_norm(
    x: Tensor, axes: Sequence[int], epsilon: float, scale: Callable[[Sequence[Index]], Expr] | None = None
) -> Tensor:
    """Return ``x`` divided by its root mean square over ``axes``, scaled."""
    shape, dtype = shape_of(x), str(x.dtype)
    wide = accumulator(dtype)
    squares = reduce(x, axes, "sum", prepare=lambda v: v * v)
    count = cast(count_of(x, axes), wide)

    def body(*i: Index) -> Expr:
        root = tirx.rsqrt(at(squares, _drop(i, *axes)) / count + tirx.const(epsilon, wide))
        value = cast(at(x, i), wide) * root
        return value * cast(scale(i), wide) if scale else value

    return rounded(compute(shape, body, "normalized"), dtype)


def over_last(tensor: Tensor) -> Callable[[Sequence[Index]], Expr]:
    """Return a load that broadcasts ``tensor`` over the leading axes of an index."""
    return lambda i: broadcast_at(tensor, i)


def _insert(kept: Sequence[Index], over: dict[int, Any], rank: int, keepdims: bool) -> list[Index]:
    """Return the full index: reduction axes at the reduced places, ``kept`` at the others."""
    own = iter(kept)
    indices = []
    for axis in range(rank):
        here = next(own) if keepdims or axis not in over else None
        indices.append(over.get(axis, here))
    return indices


def _drop(i: Sequence[Index], *axes: int) -> list[Index]:
    return [index for axis, index in enumerate(i) if axis not in axes]
