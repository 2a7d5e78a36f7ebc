"""Reductions."""

from __future__ import annotations

from collections.abc import Sequence

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType

_NAMES = {
    "ReduceMax": "max", "ReduceMin": "min", "ReduceMean": "mean", "ReduceProd": "prod", "ReduceL1": "l1",
    "ReduceL2": "l2", "ReduceLogSum": "log_sum", "ReduceLogSumExp": "log_sum_exp", "ReduceSumSquare": "sum_square",
}  # fmt: skip
_ALL = {"ReduceSum": "sum", **_NAMES}
_OF_BOOLS = {"max": "any", "min": "all"}


@onnx_op(*_ALL)
def reduce_by_attribute(b: OnnxBuilder, x: Value, *, axes: Sequence[int] | None = None, keepdims: int = 1) -> Value:
    return _reduce(b, x, axes or range(x.rank), keepdims)


def _with_input(
    b: OnnxBuilder, x: Value, axes: Value | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Value:
    given = () if axes is None else b.axes_in(axes, x.rank)
    return _reduce(b, x, given if given or noop_with_empty_axes else range(x.rank), keepdims)


onnx_op("ReduceSum", since=13)(_with_input)
onnx_op(*_NAMES, since=18)(_with_input)


def _reduce(b: OnnxBuilder, x: Value, axes: Sequence[int], keepdims: int) -> Value:
    name = _ALL[b.op_type]
    if x.tensor.dtype is DType.BOOL:
        name = _OF_BOOLS.get(name, name)
    return getattr(b, f"reduce_{name}")(x, axes=tuple(sorted(set(b.axes(axes, x.rank)))), keepdims=bool(keepdims))


@onnx_op("ArgMax", "ArgMin")
def arg_extreme(b: OnnxBuilder, x: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
    find = b.reduce_argmax if b.op_type == "ArgMax" else b.reduce_argmin
    return find(x, axis=b.axis(axis, x.rank), keepdims=bool(keepdims), select_last_index=bool(select_last_index))


@onnx_op("CumSum", since=11)
def cumsum(b: OnnxBuilder, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    along = b.axis(b.axes_in(axis, x.rank, "axis")[0], x.rank)
    return b.tensor_cumsum(x, axis=along, exclusive=bool(exclusive), reverse=bool(reverse))


@onnx_op("TopK", since=10)
def top_k(
    b: OnnxBuilder, x: Value, k: Value, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[Value, Value]:
    count = b.dims(k, "number of elements k")[0]
    return b.tensor_topk(x, k=count, axis=b.axis(axis, x.rank), largest=bool(largest), sorted=bool(sorted))


@onnx_op("TopK")
def top_k_by_attribute(b: OnnxBuilder, x: Value, *, k: int, axis: int = -1) -> tuple[Value, Value]:
    return b.tensor_topk(x, k=k, axis=b.axis(axis, x.rank), largest=True, sorted=True)


@onnx_op("CumProd", since=26)
def cumprod(b: OnnxBuilder, x: Value, axis: Value, *, exclusive: int = 0, reverse: int = 0) -> Value:
    """Multiply by what stands 1, 2, 4, ... places before, until everything before is in."""
    along = b.axis(b.axes_in(axis, x.rank, "axis")[0], x.rank)
    size = x.shape[along]
    if not isinstance(size, int):
        raise UnsupportedError("the size of its axis is dynamic", 'set it, with dims={"name": size}')
    y = _shifted(b, x, along, 1, reverse) if exclusive else x
    places = 1
    while places < size:
        y = b.mul(y, _shifted(b, y, along, places, reverse))
        places *= 2
    return y


def _shifted(b: OnnxBuilder, x: Value, axis: int, places: int, reverse: int) -> Value:
    """Return x moved along the axis, with ones where nothing moves in."""
    size = x.shape[axis]
    start, end = (places, size) if reverse else (0, size - places)
    kept = b.tensor_slice(x, starts=(start,), ends=(end,), axes=(axis,), steps=(1,))
    pads: list[int] = [0] * (2 * x.rank)
    pads[x.rank + axis if reverse else axis] = places
    return b.tensor_pad(kept, b.like(x, 1), pads=tuple(pads))
