"""Operators that move elements without changing them: reshape, transpose, concat, split, pad, ..."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.runtime_dims import partial_dims
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_frontends.onnx.runtime_shapes import pad_at_run_time, reshape_target, slice_at_run_time, unsqueezed_shape
from lepton_frontends.onnx.runtime_values import MOST_CHOICES
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, ceildiv, dmax, dmin, floordiv, product
from lepton_ir.ir.types import DType
from lepton_ir.ops.support import broadcast

_TO_THE_END = 2**31 - 1
"""Ends of a slice from here on mean the end of the axis."""


@onnx_op("Reshape")
def reshape(b: OnnxBuilder, x: Value, shape: Value, *, allowzero: int = 0) -> Value:
    partly = partial_dims(b, shape)
    unknown = [i for i, d in enumerate(partly) if d is None]
    if len(unknown) > 1 or (unknown and (-1 in partly or 0 in x.shape or 0 in partly)):
        return b.reshaped(x, reshape_target(b, x, shape, partly, bool(allowzero)))
    # A single size that depends on data can only be the one that is left.
    target: list[Dim] = [-1 if d is None else d for d in partly]
    if not allowzero:
        target = [x.shape[i] if d == 0 and isinstance(d, int) and i < x.rank else d for i, d in enumerate(target)]
    open_axes = [i for i, d in enumerate(target) if d == -1]
    if len(open_axes) > 1:
        raise UnsupportedError(f"the target shape {target} has more than one -1", "the model is not valid ONNX")
    if open_axes:
        known = product([d for d in target if d != -1])
        if known == 0:
            raise UnsupportedError(f"the size of -1 in the target shape {target} is undetermined")
        target[open_axes[0]] = floordiv(x.tensor.size, known)
    return b.reshaped(x, target)


@onnx_op("Flatten")
def flatten(b: OnnxBuilder, x: Value, *, axis: int = 1) -> Value:
    if not -x.rank <= axis <= x.rank:
        raise UnsupportedError(
            f"axis {axis} does not exist in a tensor of rank {x.rank}", "the model is not valid ONNX"
        )
    at = axis + x.rank if axis < 0 else axis
    return b.reshaped(x, (product(x.shape[:at]), product(x.shape[at:])))


@onnx_op("Squeeze")
def squeeze_by_attribute(b: OnnxBuilder, x: Value, *, axes: Sequence[int] | None = None) -> Value:
    if axes is None:
        if any(not isinstance(d, int) for d in x.shape):
            raise UnsupportedError(f"which axes of {x.type} have size 1 is known only at run time", "name the axes")
        axes = [i for i, d in enumerate(x.shape) if d == 1]
    gone = b.axes(axes, x.rank)
    wrong = [x.shape[a] for a in gone if isinstance(x.shape[a], int) and x.shape[a] != 1]
    if wrong:
        raise UnsupportedError(
            f"it removes an axis of size {wrong[0]} from {x.type}", "only axes of size 1 can be removed"
        )
    return b.reshaped(x, [d for i, d in enumerate(x.shape) if i not in gone])


@onnx_op("Squeeze", since=13)
def squeeze(b: OnnxBuilder, x: Value, axes: Value | None = None) -> Value:
    removable = [i for i, d in enumerate(x.shape) if d == 1 or not isinstance(d, int)]
    return squeeze_by_attribute(b, x, axes=None if axes is None else b.axes_in(axes, x.rank, only=removable))


@onnx_op("Unsqueeze")
def unsqueeze_by_attribute(b: OnnxBuilder, x: Value, *, axes: Sequence[int]) -> Value:
    new = b.axes(axes, x.rank + len(axes))
    if len(set(new)) < len(new):
        raise UnsupportedError(f"its axes {list(axes)} name one twice", "the model is not valid ONNX")
    rest = iter(x.shape)
    return b.reshaped(x, [1 if i in new else next(rest) for i in range(x.rank + len(axes))])


@onnx_op("Unsqueeze", since=13)
def unsqueeze(b: OnnxBuilder, x: Value, axes: Value) -> Value:
    count = product(axes.shape)
    known = b.array(axes)
    if known is None and isinstance(count, int):
        if (x.rank + count) ** count > MOST_CHOICES:
            return b.reshaped(x, unsqueezed_shape(b, x, axes, count))
        return unsqueeze_by_attribute(b, x, axes=b.axes_in(axes, x.rank + count))
    return unsqueeze_by_attribute(b, x, axes=b.ints(axes, "list of axes"))


@onnx_op("Transpose")
def transpose(b: OnnxBuilder, x: Value, *, perm: Sequence[int] | None = None) -> Value:
    order = tuple(range(x.rank))[::-1] if perm is None else b.axes(perm, x.rank)
    return x if order == tuple(range(x.rank)) else b.tensor_transpose(x, perm=order)


@onnx_op("Expand", since=8)
def expand(b: OnnxBuilder, x: Value, shape: Value) -> Value:
    target = broadcast(x.shape, b.dims(shape, "target shape"))
    return x if target == tuple(x.shape) else b.tensor_expand(x, shape=target)


@onnx_op("Tile")
def tile(b: OnnxBuilder, x: Value, repeats: Value) -> Value:
    times = b.dims(repeats, "list of repeats")
    if len(times) != x.rank:
        raise UnsupportedError(f"it has {len(times)} repeats for {x.rank} axes", "the model is not valid ONNX")
    return x if all(t == 1 for t in times) else b.tensor_tile(x, repeats=times)


@onnx_op("Concat")
def concat(b: OnnxBuilder, *xs: Value, axis: int) -> Value:
    at = b.axis(axis, xs[0].rank)
    # An empty tensor of rank 1 stands for "nothing" in models from old exporters.
    kept = [x for x in xs if not (x.shape == (0,) and xs[0].rank != 1)]
    return kept[0] if len(kept) == 1 else b.tensor_concat(kept, axis=at)


def _split(b: OnnxBuilder, x: Value, axis: int, sizes: Sequence[Dim]) -> Any:
    return x if len(sizes) == 1 else b.tensor_split(x, axis=b.axis(axis, x.rank), sizes=tuple(sizes))


def _even(b: OnnxBuilder, x: Value, axis: int, count: int) -> list[Dim]:
    size = x.shape[b.axis(axis, x.rank)]
    piece = ceildiv(size, count)
    if isinstance(size, int) and isinstance(piece, int) and piece * (count - 1) > size:
        raise UnsupportedError(f"an axis of size {size} cannot be split into {count}", "the model is not valid ONNX")
    return [piece] * (count - 1) + [size - piece * (count - 1)]


@onnx_op("Split")
def split_by_attribute(b: OnnxBuilder, x: Value, *, axis: int = 0, split: Sequence[int] | None = None) -> Any:
    return _split(b, x, axis, split or _even(b, x, axis, len(b.node.output)))


@onnx_op("Split", since=13)
def split(b: OnnxBuilder, x: Value, split: Value | None = None, *, axis: int = 0, num_outputs: int = 0) -> Any:
    if split is not None:
        return _split(b, x, axis, b.dims(split, "list of sizes"))
    return _split(b, x, axis, _even(b, x, axis, num_outputs or len(b.node.output)))


def _slice(
    b: OnnxBuilder, x: Value, starts: Sequence[Dim], ends: Sequence[Dim], axes: Sequence[int], steps: Sequence[int]
) -> Value:
    cuts = []
    for start, end, axis, step in zip(starts, ends, b.axes(axes, x.rank), steps, strict=True):
        bounds = _bounds(x.shape[axis], start, end, step)
        if bounds is not None:
            cuts.append((*bounds, axis, step))
    if not cuts:
        return x
    cut = list(zip(*cuts, strict=True))
    return b.tensor_slice(x, starts=cut[0], ends=cut[1], axes=cut[2], steps=cut[3])


def _bounds(size: Dim, start: Dim, end: Dim, step: int) -> tuple[Dim, Dim] | None:
    """Return clamped bounds; None where the whole axis is taken."""
    if isinstance(size, int):
        start, end = _clamped(start, size, step), _clamped(end, size, step, last=True)
    elif step > 0 and isinstance(end, int) and end >= _TO_THE_END:
        end = size
    return None if step == 1 and start == 0 and end == size else (start, end)


def _clamped(bound: Dim, size: int, step: int, last: bool = False) -> Dim:
    """Return a bound of an axis whose size is known, counted from its start."""
    if not isinstance(bound, int):
        return bound
    low, high = (0, size) if step > 0 else (-1 if last else 0, size - 1)
    at = min(max(bound + size if bound < 0 else bound, low), high)
    # A reversed slice down to element 0 ends before it; -1 would be read as the last element.
    return -size - 1 if at < 0 else at


@onnx_op("Slice")
def slice_by_attributes(
    b: OnnxBuilder, x: Value, *, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int] | None = None
) -> Value:
    return _slice(b, x, starts, ends, range(len(starts)) if axes is None else axes, [1] * len(starts))


@onnx_op("Slice", since=10)
def slice_(
    b: OnnxBuilder, x: Value, starts: Value, ends: Value, axes: Value | None = None, steps: Value | None = None
) -> Value:
    if not all(v is None or _is_known(b, v) for v in (starts, ends, axes, steps)):
        return slice_at_run_time(b, x, starts, ends, axes, steps)
    first, last = b.dims(starts, "start of the slice"), b.dims(ends, "end of the slice")
    along = range(len(first)) if axes is None else b.ints(axes, "list of axes")
    step = [1] * len(first) if steps is None else b.ints(steps, "step of the slice")
    return _slice(b, x, first, last, along, step)


def _is_known(b: OnnxBuilder, value: Value) -> bool:
    return None not in partial_dims(b, value)


@onnx_op("Pad")
def pad_by_attributes(
    b: OnnxBuilder, x: Value, *, pads: Sequence[int], mode: str = "constant", value: float = 0.0
) -> Value:
    fill = b.like(x, value) if mode == "constant" and value else None
    return b.tensor_pad(x, fill, pads=tuple(pads), mode=mode) if any(pads) else x


@onnx_op("Pad", since=11)
def pad(
    b: OnnxBuilder,
    x: Value,
    pads: Value,
    constant_value: Value | None = None,
    axes: Value | None = None,
    *,
    mode: str = "constant",
) -> Value:
    fill = b.reshaped(constant_value, ()) if constant_value is not None and mode == "constant" else None
    if not _is_known(b, pads) or not (axes is None or _is_known(b, axes)):
        return pad_at_run_time(b, x, pads, axes, fill, mode)
    given = b.dims(pads, "list of pads")
    along = range(x.rank) if axes is None else b.axes(b.ints(axes, "list of axes"), x.rank)
    if len(given) != 2 * len(along):
        raise UnsupportedError(f"it has {len(given)} pads for {len(along)} axes", "the model is not valid ONNX")
    amounts: list[Dim] = [0] * (2 * x.rank)
    for i, axis in enumerate(along):
        amounts[axis], amounts[x.rank + axis] = given[i], given[i + len(given) // 2]
    cut = [
        a for i, a in enumerate(amounts) if isinstance(d := x.shape[i % x.rank], int) and isinstance(a, int) and a < -d
    ]
    if cut:
        raise UnsupportedError(
            f"its pad {cut[0]} takes away more than there is of {x.type}", "the model is not valid ONNX"
        )
    if not any(amounts):
        return x
    return b.tensor_pad(x, fill, pads=tuple(amounts), mode=mode)


@onnx_op("CenterCropPad", since=18)
def center_crop_pad(b: OnnxBuilder, x: Value, shape: Value, *, axes: Sequence[int] | None = None) -> Value:
    """ONNX's own body computes with the shape as i64, so it takes no i32."""
    along = range(x.rank) if axes is None else b.axes(axes, x.rank)
    target = b.dims(shape, "shape")
    if len(target) != len(along):
        raise UnsupportedError(f"it has {len(target)} sizes for {len(along)} axes", "the model is not valid ONNX")
    starts: list[Dim] = []
    ends: list[Dim] = []
    pads: list[Dim] = [0] * (2 * x.rank)
    for axis, size in zip(along, target, strict=True):
        have = x.shape[axis]
        missing = dmax(size - have, 0)
        starts.append(floordiv(dmax(have - size, 0), 2))
        ends.append(starts[-1] + dmin(have, size))
        pads[axis] = floordiv(missing, 2)
        pads[axis + x.rank] = missing - pads[axis]
    kept = b.tensor_slice(x, starts=tuple(starts), ends=tuple(ends), axes=tuple(along), steps=(1,) * len(target))
    return b.tensor_pad(kept, None, pads=tuple(pads))


