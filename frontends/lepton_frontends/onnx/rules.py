"""The table of lowering rules: one small function per foreign operator and opset.

A rule's Python signature is the operator's schema::

    @onnx_op("LeakyRelu", since=6)
    def leaky_relu(b, x, *, alpha=0.01):
        return b.leaky_relu(x, alpha=alpha)

Parameters after ``b`` are the inputs; those with the default None may be absent, ``*xs`` takes the rest. Keyword
parameters are the attributes. A rule returns a value, or a tuple of values where the node has several outputs.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from onnx import defs

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.scope import ValueList
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import MapType, SequenceType, TensorType, UnrankedType

RuleFunction = Callable[..., Any]
ONNX = ""
_FIRST = 7
"""The opset that rules hold for by default; an older one has what has not changed since, and rules of its own."""
MICROSOFT = "com.microsoft"
ML = "ai.onnx.ml"
TRAINING = "ai.onnx.preview.training"


class UseFunctionBodyError(Exception):
    """Raised by a rule that leaves this node to the body that ONNX defines for the operator."""


@dataclass(frozen=True)
class Rule:
    """How one operator is lowered, from one opset on.

    Attributes:
        domain: "" for ONNX itself.
        op: the operator's name.
        since: the first opset that the rule holds for.
        lower: the function.
        least: the number of inputs that must be there.
        most: the number of inputs that there may be; None is any number.
        attributes: attribute names and defaults; ``inspect.Parameter.empty`` where there is none.
        takes_lists: whether inputs may be sequences.
    """

    domain: str
    op: str
    since: int
    lower: RuleFunction
    least: int
    most: int | None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    takes_lists: bool = False

    def bind(self, inputs: Sequence[Any], attributes: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments to call the rule with.

        Raises:
            UnsupportedError: the node does not fit the rule.
        """
        given = list(inputs)
        while given and given[-1] is None and len(given) > self.least:
            given.pop()
        if self.most is not None and len(given) > self.most:
            raise UnsupportedError(f"it has {len(given)} inputs, at most {self.most} are known in this opset")
        if len(given) < self.least or any(v is None for v in given[: self.least]):
            raise UnsupportedError(f"it needs {self.least} inputs", "the model is not valid ONNX")
        if not self.takes_lists:
            _check_tensors(given)
        unknown = attributes.keys() - self.attributes.keys()
        if unknown:
            raise UnsupportedError(f"its attribute {', '.join(sorted(unknown))} is not known in this opset")
        values = {**self.attributes, **attributes}
        missing = [name for name, value in values.items() if value is inspect.Parameter.empty]
        if missing:
            raise UnsupportedError(f"it lacks its attribute {', '.join(missing)}")
        return given, values


def _check_tensors(given: Sequence[Any]) -> None:
    for value in given:
        kind = value.type if isinstance(value, Value) else value
        if isinstance(kind, UnrankedType):
            raise UnsupportedError(
                "the rank of what it reads from a sequence is unknown, since the model does not give it",
                'give the elements of the input that is a sequence a shape, with shapes={"name": [1, "N"]}',
            )
        if kind is None or isinstance(kind, TensorType):
            continue
        kinds = {SequenceType: "a sequence", ValueList: "a sequence", MapType: "a map"}
        what = kinds.get(type(kind), "an optional")
        raise UnsupportedError(f"it gets {what} where a tensor is expected", "the model is not valid ONNX")


_RULES: dict[tuple[str, str], list[Rule]] = {}


def onnx_op(
    *ops: str, since: int = _FIRST, domain: str = ONNX, takes_lists: bool = False
) -> Callable[[RuleFunction], RuleFunction]:
    """Register a rule for the operators ``ops``, from the opset ``since`` of ``domain`` on.

    With several names, the rule finds the one it is called for in ``b.op_type``. A rule that ``takes_lists`` gets
    sequences and optionals as they are, see :mod:`~lepton_frontends.onnx.scope`.
    """

    def register(lower: RuleFunction) -> RuleFunction:
        parameters = list(inspect.signature(lower).parameters.values())[1:]
        inputs = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        for op in ops:
            rule = Rule(
                domain,
                op,
                since,
                lower,
                sum(p.default is p.empty for p in inputs),
                None if variadic else len(inputs),
                {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY},
                takes_lists,
            )
            versions = _RULES.setdefault((domain, op), [])
            versions.append(rule)
            versions.sort(key=lambda r: r.since)
        return lower

    return register


def given_inputs(inputs: Sequence[Any], count: int, required: Collection[int]) -> list[Any]:
    """Return ``count`` inputs, None for those that are absent: for operators with optional inputs before required ones.

    Raises:
        UnsupportedError: there are more, or a required one is absent.
    """
    if len(inputs) > count:
        raise UnsupportedError(f"it has {len(inputs)} inputs, at most {count} are known in this opset")
    found = [*inputs, *[None] * (count - len(inputs))]
    absent = [i for i in required if found[i] is None]
    if absent:
        raise UnsupportedError(f"it needs its input {absent[0]}", "the model is not valid ONNX")
    return found


@cache
def _discover() -> None:
    package = importlib.import_module("lepton_frontends.onnx.ops")
    for info in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{info.name}")


def versions(domain: str, op: str) -> Sequence[Rule]:
    """Return the operator's rules, oldest opset first; none where it is not supported."""
    _discover()
    return _RULES.get((domain, op), ())


def find_rule(domain: str, op: str, opset: int) -> Rule | None:
    """Return the newest rule that holds at the opset."""
    fitting = [r for r in versions(domain, op) if r.since <= opset]
    if fitting:
        return fitting[-1]
    unchanged = domain == ONNX and opset < _FIRST and _version(op, opset) == _version(op, _FIRST) != 0
    return find_rule(domain, op, _FIRST) if unchanged else None


def _version(op: str, opset: int) -> int:
    """Return the opset that brought the operator in the form that it has at ``opset``, 0 if there was none."""
    try:
        return int(defs.get_schema(op, opset, ONNX).since_version)
    except defs.SchemaError:
        return 0


def all_rules() -> dict[tuple[str, str], Sequence[Rule]]:
    """Return every rule, by domain and operator."""
    _discover()
    return dict(sorted(_RULES.items()))
