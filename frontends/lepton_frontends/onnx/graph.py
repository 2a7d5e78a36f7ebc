"""Importing graphs: nodes become operations, names become values, and what fails is collected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, defs

from lepton_frontends.common.errors import TooLargeError, UnsupportedError
from lepton_frontends.common.state import ImportState
from lepton_frontends.onnx.attributes import bind_references, node_attributes
from lepton_frontends.onnx.branches import choose
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.functions import call_problems, schema_function
from lepton_frontends.onnx.order import ordered
from lepton_frontends.onnx.rules import Rule, UseFunctionBodyError, find_rule, versions
from lepton_frontends.onnx.runtime_values import ChoiceNeededError
from lepton_frontends.onnx.schema import problems
from lepton_frontends.onnx.scope import FAILED, Failed, Imported, Named, Scope, ValueList
from lepton_frontends.onnx.tensors import TensorReader
from lepton_ir.diagnostics import Diagnostic, LeptonError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import DimError
from lepton_ir.ir.location import Location
from lepton_ir.ir.opdef import InferenceError

_MAX_DEPTH = 64
"""Graphs, functions and branches inside of each other; each takes about nine of Python's thousand frames."""
_INVALID = "the model is not valid ONNX; export it again"
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    StopIteration,
    TypeError,
    ValueError,
)
FunctionKey = tuple[str, str, str]


def normalized(domain: str) -> str:
    """Return the domain with ONNX's own under one name."""
    return "" if domain == "ai.onnx" else str(domain)


