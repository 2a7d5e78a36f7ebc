"""Sequences and optionals that the running program holds: their types, and how known ones become such."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.runtime_dims import fresh_dims
from lepton_frontends.onnx.scope import Absent, Imported, ValueList
from lepton_ir.ir.core import Value
from lepton_ir.ir.opdef import InferenceError
from lepton_ir.ir.types import OptionalType, SequenceType, TensorType, Type
from lepton_ir.ops.optional import Make
from lepton_ir.ops.sequence import Construct, Empty, common_element

if TYPE_CHECKING:
    from lepton_frontends.onnx.builder import OnnxBuilder


def as_value(b: OnnxBuilder, value: Imported) -> Value:
    """Return what the program holds for a sequence or an optional that is known while the graph is imported.

    Raises:
        UnsupportedError: its type is unknown.
    """
    if isinstance(value, Value):
        return value
    if isinstance(value, ValueList):
        if value:
            return b.create(Construct, list(value)).ys
        return b.create(Empty, element=_known(value.element, "an empty sequence")).ys
    return b.create(Make, None, element=_known(value.element, "an empty optional")).y


def as_type(b: OnnxBuilder, value: Value, type_: Type) -> Value:
    """Return a value as one of the type ``type_``: an optional where that is one."""
    if isinstance(type_, OptionalType) and not isinstance(value.type, OptionalType):
        return b.create(Make, value).y
    return value


def _known(type_: Type | None, what: str) -> Type:
    if type_ is None:
        raise UnsupportedError(f"the model does not give the type of {what}", "the model is not valid ONNX")
    return type_


def element_of(values: ValueList) -> Type | None:
    """Return the type of the elements of a sequence, None where it has none and the model does not say.

    Raises:
        UnsupportedError: its elements are of different kinds.
    """
    element = values[0].type if values else values.element
    for value in values[1:]:
        assert element is not None
        element = widened(element, value.type)
    return element


def widened(one: Type, two: Type) -> Type:
    """Return the type of elements of a sequence that are of either type.

    Raises:
        UnsupportedError: they are of different kinds.
    """
    try:
        return common_element("a sequence", one, two)
    except InferenceError as error:
        raise UnsupportedError(str(error), "the model is not valid ONNX") from None


def read_type(b: OnnxBuilder, type_: Type) -> Type:
    """Return the type of a value that is read from a sequence or an optional: its sizes are its own."""
    if not isinstance(type_, TensorType):
        return type_
    return type_.with_shape([d if isinstance(d, int) else fresh_dims(b, 1)[0] for d in type_.shape])


def is_sequence(value: Imported | None) -> bool:
    """Return whether something is a sequence."""
    return isinstance(value, ValueList) or (isinstance(value, Value) and isinstance(value.type, SequenceType))


def is_optional(value: Imported | None) -> bool:
    """Return whether something is an optional of which the running program knows whether it holds a value."""
    return isinstance(value, Value) and isinstance(value.type, OptionalType)


def is_absent(value: Imported | None) -> bool:
    """Return whether something is an optional that holds nothing."""
    return value is None or isinstance(value, Absent)
