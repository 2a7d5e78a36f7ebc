"""Compiles kernels made in tests, many in one library, and compares them with the operators' numpy meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from lepton_backends.tvm.build import tvm_target
from lepton_backends.tvm.emit.lower import lower_kernel
from lepton_backends.tvm.pipeline import register_cpu_pipeline

import lepton_ir.ops  # noqa: F401  (registers the operators)
from lepton_ir.ir import Block, Builder, DType, Region, TensorType, Value, tensor
from lepton_ir.ir.core import Operation
from lepton_ir.ir.opdef import REGISTRY
from lepton_ir.target import Target, host_target

Build = Callable[..., Any]


@dataclass
class Case:
    """A kernel, inputs for it and how near its results have to be.

    Attributes:
        name: the kernel's name.
        kernel: the operation.
        inputs: arrays for the operands.
        env: the values of the symbols.
        tolerance: of the largest absolute result.
        expected: the results; those of the operators' evaluate by default.
    """

    name: str
    kernel: Operation
    inputs: list[np.ndarray]
    env: Mapping[str, int] = field(default_factory=dict)
    tolerance: float = 2e-6
    expected: Sequence[np.ndarray] | None = None


def make_kernel(types: Sequence[TensorType], build: Build) -> Operation:
    """Return a kernel whose body ``build(builder, *arguments)`` makes."""
    block, outer = Block(), Block()
    arguments = [block.add_argument(t, f"a{i}") for i, t in enumerate(types)]
    b = Builder(block)
    results = build(b, *arguments)
    values: list[Value] = list(results) if isinstance(results, (tuple, list)) else [results]
    b.create(REGISTRY["yield"], values)
    operands = [outer.add_argument(t) for t in types]
    return REGISTRY["kernel"].build(operands, symbol="main", regions=[Region(block)])


def random_array(dtype: DType, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Return an array of moderate numbers."""
    if dtype is DType.BOOL:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.is_float:
        return rng.standard_normal(shape).astype(np.float32).astype(dtype.numpy)
    low = -9 if dtype.is_signed else 0
    return rng.integers(low, 10, shape).astype(dtype.numpy)


def case(
    name: str,
    types: Sequence[TensorType | Sequence[Any]],
    build: Build,
    inputs: Mapping[int, np.ndarray] | None = None,
    env: Mapping[str, int] | None = None,
    tolerance: float = 2e-6,
    expected: Sequence[np.ndarray] | None = None,
) -> Case:
    """Return a case with random inputs where none are given; a bare shape means f32."""
    full = [t if isinstance(t, TensorType) else tensor(t) for t in types]
    rng = np.random.default_rng(len(name))
    arrays = []
    for i, t in enumerate(full):
        shape = t.substitute(env or {}).static_shape
        arrays.append(inputs[i] if inputs and i in inputs else random_array(t.dtype, shape, rng))
    return Case(name, make_kernel(full, build), arrays, env or {}, tolerance, expected)


def evaluate(kernel: Operation, inputs: Sequence[np.ndarray], env: Mapping[str, int]) -> list[np.ndarray]:
    """Return the results by the operators' numpy meaning."""
    block = kernel.regions[0].block.parent.clone({}).block  # type: ignore[union-attr]
    values: dict[Value, Any] = dict(zip(block.arguments, inputs, strict=True))
    for op in block.ops:
        if not op.results:
            return [values[v] for v in op.present_operands]
        for name, attribute in list(op.attributes.items()):
            op.attributes[name] = _resolved(attribute, env)
        results = op.evaluate(*(None if v is None else values[v] for v in op.operands))  # type: ignore[attr-defined]
        results = results if isinstance(results, (tuple, list)) else [results]
        values.update(zip(op.results, results, strict=True))
    raise AssertionError("the kernel has no yield")


def _resolved(attribute: Any, env: Mapping[str, int]) -> Any:
    from lepton_ir.ir import dim

    if isinstance(attribute, tuple):
        return tuple(_resolved(a, env) for a in attribute)
    return dim.evaluate(attribute, env) if isinstance(attribute, dim.Expr) else attribute


def compile_cases(cases: Sequence[Case], target: Target | None = None) -> Any:
    """Compile all cases into one library."""
    target = target or host_target()
    functions = {f"k{i}": lower_kernel(c.kernel, target, f"k{i}") for i, c in enumerate(cases)}
    return tvm.tirx.build(tvm.IRModule(functions), target=tvm_target(target), pipeline=register_cpu_pipeline())


def run_case(library: Any, index: int, c: Case) -> list[np.ndarray]:
    """Return a case's results."""
    storage = [_storage(a) for a in c.inputs]
    outputs = []
    for v in c.kernel.regions[0].block.terminator.present_operands:
        t = v.tensor.substitute(c.env)
        outputs.append(_storage(np.zeros(t.static_shape, t.dtype.numpy)))
    tensors = [tvm.runtime.tensor(a) for a in (*storage, *outputs)]
    library[f"k{index}"](*tensors, *(c.env[name] for name in c.kernel.symbol_names))
    found = [t.numpy() for t in tensors[len(storage) :]]
    kinds = [v.tensor.dtype.numpy for v in c.kernel.regions[0].block.terminator.present_operands]
    return [f.astype(k) if f.dtype.itemsize == 1 and f.dtype != k else f for f, k in zip(found, kinds, strict=True)]


def _storage(array: np.ndarray) -> np.ndarray:
    """Return an array as kernels take it: numbers below a byte in a byte each."""
    dtype = DType.of(array)
    if dtype.bits >= 8:
        return array
    wide = DType.F8E4M3FN.numpy if dtype.is_float else np.int8 if dtype.is_signed else np.uint8
    return array.astype(wide)


def check(cases: Sequence[Case], target: Target | None = None) -> None:
    """Compile, run and compare all cases; report all that differ."""
    library = compile_cases(cases, target)
    wrong = []
    for i, c in enumerate(cases):
        expected = c.expected if c.expected is not None else evaluate(c.kernel, c.inputs, c.env)
        for found, want in zip(run_case(library, i, c), expected, strict=True):
            problem = difference(found, np.asarray(want), c.tolerance)
            if problem:
                wrong.append(f"{c.name}: {problem}")
    assert not wrong, "\n".join(wrong)


def difference(found: np.ndarray, want: np.ndarray, tolerance: float) -> str:
    """Return how two arrays differ, "" where they agree to ``tolerance`` of the largest number."""
    if found.shape != want.shape:
        return f"shape {found.shape}, not {want.shape}"
    if found.dtype != want.dtype:
        return f"dtype {found.dtype}, not {want.dtype}"
    if want.dtype.kind in "biu" or not want.size:
        return "" if (found == want).all() else f"{int((found != want).sum())} of {want.size} elements differ"
    a, b = found.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return f"infinities or NaN differ: {a[~finite][:5]} {b[~finite][:5]}"
    scale = np.abs(b[finite]).max(initial=1e-30)
    error = np.abs(a[finite] - b[finite]).max(initial=0) / scale
    return "" if error <= tolerance else f"error {error:.3g} (largest {scale:.3g})"
