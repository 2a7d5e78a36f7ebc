"""Random small ONNX graphs, grown node by node with the values of a sample input at hand.

Every operator of the table (``fuzz_ops*.py``) is a function that picks operands from what the graph has, and adds a
node.
The node is computed at once, by ONNX's reference evaluator or ONNX Runtime, so no rule has to know shapes, and nodes
that are not valid ONNX fall out.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

FLOATS = ("float32", "float64", "float16")
SIGNED = ("int64", "int32", "int8", "int16")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = SIGNED + UNSIGNED
NUMBERS = FLOATS + INTEGERS
ANY = (*NUMBERS, "bool")
NEWEST = onnx.defs.onnx_opset_version()
_DTYPE_WEIGHTS = {"float32": 12, "int64": 4, "float64": 2, "float16": 2, "int32": 2, "bool": 2}
_SIZES = (1, 2, 3, 4, 5, 7, 9, 17, 0)
_SIZE_WEIGHTS = (5, 6, 6, 5, 3, 2, 2, 1, 1)
_MOST_ELEMENTS = 4096
_ORT_OPSET = 23
"""What ONNX Runtime knows at least; the operators of the table mean the same since."""
Evaluator = Callable[[onnx.ModelProto, Mapping[str, np.ndarray]], "list[Any]"]


class SkipError(Exception):
    """The operator finds no operands, or the node is not valid."""


@dataclass
class Graph:
    """A grown graph.

    Attributes:
        model: the ONNX model.
        feeds: a sample input.
        values: the value of every name, for that input.
    """

    model: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    values: dict[str, np.ndarray] = field(repr=False)


Rule = Callable[["Grower"], None]
TABLE: dict[str, Rule] = {}


def operator(function: Rule) -> Rule:
    """Register a rule under its name."""
    TABLE[function.__name__] = function
    return function


class Grower:
    """Grows one graph from a seed, or from the choices of a given generator, such as one of hypothesis.

    Attributes:
        rng: decides.
        data: makes arrays.
        opset: the version that the graph imports.
        values: name to array, of all that the graph has.
    """

    def __init__(self, seed: int | random.Random) -> None:
        self.rng = random.Random(seed) if isinstance(seed, int) else seed
        self.data = np.random.default_rng(seed if isinstance(seed, int) else seed.getrandbits(32))
        self.opset = self.rng.choice([*range(7, NEWEST + 1), NEWEST, NEWEST, 17, 13])
        self.values: dict[str, np.ndarray] = {}
        self.initializers: dict[str, np.ndarray] = {}
        self.inputs: list[str] = []
        self.nodes: list[onnx.NodeProto] = []
        self.computed: list[str] = []
        self._count = 0

    # Values ---------------------------------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def shape(self, rank: int | None = None) -> list[int]:
        rank = self.rng.choice([0, 1, 1, 2, 2, 2, 3, 3, 4]) if rank is None else rank
        return self.rng.choices(_SIZES, _SIZE_WEIGHTS, k=rank)

    def dtype(self, allowed: tuple[str, ...] = ANY) -> str:
        return self.rng.choices(allowed, [_DTYPE_WEIGHTS.get(d, 1) for d in allowed])[0]

    def array(self, dtype: str, shape: list[int]) -> np.ndarray:
        if dtype == "bool":
            return self.data.integers(0, 2, shape).astype(np.bool_)
        if dtype in INTEGERS:
            low = 0 if dtype in UNSIGNED else -5
            return self.data.integers(low, 12, shape).astype(dtype)
        return (self.data.standard_normal(shape) * self.rng.choice([1, 1, 3, 0.1])).astype(dtype)

    def input(self, dtype: str, shape: list[int]) -> str:
        """Add a graph input, or sometimes a constant."""
        if len(self.inputs) >= 3 or self.chance(0.25):
            return self.constant(self.array(dtype, shape))
        name = self.name("x")
        self.inputs.append(name)
        self.values[name] = self.array(dtype, shape)
        return name

    def constant(self, array: Any, dtype: str | None = None) -> str:
        name = self.name("c")
        self.values[name] = self.initializers[name] = np.asarray(array, dtype=dtype)
        return name

    def parameter(self, array: Any, dtype: str | None = None) -> str:
        """Return a constant, or now and then an input of that value."""
        if self.chance(0.85) or len(self.inputs) >= 4:
            return self.constant(array, dtype)
        name = self.name("p")
        self.inputs.append(name)
        self.values[name] = np.asarray(array, dtype=dtype)
        return name

    def of(self, name: str) -> np.ndarray:
        return self.values[name]

    def pick(self, dtypes: tuple[str, ...] = ANY, rank: tuple[int, ...] | None = None, where: Any = None) -> str:
        """Return a value of the graph, the newest with preference, or a new input."""

        def fits(name: str) -> bool:
            a = self.values[name]
            return a.dtype.name in dtypes and (rank is None or a.ndim in rank) and (where is None or bool(where(a)))

        known = [n for n in [*self.inputs, *self.computed] if fits(n)]
        if known and self.chance(0.8):
            return self.rng.choice(known[-3:])
        for _ in range(5):
            shape = self.shape(None if rank is None else self.rng.choice(rank))
            name = self.input(self.dtype(dtypes), shape)
            if fits(name):
                return name
        raise SkipError

    def partner(self, name: str, dtype: str | None = None) -> str:
        """Return a value that broadcasts with another one, of its element type."""
        a = self.values[name]
        wanted = dtype or a.dtype.name
        same = [n for n in self.values if self.values[n].dtype.name == wanted and _broadcasts(self.values[n], a)]
        if same and self.chance(0.4):
            return self.rng.choice(same)
        shape = [1 if self.chance(0.3) else d for d in a.shape]
        shape = shape[self.rng.choice([0, 0, 0, len(shape), self.rng.randint(0, len(shape))]) :]
        if self.chance(0.08):
            shape = [self.rng.choice([1, 2]), *([1] * (a.ndim - len(shape))), *shape]
        return self.input(wanted, shape)

    # Nodes ----------------------------------------------------------------------------------------------------------

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node.

        Raises:
            SkipError: it cannot be computed, or its results are too large.
        """
        names = [self.name("y") for _ in range(outputs)]
        kept = {k: v for k, v in attributes.items() if v is not None and v != []}
        node = helper.make_node(op, list(inputs), names, name=f"{op}_{len(self.nodes)}", **kept)
        arrays = evaluate_node(node, self.opset, {n: self.values[n] for n in inputs if n})
        if any(a.size > _MOST_ELEMENTS for a in arrays):
            raise SkipError
        self.nodes.append(node)
        self.values.update(zip(names, arrays, strict=True))
        self.computed += names
        return names

    def grow(self, steps: int) -> Graph | None:
        """Return a graph of up to ``steps`` nodes, None where nothing came of it."""
        for _ in range(steps * 4):
            if len(self.nodes) >= steps:
                break
            made = len(self.nodes)
            before = (len(self.inputs), dict(self.values), dict(self.initializers))
            try:
                TABLE[self.rng.choice(list(TABLE))](self)
            except SkipError:
                if len(self.nodes) == made:
                    del self.inputs[before[0] :]
                    self.values, self.initializers = before[1], before[2]
        return self._finish() if self.nodes else None

    def _finish(self) -> Graph | None:
        read = {n for node in self.nodes for n in node.input}
        outputs = [n for n in self.computed if n not in read]
        outputs += [n for n in self.computed if n in read and self.chance(0.15)]
        symbols: dict[tuple[str, int], str] = {}
        inputs = [self._input_info(n, symbols) for n in self.inputs if n in read]
        graph = helper.make_graph(
            self.nodes,
            "fuzz",
            inputs,
            [output_info(n, self.values[n]) for n in outputs],
            [numpy_helper.from_array(a, n) for n, a in self.initializers.items() if n in read],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)
        try:
            onnx.checker.check_model(model, full_check=True)
        except Exception:  # Whatever the checker finds, the case is not one.
            return None
        return Graph(model, {i.name: self.values[i.name] for i in inputs}, self.values)

    def _input_info(self, name: str, symbols: dict[tuple[str, int], str]) -> onnx.ValueInfoProto:
        array = self.values[name]
        dims: list[Any] = []
        for size in array.shape:
            if name.startswith("x") and self.chance(0.3):
                # Equal sizes share a name mostly, as those of real models do.
                key = ("", size) if self.chance(0.7) else (name, len(dims))
                dims.append(symbols.setdefault(key, f"N{len(symbols)}"))
            else:
                dims.append(size)
        return helper.make_tensor_value_info(name, tensor_type(array), dims)


