"""Common subexpression elimination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lepton_ir.ir import Block, Module, Operation
from lepton_ir.ir.core import Operation as CoreOperation
from lepton_ir.passes import Pass, PassContext, register_pass
from lepton_ir.rewrite.nodes import COMMUTATIVE


@register_pass("cse")
@dataclass(frozen=True)
class CommonSubexpressions(Pass):
    """Compute equal expressions once, equal constants included.

    What a region contains may reuse what stands before it outside, not the other way round.
    """

    def run(self, module: Module, ctx: PassContext) -> bool:
        before = ctx.control.done
        for function in module.functions.values():
            self._block(function.body, {}, ctx)
        return ctx.control.done != before

    def _block(self, block: Block, outer: dict[Any, CoreOperation], ctx: PassContext) -> None:
        seen = dict(outer)
        for op in block.ops:
            for region in op.regions:
                # A kernel reads nothing from outside but its arguments.
                self._block(region.block, {} if op.name == "kernel" else seen, ctx)
            key = _key(op)
            if key is None:
                continue
            twin = seen.setdefault(key, op)
            if twin is op:
                continue
            if not ctx.permit(self.name, op):
                return
            op.replace_with(twin.results)
            ctx.count(self.name, "removed")


def _key(op: CoreOperation) -> Any:
    """Return what equal operations share, None for operations that must not be merged."""
    if not isinstance(op, Operation) or op.regions or op.is_terminator or op.has_side_effects or not op.results:
        return None
    operands: Any = tuple(map(id, op.operands))
    if op.name in COMMUTATIVE:
        operands = tuple(sorted(operands))
    # 1 and True, 0.0 and -0.0 are equal in Python, but not as attributes.
    attributes = frozenset((name, type(v), _exact(v)) for name, v in op.attributes.items())
    return op.name, operands, attributes, tuple(r.type for r in op.results)


def _exact(value: Any) -> Any:
    return value.hex() if isinstance(value, float) else value
