"""What a hostile file is: a class, a name, how to make it, and what must become of it.

A file ``hostile_*.py`` of this folder defines families: functions that return the members of one class by name, each a
model, bytes, or a function that writes files into an empty folder and returns the one to compile.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

REFUSED, ACCEPTED, EITHER, ARTIFACT, HARMLESS = "refused", "accepted", "either", "artifact", "harmless"
F32, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
node = helper.make_node


@dataclass(frozen=True)
class Hostile:
    """One case.

    Attributes:
        kind: the class it belongs to.
        name: its name, unique in the class.
        content: the model, its bytes, or a function that writes files into a folder.
        expect: REFUSED with a place, ACCEPTED with the right numbers, EITHER where the
            running program may refuse it as well, or ARTIFACT: no artifact, refused as
            one; HARMLESS: an artifact that may be refused, or do what it did before.
        mentions: what the diagnostics must all name.
        options: further arguments of ``leptonc compile``.
        reference: what a model that is accepted must have been compared with.
    """

    kind: str
    name: str
    content: Any
    expect: str = REFUSED
    mentions: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    reference: str = "ONNX Runtime"

    def write(self, folder: Path) -> Path:
        """Write the case into an empty folder and return the file to give to leptonc."""
        if callable(self.content):
            return self.content(folder)
        path = folder / "model.onnx"
        path.write_bytes(self.content.SerializeToString() if isinstance(self.content, ModelProto) else self.content)
        return path


@dataclass(frozen=True)
class With:
    """A member of a family with more to it than its content."""

    content: Any
    mentions: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    expect: str = ""
    reference: str = "ONNX Runtime"


def later(make: Callable[[], ModelProto | bytes]) -> Callable[[Path], Path]:
    """Return a content that is large, and made only when it is needed."""

    def write(folder: Path) -> Path:
        return Hostile("", "", make()).write(folder)

    return write


@dataclass
class _Families:
    found: list[tuple[str, str, Callable[[], Mapping[str, Any]]]] = field(default_factory=list)


_FAMILIES = _Families()


def family(kind: str, expect: str = REFUSED) -> Callable[[Callable[[], Mapping[str, Any]]], Any]:
    """Register a function that returns cases of the class ``kind`` by name."""

    def register(function: Callable[[], Mapping[str, Any]]) -> Callable[[], Mapping[str, Any]]:
        _FAMILIES.found.append((kind, expect, function))
        return function

    return register


@cache
def all_cases() -> tuple[Hostile, ...]:
    """Return every case of the corpus, in a fixed order."""
    for file in sorted(Path(__file__).parent.glob("hostile_*.py")):
        importlib.import_module(file.stem)
    cases = []
    for kind, expect, function in _FAMILIES.found:
        for name, member in function().items():
            extra = member if isinstance(member, With) else With(member)
            wanted = extra.expect or expect
            cases.append(Hostile(kind, name, extra.content, wanted, extra.mentions, extra.options, extra.reference))
    assert len({(c.kind, c.name) for c in cases}) == len(cases)
    return tuple(cases)


# ---- small models


def info(name: str, shape: Any, dtype: int = F32) -> ValueInfoProto:
    """Return a tensor's description."""
    return helper.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: Any, inputs: Any = None, outputs: Any = ("y",), weights: Any = (), opset: int = 18, functions: Any = (),
    domains: Any = (),
) -> ModelProto:  # fmt: skip
    """Return a model; one input ``x`` of shape [2, 4] unless others are given."""
    given = [info("x", [2, 4])] if inputs is None else list(inputs)
    outs = [ValueInfoProto(name=o) if isinstance(o, str) else o for o in outputs]
    tensors = [
        w if isinstance(w, TensorProto) else numpy_helper.from_array(np.asarray(w), n) for n, w in dict(weights).items()
    ]
    graph = helper.make_graph(list(nodes), "g", given, outs, tensors)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=8)


def subgraph(nodes: Any, inputs: Any = (), outputs: Any = ("r",)) -> Any:
    """Return a graph for an attribute."""
    outs = [ValueInfoProto(name=o) if isinstance(o, str) else o for o in outputs]
    return helper.make_graph(list(nodes), "inner", list(inputs), outs)


def changed(proto: ModelProto, change: Callable[[ModelProto], object]) -> ModelProto:
    """Return the model after ``change``."""
    change(proto)
    return proto


def ints(*values: int) -> np.ndarray:
    """Return an int64 vector."""
    return np.array(values, np.int64)


def message(number: int, payload: bytes) -> bytes:
    """Return a protobuf field that holds bytes."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    """Return a protobuf number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
