"""Branches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from onnx import GraphProto

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.branches import condition_of, inner_builder, make_if
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.graph import DivergingError, PartlyImportedError, Rest
from lepton_frontends.onnx.rules import onnx_op
from lepton_frontends.onnx.scope import Imported, Scope
from lepton_ir.ir.core import Block, Value
from lepton_ir.ir.dim import symbols
from lepton_ir.ir.types import DType, TensorType, Type, UnrankedType


@onnx_op("If")
def if_(b: OnnxBuilder, condition: Value, *, then_branch: GraphProto, else_branch: GraphProto) -> Any:
    holds = condition_of(b, condition)
    known = b.array(holds)
    if known is not None:
        return b.importer.subgraph(then_branch if known else else_branch, (), b.scope, b)
    outside = frozenset(b.importer.symbols)
    mark, blocks = len(b.importer.findings.diagnostics), [Block(), Block()]
    graphs = (then_branch, else_branch)
    branches = [
        _attempted(partial(b.importer.subgraph, graph, (), b.scope, inner_builder(b, block)))
        for block, graph in zip(blocks, graphs, strict=True)
    ]
    first, second = branches
    if first is not None and second is not None and not _alike(first, second):
        outer, names = b.scope, list(b.node.output)
        raise DivergingError(lambda rest: _forked(b, holds, blocks, [first, second], outer, names, rest))
    return _joined_branches(b, holds, blocks, branches, mark, outside)


def _alike(first: Sequence[Imported], second: Sequence[Imported]) -> bool:
    """Return whether what two branches give differs in sizes at most."""
    return all(map(_can_join, first, second))


def _can_join(one: Imported, two: Imported) -> bool:
    if isinstance(one, Value) and isinstance(two, Value):
        types = one.type, two.type
        if isinstance(types[0], TensorType) and isinstance(types[1], TensorType):
            return types[0].dtype is types[1].dtype and types[0].rank == types[1].rank
    return not all(isinstance(v, Value) and isinstance(v.type, (TensorType, UnrankedType)) for v in (one, two))


def _attempted(run: Callable[[], list[Value]]) -> list[Value] | None:
    """Import a branch; return None where that fails, with the reasons among the findings."""
    try:
        return run()
    except PartlyImportedError:
        return None


def _forked(
    b: OnnxBuilder,
    holds: Value,
    blocks: Sequence[Block],
    branches: Sequence[Sequence[Value]],
    scope: Scope,
    names: Sequence[str],
    rest: Rest,
) -> list[Value]:
    """Continue the graph in both branches, because what they give differs in rank or element type."""
    outside = frozenset(b.importer.symbols)
    mark, ends = len(b.importer.findings.diagnostics), []
    for block, values in zip(blocks, branches, strict=True):
        inner = scope.inner()
        inner.values.update({n: v for n, v in zip(names, values, strict=False) if n})
        ends.append(_attempted(partial(rest, inner, inner_builder(b, block))))
    return list(_joined_branches(b, holds, blocks, ends, mark, outside))


def _joined_branches(
    b: OnnxBuilder,
    holds: Value,
    blocks: Sequence[Block],
    branches: Sequence[Sequence[Value] | None],
    mark: int,
    outside: frozenset[str],
) -> Sequence[Value]:
    """Make the branch operation, or raise the reason why there is none."""
    whole = next((values for values in branches if values is not None), None)
    if whole is None or (None in branches and not b.importer.is_misfit_since(mark)):
        raise PartlyImportedError
    ends = []
    for i, (block, values) in enumerate(zip(blocks, branches, strict=True)):
        if values is None:
            reason = _impossible(b, ("then", "else")[i], mark)
            block.erase_all()
            types = [v.type if isinstance(v, Value) else None for v in whole]
            values = _dead_end(inner_builder(b, block), reason, types, outside)
        ends.append(values)
    return make_if(b, holds, blocks, ends, outside)


def _dead_end(b: OnnxBuilder, reason: str, types: Sequence[Type | None], outside: frozenset[str]) -> list[Value]:
    """End the run in a branch that fits no input of these shapes; return values of the types that it would give."""
    b.control_require(b.const(np.False_), message=reason)
    values = []
    for kind in types:
        if not isinstance(kind, TensorType) or kind.dtype is DType.STR:
            raise UnsupportedError(
                "one of its branches fits no input of these shapes",
                'take the other one for good: fix the input that decides, with constants={"name": value}',
            )
        shape = [d if symbols(d) <= outside else 0 for d in kind.shape]
        values.append(b.tensor_full(b.const(np.zeros((), kind.dtype.numpy)), shape=tuple(shape)))
    return values


def _impossible(b: OnnxBuilder, which: str, mark: int) -> str:
    """Warn of a branch that can run for no input, and return why; the findings are taken back."""
    findings = b.importer.findings.diagnostics
    reason = findings[mark]
    del findings[mark:]
    text = f"the {which} branch fits no input of these shapes ({reason.where}: {reason.why})"
    warnings.warn(f"{b.location}: {text}; it is an error when it is taken", stacklevel=2)
    return text
