"""Pipelines as text: ``canonicalize,fuse{max-depth=4},repeat{pipeline={cse,dce} times=2}``."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from lepton_ir.diagnostics import LeptonError
from lepton_ir.passes.base import PASSES, Pass
from lepton_ir.passes.discovery import load_passes
from lepton_ir.passes.options import make_pass

PIPELINES: dict[str, str] = {}
_OPEN, _CLOSE = "{[", "}]"


def register_pipeline(name: str, text: str) -> str:
    """Give a pipeline a name that other pipelines can use; return its text."""
    PIPELINES[name] = text
    return text


def parse_pipeline(text: str) -> list[Pass]:
    """Return the passes that a pipeline names, named pipelines expanded.

    Raises:
        LeptonError: the text is malformed, or a pass or an option is unknown.
    """
    load_passes()
    return _expand(text, ())


def print_pipeline(passes: Sequence[Pass]) -> str:
    """Return the text that :func:`parse_pipeline` reads as ``passes``."""
    return ",".join(p.describe() for p in passes)


def _expand(text: str, inside: tuple[str, ...]) -> list[Pass]:
    passes: list[Pass] = []
    for item in split_top_level(text, ","):
        name, options = _split_options(item)
        if name in PIPELINES and not options:
            if name in inside:
                raise LeptonError(f"the pipeline {name} contains itself", why=" -> ".join((*inside, name)))
            passes += _expand(PIPELINES[name], (*inside, name))
            continue
        passes.append(_pass(name, options))
    return passes


def _pass(name: str, options: dict[str, str]) -> Pass:
    cls = PASSES.get(name)
    if cls is None:
        close = difflib.get_close_matches(name, [*PASSES, *PIPELINES], 1)
        raise LeptonError(
            f"there is no pass or pipeline called {name!r}",
            help=f"did you mean {close[0]}?" if close else "leptonc passes lists them",
        )
    return make_pass(cls, options)


def _split_options(item: str) -> tuple[str, dict[str, str]]:
    name, brace, rest = item.partition("{")
    if not brace:
        return name.strip(), {}
    if not rest.endswith("}"):
        raise LeptonError(f"malformed pipeline at {item!r}", why="text follows the closing brace")
    options: dict[str, str] = {}
    for part in split_top_level(rest[:-1].replace(", ", " "), " ,"):
        key, equals, value = part.partition("=")
        if not equals:
            raise LeptonError(f"malformed option {part!r} of {name.strip()}", help="write name=value")
        value = value.strip()
        options[key.strip()] = value[1:-1] if value.startswith("{") else value
    return name.strip(), options


def split_top_level(text: str, separators: str) -> list[str]:
    """Split at separators that stand outside of braces and brackets; empty parts are dropped.

    Raises:
        LeptonError: the braces do not match.
    """
    parts, stack, start = [], [], 0
    for i, char in enumerate(text):
        if char in _OPEN:
            stack.append(_CLOSE[_OPEN.index(char)])
        elif char in _CLOSE:
            if not stack or stack.pop() != char:
                raise LeptonError(f"malformed pipeline {text!r}", why=f"unmatched {char} at column {i + 1}")
        elif char in separators and not stack:
            parts.append(text[start:i])
            start = i + 1
    if stack:
        raise LeptonError(f"malformed pipeline {text!r}", why=f"a {stack[-1]} is missing at the end")
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]
