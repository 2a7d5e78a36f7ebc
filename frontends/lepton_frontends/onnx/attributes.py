"""Attributes of ONNX nodes as Python values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx import AttributeProto, NodeProto

from lepton_frontends.common.errors import UnsupportedError

_A = AttributeProto


def attribute_value(attribute: AttributeProto) -> Any:
    """Return the value: numbers, text, tuples of them, TensorProto, SparseTensorProto, GraphProto or
    TypeProto.

    Raises:
        UnsupportedError: the attribute is of a kind that has no meaning here.
    """
    kind = attribute.type
    if kind == _A.FLOAT:
        return float(attribute.f)
    if kind == _A.INT:
        return int(attribute.i)
    if kind == _A.STRING:
        return _text(attribute.s)
    if kind == _A.FLOATS:
        return tuple(float(v) for v in attribute.floats)
    if kind == _A.INTS:
        return tuple(int(v) for v in attribute.ints)
    if kind == _A.STRINGS:
        return tuple(_text(v) for v in attribute.strings)
    if kind == _A.TENSOR:
        return attribute.t
    if kind == _A.GRAPH:
        return attribute.g
    if kind == _A.SPARSE_TENSOR:
        return attribute.sparse_tensor
    if kind == _A.TYPE_PROTO:
        return attribute.tp
    raise UnsupportedError(f"its attribute {attribute.name} is of the kind {_A.AttributeType.Name(kind)}")


def node_attributes(node: NodeProto) -> dict[str, Any]:
    """Return all attributes of a node by name."""
    return {a.name: attribute_value(a) for a in node.attribute}


def bind_references(node: NodeProto, given: Mapping[str, AttributeProto]) -> NodeProto:
    """Return the node of a function's body with the attributes of the call in place of the references to them."""
    if not any(_refers(a) for a in node.attribute):
        return node
    bound = NodeProto()
    bound.CopyFrom(node)
    del bound.attribute[:]
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            value = given.get(attribute.ref_attr_name)
            if value is not None:
                copy = bound.attribute.add()
                copy.CopyFrom(value)
                copy.name = attribute.name
            continue
        copy = bound.attribute.add()
        copy.CopyFrom(attribute)
        for graph in [copy.g] if copy.type == _A.GRAPH else copy.graphs:
            nodes = [bind_references(n, given) for n in graph.node]
            del graph.node[:]
            graph.node.extend(nodes)
    return bound


def _refers(attribute: AttributeProto) -> bool:
    if attribute.ref_attr_name:
        return True
    graphs = [attribute.g] if attribute.type == _A.GRAPH else attribute.graphs
    return any(_refers(a) for g in graphs for n in g.node for a in n.attribute)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
