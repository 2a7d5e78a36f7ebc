"""Putting the nodes of a graph in an order in which every value is computed before it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from onnx import AttributeProto, GraphProto, NodeProto

from lepton_ir.diagnostics import LeptonError


def node_name(node: NodeProto, index: int) -> str:
    """Return the node's name, ``OpType_index`` where it has none."""
    return str(node.name) or f"{node.op_type}_{index}"


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs among the node's attributes."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def texts(graph: GraphProto) -> Iterator[str]:
    """Yield all names in a graph and in those inside it."""
    for info in (*graph.input, *graph.output):
        yield info.name
        yield from (d.dim_param for d in info.type.tensor_type.shape.dim)
    yield from (t.name for t in graph.initializer)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, node.overload, *node.input, *node.output)
        yield from (a.name for a in node.attribute)
        for inner in subgraphs(node):
            yield from texts(inner)


def reads(node: NodeProto) -> set[str]:
    """Return the names that a node reads, those that its subgraphs take from outside included."""
    names = {name for name in node.input if name}
    for graph in subgraphs(node):
        names |= _captured(graph)
    return names


def _captured(graph: GraphProto) -> set[str]:
    own = {i.name for i in graph.input} | {t.name for t in graph.initializer}
    own |= {t.values.name for t in graph.sparse_initializer}
    wanted = {o.name for o in graph.output}
    for node in graph.node:
        wanted |= reads(node)
        own.update(node.output)
    return wanted - own


def ordered(nodes: Sequence[NodeProto], known: Iterable[str], file: str) -> list[tuple[NodeProto, str]]:
    """Return the nodes with their names, sorted topologically where the file does not have them so.

    Args:
        nodes: the nodes as the file has them.
        known: the names of inputs and initializers of this graph.
        file: the file to name in errors.

    Raises:
        LeptonError: two nodes write one name, or the nodes form a cycle.
    """
    named = [(node, node_name(node, i)) for i, node in enumerate(nodes)]
    producer: dict[str, int] = {}
    given = set(known)
    for i, (node, name) in enumerate(named):
        for output in filter(None, node.output):
            if output in producer or output in given:
                first = named[producer[output]][1] if output in producer else "an input or initializer"
                raise LeptonError(
                    f"node {name} ({node.op_type}) defines the name {output} a second time",
                    file,
                    f"it is already defined by {first}",
                    "the model is not valid ONNX; export it again",
                )
            producer[output] = i
    needs = [{producer[r] for r in reads(node) if r in producer} for node, _ in named]
    if all(d < i for i, wanted in enumerate(needs) for d in wanted):
        return named
    return _sorted(named, needs, file)


def _sorted(named: list[tuple[NodeProto, str]], needs: list[set[int]], file: str) -> list[tuple[NodeProto, str]]:
    users: list[list[int]] = [[] for _ in named]
    for i, wanted in enumerate(needs):
        for d in wanted:
            users[d].append(i)
    missing = [len(wanted) for wanted in needs]
    ready = [i for i, count in enumerate(missing) if count == 0]
    order: list[int] = []
    for i in ready:
        order.append(i)
        for user in users[i]:
            missing[user] -= 1
            if missing[user] == 0:
                ready.append(user)
    if len(order) < len(named):
        cycle = [named[i][1] for i, count in enumerate(missing) if count]
        raise LeptonError(
            f"the nodes {', '.join(cycle[:8])}{' ...' if len(cycle) > 8 else ''} form a cycle or wait for one",
            file,
            "each reads what another of them computes",
            "the model is not valid ONNX; export it again",
        )
    return [named[i] for i in order]
