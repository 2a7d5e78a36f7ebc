"""Passes that run other passes."""

from __future__ import annotations

from dataclasses import dataclass

from lepton_ir.ir.module import Module
from lepton_ir.passes.base import Pass, PassContext, register_pass


@register_pass("repeat")
@dataclass(frozen=True)
class Repeat(Pass):
    """Run a pipeline again and again until it changes nothing: ``repeat{pipeline={cse,dce} times=4}``.

    Attributes:
        pipeline: what to run.
        times: at most so often.
    """

    pipeline: str = ""
    times: int = 8

    def run(self, module: Module, ctx: PassContext) -> bool:
        from lepton_ir.passes.pipeline import parse_pipeline

        passes = parse_pipeline(self.pipeline)
        changed = False
        for _ in range(self.times):
            again = False
            for pass_ in passes:
                again |= pass_.run(module, ctx)
            changed |= again
            if not again:
                break
        return changed
