"""Input data that fits a model, for verification, benchmarks and golden pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lepton_ir.ir import DType, Function, TensorType, Value
from lepton_ir.ir.dim import evaluate, symbols
from lepton_ir.ir.types import OptionalType, SequenceType, Type, symbols_in

BATCH = 2
ELEMENTS = 3
"""The length of sequences."""
LENGTHS = (64, 16, 128, 256, 512, 1024)
"""Sizes to try for symbolic dimensions other than the first of an input."""
_LOOK_THROUGH = frozenset({"cast", "tensor.reshape", "tensor.expand", "tensor.slice", "tensor.transpose"})


def symbol_names(function: Function) -> list[str]:
    """Return the symbols in the argument types, in order of appearance."""
    names: dict[str, None] = {}
    for argument in function.arguments:
        names.update(dict.fromkeys(sorted(symbols_in(argument.type))))
    return list(names)


def default_sizes(function: Function, length: int = LENGTHS[0]) -> dict[str, int]:
    """Return sizes for the symbolic dimensions: a small batch for those that come first, ``length`` for others."""
    first: set[str] = set()
    for argument in function.arguments:
        if isinstance(argument.type, TensorType) and argument.rank > 1:
            first |= symbols(argument.shape[0])
    return {name: BATCH if name in first else length for name in symbol_names(function)}


def sample_inputs(function: Function, seed: int = 0, dims: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Return random inputs by name, reproducible from ``seed``.

    Floats are standard normal. Integers are drawn from the range that their use allows (an index into a table
    stays inside it, a value that is compared with constants takes one of them), else from 0 and 1. Sequences have
    :data:`ELEMENTS` elements, optionals hold a value.

    Args:
        function: the entry function.
        seed: seed of numpy's default generator.
        dims: sizes of symbolic dimensions; those missing come from :func:`default_sizes`.
    """
    rng = np.random.default_rng(seed)
    env = default_sizes(function) | dict(dims or {})
    return {a.name or f"input{i}": _sample_value(a, a.type, env, rng) for i, a in enumerate(function.arguments)}


def _sample_value(value: Value, type: Type, env: Mapping[str, int], rng: np.random.Generator) -> Any:
    if isinstance(type, SequenceType):
        return [_sample_value(value, type.element, env, rng) for _ in range(ELEMENTS)]
    if isinstance(type, OptionalType):
        return _sample_value(value, type.element, env, rng)
    if not isinstance(type, TensorType):
        return _sample(value, TensorType((BATCH,), type.dtype), [BATCH], rng)
    return _sample(value, type, [evaluate(d, env) for d in type.shape], rng)


def _sample(value: Value, type: TensorType, shape: list[int], rng: np.random.Generator) -> np.ndarray:
    dtype = type.dtype
    if dtype is DType.BOOL:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype is DType.STR:
        return np.full(shape, "lepton", dtype=object)
    if dtype.is_integer:
        choices = compared_constants(value)
        if choices is not None:
            return rng.choice(choices, shape).astype(dtype.numpy)
        return rng.integers(0, index_bound(value), shape).astype(dtype.numpy)
    return rng.standard_normal(shape).astype(np.float32).astype(dtype.numpy)


def index_bound(value: Value, depth: int = 4) -> int:
    """Return the exclusive upper bound that gathers set on an integer input; 2 where there is none."""
    bounds = []
    for op, index in value.uses:
        if op.name in ("tensor.gather", "tensor.gather_elements") and index == 1:
            extent = op.operands[0].shape[getattr(op, "axis")]  # type: ignore[union-attr]  # noqa: B009
            bounds.append(extent if isinstance(extent, int) else 2)
        elif depth and op.name in _LOOK_THROUGH:
            bounds.append(index_bound(op.results[0], depth - 1))
    return max(1, min([b for b in bounds if b != 2] or [2]))


def compared_constants(value: Value, depth: int = 4) -> np.ndarray | None:
    """Return the constants that an integer input is tested against for equality, if any."""
    found: list[np.ndarray] = []
    for op, _ in value.uses:
        if op.name == "eq":
            others = [v.op for v in op.present_operands if v is not value and v.op is not None]
            found += [np.ravel(o.attributes["value"].array) for o in others if o.name == "const"]
        elif depth and op.name in _LOOK_THROUGH:
            inner = compared_constants(op.results[0], depth - 1)
            found += [inner] if inner is not None else []
    return np.unique(np.concatenate(found)) if found else None
