"""Whether a node uses its operator as ONNX defines it: arity, attributes, element types.

Everything comes from the operator's schema in the onnx package, so that one check serves all operators. Operators of
other domains, and those that ONNX Runtime writes into ONNX's domain before ONNX had them, have no schema and are left
to their rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from onnx import AttributeProto, NodeProto, defs

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.attributes import attribute_value
from lepton_frontends.onnx.values import attribute_problem, input_problems
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType, TensorType

_SPELLED = {
    DType.F32: "float", DType.F64: "double", DType.F16: "float16", DType.BF16: "bfloat16", DType.STR: "string",
    DType.BOOL: "bool", DType.C64: "complex64", DType.C128: "complex128", DType.F8E4M3FN: "float8e4m3fn",
    DType.F8E4M3FNUZ: "float8e4m3fnuz", DType.F8E5M2: "float8e5m2", DType.F8E5M2FNUZ: "float8e5m2fnuz",
    DType.F8E8M0FNU: "float8e8m0", DType.F4E2M1: "float4e2m1",
    DType.F6E2M3: "float6e2m3", DType.F6E3M2: "float6e3m2",
}  # fmt: skip
_VARIADIC = defs.OpSchema.FormalParameterOption.Variadic
_OPTIONAL = defs.OpSchema.FormalParameterOption.Optional


@dataclass(frozen=True)
class Parameter:
    """An input as the schema declares it."""

    name: str
    types: frozenset[str]
    variable: str
    optional: bool


@dataclass(frozen=True)
class Signature:
    """What a schema says that can be held against a node.

    Attributes:
        inputs: the inputs, a variadic one last.
        variadic: whether the last one takes all that follow.
        homogeneous: whether those must have one type.
        least: the number of inputs that must be there.
        most: the number of inputs that there may be.
        outputs: the number of outputs that there may be.
        attributes: name to type, and whether there must be one.
    """

    inputs: tuple[Parameter, ...]
    variadic: bool
    homogeneous: bool
    least: int
    most: int
    outputs: int
    attributes: dict[str, tuple[int, bool]]

    def parameter(self, index: int) -> Parameter | None:
        """Return what is declared for the input ``index``."""
        if index < len(self.inputs):
            return self.inputs[index]
        return self.inputs[-1] if self.variadic else None


@cache
def signature(domain: str, op: str, opset: int) -> Signature | None:
    """Return what the operator's schema says at the opset, None where ONNX has no such operator."""
    try:
        schema = defs.get_schema(op, opset, domain)
    except defs.SchemaError:
        return None
    if schema.deprecated:
        return None
    inputs = tuple(Parameter(p.name, frozenset(p.types), p.type_str, p.option == _OPTIONAL) for p in schema.inputs)
    variadic = bool(schema.inputs) and schema.inputs[-1].option == _VARIADIC
    return Signature(
        inputs,
        variadic,
        variadic and bool(schema.inputs[-1].is_homogeneous),
        schema.min_input,
        schema.max_input,
        schema.max_output,
        {name: (int(a.type.value), bool(a.required)) for name, a in schema.attributes.items()},
    )


def problems(node: NodeProto, domain: str, opset: int, inputs: Sequence[Any]) -> Iterator[str]:
    """Yield what about a node is not as ONNX defines its operator.

    Args:
        node: the node.
        domain: its domain.
        opset: the model's opset of that domain.
        inputs: what its inputs stand for; only the element types of tensors are looked at.
    """
    yield from _attribute_problems(node)
    found = signature(domain, str(node.op_type), opset)
    if found is None:
        return
    yield from _arity_problems(node, found)
    yield from _kind_problems(node, found)
    yield from _type_problems(found, inputs)
    yield from input_problems(node, [p.name for p in found.inputs], inputs)


