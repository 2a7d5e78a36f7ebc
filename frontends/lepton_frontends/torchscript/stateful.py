"""Attributes that a method changes, such as an LSTM's state, as inputs and outputs of the compiled program.

What an attribute is after a call decides what it is before the next one: the method is run again and again, each time
from the state that the last run left, until the types no longer change. An attribute that is then one and the same
number in every call (a sample rate that was remembered, say) is a constant; the others become inputs and outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.call import Tensor
from lepton_frontends.aten.rules import Scalar
from lepton_frontends.aten.types import tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.torchscript.interpreter import Interpreter
from lepton_frontends.torchscript.unpickle import ScriptObject
from lepton_ir.ir.core import Block, Value
from lepton_ir.ir.types import DType, TensorType

_SUFFIX = ".next"


@dataclass(frozen=True)
class Constant:
    """An attribute that is this number, string, ... before every call.

    Attributes:
        value: it.
    """

    value: Any


State = dict[str, "TensorType | Constant"]
"""What attributes are before a call, by their place in the model."""


def place_of(interpreter: Interpreter, owner: ScriptObject, name: str) -> str:
    """Return the place of an attribute in the model, such as "decoder.state"."""
    path = interpreter.objects.path(owner)
    return f"{path}.{name}" if path else name


def after(interpreter: Interpreter) -> dict[str, Any]:
    """Return what the run has left in the model's attributes, by place."""
    found: dict[str, Any] = {}
    for owner, name in interpreter.written.values():
        if interpreter.objects.is_part(owner):
            found[place_of(interpreter, owner, name)] = owner.attributes[name]
    return found | interpreter.objects.changed()


def kinds(found: dict[str, Any], before: State) -> State:
    """Return what attributes with these values are before the next call."""
    state: State = {}
    for place, value in found.items():
        known = before.get(place)
        if isinstance(value, Tensor):
            state[place] = value.type
        elif isinstance(value, Scalar):
            state[place] = value.value.tensor
        elif isinstance(value, (int, float)) and (isinstance(known, TensorType) or _moves(known, value)):
            # A number that the next call changes again, as a counter, is none that is known.
            state[place] = TensorType((), DType.F64 if isinstance(value, float) else DType.I64)
        else:
            state[place] = Constant(value)
    return state


def _moves(known: TensorType | Constant | None, value: Any) -> bool:
    return isinstance(known, Constant) and known.value != value


def give(interpreter: Interpreter, block: Block, state: State) -> dict[str, Value]:
    """Set the attributes to arguments of the block, or to their constants; return the arguments by place."""
    arguments: dict[str, Value] = {}
    owners = {interpreter.objects.path(o): o for o in objects(interpreter.program.root)}
    for place, kind in state.items():
        path, _, name = place.rpartition(".")
        owner = owners.get(path)
        value: Any
        if isinstance(kind, Constant):
            value = kind.value
        else:
            arguments[place] = block.add_argument(kind, place)
            value = Tensor(arguments[place])
        if owner is None or name not in owner.attributes:
            interpreter.objects.replace(place, value)
            continue
        stored = owner.attributes[name]
        is_number = isinstance(stored, (int, float)) and isinstance(value, Tensor)
        owner.attributes[name] = Scalar(arguments[place]) if is_number else value
    return arguments


def objects(root: ScriptObject) -> list[ScriptObject]:
    found, todo = [], [root]
    seen: set[int] = set()
    while todo:
        current = todo.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        found.append(current)
        todo += [v for v in current.attributes.values() if isinstance(v, ScriptObject)]
    return found


def results(b: AtenBuilder, found: dict[str, Any], state: State) -> list[tuple[str, Value]]:
    """Return the attributes' values after the call, with the names of the outputs.

    Raises:
        UnsupportedError: one is no tensor or number.
    """
    named = []
    for place, kind in state.items():
        if isinstance(kind, Constant):
            continue
        value = found.get(place)
        if not isinstance(value, (Tensor, Scalar, int, float)):
            raise UnsupportedError(f"the attribute {place} is no tensor or number after a call")
        tensor = value.read(b) if isinstance(value, Tensor) else tensor_of(b, value, kind.dtype)
        named.append((place + _SUFFIX, tensor))
    return named
