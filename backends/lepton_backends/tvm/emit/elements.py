"""Operators whose result elements are computed one by one, from operands at other places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.emit.rules import element
from lepton_backends.tvm.tir import Expr, Index, bind, select
from lepton_ir.ir.core import Operation, Value


def attribute(op: Operation, name: str) -> Any:
    """Return an attribute, its default where it is not stored."""
    return getattr(op, name)


def clamp(i: Expr, extent: Index) -> Expr:
    """Return an index moved into ``range(extent)``."""
    return tirx.max(tirx.min(i, tir.index(extent - 1)), tir.index(0))


def inside(i: Expr, extent: Index) -> Expr:
    """Return whether an index lies in ``range(extent)``."""
    return tir.both(i >= 0, i < extent)


def zero(view: KernelView, value: Value) -> Expr:
    """Return the literal 0 in the type that ``value`` is computed in."""
    return tir.const(0, view.dtype(value))


@element("tensor.concat")
def concat(view: KernelView, op: Operation, indices: Sequence[Expr]) -> Expr:
    axis = attribute(op, "axis") % len(indices)
    operands = op.present_operands
    start: Index = 0
    pieces: list[tuple[Index, Value, list[Expr]]] = []
    for value in operands:
        extent = view.dim(value.shape[axis])
        place = [*indices]
        place[axis] = clamp(indices[axis] - start, extent)
        pieces.append((start, value, place))
        start = start + extent
    chosen = view.load(operands[0], pieces[0][2])
    for start, value, place in pieces[1:]:
        chosen = select(indices[axis] < start, chosen, view.load(value, place))
    return chosen


@element("tensor.pad")
def pad(view: KernelView, op: Operation, indices: Sequence[Expr]) -> Expr:
    x, value = op.present_operands[0], op.present_operands[1] if len(op.present_operands) > 1 else None
    pads, mode, rank = attribute(op, "pads"), attribute(op, "mode"), len(indices)
    place: list[Expr] = []
    covered: Expr | None = None
    for axis, i in enumerate(indices):
        before, after, extent = pads[axis], pads[axis + rank], view.dim(x.shape[axis])
        if before == 0 and after == 0:
            place.append(i)
            continue
        own = i - view.dim(before)
        place.append(_padded_index(own, extent, mode))
        if mode == "constant":
            covered = inside(own, extent) if covered is None else tir.both(covered, inside(own, extent))
    loaded = view.load(x, place)
    if covered is None:
        return loaded
    return select(covered, loaded, zero(view, x) if value is None else view.load(value, []))


def _padded_index(i: Expr, extent: Index, mode: str) -> Expr:
    if mode == "reflect":
        period = tirx.max(tir.index((extent - 1) * 2), tir.index(1))
        folded = tir.floormod(i, period)
        return tirx.min(folded, period - folded)
    if mode == "wrap":
        return tir.floormod(i, extent)
    return clamp(i, extent)


@element("tensor.trilu")
def trilu(view: KernelView, op: Operation, indices: Sequence[Expr]) -> Expr:
    distance = indices[-1] - indices[-2]
    k = attribute(op, "k")
    kept = distance >= k if attribute(op, "upper") else distance <= k
    return select(kept, view.load(op.present_operands[0], indices), zero(view, op.result))


@element("tensor.iota")
def iota(view: KernelView, op: Operation, indices: Sequence[Expr]) -> Expr:
    i = indices[attribute(op, "axis") % len(indices)]
    value = i * view.dim(attribute(op, "step")) + view.dim(attribute(op, "start"))
    dtype = view.dtype(op.result)
    return tir.real_of_index(value, dtype) if dtype.startswith("float") else tir.cast(value, dtype)


@element("tensor.dims")
def dims(view: KernelView, op: Operation, indices: Sequence[Expr]) -> Expr:
    values = [tir.index(view.dim(d)) for d in attribute(op, "dims")]
    chosen = values[-1]
    for position in range(len(values) - 2, -1, -1):
        chosen = select(indices[0].equal(tir.index(position)), values[position], chosen)
    return chosen


def wrapped(view: KernelView, index_value: Value, place: Sequence[Expr], extent: Index) -> Expr:
    """Return an index read from a tensor: negative ones count from the end, and none leaves ``range(extent)``."""
    i = bind(tir.cast(view.load(index_value, place), tir.INDEX))
    return clamp(select(i < 0, i + extent, i), extent)


@element("tensor.gather")
def gather(view: KernelView, op: Operation, indices: Sequence[Expr]) -> Expr:
    x, positions = op.present_operands
    axis = attribute(op, "axis") % x.rank
    inner = indices[axis : axis + positions.rank]
    i = wrapped(view, positions, inner, view.dim(x.shape[axis]))
    return view.load(x, [*indices[:axis], i, *indices[axis + positions.rank :]])


@element("tensor.gather_elements")
def gather_elements(view: KernelView, op: Operation, indices: Sequence[Expr]) -> Expr:
    x, positions = op.present_operands
    axis = attribute(op, "axis") % x.rank
    place = [*indices]
    place[axis] = wrapped(view, positions, indices, view.dim(x.shape[axis]))
    return view.load(x, place)


@element("tensor.gather_nd")
def gather_nd(view: KernelView, op: Operation, indices: Sequence[Expr]) -> Expr:
    x, positions = op.present_operands
    batch = attribute(op, "batch_dims")
    outer, inner = indices[: positions.rank - 1], indices[positions.rank - 1 :]
    depth = int(positions.shape[-1])
    place = [wrapped(view, positions, [*outer, tir.index(d)], view.dim(x.shape[batch + d])) for d in range(depth)]
    return view.load(x, [*indices[:batch], *place, *inner])


@element("tensor.one_hot")
def one_hot(view: KernelView, op: Operation, indices: Sequence[Expr]) -> Expr:
    positions, values = op.present_operands
    axis = attribute(op, "axis") % len(indices)
    depth = view.dim(attribute(op, "depth"))
    i = bind(tir.cast(view.load(positions, [*indices[:axis], *indices[axis + 1 :]]), tir.INDEX))
    hit = select(i < 0, i + depth, i).equal(indices[axis])
    off, on = (view.load(values, [tir.index(k)]) for k in (0, 1))
    return select(hit, on, off)


def _scale_place(op: Operation, indices: Sequence[Expr], parameter: Value) -> list[Expr]:
    """Return where the scale (or zero point) of an element stands: per tensor, per axis or per block."""
    if parameter.rank == 0:
        return []
    axis = attribute(op, "axis") % len(indices)
    block = attribute(op, "block_size")
    if parameter.rank == 1:
        return [tir.index(0) if parameter.shape[0] == 1 else indices[axis]]
    return [tir.floordiv(i, block) if a == axis and block else i for a, i in enumerate(indices)]


@element("quant.dequantize")
def dequantize(view: KernelView, op: Operation, indices: Sequence[Expr]) -> Expr:
    x, scale, *zero_point = op.present_operands
    dtype = view.dtype(op.result)
    place = _scale_place(op, indices, scale)
    value = view.load(x, indices)
    if zero_point:
        exact = dtype if x.tensor.dtype.is_float else "int32"
        value = tir.cast(value, exact) - tir.cast(view.load(zero_point[0], place), exact)
    return tir.cast(value, dtype) * tir.cast(view.load(scale, place), dtype)


@element("nn.batch_norm")
def batch_norm(view: KernelView, op: Any, indices: Sequence[Expr]) -> Expr:
    channel = [indices[op.channel_axis]]
    scale, bias, mean, var = (tir.cast(view.load(v, channel), view.dtype(op.result)) for v in op.operands[1:])
    dtype = tir.dtype_of(scale)
    factor = scale / tirx.sqrt(var + tir.const(op.epsilon, dtype))
    return (view.load(op.x, indices) - mean) * factor + bias