def tensor_type(array: np.ndarray) -> int:
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def output_info(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    """Declare an output of unknown dimensions."""
    return helper.make_tensor_value_info(name, tensor_type(array), [None] * array.ndim)


def _broadcasts(a: np.ndarray, b: np.ndarray) -> bool:
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return False
    return True


def run_reference(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[Any]:
    """Return what ONNX's reference evaluator computes."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return ReferenceEvaluator(model).run(None, dict(feeds))


def run_onnxruntime(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[Any]:
    """Return what ONNX Runtime computes without its optimizations."""
    import onnxruntime as ort

    if model.opset_import[0].version > _ORT_OPSET:
        model = onnx.ModelProto.FromString(model.SerializeToString())
        model.opset_import[0].version = _ORT_OPSET
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))


def evaluate_node(
    node: onnx.NodeProto,
    opset: int,
    feeds: Mapping[str, np.ndarray],
    evaluators: Sequence[Evaluator] = (run_reference, run_onnxruntime),
) -> list[np.ndarray]:
    """Return the outputs of one node.

    Raises:
        SkipError: no evaluator computes it.
    """
    infos = [helper.make_tensor_value_info(n, tensor_type(a), a.shape) for n, a in feeds.items()]
    outs = [onnx.ValueInfoProto(name=n) for n in node.output]
    graph = helper.make_graph([node], "node", infos, outs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    for run in evaluators:
        try:
            found = [np.asarray(a) for a in run(model, feeds)]
        except Exception:  # Evaluators raise whatever they meet.
            continue
        if all(a.dtype.name in ANY for a in found):
            return found
    raise SkipError
