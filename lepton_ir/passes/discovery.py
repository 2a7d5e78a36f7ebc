"""Finding passes: installed ones by entry point, a user's own from a file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import lepton_ir.ops  # patterns are built from the operators' names  # noqa: F401
from lepton_ir.diagnostics import LeptonError

ENTRY_POINTS = "lepton.passes"
_IN_THE_SOURCE_TREE = "lepton_passes"


@cache
def load_passes() -> None:
    """Import everything that registers passes: the entry points of ``lepton.passes``.

    Raises:
        LeptonError: a plugin cannot be imported.
    """
    points = entry_points(group=ENTRY_POINTS)
    for point in points:
        try:
            importlib.import_module(point.module)
        except ImportError as error:
            raise LeptonError(
                f"the pass plugin {point.name} cannot be imported",
                where=point.value,
                why=str(error),
                help="repair or uninstall the package that brings it",
            ) from error
    # A source tree on PYTHONPATH has no entry points; its passes are found by their folder.
    if not points and importlib.util.find_spec(_IN_THE_SOURCE_TREE) is not None:
        importlib.import_module(_IN_THE_SOURCE_TREE)


def load_file(path: str | Path) -> ModuleType:
    """Import a Python file that defines passes, patterns or operators (``--load``).

    Raises:
        LeptonError: the file is missing or fails to import.
    """
    file = Path(path)
    if not file.is_file():
        raise LeptonError(f"cannot load {file}", why="there is no such file")
    name = f"lepton_loaded_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise LeptonError(f"cannot load {file}", why="it is not a Python file", help="give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        if isinstance(error, LeptonError):
            raise
        raise LeptonError(f"{file} fails to load", why=f"{type(error).__name__}: {error}") from error
    return module
