"""How much memory running a module takes, before it is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lepton_ir.ir.core import Block, Operation, Value
from lepton_ir.ir.dim import Dim, substitute, symbols
from lepton_ir.ir.types import TensorType
from lepton_ir.limits import element_bits
from lepton_ir.ops.window import Windowed


def working_types(op: Operation) -> Iterator[TensorType]:
    """Yield the types of the tensors that an operation makes: its results, and the padded input of a window."""
    for result in op.results:
        if isinstance(result.type, TensorType):
            yield result.tensor
    if isinstance(op, Windowed):
        shape: list[Dim] = list(op.activation.shape)
        for i, axis in enumerate(op.spatial_axes):
            shape[axis] = shape[axis] + op.pads[i] + op.pads[i + op.spatial_rank]
        yield op.activation.with_shape(shape)


def peak(block: Block, sizes: Mapping[str, int]) -> tuple[int, Operation | None]:
    """Return the most bytes that the tensors of a block take at one time, and at which operation.

    Tensors live from the operation that makes them to the last that reads them; constants, which lie in files, do not
    count. What a region needs is added to what lives around it.

    Args:
        block: the block.
        sizes: a size for each symbolic dimension; one that is decided by data counts as 1.
    """
    last: dict[Value, Operation] = {}
    for op in block.ops:
        for inner in op.walk():
            last.update(dict.fromkeys(inner.present_operands, op))
    alive: dict[Value, int] = {a: _nbytes(a.type, sizes) for a in block.arguments}
    total = most = sum(alive.values())
    where: Operation | None = None
    for op in block.ops:
        if op.name == "const":
            continue
        made: dict[Value, int] = {r: _nbytes(r.type, sizes) for r in op.results}
        scratch = sum(_nbytes(t, sizes) for t in list(working_types(op))[len(op.results) :])
        inside = max((peak(region.block, sizes)[0] for region in op.regions), default=0)
        total += sum(made.values())
        if total + scratch + inside > most:
            most, where = total + scratch + inside, op
        alive.update(made)
        for value in dict.fromkeys((*(v for inner in op.walk() for v in inner.present_operands), *op.results)):
            if value in alive and last.get(value, op) is op:
                total -= alive.pop(value)
    return most, where


def _nbytes(type: object, sizes: Mapping[str, int]) -> int:
    if not isinstance(type, TensorType):
        return 0
    count = 1
    for dim in type.shape:
        known = substitute(dim, {name: sizes.get(name, 1) for name in symbols(dim)})
        count *= known if isinstance(known, int) else 1
    return max(0, count) * element_bits(type.dtype) // 8
