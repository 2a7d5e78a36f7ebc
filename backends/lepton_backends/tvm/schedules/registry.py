"""The templates: how the kernel of each anchor operator becomes loops.

A template is a function ``(view, target) -> Stmt`` in a module under ``schedules/``; importing the module
registers it, and every module there is imported on first use.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import TypeAlias

from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.tir import Stmt
from lepton_ir.target import Target

Template: TypeAlias = Callable[[KernelView, Target], Stmt]

_TEMPLATES: dict[str, Template] = {}
_WHOLE: set[str] = set()


def template(*operators: str, epilogue: bool = True) -> Callable[[Template], Template]:
    """Register a template for the kernels whose anchor is one of ``operators``.

    Args:
        operators: the names of the anchors.
        epilogue: it stores each element once, by ``view.store``, so that operations can follow in place; others
            write the anchor's results to ``view.targets`` as they like.
    """

    def register(function: Template) -> Template:
        for operator in operators:
            known = _TEMPLATES.get(operator)
            if known is not None and known.__module__ != function.__module__:
                raise TypeError(f"{operator} has templates in {known.__module__} and {function.__module__}")
            _TEMPLATES[operator] = function
        if not epilogue:
            _WHOLE.update(operators)
        return function

    return register


@functools.cache
def load_templates() -> None:
    """Import every module of templates."""
    package = importlib.import_module("lepton_backends.tvm.schedules.cpu")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def find_template(operator: str) -> Template | None:
    """Return the template for kernels with this anchor, or None."""
    load_templates()
    return _TEMPLATES.get(operator)


def takes_epilogue(operator: str) -> bool:
    """Return whether the operator's template can compute what follows element by element."""
    load_templates()
    return operator not in _WHOLE


def templated_operators() -> frozenset[str]:
    """Return the operators that have a template."""
    load_templates()
    return frozenset(_TEMPLATES)
