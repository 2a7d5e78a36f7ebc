"""Dead code elimination."""

from __future__ import annotations

from dataclasses import dataclass

from lepton_ir.ir import Module
from lepton_ir.passes import Pass, PassContext, register_pass
from lepton_ir.rewrite import remove_dead_ops


@register_pass("dce")
@dataclass(frozen=True)
class DeadCodeElimination(Pass):
    """Erase operations whose results nothing reads, and functions that nothing calls."""

    def run(self, module: Module, ctx: PassContext) -> bool:
        changed = remove_dead_ops(module)
        reached = {"main"}
        pending = ["main"]
        while pending:
            function = module.functions.get(pending.pop())
            calls = () if function is None else (op for op in function.walk() if op.name == "call")
            new = {str(op.attributes["callee"]) for op in calls} - reached
            reached |= new
            pending += new
        if "main" not in module.functions:
            return changed
        for name in [n for n in module.functions if n not in reached]:
            module.functions.pop(name).body.erase_all()
            ctx.count(self.name, "functions")
            changed = True
        return changed