@dataclass
class GraphImporter(ImportState):
    """One import: what the graphs of one model share.

    Attributes:
        reader: turns tensors into constants.
        functions: the model's local functions.
        draws: how often each node has drawn random numbers, which unrolled loops do more than once.
    """

    reader: TensorReader
    functions: Mapping[FunctionKey, FunctionProto] = field(default_factory=dict)
    draws: Counter[str] = field(default_factory=Counter)
    _calls: list[FunctionKey] = field(default_factory=list)
    _depth: int = 0

    def constants(self, graph: GraphProto, scope: Scope, b: OnnxBuilder) -> None:
        """Bind the initializers of a graph."""
        readers = [(t.name, partial(self.reader.read, t)) for t in graph.initializer]
        readers += [(t.values.name, partial(self.reader.read_sparse, t)) for t in graph.sparse_initializer]
        own: set[str] = set()
        for name, read in readers:
            if not name or name in own:
                what = f"two initializers are called {name}" if name else "an initializer has no name"
                self.report(Location(self.file, name), what, "", _INVALID)
            own.add(name)
            try:
                scope.values[name] = b.const(read())
            except LeptonError as error:
                self.findings.diagnostics.extend(error.diagnostics)
                scope.values[name] = FAILED

    def run(self, nodes: Sequence[NodeProto], outputs: Sequence[str], scope: Scope, b: OnnxBuilder) -> list[Any]:
        """Import the nodes of a graph, where ``b`` stands, and return the graph's outputs.

        Raises:
            PartlyImportedError: one of them could not be imported; the reasons are among the findings.
        """
        self.spend(len(nodes) + 1, b.location)

        def report(name: str, message: str, why: str) -> None:
            self.report(Location(self.file, scope.prefix + name), message, why, _INVALID)

        order = ordered(nodes, scope.values, report)
        scope.values.update(dict.fromkeys(order.lost, FAILED))
        scope.nodes = [node for node, _ in order.nodes]
        return self._continue(order.nodes, outputs, scope, b)

    def _continue(
        self, nodes: Sequence[tuple[NodeProto, str]], outputs: Sequence[str], scope: Scope, b: OnnxBuilder
    ) -> list[Any]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise TooLargeError(
                f"functions and graphs are nested more than {_MAX_DEPTH} deep",
                b.location,
                "each call, branch and loop body counts",
                "export the model without functions, or with fewer levels of them",
            )
        try:
            for position, (node, name) in enumerate(nodes):
                location = Location(self.file, scope.prefix + name)
                with b.at(location):
                    try:
                        results = self._attempt(node, scope, b, location)
                    except DivergingError as fork:
                        return self._fork(fork, node, nodes[position + 1 :], outputs, scope, location)
                for i, output in enumerate(node.output):
                    if not output:
                        continue
                    if results is None:
                        scope.values[output] = FAILED
                    else:
                        self._bind(output, results[i] if i < len(results) else None, node, scope, location)
            return self.outputs(outputs, scope)
        finally:
            self._depth -= 1

    def _fork(
        self,
        fork: DivergingError,
        node: NodeProto,
        rest: Sequence[tuple[NodeProto, str]],
        outputs: Sequence[str],
        scope: Scope,
        location: Location,
    ) -> list[Value]:
        self.spend(2 * len(rest) + 1, location)
        try:
            return fork.branch(lambda inner_scope, inner: self._continue(rest, outputs, inner_scope, inner))
        except UnsupportedError as error:
            self._report_node(node, scope, location, error.reason, error.help)
        raise PartlyImportedError

    def _bind(self, name: str, value: Named | None, node: NodeProto, scope: Scope, location: Location) -> None:
        if value is None:
            self._report_node(node, scope, location, f"its output {name} is not supported", "")
            value = FAILED
        if isinstance(value, Value) and not value.name and value.op is not None:
            value.name = scope.prefix + name
        scope.values[name] = value

    def subgraph(self, graph: GraphProto, inputs: Sequence[Imported], scope: Scope, b: OnnxBuilder) -> list[Any]:
        """Import a graph that a node holds, where ``b`` stands, and return its outputs.

        These are values, or sequences and optionals that are known while the graph is imported.

        Raises:
            PartlyImportedError: part of it could not be imported; the findings are collected already.
        """
        if len(graph.input) != len(inputs):
            raise UnsupportedError(
                f"its graph {graph.name} takes {len(graph.input)} inputs, where it gets {len(inputs)}", _INVALID
            )
        inner = scope.inner()
        inner.values.update({i.name: v for i, v in zip(graph.input, inputs, strict=True)})
        self.constants(graph, inner, b)
        return self.run(graph.node, [o.name for o in graph.output], inner, b)

    def outputs(self, names: Sequence[str], scope: Scope) -> list[Any]:
        """Return what a graph's outputs stand for.

        Raises:
            PartlyImportedError: one of them could not be imported.
        """
        values = [scope.find(name) for name in names]
        for name, value in zip(names, values, strict=True):
            if value is None:
                self.report(
                    Location(self.file),
                    f"nothing computes the output {name or '(unnamed)'}",
                    "no node, input or initializer has this name",
                    "the model is not valid ONNX; export it again",
                )
        found = [v for v in values if v is not None and not isinstance(v, Failed)]
        if len(found) < len(values):
            raise PartlyImportedError
        return found

    def _attempt(self, node: NodeProto, scope: Scope, b: OnnxBuilder, location: Location) -> Sequence[Any] | None:
        """Lower one node; where that fails, collect the reason and return None."""
        inputs = [scope.find(name) if name else None for name in node.input]
        unknown = [n for n, v in zip(node.input, inputs, strict=True) if n and v is None]
        if unknown:
            self._report_node(node, scope, location, f"nothing computes its input {', '.join(unknown)}", "")
            return None
        saved = (getattr(b, "node", node), getattr(b, "scope", scope), getattr(b, "opset", 0))
        b.node, b.scope, b.opset = node, scope, scope.opsets.get(normalized(node.domain), 0)
        try:
            if self._is_invalid(node, inputs, scope, location):
                return None
            if any(isinstance(v, Failed) for v in inputs):
                self._check_supported(node, scope)
                return None
            results = self._lower(node, [v for v in inputs if not isinstance(v, Failed)], b)
            several = isinstance(results, (tuple, list)) and not isinstance(results, ValueList)
            return results if several else (results,)
        except UnsupportedError as error:
            self._report_node(node, scope, location, error.reason, error.help)
        except TooLargeError:
            raise
        except (InferenceError, DimError, LeptonError) as error:
            self._report_invalid(node, location, error)
        except PartlyImportedError:
            pass
        except _DAMAGE as error:
            # A rule takes for granted what only a damaged node lacks; the other nodes' findings are worth more.
            why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            self.report(location, f"the operator {node.op_type} cannot be read", why, _INVALID)
        finally:
            b.node, b.scope, b.opset = saved
        return None

    def _is_invalid(self, node: NodeProto, inputs: Sequence[Any], scope: Scope, location: Location) -> bool:
        """Report what about a node is not as ONNX, or its function, defines it."""
        domain = normalized(node.domain)
        function = self.functions.get((domain, node.op_type, node.overload))
        if function is not None:
            found = list(call_problems(node, function))
        else:
            found = list(problems(node, domain, scope.opsets.get(domain, 0), inputs))
        for why in found:
            version = f"opset {scope.opsets[domain]}" if domain in scope.opsets else "no opset"
            name = f"{domain}.{node.op_type}" if domain else node.op_type
            self.report(location, f"the operator {name} ({version}) is not used as it is defined", why, _INVALID)
        return bool(found)

    def _lower(self, node: NodeProto, inputs: Sequence[Imported | None], b: OnnxBuilder) -> Any:
        key = (normalized(node.domain), node.op_type, node.overload)
        function = self.functions.get(key)
        if function is not None:
            return self._call(key, function, node, inputs, b)
        rule = find_rule(key[0], key[1], b.opset)
        if rule is not None:
            try:
                given, attributes = rule.bind(inputs, node_attributes(node))
                return rule.lower(b, *given, **attributes)
            except UseFunctionBodyError:
                pass
            except ChoiceNeededError as choice:
                return self._choose(choice, node, inputs, b)
        body = schema_function(node, key[0], b.opset, inputs)
        if body is None:
            raise self._unsupported(node, b.scope, rule)
        return self._call(key, body, node, inputs, b)

    def _choose(
        self, choice: ChoiceNeededError, node: NodeProto, inputs: Sequence[Imported | None], b: OnnxBuilder
    ) -> Any:
        """Lower a node once for each value that a parameter of it may have."""
        self.spend(len(choice.choices), b.location)
        value = choice.value

        def lower(inner: OnnxBuilder, numbers: tuple[int, ...]) -> list[Value]:
            inner.node, inner.scope, inner.opset = node, b.scope, b.opset
            array = np.array(numbers, value.tensor.dtype.numpy).reshape(value.tensor.static_shape)
            given = inner.const(array)
            results = self._lower(node, [given if v is value else v for v in inputs], inner)
            return list(results) if isinstance(results, (tuple, list)) else [results]

        return choose(b, choice, lower)

    def _check_supported(self, node: NodeProto, scope: Scope) -> None:
        """Check a node whose inputs could not be imported, so that one run reports every operator that is missing."""
        domain = normalized(node.domain)
        opset = scope.opsets.get(domain, 0)
        if (domain, node.op_type, node.overload) in self.functions or find_rule(domain, node.op_type, opset):
            return
        if schema_function(node, domain, opset, None) is None:
            raise self._unsupported(node, scope, None)

    def _unsupported(self, node: NodeProto, scope: Scope, rule: Rule | None) -> UnsupportedError:
        domain = normalized(node.domain)
        newer = versions(domain, node.op_type)
        if domain not in scope.opsets:
            return UnsupportedError(
                f"the model does not import an opset of the domain {domain or 'ai.onnx'}",
                "the model is not valid ONNX; export it again",
            )
        if newer and rule is None:
            return UnsupportedError(
                f"it is supported from opset {newer[0].since} on",
                "convert the model to a newer opset, with onnx.version_converter",
            )
        return UnsupportedError(
            "Lepton has no lowering for it" if domain == "" else f"operators of the domain {domain} are not ONNX's own",
            "replace it in the model, or give it a lowering with @onnx_op in a plugin",
        )

    def _call(
        self,
        key: FunctionKey,
        body: FunctionProto,
        call: NodeProto,
        inputs: Sequence[Imported | None],
        b: OnnxBuilder,
    ) -> list[Value]:
        """Import a function's body in place of its call."""
        if key in self._calls:
            raise LeptonError(f"the function {key[1]} calls itself", b.location, "ONNX functions must not be recursive")
        opsets = {"": defs.onnx_opset_version(), **b.scope.opsets}
        opsets.update({normalized(o.domain): o.version for o in body.opset_import})
        inner = Scope(opsets, None, f"{b.location.node}/")
        inner.values.update({n: v for n, v in zip(body.input, inputs, strict=False) if v is not None})
        given: dict[str, AttributeProto] = {a.name: a for a in body.attribute_proto}
        given.update({a.name: a for a in call.attribute})
        absent = set(body.input) - inner.values.keys()
        nodes = [_without(bind_references(n, given), absent) for n in body.node]
        wanted = [o for i, o in enumerate(body.output) if b.wants(i)]
        self._calls.append(key)
        try:
            found = iter(self.run(nodes, wanted, inner, b))
        finally:
            self._calls.pop()
        return [next(found) if b.wants(i) else None for i in range(len(body.output))]  # type: ignore[misc]

    def _report_node(self, node: NodeProto, scope: Scope, where: Location, why: str, help: str) -> None:
        domain = normalized(node.domain)
        opset = scope.opsets.get(domain)
        version = f"opset {opset}" if opset is not None else "no opset"
        name = f"{domain}.{node.op_type}" if domain else node.op_type
        self.report(where, f"the operator {name} ({version}) is not supported here", why, help)

    def _report_invalid(self, node: NodeProto, where: Location, error: InferenceError | DimError | LeptonError) -> None:
        if isinstance(error, LeptonError):
            found = [Diagnostic(d.message, d.where or where, d.why, d.help, d.notes) for d in error.diagnostics]
            self.findings.diagnostics.extend(found)
            return
        self.findings.add(
            Misfit(
                f"the operator {node.op_type} does not fit its inputs",
                where,
                str(error),
                'check the shapes of the model\'s inputs; dims={"name": size} and shapes={"input": [...]} set them',
            )
        )

    def is_misfit_since(self, mark: int) -> bool:
        """Return whether all findings from number ``mark`` on say that operators do not fit their inputs."""
        recent = self.findings.diagnostics[mark:]
        return bool(recent) and all(isinstance(d, Misfit) for d in recent)


class Misfit(Diagnostic):
    """A finding that the node could run for no input of these shapes."""


class PartlyImportedError(Exception):
    """A graph has an output that could not be imported; the reasons are among the findings."""


Rest = Callable[[Scope, OnnxBuilder], list[Value]]


class DivergingError(Exception):
    """Raised by a rule whose node has branches with results of different types.

    What follows it in its graph is then imported twice, once in either branch.

    Attributes:
        branch: makes the branches, given what imports the rest of the graph; returns the graph's outputs.
    """

    def __init__(self, branch: Callable[[Rest], list[Value]]) -> None:
        super().__init__("branches diverge")
        self.branch = branch


def _without(node: NodeProto, absent: set[str]) -> NodeProto:
    """Return the node without the inputs that the call of its function left out."""
    if not absent.intersection(node.input):
        return node
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = ["" if name in absent else name for name in node.input]
    return copy
