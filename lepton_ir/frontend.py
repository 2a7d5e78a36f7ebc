"""Reading models: the registry of frontends, and :func:`load_model`.

A frontend is a module named by an entry point of the group ``lepton.frontends`` that holds a :class:`Frontend`
called ``FRONTEND``. It costs nothing to import; what reads the format is imported when a file of it is read.
"""

from __future__ import annotations

import importlib
import pkgutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from os import PathLike, fspath
from pathlib import Path
from types import ModuleType
from typing import Any

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.module import Module

ENTRY_POINTS = "lepton.frontends"
_IN_THE_SOURCE_TREE = "lepton_frontends"
_HEAD = 64
_PARTICULAR = {"inputs": "--input", "external_data_root": "--external-data-root"}
"""Options that not every format takes, with what they are called on the command line."""


@dataclass(frozen=True)
class Frontend:
    """A reader of one model format.

    Attributes:
        name: how the user names the format.
        suffixes: the file name endings that it reads, each with its dot.
        description: one line for listings.
        load: reads a file: ``load(path, **options)``.
        sniff: whether a file that begins with these bytes looks like this format.
        options: the options that not every frontend takes, and this one does.
    """

    name: str
    suffixes: tuple[str, ...]
    description: str
    load: Callable[..., Module]
    sniff: Callable[[bytes], bool] = lambda head: False
    options: frozenset[str] = frozenset()


def _modules() -> Iterator[ModuleType]:
    found = entry_points(group=ENTRY_POINTS)
    for point in found:
        yield importlib.import_module(point.module)
    if found:
        return
    # A source tree on PYTHONPATH has no entry points; its frontends are found by their folder.
    try:
        package = importlib.import_module(_IN_THE_SOURCE_TREE)
    except ModuleNotFoundError:
        return
    for info in pkgutil.iter_modules(package.__path__):
        yield importlib.import_module(f"{package.__name__}.{info.name}")


@cache
def frontends() -> dict[str, Frontend]:
    """Return the installed frontends by name."""
    found = (getattr(module, "FRONTEND", None) for module in _modules())
    return {f.name: f for f in found if isinstance(f, Frontend)}


def select_frontend(path: str | PathLike[str], name: str | None = None) -> Frontend:
    """Return the frontend that reads ``path``: the one named, else by suffix, else by the first bytes.

    Raises:
        LeptonError: there is none, or no such file.
    """
    known = frontends()
    if name is not None:
        if name not in known:
            raise LeptonError(f"no frontend is called {name}", help=f"installed: {', '.join(known) or 'none'}")
        return known[name]
    file = Path(path)
    if not file.exists():
        raise LeptonError("no such file", where=fspath(path), help="check the path")
    if file.is_dir():
        raise LeptonError("this is a folder, not a model", where=fspath(path), help="name the model file inside it")
    for frontend in known.values():
        if file.name.lower().endswith(frontend.suffixes):
            return frontend
    with file.open("rb") as f:
        head = f.read(_HEAD)
    for frontend in known.values():
        if frontend.sniff(head):
            return frontend
    suffixes = ", ".join(s for f in known.values() for s in f.suffixes)
    raise LeptonError(
        "not a model in a format that is known",
        where=fspath(path),
        why=f"neither its name nor its first bytes are those of {', '.join(known) or 'any frontend'}",
        help=f"model files end in {suffixes}; name the format if this one's name does not tell",
    )


def from_torch(module: Any, example_inputs: Sequence[Any], dynamic_shapes: Any = None, **options: Any) -> Module:
    """Export a PyTorch module with torch.export, and read it into Lepton IR.

    Args:
        module: a ``torch.nn.Module``, or an ``ExportedProgram``.
        example_inputs: what to export it with, in the order of its arguments.
        dynamic_shapes: as ``torch.export.export`` takes them.
        options: those of the torch.export frontend, such as ``dims={"s0": 1}``.

    Raises:
        LeptonError: PyTorch is not installed, or the module holds something that is not supported.
    """
    try:
        import torch
    except ImportError:
        raise LeptonError("PyTorch is not installed", help="pip install torch, or read an archive instead") from None
    program = module
    if not isinstance(module, torch.export.ExportedProgram):
        program = torch.export.export(module, tuple(example_inputs), dynamic_shapes=dynamic_shapes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt2"
        torch.export.save(program, path)
        return load_model(path, **options)


def input_value(text: str) -> object:
    """Return what the user gives an input as its one value: a number, true, false, none, or a string."""
    known = {"true": True, "false": False, "none": None}
    if text.lower() in known:
        return known[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def load_model(path: str | PathLike[str], *, frontend: str | None = None, **options: object) -> Module:
    """Read a model file into Lepton IR.

    Args:
        path: the file.
        frontend: the format's name; found from suffix and content where None.
        options: the frontend's own, such as ``dims={"N": 1}``.

    Raises:
        LeptonError: the file cannot be read or holds something that is not supported; all findings at once.
    """
    chosen = select_frontend(path, frontend)
    strange = [o for o in _PARTICULAR if o in options and o not in chosen.options]
    if strange:
        raise LeptonError(
            f"{_PARTICULAR[strange[0]]} does not apply to this model",
            where=fspath(path),
            why=f"{chosen.description} need no such thing",
            help="leave it out",
        )
    return chosen.load(path, **options)
