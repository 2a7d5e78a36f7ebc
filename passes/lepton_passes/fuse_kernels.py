"""Moving a group of operations into a kernel."""

from __future__ import annotations

from collections.abc import Iterable

from lepton_ir.ir import REGISTRY, Block, Builder, Region, Value, fuse_locations
from lepton_ir.ir.core import Operation
from lepton_passes.fuse_rules import is_scalar_constant


def make_kernel(members: Iterable[Operation], sink: Operation) -> Operation:
    """Put copies of ``members`` into a kernel that stands where ``sink`` does; erase those not read any more.

    Constants of one element are copied into the kernel, everything else comes in as an operand. Reshapes that
    only feed the kernel's other operations from outside stay there.
    """
    ordered = _ordered(set(members), sink)
    block = Block()
    operands: list[Value] = []
    mapping: dict[Value, Value] = {}
    copied: dict[Operation, None] = {}
    for op in ordered:
        for value in op.present_operands:
            if value in mapping or value.op in ordered:
                continue
            if is_scalar_constant(value) and value.op is not None:
                block.append(value.op.clone(mapping))
                copied[value.op] = None
                continue
            operands.append(value)
            mapping[value] = block.add_argument(value.type, value.name)
        block.append(op.clone(mapping))
    Builder(block).create(REGISTRY["yield"], [mapping[r] for r in sink.results])
    location = fuse_locations(op.location for op in [sink, *ordered])
    kernel: Operation = Builder.before_op(sink).create(
        REGISTRY["kernel"], operands, symbol="kernel", regions=[Region(block)], location=location
    )
    for old, new in zip(sink.results, kernel.results, strict=True):
        old.replace_all_uses_with(new)
    for op in [*reversed(ordered), *copied]:
        if not any(r.is_used for r in op.results):
            op.erase()
    return kernel


def _ordered(members: set[Operation], sink: Operation) -> dict[Operation, None]:
    """Return the members that the sink needs, operands first."""
    found: dict[Operation, None] = {}
    pending: list[tuple[Operation, bool]] = [(sink, False)]
    while pending:
        op, ready = pending.pop()
        if op in found:
            continue
        if ready:
            found[op] = None
            continue
        pending.append((op, True))
        producers = [v.op for v in op.present_operands]
        pending += [(p, False) for p in reversed(producers) if p is not None and p in members and p not in found]
    return _without_leading_reshapes(found, sink)


def _without_leading_reshapes(ordered: dict[Operation, None], sink: Operation) -> dict[Operation, None]:
    """Leave out reshapes of what comes from outside: they are views of the operand."""
    kept: dict[Operation, None] = {}
    for op in ordered:
        inside = [v.op for v in op.present_operands if v.op in kept]
        if op.name == "tensor.reshape" and not inside and op is not sink:
            continue
        kept[op] = None
    return kept
