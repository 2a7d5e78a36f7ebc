"""The reverse sweep: from a result back to the variables, adding up what each use contributes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lepton_ir.gradient.rules import RULES, NotDifferentiableError, filled, is_float, zeros
from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import Operation, Value
from lepton_ir.ir.opdef import InferenceError

__all__ = ["NotDifferentiableError", "gradients"]


def gradients(b: Builder, y: Value, xs: Sequence[Value]) -> list[Value]:
    """Append the derivatives of the sum of ``y`` with respect to each of ``xs`` to the block of ``b``.

    Args:
        b: a builder at the end of the block in which ``y`` is computed; composite operations in it are decomposed.
        y: a tensor of floats.
        xs: tensors of floats that are given to the block.

    Returns:
        One value of the type of each of ``xs``; zeros where ``y`` does not depend on it.

    Raises:
        NotDifferentiableError: an operation between them has no derivative.
    """
    for value in (y, *xs):
        if not is_float(value):
            raise NotDifferentiableError(f"differentiates {value.type}, and only floats have a derivative")
    y, active = _prepared(b, y, xs)
    found: dict[Value, Value] = {y: filled(b, y, 1)}
    for op in reversed(active):
        dys = [found.get(r) for r in op.results]
        if any(d is not None for d in dys):
            _sweep(b, op, dys, found)
    return [found[x] if x in found else zeros(b, x) for x in xs]


def _prepared(b: Builder, y: Value, xs: Sequence[Value]) -> tuple[Value, list[Operation]]:
    """Return the result and the operations that may lead to it from the variables, all with a rule, in order."""
    reached = set(xs)
    active: list[Operation] = []
    todo = list(b.block.ops)[::-1]
    while todo:
        op = todo.pop()
        if not reached.intersection(op.present_operands) and not _captures(op, reached):
            continue
        if not any(map(is_float, op.results)):
            continue
        if op.name not in RULES and hasattr(op, "decompose"):
            parts, values = _decomposed(op)
            if y in op.results:
                y = values[op.results.index(y)]
            op.replace_with(values)
            todo.extend(reversed(parts))
            continue
        active.append(op)
        reached.update(filter(is_float, op.results))
    return y, active


def _captures(op: Operation, values: Iterable[Value]) -> bool:
    wanted = set(values)
    return bool(op.regions) and any(wanted.intersection(inner.present_operands) for inner in op.walk())


def _decomposed(op: Operation) -> tuple[list[Operation], list[Value]]:
    before = op.prev_op
    try:
        values = list(op.decompose(Builder.before_op(op)))  # type: ignore[attr-defined]
    except InferenceError as error:
        raise NotDifferentiableError(f"cannot take {op.name} apart: {error}") from None
    parts: list[Operation] = []
    part = op.prev_op
    while part is not None and part is not before:
        parts.append(part)
        part = part.prev_op
    return parts[::-1], values


def _sweep(b: Builder, op: Operation, dys: Sequence[Value | None], found: dict[Value, Value]) -> None:
    """Add to the gradients of an operation's operands what reaches them through it."""
    rule = RULES.get(op.name)
    if rule is None:
        raise NotDifferentiableError(f"differentiates {op.name}, whose derivative Lepton does not know{_where(op)}")
    with b.at(op.location):
        try:
            given = rule(b, op, *dys)
        except InferenceError as error:
            raise NotDifferentiableError(f"differentiates {op.name}{_where(op)}, and {error}") from None
        except NotDifferentiableError as error:
            raise NotDifferentiableError(f"{error.reason}{_where(op)}") from None
        shares = [given] if isinstance(given, Value) or given is None else list(given)
        for operand, share in zip(op.operands, shares, strict=False):
            if operand is None or share is None or not is_float(operand):
                continue
            found[operand] = b.add(found[operand], share) if operand in found else share


def _where(op: Operation) -> str:
    return f" (node {op.location.node})" if op.location.node else ""
