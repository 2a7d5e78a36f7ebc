"""Reverse-mode differentiation of a block of operations (Griewank and Walther 2008, chapter 3).

``gradients(b, y, xs)`` appends to a block the operations that compute the derivatives of one of its values. How one
operator is differentiated is a small function, see :mod:`lepton_ir.gradient.rules`; composite operators without one
are decomposed first.
"""

from __future__ import annotations

import importlib
import pkgutil

from lepton_ir.gradient.reverse import NotDifferentiableError, gradients

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

__all__ = ["NotDifferentiableError", "gradients"]
