"""Decomposition of composite operators into primitive ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import REGISTRY
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import Pattern, Rewrite, rewrite_pattern


@register_pass("decompose")
@dataclass(frozen=True)
class Decompose(PatternPass):
    """Replace composite operators by what they are made of.

    Attributes:
        ops: the operators to decompose.
    """

    ops: tuple[str, ...] = (
        "nn.log_softmax",
        "nn.instance_norm",
        "nn.group_norm",
        "nn.lp_pool",
        "nn.lrn",
        "reduce.log_sum",
        "reduce.log_sum_exp",
        "reduce.sum_square",
        "reduce.l1",
        "reduce.l2",
        "linalg.einsum",
    )

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        for name in self.ops:
            cls = REGISTRY.get(name)
            if cls is None or not hasattr(cls, "decompose"):
                raise LeptonError(
                    f"decompose cannot take {name} apart",
                    why="there is no such operator" if cls is None else "the operator is primitive",
                    help="`leptonc ops` says which operators are composite",
                )

        @rewrite_pattern(*self.ops, name="decompose")
        def take_apart(op: Any) -> Rewrite:
            return lambda rw: list(op.decompose(rw))

        return [take_apart]
