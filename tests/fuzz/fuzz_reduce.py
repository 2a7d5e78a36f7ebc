"""Making a finding smaller: fewer nodes, whose operands become inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from fuzz_graph import Graph, output_info, tensor_type
from onnx import helper, numpy_helper

Check = Callable[[Graph], bool]


def cut(graph: Graph, kept: Sequence[onnx.NodeProto], free: bool = True) -> Graph:
    """Return a graph of some of the nodes; what they read of others becomes an input."""
    made = {n for node in kept for n in node.output if n}
    read = {n for node in kept for n in node.input if n}
    old = graph.model.graph
    initializers = [t for t in old.initializer if t.name in read]
    known = made | {t.name for t in initializers}
    infos = [i for i in old.input if i.name in read]
    known |= {i.name for i in infos}
    for name in sorted(read - known):
        infos.append(helper.make_tensor_value_info(name, tensor_type(graph.values[name]), graph.values[name].shape))
    outputs = [n for node in kept for n in node.output if n and n not in read]
    outs = [output_info(n, graph.values[n]) for n in outputs]
    inner = helper.make_graph(list(kept), "reduced", infos, outs, initializers)
    model = helper.make_model(inner, opset_imports=graph.model.opset_import, ir_version=10)
    feeds = {i.name: graph.feeds.get(i.name, graph.values[i.name]) for i in infos}
    return Graph(model, feeds, graph.values)


def reduce(graph: Graph, fails: Check) -> Graph:
    """Return the smallest graph found for which ``fails`` still holds."""
    nodes = list(graph.model.graph.node)
    for node in nodes:
        if fails(single := cut(graph, [node])):
            return single
    best, removed = graph, True
    while removed and len(nodes) > 1:
        removed = False
        for node in nodes:
            rest = [n for n in nodes if n is not node]
            if fails(smaller := cut(graph, rest)):
                nodes, best, removed = rest, smaller, True
                break
    return best


def show(graph: Graph, feeds: dict[str, np.ndarray] | None = None) -> str:
    """Return a graph as text: the nodes, small constants and the inputs."""
    lines = [f"opset {graph.model.opset_import[0].version}"]
    for t in graph.model.graph.initializer:
        lines.append(_value(t.name, numpy_helper.to_array(t)))
    for i in graph.model.graph.input:
        dims = [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim]
        lines.append(f"input {i.name} {dims}")
    for node in graph.model.graph.node:
        given = ", ".join(f"{a.name}={helper.get_attribute_value(a)}" for a in node.attribute)
        lines.append(f"{', '.join(node.output)} = {node.op_type}({', '.join(node.input)}; {given})")
    lines += [_value(n, a) for n, a in (feeds or graph.feeds).items()]
    return "\n".join(lines)


def _value(name: str, array: np.ndarray) -> str:
    text = np.array2string(array, threshold=40, separator=", ").replace("\n", "")
    return f"{name}: {array.dtype}{list(array.shape)} = {text}"
