"""Lowering of torch.export's graphs: nodes become calls of aten operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from lepton_frontends.aten import numbers
from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.call import Tensor, call, rule_of
from lepton_frontends.aten.reach import reachable
from lepton_frontends.aten.rules import Scalar
from lepton_frontends.aten.types import tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.runtime_dims import fresh_dims
from lepton_frontends.torch_export.arguments import schema_of
from lepton_frontends.torch_export.schema import dtype_of, place_of
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.core import Block, Region, Value
from lepton_ir.ir.dim import DimError, symbols
from lepton_ir.ir.opdef import InferenceError
from lepton_ir.ir.types import DType, TensorType
from lepton_ir.ops.control import If, Loop

_ATEN = "torch.ops."
_PYTHON = {
    "add": "add", "sub": "sub", "mul": "mul", "floordiv": "floordiv", "mod": "remainder", "truediv": "div",
    "neg": "neg", "pow": "pow", "eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge",
    "and_": "__and__", "or_": "__or__", "sym_max": "prim.max", "sym_min": "prim.min", "ceil": "ceil", "floor": "floor",
    "trunc": "trunc", "_sym_sqrt": "sqrt", "round": "round",
}  # fmt: skip
_ASSERTIONS = frozenset({"_assert_scalar", "_functional_assert_scalar", "_assert_async", "_functional_assert_async"})


class Failed:
    """What a name stands for whose node could not be lowered; its readers are passed over in silence."""


FAILED = Failed()


class Graph:
    """One import of a graph.

    Attributes:
        b: where the graph's operations go.
        values: what the names stand for.
        file: the archive, to name in locations.
    """

    def __init__(self, b: AtenBuilder, values: dict[str, Any], file: str) -> None:
        self.b = b
        self.values = values
        self.file = file

    def run(self, graph: Mapping[str, Any]) -> list[Any]:
        """Lower all nodes; findings are collected, and what depends on a node that failed is passed over."""
        for node in graph["nodes"]:
            self.b.importer.spend(1, self.b.location)
            with self.b.at(place_of(node, self.file)):
                self._node(node)
        return [self._argument(o) for o in graph["outputs"]]

    def _node(self, node: Mapping[str, Any]) -> None:
        try:
            result = self._lowered(node)
        except UnsupportedError as error:
            self._report(node, error.reason, error.help)
            result = FAILED
        except (InferenceError, DimError) as error:
            self._report(node, str(error), "check the sizes that the model was exported with")
            result = FAILED
        except LeptonError as error:
            if type(error) is not LeptonError:
                raise
            self.b.importer.findings.diagnostics.extend(error.diagnostics)
            result = FAILED
        except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
            self._report(node, f"{type(error).__name__}: {error}"[:300], "export the model again")
            result = FAILED
        self._bind(node["outputs"], result)

    def _report(self, node: Mapping[str, Any], why: str, help: str) -> None:
        name = str(node.get("target", "")).removeprefix(_ATEN)
        self.b.importer.report(self.b.location, f"the operator {name} is not supported here", why, help)

    def _lowered(self, node: Mapping[str, Any]) -> Any:
        target = str(node["target"])
        given = [(str(i.get("name", "")), i["arg"], i.get("kind", 1)) for i in node["inputs"]]
        if target.startswith("torch.ops.higher_order."):
            return self._higher_order(target.rpartition(".")[2], [arg for _, arg, _ in given])
        args = [(name, self._argument(arg), kind) for name, arg, kind in given]
        if any(_has_failed(a) for _, a, _ in args):
            if target.startswith(_ATEN):
                self._require_rule(target)
            return FAILED
        positional = [a for _, a, kind in args if kind != 2]
        if not target.startswith(_ATEN):
            return self._python(target.rpartition(".")[2], positional)
        name = self._name_of(target)
        if name in _ASSERTIONS:
            return self._assert(positional)
        if name == "item" or name == "_local_scalar_dense":
            return numbers.scalar_of(self.b, positional[0].read(self.b))
        if not all(n for n, _, _ in args):
            return call(self.b, name, positional, {n: a for n, a, kind in args if n and kind == 2})
        named = {n: a for n, a, _ in args}
        schema = schema_of(target.removeprefix(_ATEN))
        # In-place operators and views know their tensor as the first.
        ordered, rest = schema.bind(named) if schema else (positional[:1], {n: a for n, a, _ in args[1:]})
        return call(self.b, name, ordered, rest)

    def _assert(self, args: Sequence[Any]) -> None:
        """Have the program check what the exported one asserts."""
        holds = numbers.truth(self.b, args[0])
        message = str(args[1]) if len(args) > 1 and isinstance(args[1], str) else "an assertion of the model fails"
        if isinstance(holds, Scalar):
            self.b.control_require(holds.value, message=message)
        elif not holds:
            raise UnsupportedError(f"always fails: {message}", "check the sizes that the model was exported with")

    def _name_of(self, target: str) -> str:
        namespace, name = target.removeprefix(_ATEN).split(".")[:2]
        return name if namespace == "aten" else f"{namespace}::{name}"

    def _require_rule(self, target: str) -> None:
        name = self._name_of(target)
        if name not in _ASSERTIONS and rule_of(name)[0] is None:
            raise UnsupportedError(
                f"Lepton has no lowering for {name}", "replace it in the model, or give it a lowering with @aten_op"
            )

    def _python(self, name: str, args: list[Any]) -> Any:
        """Lower arithmetic on sizes and numbers."""
        if name == "getitem":
            return args[0][args[1]]
        if name == "sym_not":
            found = numbers.truth(self.b, args[0])
            return Scalar(self.b.not_(found.value)) if isinstance(found, Scalar) else not found
        if name in ("sym_float", "sym_int"):
            return numbers.converted(self.b, args[0], name.removeprefix("sym_"))
        if name not in _PYTHON:
            raise UnsupportedError(f"Lepton does not know Python's function {name} on sizes")
        return numbers.compute(self.b, _PYTHON[name], *args)

    # Names and arguments

    def _bind(self, outputs: Sequence[Mapping[str, Any]], result: Any) -> None:
        if result is None:
            return
        if len(outputs) == 1 and "as_tensors" in outputs[0]:
            outputs = [{"as_tensor": t} for t in outputs[0]["as_tensors"]]
            results = [FAILED] * len(outputs) if result is FAILED else list(result)
        elif len(outputs) == 1 and not (isinstance(result, (list, tuple)) and "as_tensor" in outputs[0]):
            results = [result]
        else:
            results = [FAILED] * len(outputs) if result is FAILED else list(result)
        for output, value in zip(outputs, results, strict=False):
            for kind, argument in output.items():
                if isinstance(argument, dict) and ("name" in argument or "as_name" in argument):
                    self.values[str(argument.get("name") or argument.get("as_name"))] = value
                elif kind == "as_sym_ints":
                    self._bind([{"as_sym_int": a} for a in argument], value)

    def _argument(self, argument: Mapping[str, Any]) -> Any:
        ((kind, value),) = [(k, v) for k, v in argument.items() if k.startswith("as_")]
        if kind == "as_none":
            return None
        if kind in ("as_tensor", "as_custom_obj"):
            return self._named(value["name"])
        if kind in ("as_tensors", "as_nested_tensors"):
            return [self._argument({"as_tensor" if isinstance(t, dict) else "as_tensors": t}) for t in value]
        if kind == "as_optional_tensors":
            return [self._argument(t) for t in value]
        if kind == "as_optional_tensor":
            return self._argument(value)
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            return self._symbol(value)
        if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools"):
            return [self._symbol(v) for v in value]
        if kind == "as_scalar_type":
            return dtype_of(value)
        if kind in ("as_memory_format", "as_layout", "as_device"):
            return None
        if kind == "as_complex":
            return complex(value["real"], value["imag"])
        if kind in ("as_float", "as_floats"):
            return [float(v) for v in value] if isinstance(value, list) else float(value)
        return value

    def _named(self, name: str) -> Any:
        if name not in self.values:
            raise UnsupportedError(f"reads {name}, which nothing computes")
        return self.values[name]

    def _symbol(self, value: Mapping[str, Any]) -> Any:
        if "as_name" in value:
            return self._named(value["as_name"])
        return next(v for k, v in value.items() if k.startswith("as_"))

    # Operators that hold graphs

    def _higher_order(self, name: str, args: Sequence[Mapping[str, Any]]) -> Any:
        if name in ("wrap_with_set_grad_enabled", "wrap_with_autocast"):
            return self._inner_graph(args)
        if name not in ("cond", "while_loop"):
            raise UnsupportedError(f"Lepton does not know the higher-order operator {name}", "export without it")
        return self._cond(args) if name == "cond" else self._while(args)

    def _inner_graph(self, args: Sequence[Mapping[str, Any]]) -> Any:
        """Lower a graph that runs in another mode of gradients or precision: its operands follow it."""
        at = next(i for i, a in enumerate(args) if "as_graph" in a)
        operands: list[Any] = []
        for argument in map(self._argument, args[at + 1 :]):
            operands += argument if isinstance(argument, list) else [argument]
        if _has_failed(operands):
            return FAILED
        return self._called(self.b, args[at]["as_graph"]["graph"], operands)

    def _called(self, b: AtenBuilder, graph: Mapping[str, Any], operands: Sequence[Any]) -> list[Any]:
        """Lower a graph with operands in the place of its inputs."""
        inputs = [next(iter(i.values())) for i in graph["inputs"]]
        names = [str(i["name"]) for i in inputs if isinstance(i, dict)]
        inner = Graph(b, dict(self.values) | dict(zip(names, operands, strict=False)), self.file)
        b.location = self.b.location
        before = len(b.importer.findings.errors)
        results = inner.run(graph)
        if len(b.importer.findings.errors) > before:
            return [FAILED] * len(results)
        return results

    def _cond(self, args: Sequence[Mapping[str, Any]]) -> Any:
        given = self._argument(args[0])
        condition = FAILED if given is FAILED else numbers.truth(self.b, given)
        operands = self._argument(args[3])
        if _has_failed([condition, operands]):
            return FAILED
        graphs = [a["as_graph"]["graph"] for a in args[1:3]]
        if not isinstance(condition, Scalar):
            return self._called(self.b, graphs[0 if condition else 1], operands)
        outside = frozenset(self.b.importer.symbols)
        blocks = [Block(), Block()]
        builders = [self._builder(block) for block in blocks]
        ways = [self._called(b, graph, operands) for b, graph in zip(builders, graphs, strict=True)]
        if any(_has_failed(w) for w in ways):
            return FAILED
        values = [[_value(b, v) for v in way] for b, way in zip(builders, ways, strict=True)]
        types = []
        for one, two in zip(*values, strict=True):
            shape = [
                d if d == e and symbols(d) <= outside else fresh_dims(self.b, 1)[0]
                for d, e in zip(one.shape, two.shape, strict=True)
            ]
            types.append(TensorType(tuple(shape), one.tensor.dtype))
        for b, way in zip(builders, values, strict=True):
            b.yield_(way)
        op = If.build(condition.value, result_types=types, regions=list(map(Region, blocks)), location=self.b.location)
        self.b.insert(op)
        return [Tensor(r) for r in op.results]

    def _while(self, args: Sequence[Mapping[str, Any]]) -> Any:
        condition, body = (a["as_graph"]["graph"] for a in args[:2])
        carried, more = self._argument(args[2]), self._argument(args[3]) if len(args) > 3 else []
        if _has_failed([carried, more]):
            return FAILED
        start = [_value(self.b, v) for v in carried]
        begins = self._called(self.b, condition, [*carried, *more])
        block = Block([TensorType((), DType.I64), *(v.type for v in start)])
        b = self._builder(block)
        inside = [Tensor(a) for a in block.arguments[1:]]
        ends = self._called(b, body, [*inside, *more])
        if _has_failed([begins, ends]):
            return FAILED
        goes_on = self._called(b, condition, [*ends, *more])
        if _has_failed(goes_on):
            return FAILED
        b.yield_([self._truth(b, goes_on[0]), *(_value(b, v) for v in ends)])
        op = Loop.build(None, self._truth(self.b, begins[0]), start, regions=[Region(block)], location=self.b.location)
        self.b.insert(op)
        return [Tensor(r) for r in op.results]

    def _truth(self, b: AtenBuilder, value: Any) -> Value:
        found = numbers.truth(b, value)
        return found.value if isinstance(found, Scalar) else b.const(found, dtype=DType.BOOL)

    def _builder(self, block: Block) -> AtenBuilder:
        b: AtenBuilder = self.b.inner(block)
        b.is_inner, b.before_write = True, partial(_require_own, reachable(self.values.values()))
        return b


def _require_own(outside: Mapping[int, Any], cell: Tensor) -> None:
    """Check that a branch or loop writes only to a tensor that it has made itself."""
    if id(cell) in outside:
        raise UnsupportedError("a branch or loop writes in place to a tensor from outside", "return it instead")


def _value(b: AtenBuilder, value: Any) -> Value:
    return value.read(b) if isinstance(value, Tensor) else tensor_of(b, value)


def _has_failed(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_failed, value))
    return value is FAILED
