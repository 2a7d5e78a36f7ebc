"""Putting the nodes of a graph in an order in which every value is computed before it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from onnx import AttributeProto, GraphProto, NodeProto


def node_name(node: NodeProto, index: int) -> str:
    """Return the node's name, ``OpType_index`` where it has none."""
    return str(node.name) or f"{node.op_type}_{index}"


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs among the node's attributes."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def reads(node: NodeProto) -> set[str]:
    """Return the names that a node reads, those that its subgraphs take from outside included.

    A Gradient also waits for the tensor that it differentiates, which it has by name only.
    """
    names = {name for name in node.input if name}
    if node.op_type == "Gradient":
        names.update(a.s.decode(errors="replace") for a in node.attribute if a.name == "y")
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


@dataclass
class Order:
    """The nodes of a graph in an order in which they can be run.

    Attributes:
        nodes: the nodes, each with its name.
        lost: names that are never computed, because what defines them is left out.
    """

    nodes: list[tuple[NodeProto, str]]
    lost: list[str] = field(default_factory=list)


def ordered(nodes: Sequence[NodeProto], known: Iterable[str], report: Callable[[str, str, str], None]) -> Order:
    """Return the nodes with their names, sorted topologically where the file does not have them so.

    Args:
        nodes: the nodes as the file has them.
        known: the names of inputs and initializers of this graph.
        report: called with a node's name, what is wrong with it and why, for each node that defines a name a second
            time and for those that form a cycle; they are left out.
    """
    named: list[tuple[NodeProto, str]] = []
    producer: dict[str, int] = {}
    given = set(known)
    lost: list[str] = []
    for i, node in enumerate(nodes):
        name, outputs = node_name(node, i), [o for o in node.output if o]
        counts = Counter(outputs)
        again = [o for o, count in counts.items() if count > 1 or o in producer or o in given]
        for output in again:
            first = named[producer[output]][1] if output in producer else "an input, an initializer or itself"
            why = f"it is already defined by {first}"
            report(name, f"node {name} ({node.op_type}) defines the name {output} a second time", why)
        if again:
            lost += [o for o in outputs if o not in producer and o not in given]
            continue
        producer.update(dict.fromkeys(outputs, len(named)))
        named.append((node, name))
    needs = [{producer[r] for r in reads(node) if r in producer} for node, _ in named]
    if all(d < i for i, wanted in enumerate(needs) for d in wanted):
        return Order(named, lost)
    return _sorted(named, needs, lost, report)


def _sorted(
    named: list[tuple[NodeProto, str]],
    needs: list[set[int]],
    lost: list[str],
    report: Callable[[str, str, str], None],
) -> Order:
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
    stuck = [named[i] for i, count in enumerate(missing) if count]
    if stuck:
        names = ", ".join(name for _, name in stuck[:8])
        report(
            stuck[0][1],
            f"the nodes {names}{' ...' if len(stuck) > 8 else ''} form a cycle or wait for one",
            "each reads what another of them computes",
        )
        lost = [*lost, *(o for node, _ in stuck for o in node.output if o)]
    return Order([named[i] for i in order], lost)
