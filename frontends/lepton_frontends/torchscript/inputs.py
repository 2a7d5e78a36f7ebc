"""What the inputs of a method are: given by the user, or the shapes that it was traced with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_ir.diagnostics import LeptonError
from lepton_ir.frontend import input_value
from lepton_ir.ir.dim import Dim, sym
from lepton_ir.ir.types import DType, TensorType

_SPEC = re.compile(r"^(?:(?P<shape>[^:=]*):)?(?P<dtype>\w+)$")
_NAME = re.compile(r"^[A-Za-z_]\w*$")
FORM = (
    "--input 'NAME:1x3x224x224:f32' (sizes may be names: Nx3x224x224; a number of the run: NAME:i64; a fixed one: "
    "NAME=16000)"
)


@dataclass(frozen=True)
class Fixed:
    """An input that has one value for ever.

    Attributes:
        value: the value.
    """

    value: Any


InputSpec = TensorType | Fixed


def parse_inputs(given: Sequence[str] | Mapping[str, str], file: str) -> dict[str, InputSpec]:
    """Return what the options ``--input`` say, by name.

    Raises:
        LeptonError: one has another form.
    """
    texts = (
        [f"{n}:{t}" if "=" not in t else f"{n}{t}" for n, t in given.items()] if isinstance(given, Mapping) else given
    )
    found: dict[str, InputSpec] = {}
    for text in texts:
        name, fixed, value = text.partition("=")
        if fixed and ":" not in name:
            found[name] = Fixed(input_value(value))
            continue
        name, _, rest = text.partition(":")
        found[name] = _tensor(text, rest, file)
    return found


def _tensor(text: str, rest: str, file: str) -> TensorType:
    match = _SPEC.match(rest)
    dtypes = {d.value: d for d in DType}
    if match is None or match["dtype"] not in dtypes:
        raise LeptonError(f"the input {text!r} cannot be read", file, help=f"write it as {FORM}")
    sizes = [s for s in (match["shape"] or "").split("x") if s]
    shape: list[Dim] = []
    for size in sizes:
        if not size.isdigit() and not _NAME.match(size):
            raise LeptonError(f"the input {text!r} cannot be read", file, f"{size!r} is no size", help=f"write {FORM}")
        shape.append(int(size) if size.isdigit() else sym(size))
    return TensorType(tuple(shape), dtypes[match["dtype"]])


def described(spec: TensorType) -> str:
    """Return a type as ``--input`` takes it, without the name."""
    return ":".join(filter(None, ("x".join(map(str, spec.shape)), str(spec.dtype))))
