"""How each operator is written for channels-last tensors; one small function per operator.

A rule gets an operation that is to compute on channels-last operands, and the axis permutation that makes them
so. It returns the changed attributes, or None where the operation has to stay as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lepton_ir.ir.core import Operation
from lepton_ir.ops.elementwise import Elementwise

Perm: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Rewritten:
    """How an operation computes on channels-last operands.

    Attributes:
        attributes: what changes.
        operands: the indices of the operands that become channels-last; None for all.
        plain_result: the result has the same form either way (it has lost the axes that moved).
    """

    attributes: dict[str, Any] = field(default_factory=dict)
    operands: tuple[int, ...] | None = (0,)
    plain_result: bool = False


Rule: TypeAlias = Callable[[Any, Perm], "Rewritten | None"]
RULES: dict[str, Rule] = {}
PREFERS_CHANNELS_LAST: set[str] = set()


def to_last(rank: int) -> Perm:
    """Return the permutation that moves axis 1 to the end."""
    return (0, *range(2, rank), 1)


def to_first(rank: int) -> Perm:
    """Return the permutation that moves the last axis to place 1."""
    return (0, rank - 1, *range(1, rank - 1))


def rule(*names: str, prefers: bool = False) -> Callable[[Rule], Rule]:
    """Register the rule of some operators; ``prefers`` marks those that should always be channels-last."""

    def decorate(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
            if prefers:
                PREFERS_CHANNELS_LAST.add(name)
        return function

    return decorate


def rewritten(op: Operation) -> Rewritten | None:
    """Return how ``op`` computes on channels-last operands, None if it cannot."""
    values = [v for v in (*op.present_operands[:1], *op.results[:1]) if hasattr(v.type, "shape")]
    if not values or max(v.rank for v in values) < 3:
        return None
    found = RULES.get(op.name)
    if found is not None:
        return found(op, to_last(op.present_operands[0].rank))
    return Rewritten(operands=None) if isinstance(op, Elementwise) else None


def _mapped(perm: Perm, axis: int) -> int:
    return perm.index(axis % len(perm))


def _permuted(perm: Perm, values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(values[axis] for axis in perm)


@rule("nn.conv", "nn.conv_transpose", "nn.max_pool", "nn.avg_pool", "nn.lp_pool", "nn.lrn", prefers=True)
def _windowed(op: Any, perm: Perm) -> Rewritten | None:
    return Rewritten({"layout": "NHWC"}) if op.layout == "NCHW" else None


@rule("nn.batch_norm")
def _batch_norm(op: Any, perm: Perm) -> Rewritten | None:
    return Rewritten({"layout": "NHWC"}) if op.layout == "NCHW" else None


@rule("nn.softmax", "nn.log_softmax", "tensor.cumsum")
def _one_axis(op: Any, perm: Perm) -> Rewritten | None:
    return Rewritten({"axis": _mapped(perm, op.axis)})


@rule("tensor.concat")
def _concat(op: Any, perm: Perm) -> Rewritten | None:
    return Rewritten({"axis": _mapped(perm, op.axis)}, operands=None)


@rule("tensor.split")
def _split(op: Any, perm: Perm) -> Rewritten | None:
    return Rewritten({"axis": _mapped(perm, op.axis)})


@rule("tensor.slice", "tensor.reverse")
def _axes(op: Any, perm: Perm) -> Rewritten | None:
    return Rewritten({"axes": tuple(_mapped(perm, a) for a in op.axes)})


@rule("tensor.pad")
def _pad(op: Any, perm: Perm) -> Rewritten | None:
    rank = len(perm)
    return Rewritten({"pads": (*_permuted(perm, op.pads[:rank]), *_permuted(perm, op.pads[rank:]))})


@rule("tensor.expand")
def _expand(op: Any, perm: Perm) -> Rewritten | None:
    return Rewritten({"shape": _permuted(perm, op.shape)}) if len(op.shape) == len(perm) else None


@rule("tensor.tile")
def _tile(op: Any, perm: Perm) -> Rewritten | None:
    return Rewritten({"repeats": _permuted(perm, op.repeats)})


@rule("quant.quantize", "quant.dequantize")
def _quant(op: Any, perm: Perm) -> Rewritten | None:
    if op.attribute_values().get("block_size") or any(v.rank > 1 for v in op.present_operands[1:]):
        return None
    per_axis = any(v.rank == 1 for v in op.present_operands[1:])
    return Rewritten({"axis": _mapped(perm, op.axis)} if per_axis else {})


@rule("reduce.sum", "reduce.mean", "reduce.max", "reduce.min", "reduce.prod", "reduce.l1", "reduce.l2")
@rule("reduce.log_sum", "reduce.log_sum_exp", "reduce.sum_square", "reduce.any", "reduce.all")
def _reduce(op: Any, perm: Perm) -> Rewritten | None:
    return _reduction(perm, tuple(op.axes), op.keepdims, {"axes": tuple(sorted(_mapped(perm, a) for a in op.axes))})


@rule("reduce.argmax", "reduce.argmin")
def _arg(op: Any, perm: Perm) -> Rewritten | None:
    return _reduction(perm, (op.axis % len(perm),), op.keepdims, {"axis": _mapped(perm, op.axis)})


def _reduction(perm: Perm, axes: tuple[int, ...], keepdims: bool, attributes: dict[str, Any]) -> Rewritten | None:
    if keepdims:
        return Rewritten(attributes)
    kept = [axis for axis in range(len(perm)) if axis not in axes]
    order = [axis for axis in perm if axis not in axes]
    if kept == order:
        return Rewritten(attributes, plain_result=True)
    moved = [kept[i] for i in to_last(len(kept))]
    return Rewritten(attributes) if len(kept) >= 3 and moved == order else None
