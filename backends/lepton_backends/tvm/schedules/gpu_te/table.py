"""The table of operators that have a tensor expression of their own, beside those computed element by element."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from lepton_backends.tvm.schedules.gpu_te.core import Index, Tensor
from lepton_ir.ir import Value


class Operands(Protocol):
    """What a rule reads: the operands of its operation as stages, and dimensions as TVM's expressions."""

    def tensor(self, value: Value) -> Tensor:
        """Return a value as a stage."""

    def shape(self, value: Value) -> list[Index]:
        """Return the extents of a value."""


TensorRule: TypeAlias = "Callable[[Operands, Any], Sequence[Tensor]]"

TENSOR_RULES: dict[str, TensorRule] = {}


def tensor_rule(*operators: str) -> Callable[[TensorRule], TensorRule]:
    """Register how an operation becomes stages, one for each of its results."""

    def register(function: TensorRule) -> TensorRule:
        TENSOR_RULES.update(dict.fromkeys(operators, function))
        return function

    return register


@functools.cache
def load_tensor_rules() -> None:
    """Import every module of rules."""
    package = importlib.import_module("lepton_backends.tvm.schedules.gpu_te")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
