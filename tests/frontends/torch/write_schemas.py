"""Writes the parameters of PyTorch's operators that Lepton knows: ``python tests/frontends/torch/write_schemas.py``.

torch.export archives name arguments and leave out those that have their default, so whoever reads them has to know
both. One line per overload: the parameters in order, ``*`` before those by keyword only, defaults as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from lepton_frontends.aten import rules
from lepton_frontends.aten.rules import all_rules

PATH = Path(rules.__file__).with_name("schemas.txt")


def overloads(name):
    """Return the overloads of an operator, by the name of its rule."""
    namespace, _, base = name.rpartition("::")
    for candidate in (base, f"{base}_"):
        packet = getattr(getattr(torch.ops, namespace or "aten"), candidate, None)
        if hasattr(packet, "overloads"):
            yield from (getattr(packet, o) for o in packet.overloads())


def is_exported(operator):
    """Return whether torch.export may write an overload: not one with out=, or of named axes."""
    names = {a.name for a in operator._schema.arguments}
    written = any(a.is_out for a in operator._schema.arguments)
    return not written and "names" not in names and "dimname" not in operator._overloadname


def parameter(argument):
    """Return a parameter as the file has it."""
    if not argument.has_default_value():
        return argument.name
    value = argument.default_value
    plain = value if isinstance(value, (bool, int, float, str, list, type(None))) else None
    return f"{argument.name}={json.dumps(plain, separators=(',', ':'))}"


def line(operator):
    """Return an overload's line."""
    arguments = operator._schema.arguments
    positional = [parameter(a) for a in arguments if not a.kwarg_only]
    named = [parameter(a) for a in arguments if a.kwarg_only]
    return " ".join([str(operator), *positional, *(["*", *named] if named else [])])


def contents():
    """Return the whole file."""
    found = {line(o) for name in all_rules() for o in overloads(name) if is_exported(o)}
    return "\n".join(sorted(found)) + "\n"


if __name__ == "__main__":
    PATH.write_text(contents(), encoding="utf-8")
