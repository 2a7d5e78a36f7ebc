"""Gradient of ai.onnx.preview.training: the derivative of one tensor of the graph by others, given by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from onnx import NodeProto

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.branches import inner_builder
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.order import reads
from lepton_frontends.onnx.rules import TRAINING, onnx_op
from lepton_frontends.onnx.scope import Scope
from lepton_ir.gradient import NotDifferentiableError, gradients
from lepton_ir.ir.core import Block, Value


@onnx_op("Gradient", since=1, domain=TRAINING)
def gradient(b: OnnxBuilder, *inputs: Value, xs: Sequence[str], y: str, zs: Sequence[str] = ()) -> list[Value]:
    """Import once more what leads from ``xs`` and ``zs`` to ``y``, at the values of the inputs, and differentiate it.

    What both forward parts have in common becomes one again when common subexpressions are eliminated.
    """
    names = [*xs, *zs]
    if len(names) != len(inputs):
        raise UnsupportedError(
            f"it has {len(inputs)} inputs for the {len(names)} tensors of xs and zs", "the model is not valid ONNX"
        )
    for name in (*names, y):
        if b.scope.find(name) is None:
            raise UnsupportedError(f"nothing in the model is called {name}", "the model is not valid ONNX")
    block = Block(v.type for v in inputs)
    inner = inner_builder(b, block)
    try:
        target = _again(b, inner, dict(zip(names, block.arguments, strict=True)), y)
        results = gradients(inner, target, block.arguments[: len(xs)])
        # Gradients of gradients grow with the power of their order, in operations more than in nodes.
        b.importer.spend(len(block), b.location)
    except NotDifferentiableError as error:
        raise UnsupportedError(f"it {error.reason}", "leave the operator out of what xs, zs and y enclose") from None
    return _inlined(b, block, inputs, results)


def _again(b: OnnxBuilder, inner: OnnxBuilder, given: dict[str, Value], y: str) -> Value:
    """Import the nodes between the given names and ``y`` where ``inner`` stands; return what y is there."""
    outer, importer = b.scope, b.importer
    scope = Scope(outer.opsets, outer, outer.prefix)
    scope.values.update(given)
    # A node that draws random numbers has to draw those that it drew before.
    saved, importer.draws = importer.draws, Counter()
    try:
        (target,) = importer.run(_between(outer.nodes, given, y), [y], scope, inner)
    finally:
        importer.draws = saved
    if not isinstance(target, Value):
        raise UnsupportedError(f"{y} is no tensor")
    return target


def _between(nodes: Sequence[NodeProto], given: Collection[str], y: str) -> list[NodeProto]:
    """Return the nodes that ``y`` depends on, up to the given names, in order."""
    wanted, found = {y} - set(given), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            found.append(node)
            wanted |= reads(node) - set(given)
    return found[::-1]


def _inlined(b: OnnxBuilder, block: Block, inputs: Sequence[Value], results: Sequence[Value]) -> list[Value]:
    """Move the operations of a block to where ``b`` stands, its arguments replaced; return the results there."""
    actual: dict[Value, Value] = dict(zip(block.arguments, inputs, strict=True))
    for argument, value in actual.items():
        argument.replace_all_uses_with(value)
    for op in list(block.ops):
        op.detach()
        b.block.insert_before(b.before, op)
    return [actual.get(r, r) for r in results]
