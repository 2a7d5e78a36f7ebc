"""Kernels whose elements are computed one by one: element-wise operators and those that move elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import rules
from lepton_backends.tvm.emit.collapse import CollapsedView, collapse_groups, leaves
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cost import work_ns
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.cpu.transpose import Move, strided_axis, tiled_nest
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Expr, Index, Stmt
from lepton_ir.ir import DType, Value
from lepton_ir.ir.core import Operation
from lepton_ir.target import Target

_UNROLL = 4


def vector_lanes(view: KernelView, target: Target, values: Sequence[Value]) -> int:
    """Return the lanes of a vector of the widest type that the kernel computes with.

    TVM converts floats of 8 bits and fewer one by one only.
    """
    if any(v.tensor.dtype.is_float and v.tensor.dtype.bits <= 8 for v in values):
        return 1
    bits = [max(32, v.tensor.dtype.bits) if v.tensor.dtype.is_float else v.tensor.dtype.bits for v in values]
    widest = max([b for b in bits if b] or [32])
    return target.lanes(
        DType.F64 if widest > 32 else DType.F32 if widest > 16 else DType.I16 if widest > 8 else DType.I8
    )


@template("injective")
def injective(view: KernelView, target: Target) -> Stmt:
    """Store every output; outputs of one shape share their loops."""
    by_shape: dict[tuple[object, ...], list[Value]] = {}
    for value in view.outputs:
        by_shape.setdefault(tuple(value.shape), []).append(value)
    return tir.seq(*(_outputs(view, target, values) for values in by_shape.values()))


def _outputs(view: KernelView, target: Target, values: list[Value]) -> Stmt:
    part = view.stage(None, {v: view.targets[v] for v in values})
    reads = [leaves(part, v) for v in values]
    if all(r is not None for r in reads):
        return _collapsed(part, target, list(dict.fromkeys(v for r in reads for v in r or ())))
    if len(values) == 1:
        return moved(part, target, values[0])
    return tir.seq(*(moved(view.stage(None, {v: view.targets[v]}), target, v) for v in values))


def _collapsed(view: KernelView, target: Target, reads: list[Value]) -> Stmt:
    """Element-wise kernels: as few loops as broadcasting allows, vectors along the innermost."""
    first = view.outputs[0]
    groups = collapse_groups(first.shape, [*reads, *view.outputs])
    flat = CollapsedView.of(view, groups, first.rank, reads)
    values = [r for op in view.block.ops for r in op.results]
    lanes = vector_lanes(view, target, [*reads, *values])
    extents = flat.extents(first)

    def element(*indices: Expr) -> Stmt:
        return flat.store_direct(flat.outputs, indices)

    return vector_nest(extents, lanes, work_ns(view), element, target.num_threads)


def vector_nest(extents: Sequence[Index], lanes: int, work: float, element: Callable[..., Stmt], threads: int) -> Stmt:
    """Return loops over ``extents``: the last in vectors, the others shared by the threads."""
    if not extents:
        return element()
    *outer, inner = extents
    if tir.static(tir.product(outer)) == 1 and tir.parallel_if(work, threads):
        zeros = [tir.index(0)] * len(outer)
        return tir.parallel_vector_loop(inner, lanes, lambda i: element(*zeros, i), _UNROLL)
    return tir.parallel_nest(outer, work, lambda *o: tir.vector_loop(inner, lanes, lambda i: element(*o, i)), threads)


def _root(view: KernelView, output: Value) -> Value:
    """Return the value whose index space the loops run over: the one before the reshapes that end the kernel."""
    root = output
    while root.op is not None and root not in view.buffers:
        op = root.op
        if op.name == "tensor.reshape":
            source: Value | None = op.present_operands[0]
        elif op.name in rules.SCALARS:
            source = _moving_operand(view, op)
        else:
            break
        if source is None or source.op is None or source in view.buffers:
            break
        root = source
    return root


def _moving_operand(view: KernelView, op: Operation) -> Value | None:
    """Return the only operand of an element-wise operation that is computed by moving elements."""
    computed = [v for v in op.present_operands if v.op is not None and v not in view.buffers and v.op.name != "const"]
    return computed[0] if len(computed) == 1 and computed[0].shape == op.results[0].shape else None


def moved(view: KernelView, target: Target, output: Value) -> Stmt:
    """Kernels that move elements: loops over the output, split where it is put together from pieces."""
    root = _root(view, output)
    if root.op is not None and root not in view.buffers and root.op.name == "tensor.concat":
        return _concat(view, target, root.op)
    if root.op is not None and root not in view.buffers and root.op.name == "tensor.pad":
        return _pad(view, target, root.op)

    move = Move(lambda at: view.load(root, at), lambda at, value: view.store(at, [value], [root]))
    return _loops(view, target, root, view.shape(root), move)


def _loops(view: KernelView, target: Target, read: Value, extents: list[Index], move: Move) -> Stmt:
    values = [r for op in view.block.ops for r in op.results]
    lanes = vector_lanes(view, target, values)
    work = work_ns(view)
    axis = strided_axis(view, read, extents)
    # A last axis shorter than a tile is written element by element anyway.
    if axis is not None and read.tensor.dtype is not DType.BOOL and (tir.static(extents[-1]) or lanes) >= 8:
        return tiled_nest(extents, axis, lanes, 2 * work, move, target.num_threads)
    return vector_nest(extents, lanes, work, lambda *at: move.element(at), target.num_threads)


def _concat(view: KernelView, target: Target, op: Operation) -> Stmt:
    """One loop nest per piece, so that no element has to find out where it comes from."""
    result = op.result
    axis = op.axis % result.rank  # type: ignore[attr-defined]
    start: Index = 0
    # A sum of many dynamic sizes, written out at every use, would take TVM's analysis minutes.
    so_far = rows.register("start", 1, tir.INDEX)
    sizes = [view.dim(piece.shape[axis]) for piece in op.present_operands]
    parts: list[Stmt] = []
    for piece, size in zip(op.present_operands, sizes, strict=True):
        extents = view.shape(piece)

        def store(at: Sequence[Expr], value: Expr, start: Index = start) -> Stmt:
            return view.store([i + start if a == axis else i for a, i in enumerate(at)], [value], [result])

        def load(at: Sequence[Expr], piece: Value = piece) -> Expr:
            return view.load(piece, at)

        parts.append(_loops(view, target, piece, extents, Move(load, store)))
        start = start + size
        if tir.static(start) is None:
            parts.append(tir.store(so_far, [tir.index(0)], start))
            start = so_far[tir.index(0)]
    return tir.seq(tirx.AllocBuffer(so_far), *parts) if tir.static(start) is None else tir.seq(*parts)


def _pad(view: KernelView, target: Target, op: Operation) -> Stmt:
    """The interior and the borders apart; padding that repeats elements is computed where it lies."""
    x, result = op.present_operands[0], op.result
    rank, pads = result.rank, [view.dim(p) for p in op.pads]  # type: ignore[attr-defined]
    known = all(isinstance(p, int) and p >= 0 for p in pads)
    if op.mode != "constant" or not known:  # type: ignore[attr-defined]
        move = Move(lambda at: view.load(result, at), lambda at, value: view.store(at, [value], [result]))
        return _loops(view, target, result, view.shape(result), move)
    fill = view.load(op.present_operands[1], []) if len(op.present_operands) > 1 else tir.const(0, view.dtype(x))
    lanes = vector_lanes(view, target, [result])
    inner, outer = view.shape(x), view.shape(result)
    parts: list[Stmt] = []
    for axis in range(rank):
        before, after = pads[axis], pads[axis + rank]
        for size, start in ((before, 0), (after, before + inner[axis])):
            if tir.static(size) == 0:
                continue
            # Axes before this one run over the interior, those after it over everything.
            extents = [*inner[:axis], size, *outer[axis + 1 :]]
            offset = [*pads[:axis], start, *[0] * (rank - axis - 1)]

            def border(*indices: Expr, offset: Sequence[Index] = offset) -> Stmt:
                return view.store([i + o for i, o in zip(indices, offset, strict=True)], fill, [result])

            parts.append(vector_nest(extents, lanes, 0, border, target.num_threads))

    def store(at: Sequence[Expr], value: Expr) -> Stmt:
        return view.store([i + p for i, p in zip(at, pads[:rank], strict=True)], [value], [result])

    parts.append(_loops(view, target, x, inner, Move(lambda at: view.load(x, at), store)))
    return tir.seq(*parts)
