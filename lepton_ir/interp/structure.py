"""The meaning of operators with regions and of calls, which have no ``evaluate`` of their own.

A rule is ``(frame, op, operands) -> results``; :func:`rule` registers one for an operator's name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lepton_ir.interp.binding import BindingError
from lepton_ir.ir.core import Operation
from lepton_ir.ir.dim import evaluate
from lepton_ir.ops.runtime_dims import LARGEST, Bind, Require, holds

if TYPE_CHECKING:
    from lepton_ir.interp.interpreter import Frame

Rule = Callable[["Frame", Operation, Sequence[Any]], Sequence[Any]]
RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    """Register the function as the meaning of the operator ``name``."""

    def register(function: Rule) -> Rule:
        RULES[name] = function
        return function

    return register


@rule("control.if")
def _if(frame: Frame, op: Operation, operands: Sequence[Any]) -> Sequence[Any]:
    return frame.region(op.regions[0 if bool(operands[0]) else 1])


@rule("control.loop")
def _loop(frame: Frame, op: Operation, operands: Sequence[Any]) -> Sequence[Any]:
    padded = [*operands, *[None] * (2 - len(operands))]
    max_trips, going, carried = padded[0], padded[1], padded[2:]
    trip, budget = 0, op.budget  # type: ignore[attr-defined]
    while (going is None or bool(going)) and (max_trips is None or trip < int(max_trips)):
        going, *carried = frame.region(op.regions[0], [np.asarray(trip, np.int64), *carried])
        trip += 1
        if trip >= budget and bool(going) and (max_trips is None or trip < int(max_trips)):
            raise BindingError(f"the loop did not end after {budget} trips")
    return carried


@rule("kernel")
def _kernel(frame: Frame, op: Operation, operands: Sequence[Any]) -> Sequence[Any]:
    present = [value for value, operand in zip(operands, op.operands, strict=True) if operand is not None]
    return frame.region(op.regions[0], present)


@rule("call")
def _call(frame: Frame, op: Operation, operands: Sequence[Any]) -> Sequence[Any]:
    return frame.interpreter.call(op.attributes["callee"], operands)


@rule("control.require")
def _check(frame: Frame, op: Operation, operands: Sequence[Any]) -> Sequence[Any]:
    if not bool(operands[0]):
        raise BindingError(str(op.attributes["message"]))
    return ()


@rule("dims.bind")
def _bind(frame: Frame, op: Operation, operands: Sequence[Any]) -> Sequence[Any]:
    assert isinstance(op, Bind)
    for name, number in zip(op.names(), operands[0].tolist(), strict=True):
        if not 0 <= number <= LARGEST:
            raise BindingError(f"a {op.what} is {number}, but must be between 0 and 2**48")
        frame.env[name] = number
    return ()


@rule("dims.require")
def _require(frame: Frame, op: Operation, operands: Sequence[Any]) -> Sequence[Any]:
    assert isinstance(op, Require)
    left, right = evaluate(op.left, frame.env), evaluate(op.right, frame.env)
    if not holds(left, op.relation, right):
        raise BindingError(f"{op.left} {op.relation} {op.right} does not hold: they are {left} and {right}")
    return ()
