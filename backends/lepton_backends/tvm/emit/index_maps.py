"""Operators that move elements: where each element of the result comes from, and where one of the operand goes."""

from __future__ import annotations

from collections.abc import Sequence

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.emit.rules import forward_map, index_map
from lepton_backends.tvm.tir import Expr, Index
from lepton_ir.ir.core import Operation
from lepton_ir.ir.dim import Dim, product


def reshape_groups(a: Sequence[Dim], b: Sequence[Dim]) -> list[tuple[range, range]]:
    """Split two shapes of equally many elements into the shortest consecutive groups with equal products."""
    groups: list[tuple[range, range]] = []
    i = j = 0
    while i < len(a) or j < len(b):
        start_i, start_j = i, j
        i, j = min(i + 1, len(a)), min(j + 1, len(b))
        while product(a[start_i:i]) != product(b[start_j:j]) and (i < len(a) or j < len(b)):
            i, j = _grow(a, b, start_i, i, start_j, j)
        groups.append((range(start_i, i), range(start_j, j)))
    return groups


def _grow(a: Sequence[Dim], b: Sequence[Dim], start_i: int, i: int, start_j: int, j: int) -> tuple[int, int]:
    """Lengthen the group that has fewer elements, either of them where that is not known."""
    pa, pb = product(a[start_i:i]), product(b[start_j:j])
    if isinstance(pa, int) and isinstance(pb, int):
        a_is_short = pa < pb
    else:
        # A group whose product divides the other's may still become equal to it.
        a_is_short = not _divides(pb, pa)
    if (a_is_short and i < len(a)) or j >= len(b):
        return i + 1, j
    return i, j + 1


def _divides(a: Dim, b: Dim) -> bool:
    remainder = b % a if not (isinstance(a, int) and a == 0) else 1
    return isinstance(remainder, int) and remainder == 0


def reshape_index(
    view: KernelView, source: Sequence[Dim], target: Sequence[Dim], indices: Sequence[Expr]
) -> list[Expr]:
    """Return the index in the shape ``target`` of the element that stands at ``indices`` in ``source``."""
    result: list[Expr] = []
    for from_axes, to_axes in reshape_groups(source, target):
        own: list[Index] = [view.dim(source[i]) for i in from_axes]
        flat = tir.flat_index([indices[i] for i in from_axes], own)
        result += tir.split_index(flat, [view.dim(target[i]) for i in to_axes])
    return result


@index_map("tensor.reshape")
def reshape(view: KernelView, op: Operation, indices: Sequence[Expr]) -> list[Expr]:
    x = op.present_operands[0]
    return reshape_index(view, op.result.shape, x.shape, indices)


@forward_map("tensor.reshape")
def reshape_forward(view: KernelView, op: Operation, indices: Sequence[Expr]) -> list[Expr]:
    x = op.present_operands[0]
    return reshape_index(view, x.shape, op.result.shape, indices)


@index_map("tensor.transpose")
def transpose(view: KernelView, op: Operation, indices: Sequence[Expr]) -> list[Expr]:
    source: list[Expr] = [None] * len(indices)
    for axis, own in zip(op.attributes["perm"], indices, strict=True):
        source[axis] = own
    return source


@forward_map("tensor.transpose")
def transpose_forward(view: KernelView, op: Operation, indices: Sequence[Expr]) -> list[Expr]:
    return [indices[axis] for axis in op.attributes["perm"]]


@index_map("tensor.expand")
def expand(view: KernelView, op: Operation, indices: Sequence[Expr]) -> list[Expr]:
    return view.broadcast_index(op.present_operands[0], indices, op.results[0])


@index_map("tensor.full")
def full(view: KernelView, op: Operation, indices: Sequence[Expr]) -> list[Expr]:
    return []


@index_map("tensor.slice")
def slice_(view: KernelView, op: Operation, indices: Sequence[Expr]) -> list[Expr]:
    firsts, steps = op.first_indices(), op.all_steps()  # type: ignore[attr-defined]
    return [_affine(view.dim(f), s, i) for f, s, i in zip(firsts, steps, indices, strict=True)]


def _affine(first: Index, step: int, i: Expr) -> Expr:
    scaled = i if step == 1 else i * step
    return scaled if tir.static(first) == 0 else scaled + first


@index_map("tensor.reverse")
def reverse(view: KernelView, op: Operation, indices: Sequence[Expr]) -> list[Expr]:
    rank = len(indices)
    axes = {axis % rank for axis in op.attributes["axes"]}
    extents = view.shape(op.result)
    return [extents[a] - 1 - i if a in axes else i for a, i in enumerate(indices)]


@index_map("tensor.tile")
def tile(view: KernelView, op: Operation, indices: Sequence[Expr]) -> list[Expr]:
    extents = view.shape(op.present_operands[0])
    own = [tir.index(0) if tir.static(e) == 1 else tir.floormod(i, e) for i, e in zip(indices, extents, strict=True)]
    return [i if r == 1 else o for i, o, r in zip(indices, own, op.attributes["repeats"], strict=True)]


@index_map("tensor.depth_to_space", "nn.depth_to_space")
def depth_to_space(view: KernelView, op: Operation, indices: Sequence[Expr]) -> list[Expr]:
    n, c, h, w = indices
    block = op.attributes["blocksize"]
    depth = view.dim(op.result.shape[1])
    row, column = tir.floormod(h, block), tir.floormod(w, block)
    if op.attributes.get("mode", "DCR") == "DCR":
        channel = (row * block + column) * depth + c
    else:
        channel = (c * block + row) * block + column
    return [n, channel, tir.floordiv(h, block), tir.floordiv(w, block)]


@index_map("tensor.space_to_depth", "nn.space_to_depth")
def space_to_depth(view: KernelView, op: Operation, indices: Sequence[Expr]) -> list[Expr]:
    n, c, h, w = indices
    block = op.attributes["blocksize"]
    depth = view.dim(op.present_operands[0].shape[1])
    offset, channel = tir.floordiv(c, depth), tir.floormod(c, depth)
    return [n, channel, h * block + tir.floordiv(offset, block), w * block + tir.floormod(offset, block)]
