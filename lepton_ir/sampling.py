"""Input data that fits a model, for verification, benchmarks and golden pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from lepton_ir.ir import DType, Function, TensorType, Value
from lepton_ir.ir.dim import Dim, evaluate, symbols
from lepton_ir.ir.types import MapType, OptionalType, SequenceType, Type, symbols_in

BATCH = 2
ELEMENTS = 3
"""The length of sequences."""
_MOST_ELEMENTS = 1 << 22
"""Inputs of many symbolic dimensions get smaller sizes, so that they stay below this."""
LENGTHS = (64, 16, 128, 256, 512, 1024)
"""Sizes to try for symbolic dimensions other than the first of an input."""
_PASSES_ON = frozenset(
    {"cast", "tensor.reshape", "tensor.expand", "tensor.slice", "tensor.transpose", "tensor.split", "tensor.gather"}
)
"""Operators whose results hold elements of their first operand."""


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
    names = symbol_names(function)
    tensors = [a.type for a in function.arguments if isinstance(a.type, TensorType)]
    while True:
        sizes = {name: BATCH if name in first else length for name in names}
        shapes = [[evaluate(d, sizes) for d in t.shape] for t in tensors]
        if length <= BATCH or all(prod(shape) <= _MOST_ELEMENTS for shape in shapes):
            return sizes
        length //= 2


Reach = tuple[int, int]
"""A range of integers, its end excluded."""


def sample_inputs(
    function: Function, seed: int = 0, dims: Mapping[str, int] | None = None, reach: Reach | None = None
) -> dict[str, Any]:
    """Return random inputs by name, reproducible from ``seed``.

    Floats are standard normal. Integers are drawn from the range that their use allows (an index into a table
    stays inside it, a divisor is not 0, a value that is compared with constants takes one of them), else from 0 and 1.
    Sequences have :data:`ELEMENTS` elements, optionals hold a value.

    Args:
        function: the entry function.
        seed: seed of numpy's default generator.
        dims: sizes of symbolic dimensions; those missing come from :func:`default_sizes`.
        reach: what to draw integers from whose use allows any, instead of 0 and 1.
    """
    rng = np.random.default_rng(seed)
    env = default_sizes(function) | dict(dims or {})
    return {a.name or f"input{i}": _sample_value(a, a.type, env, rng, reach) for i, a in enumerate(function.arguments)}


def _sample_value(
    value: Value, type: Type, env: Mapping[str, int], rng: np.random.Generator, reach: Reach | None
) -> Any:
    if isinstance(type, SequenceType):
        return [_sample_value(value, type.element, env, rng, reach) for _ in range(ELEMENTS)]
    if isinstance(type, OptionalType):
        return _sample_value(value, type.element, env, rng, reach)
    if isinstance(type, MapType):
        key, value = (_sample(value, TensorType((), t), [], rng, reach).tolist() for t in (type.key, type.value))
        return {key: value}
    if not isinstance(type, TensorType):
        return _sample(value, TensorType((BATCH,), type.dtype), [BATCH], rng, reach)
    return _sample(value, type, [evaluate(d, env) for d in type.shape], rng, reach)


def _sample(
    value: Value, type: TensorType, shape: list[int], rng: np.random.Generator, reach: Reach | None
) -> np.ndarray:
    dtype = type.dtype
    if dtype is DType.BOOL:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype is DType.STR:
        return rng.choice(np.array(sorted(_known_strings(value)) or ["lepton"], dtype=object), shape)
    if dtype.is_integer:
        return _sample_integers(value, shape, rng, reach).astype(dtype.numpy)
    return rng.standard_normal(shape).astype(np.float32).astype(dtype.numpy)


_ANY = (0, 2)
"""What integers are drawn from that nothing bounds."""
_SPECIAL = 0.1


def _sample_integers(value: Value, shape: list[int], rng: np.random.Generator, reach: Reach | None) -> np.ndarray:
    choices, (low, high) = compared_constants(value), integer_range(value)
    if (low, high) == _ANY:
        return rng.integers(*(reach or _ANY), shape) if choices is None else rng.choice(choices, shape)
    numbers = rng.integers(low, high, shape)
    if choices is None:
        return numbers
    inside = choices[(choices >= low) & (choices < high)]
    if not inside.size:
        return numbers
    # Indices that are told from others, such as the token that pads a text, come up now and then.
    return np.where(rng.random(shape) < _SPECIAL, rng.choice(inside, shape), numbers)


def integer_range(value: Value, depth: int = 4) -> Reach:
    """Return the range, its end excluded, that gathers, scatters and divisions set on an integer input.

    It is 0 and 1 where nothing does.
    """
    low, bounds = 0, []
    for op, index in value.uses:
        if index == 1 and op.name in _DIVISIONS:
            low = 1
        elif index == 1 and op.name in _INDEXED:
            bounds += [d for d in _INDEXED[op.name](op) if isinstance(d, int)]
        for result in _passed_on(op, index, depth):
            inner, bound = integer_range(result, depth - 1)
            low = max(low, inner)
            bounds += [bound] if bound - inner != 2 else []
    return low, max(low + 1, min(bounds, default=low + 2))


def _passed_on(op: Any, index: int, depth: int) -> Sequence[Value]:
    """Return the results that hold elements of the operand at ``index``, none where ``depth`` is used up."""
    return op.results if depth and index == 0 and op.name in _PASSES_ON else ()


def _axis_size(op: Any) -> tuple[Dim, ...]:
    return (op.x.shape[op.axis],)


_INDEXED: dict[str, Callable[[Any], tuple[Dim, ...]]] = {
    "tensor.gather": _axis_size,
    "tensor.gather_elements": _axis_size,
    "tensor.scatter_elements": _axis_size,
    "tensor.gather_nd": lambda op: op.indexed_sizes(),
    "tensor.scatter_nd": lambda op: op.indexed_sizes(),
}
"""The sizes of the axes that an operator's second operand is an index into."""
_DIVISIONS = frozenset({"div", "floordiv", "mod"})


def _known_strings(value: Value, depth: int = 4) -> set[str]:
    """Return the strings that an input's elements are looked up among."""
    found: set[str] = set()
    for op, index in value.uses:
        if op.name == "str.find":
            found |= set(op.attributes["terms"])
        for result in _passed_on(op, index, depth):
            found |= _known_strings(result, depth - 1)
    return found


def compared_constants(value: Value, depth: int = 4) -> np.ndarray | None:
    """Return the constants that an integer input is tested against for equality, if any."""
    found: list[np.ndarray] = []
    for op, index in value.uses:
        if op.name == "eq":
            others = [v.op for v in op.present_operands if v is not value and v.op is not None]
            found += [np.ravel(o.attributes["value"].array) for o in others if o.name == "const"]
        for result in _passed_on(op, index, depth):
            inner = compared_constants(result, depth - 1)
            found += [inner] if inner is not None else []
    return np.unique(np.concatenate(found)) if found else None
