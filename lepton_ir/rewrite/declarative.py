"""Patterns written as expressions: what stands there before, and what stands there after."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.constant import Constant
from lepton_ir.ir.core import Operation, OpResult, Value
from lepton_ir.rewrite.nodes import AnyOf, Attr, ConstantVar, Maybe, Node, OpNode, PatternBuilder, Scalar, Var
from lepton_ir.rewrite.pattern import Failure, Match
from lepton_ir.rewrite.rewriter import PatternRewriter

RTOL = 1e-5


def constant_of(value: Value | None) -> Constant | None:
    """Return the constant that ``value`` is, None if it is none."""
    op = value.op if value is not None else None
    if op is None or op.name != "const":
        return None
    constant = op.attributes["value"]
    return constant if isinstance(constant, Constant) else None


def constant_array(value: Value | None) -> np.ndarray | None:
    """Return the array of the constant that ``value`` is, None if it is none."""
    constant = constant_of(value)
    return None if constant is None else constant.array


def uniform_scalar(value: Value | None) -> Any:
    """Return the number that every element of the constant ``value`` equals, None if there is none."""
    array = constant_array(value)
    if array is None or array.size == 0 or array.dtype == np.object_ or array.size > 65536:
        return None
    first = array.reshape(-1)[0]
    if array.size > 1 and not bool((array == first).all()):
        return None
    if array.dtype.kind not in "biufc":
        return float(first)
    return first.item()


@dataclass(frozen=True)
class _State:
    bindings: dict[str, Any]
    ops: dict[Operation, OpNode]

    def bind(self, name: str, value: Any) -> _State:
        return _State({**self.bindings, name: value}, self.ops)


class _Matching:
    """One attempt to match; remembers the miss that came furthest."""

    def __init__(self) -> None:
        self.depth = -1
        self.failure = Failure("no form matched")

    def miss(self, depth: int, reason: str, op: Operation | None) -> None:
        if depth >= self.depth:
            self.depth, self.failure = depth, Failure(reason, op)

    def value(self, node: Node, value: Value | None, state: _State, depth: int, user: Operation) -> Iterator[_State]:
        if isinstance(node, OpNode):
            producer = value.op if value is not None else None
            if producer is None or producer.name != node.op_name:
                found = producer.name if producer is not None else "an argument" if value is not None else "nothing"
                self.miss(depth, f"an operand should come from {node.op_name}, but it is {found}", user)
                return
            if isinstance(value, OpResult) and value.index == node.result:
                yield from self.op(node, producer, state, depth)
        elif isinstance(node, AnyOf):
            for form in node.forms:
                yield from self.value(form, value, state, depth, user)
        elif isinstance(node, Maybe):
            yield from (
                [state.bind(node.node.name, None)] if value is None else self.leaf(node.node, value, state, depth, user)
            )
        elif value is None:
            self.miss(depth, "an operand is absent", user)
        else:
            yield from self.leaf(node, value, state, depth, user)

    def leaf(self, node: Node, value: Value, state: _State, depth: int, user: Operation) -> Iterator[_State]:
        if isinstance(node, Var):
            known = state.bindings.get(node.name)
            if known is None:
                yield state.bind(node.name, value)
            elif _same(known, value):
                yield state
            else:
                self.miss(depth, f"{node.name} is not the same value everywhere", user)
        elif isinstance(node, ConstantVar):
            if constant_of(value) is None:
                self.miss(depth, f"{node.name} is not a constant", user)
            else:
                yield state.bind(node.name, value)
        else:
            number = uniform_scalar(value)
            if number is None:
                self.miss(depth, "an operand is not a constant with one value everywhere", user)
            elif isinstance(node, Scalar):
                yield state.bind(node.name, number)
            elif isinstance(node, (int, float)) and _close(number, node):
                yield state
            else:
                self.miss(depth, f"the constant is {number}, not {node}", user)

    def op(self, node: OpNode, op: Operation, state: _State, depth: int) -> Iterator[_State]:
        operands = op.operands
        if len(operands) > len(node.operands) and any(v is not None for v in operands[len(node.operands) :]):
            self.miss(depth, f"{op.name} has {len(operands)} operands, not {len(node.operands)}", op)
            return
        padded = operands + (None,) * (len(node.operands) - len(operands))
        if not self.keeps_shape(node, op, depth):
            return
        bindings = dict(state.bindings)
        if not self.attributes(node, op, bindings, depth):
            return
        if node.capture:
            bindings[node.capture] = op
        start = _State(bindings, {**state.ops, op: node})
        orders = [node.operands, node.operands[::-1]] if node.commutative else [node.operands]
        for order in orders:
            yield from self.operands(order, padded, start, depth + 1, op)

    def operands(
        self, nodes: tuple[Node, ...], values: tuple[Value | None, ...], state: _State, depth: int, op: Operation
    ) -> Iterator[_State]:
        if not nodes:
            yield state
            return
        for found in self.value(nodes[0], values[0], state, depth, op):
            yield from self.operands(nodes[1:], values[1:], found, depth, op)

    def keeps_shape(self, node: OpNode, op: Operation, depth: int) -> bool:
        """A number may be a constant of any shape, but must not broadcast the other operand up."""
        numbers = [isinstance(n, (int, float, Scalar)) for n in node.operands]
        if len(numbers) < 2 or not any(numbers) or all(numbers):
            return True
        # Constants count as numbers here even if they stand at the other place of a commutative operator.
        result = op.results[0].type
        shape = getattr(result, "shape", None)
        others = [v for v in op.present_operands if not (constant_of(v) is not None and v.type != result)]
        if any(getattr(v.type, "shape", None) == shape for v in others):
            return True
        self.miss(depth, "a constant broadcasts the other operand up", op)
        return False

    def attributes(self, node: OpNode, op: Operation, bindings: dict[str, Any], depth: int) -> bool:
        for name, wanted in node.attributes.items():
            actual = getattr(op, name)
            if isinstance(wanted, Attr):
                if wanted.name in bindings and bindings[wanted.name] != actual:
                    self.miss(depth, f"the attribute {name} differs between operations", op)
                    return False
                bindings[wanted.name] = actual
            elif not (_close(actual, wanted) if isinstance(wanted, float) else actual == wanted):
                self.miss(depth, f"the attribute {name} is {actual}, not {wanted}", op)
                return False
        return True


def _same(a: Any, b: Value) -> bool:
    if a is b:
        return True
    known, other = constant_of(a), constant_of(b)
    return known is not None and other is not None and known == other


def _close(a: Any, b: float) -> bool:
    return bool(abs(a - b) <= RTOL * abs(b) + (1e-12 if b == 0 else 0.0))


def _outside_reader(ops: dict[Operation, OpNode], root: Operation) -> Operation | None:
    """Return an operation inside the match whose value is also read outside."""
    for op, node in ops.items():
        if op is root or node.shared:
            continue
        if any(user not in ops for r in op.results for user in r.users):
            return op
    return None


class DeclarativePattern:
    """A pattern that subclasses write as two expressions, in the syntax of operator calls.

    ``before(p, x, ...)`` gives the expression to find; every parameter after ``p`` is a variable. ``after(b,
    x, ...)`` builds the replacement; it takes, by name, any of the variables and captures. ``check`` takes
    some of them as well and returns why the rewrite is not right here, or None. Values inside the match must
    have no readers outside it, unless ``p.shared`` says so::

        class Silu(DeclarativePattern):
            '''x * sigmoid(x) is silu(x).'''

            @staticmethod
            def before(p: PatternBuilder, x: Var) -> Node:
                return p.mul(x, p.sigmoid(x))

            @staticmethod
            def after(b: Builder, x: Value) -> Value:
                return b.silu(x)

    ``before`` may return a list of alternative forms. An instance is a pattern.
    """

    before: ClassVar[Callable[..., Any]]
    after: ClassVar[Callable[..., Any]]
    check: ClassVar[Callable[..., str | None] | None] = None

    def __init__(self) -> None:
        self.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(self).__name__).lower()
        names = list(inspect.signature(type(self).before).parameters)[1:]
        forms = type(self).before(PatternBuilder(), *(Var(n) for n in names))
        self.forms: tuple[OpNode, ...] = tuple(_expand(forms))
        self.roots: tuple[str, ...] = tuple(dict.fromkeys(f.op_name for f in self.forms))
        self._after_names = _parameters(type(self).after)[1:]
        check = type(self).check
        self._check_names = () if check is None else _parameters(check)

    def match(self, op: Operation) -> Match | Failure:
        """Try each form; see :class:`~lepton_ir.rewrite.pattern.Pattern`."""
        attempt = _Matching()
        for form in self.forms:
            if form.op_name != op.name:
                continue
            for state in attempt.op(form, op, _State({}, {}), 0):
                reason = self._objection(op, state)
                if reason is None:
                    return Match((op, *(o for o in state.ops if o is not op)), state.bindings)
                attempt.miss(1 << 16, *reason)
        return attempt.failure

    def rewrite(self, op: Operation, match: Match, rewriter: PatternRewriter) -> None:
        """Build ``after`` and put it in the place of the root."""
        named = {name: match.bindings.get(name) for name in self._after_names}
        rewriter.finish(op, type(self).after(rewriter, **named))

    def _objection(self, op: Operation, state: _State) -> tuple[str, Operation] | None:
        reader = _outside_reader(state.ops, op)
        if reader is not None:
            return f"the value of {reader.name} is read elsewhere too", reader
        check = type(self).check
        if check is None:
            return None
        reason = check(**{name: op if name == "root" else state.bindings.get(name) for name in self._check_names})
        return None if reason is None else (reason, op)


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def _expand(forms: Any) -> Iterator[OpNode]:
    for form in forms if isinstance(forms, (list, tuple)) else [forms]:
        if isinstance(form, AnyOf):
            yield from _expand(form.forms)
        elif isinstance(form, OpNode):
            yield form
        else:
            raise TypeError(f"the root of a pattern must be an operator, not {form!r}")


__all__ = [
    "Builder",
    "DeclarativePattern",
    "constant_array",
    "constant_of",
    "uniform_scalar",
]
