"""The passes of Lepton, one per file; importing this package registers all of them."""

import importlib
import pkgutil

import lepton_ir.ops as _ops  # patterns are built from the operators' names

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

__all__ = ["_ops"]
