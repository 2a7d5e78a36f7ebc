"""Decomposition of composite operators into primitive ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import REGISTRY, InferenceError, Value
from lepton_ir.ops.elementwise import Elementwise
from lepton_ir.passes import PassContext, PatternPass, register_pass
from lepton_ir.rewrite import Failure, Pattern, PatternRewriter, Rewrite, rewrite_pattern

_DIRECT = (
    "nn.attention",
    "nn.batch_norm",
    "nn.layer_norm",
    "nn.resize",
    "nn.rms_norm",
    "nn.softmax",
    "nn.depth_to_space",
    "nn.space_to_depth",
    "quant.dequantize",
    "tensor.one_hot",
    "tensor.tile",
)

_UNLESS = {"nn.resize": lambda op: bool(op.antialias)}
"""When one that is computed directly has to be taken apart all the same."""


def _parts(op: Any, rw: PatternRewriter) -> list[Value]:
    try:
        return list(op.decompose(rw))
    except InferenceError as error:
        raise LeptonError(
            f"{op.name} cannot be decomposed",
            where=op.location,
            why=str(error),
            help="fix the dynamic dimension that it depends on, with dims={'name': size} at import",
        ) from error


@register_pass("decompose")
@dataclass(frozen=True)
class Decompose(PatternPass):
    """Replace composite operators by what they are made of.

    Attributes:
        ops: the operators to decompose; empty for all composite ones that are not element-wise, but for ``keep``.
        keep: the operators that backends compute directly.
    """

    legalizes = True

    ops: tuple[str, ...] = ()
    keep: tuple[str, ...] = _DIRECT

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        for name in self.ops:
            cls = REGISTRY.get(name)
            if cls is None or not hasattr(cls, "decompose"):
                raise LeptonError(
                    f"decompose cannot take {name} apart",
                    why="there is no such operator" if cls is None else "the operator is primitive",
                    help="`leptonc ops` says which operators are composite",
                )

        @rewrite_pattern(*(self.ops or self._composites()), name="decompose")
        def take_apart(op: Any) -> Rewrite | Failure:
            if op.name in self.keep and not self.ops and not _UNLESS[op.name](op):
                return Failure("it is computed directly", op)
            return lambda rw: _parts(op, rw)

        return [take_apart]

    def _composites(self) -> list[str]:
        return [
            name
            for name, cls in REGISTRY.items()
            if hasattr(cls, "decompose")
            and not issubclass(cls, Elementwise)
            and (name not in self.keep or name in _UNLESS)
        ]
