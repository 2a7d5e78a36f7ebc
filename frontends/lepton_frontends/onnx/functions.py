"""Functions: the bodies that ONNX itself defines for composite operators, and calls of the model's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnx import FunctionProto, NodeProto, TypeProto, defs, helper

from lepton_frontends.onnx.scope import Absent, Imported, ValueList
from lepton_frontends.onnx.sequences import element_of
from lepton_frontends.onnx.tensors import DTYPES
from lepton_ir.ir.types import MapType, OptionalType, SequenceType, Type, UnrankedType

_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}


def schema_function(
    node: NodeProto, domain: str, opset: int, inputs: Sequence[Imported | None] | None
) -> FunctionProto | None:
    """Return the body of the operator as ONNX defines it, None where it defines none.

    Args:
        node: the call.
        domain: the operator's domain.
        opset: the model's opset of that domain.
        inputs: the call's inputs; None asks only whether there is a body.
    """
    try:
        schema = defs.get_schema(str(node.op_type), opset, domain)
    except defs.SchemaError:
        return None
    fixed = [v for v in schema.function_opset_versions if v <= opset]
    dependent = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
    if not fixed and not dependent:
        return None
    body = FunctionProto()
    if inputs is None:
        return body
    if fixed:
        serialized = schema.get_function_with_opset_version(max(fixed))
    else:
        types = [_type_of(v) for v in inputs]
        serialized = schema.get_context_dependent_function_with_opset_version(
            max(dependent), node.SerializeToString(), types
        )
    if not serialized:
        return None
    body.ParseFromString(serialized)
    defaults = {a.name: a for a in body.attribute_proto}
    for name, attribute in schema.attributes.items():
        if name not in defaults and attribute.default_value.type:
            body.attribute_proto.append(attribute.default_value)
    return body


def _type_of(value: Imported | None) -> bytes:
    if value is None or isinstance(value, Absent):
        return b""
    if isinstance(value, ValueList):
        element = element_of(value)
        return b"" if element is None else _proto(SequenceType(element)).SerializeToString()
    return _proto(value.type).SerializeToString()


def _proto(type_: Type) -> TypeProto:
    if isinstance(type_, SequenceType):
        return helper.make_sequence_type_proto(_proto(type_.element))
    if isinstance(type_, OptionalType):
        return helper.make_optional_type_proto(_proto(type_.element))
    if isinstance(type_, MapType):
        return helper.make_map_type_proto(_NUMBERS[type_.key], helper.make_tensor_type_proto(_NUMBERS[type_.value], ()))
    if isinstance(type_, UnrankedType):
        return helper.make_tensor_type_proto(_NUMBERS[type_.dtype], None)
    dims = [d if isinstance(d, int) else str(d) for d in type_.shape]
    return helper.make_tensor_type_proto(_NUMBERS[type_.dtype], dims)


def call_problems(node: NodeProto, function: FunctionProto) -> Iterator[str]:
    """Yield why a node is no call of the function."""
    for what, given, taken in (("inputs", node.input, function.input), ("outputs", node.output, function.output)):
        if len(given) > len(taken):
            yield f"it has {len(given)} {what}, the function has {len(taken)}"
    names = [a.name for a in node.attribute]
    known = {*function.attribute, *(a.name for a in function.attribute_proto)}
    for name in names:
        if name not in known:
            yield f"the function has no attribute {name}"
    for name in function.attribute:
        if name not in names:
            yield f"it lacks the function's attribute {name}"
    for what, listed in (("input", function.input), ("output", function.output)):
        if len(set(listed)) < len(listed):
            yield f"the function names an {what} twice"