@onnx_op("DepthToSpace")
def depth_to_space(b: OnnxBuilder, x: Value, *, blocksize: int, mode: str = "DCR") -> Value:
    return b.nn_depth_to_space(x, blocksize=blocksize, mode=mode)


@onnx_op("SpaceToDepth")
def space_to_depth(b: OnnxBuilder, x: Value, *, blocksize: int, mode: str = "DCR") -> Value:
    if mode == "DCR":
        return b.nn_space_to_depth(x, blocksize=blocksize)
    n, c, h, w = x.shape
    apart = b.reshaped(x, (n, c, h // blocksize, blocksize, w // blocksize, blocksize))
    blocks = b.tensor_transpose(apart, perm=(0, 1, 3, 5, 2, 4))
    return b.reshaped(blocks, (n, c * blocksize**2, h // blocksize, w // blocksize))


@onnx_op("Trilu", since=14)
def trilu(b: OnnxBuilder, x: Value, k: Value | None = None, *, upper: int = 1) -> Value:
    if k is None or _is_known(b, k):
        return b.tensor_trilu(x, upper=bool(upper), k=0 if k is None else b.ints(k, "diagonal")[0])
    rows, columns = (b.tensor_iota(shape=x.shape[-2:], axis=axis, dtype=DType.I64) for axis in (0, 1))
    diagonal, distance = b.cast_to(b.reshaped(k, ()), DType.I64), b.sub(columns, rows)
    return b.where(b.ge(distance, diagonal) if upper else b.le(distance, diagonal), x, b.like(x, 0))