def _arity_problems(node: NodeProto, found: Signature) -> Iterator[str]:
    given = list(node.input)
    # Inputs that may be absent count, at the end too: Loop takes at least two.
    while len(given) > found.least and not given[-1]:
        given.pop()
    if len(given) > found.most:
        yield f"it has {len(given)} inputs, at most {found.most} are known in this opset"
    if len(given) < found.least:
        yield f"it needs {found.least} inputs, and has {len(given)}"
    for i, name in enumerate(given[: found.least]):
        parameter = found.parameter(i)
        if not name and parameter is not None and not parameter.optional:
            yield f"its input {parameter.name} is left out, and must be there"
    if len(node.output) > found.outputs:
        yield f"it has {len(node.output)} outputs, at most {found.outputs} are known in this opset"


def _kind_problems(node: NodeProto, found: Signature) -> Iterator[str]:
    given = {a.name: a for a in node.attribute}
    for name, attribute in given.items():
        kind, _ = found.attributes.get(name, (None, False))
        if kind is None:
            yield f"its attribute {name} is not known in this opset"
        elif not attribute.ref_attr_name and attribute.type != kind:
            have, want = (AttributeProto.AttributeType.Name(t) for t in (attribute.type, kind))
            yield f"its attribute {name} is of the kind {have}, and must be {want}"
    for name, (_, required) in found.attributes.items():
        if required and name not in given:
            yield f"it lacks its attribute {name}"


def _type_problems(found: Signature, inputs: Sequence[Any]) -> Iterator[str]:
    bound: dict[str, tuple[str, str]] = {}
    for i, value in enumerate(inputs):
        parameter = found.parameter(i)
        if parameter is None or not isinstance(value, Value) or not isinstance(value.type, TensorType):
            continue
        dtype = value.tensor.dtype
        spelled = f"tensor({_SPELLED.get(dtype) or dtype.numpy.name})"
        if spelled not in parameter.types:
            yield f"its input {parameter.name} has elements of {dtype}, which the operator does not take"
            continue
        loose = found.variadic and not found.homogeneous and i >= len(found.inputs) - 1
        first, name = bound.setdefault(parameter.variable, (spelled, parameter.name))
        if first != spelled and not loose and not parameter.variable.startswith("tensor("):
            yield f"its inputs {name} and {parameter.name} must have one element type; they are {first} and {spelled}"


_FIELDS = {
    AttributeProto.FLOAT: "f", AttributeProto.INT: "i", AttributeProto.STRING: "s", AttributeProto.TENSOR: "t",
    AttributeProto.GRAPH: "g", AttributeProto.SPARSE_TENSOR: "sparse_tensor", AttributeProto.TYPE_PROTO: "tp",
    AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints", AttributeProto.STRINGS: "strings",
    AttributeProto.TENSORS: "tensors", AttributeProto.GRAPHS: "graphs",
    AttributeProto.SPARSE_TENSORS: "sparse_tensors", AttributeProto.TYPE_PROTOS: "type_protos",
}  # fmt: skip
_NO_VALUE = frozenset({"name", "type", "doc_string", "ref_attr_name"})


def _attribute_problems(node: NodeProto) -> Iterator[str]:
    seen: set[str] = set()
    for attribute in node.attribute:
        name = str(attribute.name)
        if name in seen:
            yield f"its attribute {name} is given twice"
        seen.add(name)
        if attribute.ref_attr_name:
            # Those inside of functions have their values by now.
            yield f"its attribute {name} refers to an attribute of a function, and the node stands in none"
            continue
        own = _FIELDS.get(attribute.type)
        held = {f.name for f, _ in attribute.ListFields()} - _NO_VALUE
        may_be_empty = own is not None and len(own) > 2 and own.endswith("s")
        if own is None or held - {own} or not (held or may_be_empty):
            yield f"its attribute {name} has no value of its type, or several"
            continue
        try:
            problem = attribute_problem(attribute, attribute_value(attribute))
        except UnsupportedError:
            continue
        if problem:
            yield problem
