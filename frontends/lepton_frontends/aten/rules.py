"""The table of aten operators: one small function per operator, shared by TorchScript and torch.export.

::

    @aten_op("leaky_relu")
    def leaky_relu(b, self, negative_slope=0.01):
        return b.leaky_relu(floats(b, self), alpha=number_of(negative_slope))

The Python signature is that of the operator's schema in PyTorch's native_functions.yaml, and takes all of its
overloads: arguments arrive by position or by name, as the model has them. Tensors are SSA values; numbers, lists,
strings and None are Python's; sizes may be symbolic dimensions; a number that only the running program knows is a
:class:`Scalar`. A rule returns a value, or a tuple or list of values where the operator has several results. In-place
forms (``add_``) and views need no rules: see :mod:`lepton_frontends.aten.call`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value

RuleFunction = Callable[..., Any]

IRRELEVANT = frozenset(
    {"device", "layout", "pin_memory", "non_blocking", "memory_format", "generator", "requires_grad"}
)
"""Arguments that say where and how a tensor lies in memory, which a compiled program decides itself."""


@dataclass(frozen=True)
class Scalar:
    """A number that only the running program knows, such as ``tensor.item()``.

    Attributes:
        value: of rank 0: i64, f64 or bool.
    """

    value: Value


@dataclass(frozen=True)
class Rule:
    """How one operator is lowered.

    Attributes:
        name: such as "add", or "quantized::conv2d" outside of aten.
        lower: the function.
        signature: its signature without the builder.
    """

    name: str
    lower: RuleFunction
    signature: inspect.Signature

    def call(self, b: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Lower one call.

        Raises:
            UnsupportedError: the arguments do not fit, or the rule refuses them.
        """
        known = self.signature.parameters
        takes_all = any(p.kind is p.VAR_KEYWORD for p in known.values())
        given = {k: v for k, v in kwargs.items() if k in known or takes_all or k not in IRRELEVANT}
        try:
            bound = self.signature.bind(*args, **given)
        except TypeError as error:
            raise UnsupportedError(f"its arguments do not fit the operator {self.name}: {error}") from None
        return self.lower(b, *bound.args, **bound.kwargs)


_RULES: dict[str, Rule] = {}


def aten_op(*names: str) -> Callable[[RuleFunction], RuleFunction]:
    """Register a rule for operators; with several names, it takes the one that it is called for as ``b.op``."""

    def register(lower: RuleFunction) -> RuleFunction:
        signature = inspect.signature(lower)
        inner = signature.replace(parameters=list(signature.parameters.values())[1:])
        for name in names:
            if name in _RULES and _RULES[name].lower.__qualname__ != lower.__qualname__:
                raise TypeError(f"two rules lower {name}")
            _RULES[name] = Rule(name, lower, inner)
        return lower

    return register


@cache
def _discover() -> None:
    package = importlib.import_module("lepton_frontends.aten.ops")
    for info in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{info.name}")


def find_rule(name: str) -> Rule | None:
    """Return the rule of an operator, None where there is none."""
    _discover()
    return _RULES.get(name)


def all_rules() -> dict[str, Rule]:
    """Return every rule by name."""
    _discover()
    return dict(sorted(_RULES.items()))
