"""The arguments of a call as PyTorch's schema orders them; archives name them, and leave out what has its default."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

_REQUIRED = object()


@dataclass(frozen=True)
class Schema:
    """The parameters of one overload.

    Attributes:
        positional: names and defaults, in order.
        named: the names of those by keyword only.
    """

    positional: tuple[tuple[str, Any], ...]
    named: tuple[str, ...]

    def bind(self, given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments by position, up to the last one that is given, and those by name."""
        last = max((i for i, (name, _) in enumerate(self.positional) if name in given), default=-1)
        args = [given.get(name, default) for name, default in self.positional[: last + 1]]
        if any(a is _REQUIRED for a in args):
            raise KeyError("a required argument is missing")
        known = {name for name, _ in self.positional}
        return args, {name: value for name, value in given.items() if name not in known}


@cache
def _schemas() -> dict[str, str]:
    text = files("lepton_frontends.aten").joinpath("schemas.txt").read_text(encoding="utf-8")
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)


@cache
def schema_of(overload: str) -> Schema | None:
    """Return the schema of an overload such as "aten.add.Tensor", None where it is not known."""
    line = _schemas().get(overload)
    if line is None:
        return None
    before, _, after = f" {line} ".partition(" * ")
    positional = []
    for parameter in before.split():
        name, has_default, default = parameter.partition("=")
        positional.append((name, json.loads(default) if has_default else _REQUIRED))
    return Schema(tuple(positional), tuple(p.partition("=")[0] for p in after.split()))
