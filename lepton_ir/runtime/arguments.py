"""Checking a call's arguments against the model's inputs, and binding the symbolic dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lepton_ir.artifact import Condition, Spec, TensorSpec
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.dim import Dim, Expr, Sym, evaluate, symbols
from lepton_ir.ir.types import DType, MapType, OptionalType, SequenceType, Type, UnrankedType


def arrange(specs: Sequence[Spec], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Return one value per input, in order of the inputs.

    Raises:
        LeptonError: too many, too few, unknown or doubly given inputs.
    """
    names = [spec.name for spec in specs]
    given = dict(zip(names, args, strict=False))
    problems: list[str] = []
    if len(args) > len(names):
        problems.append(f"{len(args)} inputs were given by position, the model takes {len(names)}")
    problems += [f"the input {name} was given twice" for name in kwargs if name in given]
    problems += [f"the model has no input {name}" for name in kwargs if name not in names]
    problems += [f"the input {spec} is missing" for spec in specs if spec.name not in given and spec.name not in kwargs]
    _raise(problems, specs)
    return [given[name] if name in given else kwargs[name] for name in names]


def check(
    specs: Sequence[TensorSpec],
    dtypes: Sequence[DType | str],
    shapes: Sequence[Sequence[int]],
    conditions: Sequence[Condition] = (),
) -> dict[str, int]:
    """Return the value of every symbolic dimension.

    Args:
        specs: the inputs.
        dtypes: the element types that were given; a str is one that Lepton does not know.
        shapes: the shapes that were given.
        conditions: what must hold for the sizes.

    Raises:
        LeptonError: element types or shapes do not fit, or one dimension has two values; all are named.
    """
    problems: list[str] = []
    bound: dict[str, tuple[int, str]] = {}
    for spec, dtype, shape in zip(specs, dtypes, shapes, strict=True):
        if dtype is not spec.type.dtype:
            problems.append(f"the input {spec.name} must have elements of {spec.type.dtype}, those given are {dtype}")
        if len(shape) != spec.type.rank:
            problems.append(f"the input {spec} needs {spec.type.rank} dimensions, the shape given is {list(shape)}")
            continue
        for axis, (dim, size) in enumerate(zip(spec.type.shape, shape, strict=True)):
            problem = _bind(dim, size, f"dimension {axis} of the input {spec.name}", bound)
            if problem:
                problems.append(problem)
    sizes = {name: size for name, (size, _) in bound.items()}
    if not problems:
        problems = _check_expressions(specs, shapes, sizes)
        given = ", ".join(f"{name} = {size}" for name, size in sizes.items())
        broken = [c for c in conditions if not c.holds(sizes)]
        problems += [f"{c} must hold, the sizes given are {given} (needed by {c.where})" for c in broken]
    _raise(problems, specs)
    return sizes


def _bind(dim: Dim, size: int, place: str, bound: dict[str, tuple[int, str]]) -> str | None:
    """Bind a plain name or compare a number; return what is wrong."""
    if isinstance(dim, int):
        return None if dim == size else f"{place} must be {dim}, the size given is {size}"
    name = _plain_name(dim)
    if name is None:
        return None
    other, where = bound.setdefault(name, (size, place))
    return None if other == size else f"{place} is {name}, which is {other} by {where}, the size given is {size}"


def _plain_name(dim: Expr) -> str | None:
    match dim.terms:
        case ((((Sym(name), 1),), 1),):
            return str(name)
    return None


def _check_expressions(
    specs: Sequence[TensorSpec], shapes: Sequence[Sequence[int]], sizes: Mapping[str, int]
) -> list[str]:
    problems: list[str] = []
    for spec, shape in zip(specs, shapes, strict=True):
        for axis, (dim, size) in enumerate(zip(spec.type.shape, shape, strict=True)):
            expected = evaluate(dim, sizes) if symbols(dim) <= sizes.keys() else size
            if expected != size:
                problems.append(
                    f"dimension {axis} of the input {spec.name} must be {dim} = {expected}, the size given is {size}"
                )
    return problems


def check_value(spec: Spec, value: Any) -> Any:
    """Return sequences and optionals as lists of arrays, maps as dicts, arrays of strings as Python's.

    Raises:
        LeptonError: it is none, or its elements have another type.
    """
    try:
        if not isinstance(spec, TensorSpec):
            return _conform(spec.type, value)
        return as_strings(value) if spec.type.dtype is DType.STR else np.array(value)
    except (OverflowError, TypeError, ValueError) as error:
        raise LeptonError(
            "the inputs do not fit the model", why=f"the input {spec.name}: {error}", help=f"the model takes {spec}"
        ) from None


def _conform(type_: Type, value: Any) -> Any:
    if isinstance(type_, OptionalType):
        return None if value is None else _conform(type_.element, value)
    if isinstance(type_, SequenceType):
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"a sequence is a list or tuple, what was given is a {type(value).__name__}")
        return [_conform(type_.element, v) for v in value]
    if isinstance(type_, MapType):
        return _conform_map(type_, value)
    array = np.asarray(value)
    if DType.of(array) is not type_.dtype:
        raise TypeError(f"elements must be of {type_.dtype}, those given are {array.dtype}")
    if isinstance(type_, UnrankedType):
        return as_strings(array) if type_.dtype is DType.STR else np.array(array)
    fixed = zip(type_.shape, array.shape, strict=False)
    if array.ndim != type_.rank or any(isinstance(d, int) and d != n for d, n in fixed):
        raise ValueError(f"an array of shape {list(array.shape)} is no {type_}")
    return as_strings(array) if type_.dtype is DType.STR else np.array(array)


def _conform_map(type_: MapType, value: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"a map is a dict, what was given is a {type(value).__name__}")
    held: list[np.ndarray] = []
    for dtype, entries in ((type_.key, value.keys()), (type_.value, value.values())):
        plain = (str,) if dtype is DType.STR else (int, np.integer) if dtype.is_integer else (int, float, np.number)
        wrong = next((e for e in entries if not isinstance(e, plain) or isinstance(e, bool)), None)
        if wrong is not None:
            raise TypeError(f"keys and values must be of {type_.key} and {type_.value}, one given is {wrong!r}")
        held.append(np.array(list(entries), dtype.numpy))
    return dict(zip(held[0].tolist(), held[1].tolist(), strict=True))


def as_strings(array: np.ndarray) -> np.ndarray:
    """Return an array of Python's strings; bytes are taken for UTF-8.

    Raises:
        TypeError: an element is no string.
        UnicodeDecodeError: bytes are not UTF-8.
    """
    found = np.empty(array.shape, object)
    for i, element in enumerate(array.flat):
        if not isinstance(element, (str, bytes)):
            raise TypeError(f"element {i} is a {type(element).__name__}, but all must be strings")
        found.flat[i] = element.decode() if isinstance(element, bytes) else str(element)
    return found


def _raise(problems: Sequence[str], specs: Sequence[Spec]) -> None:
    if problems:
        raise LeptonError(
            "the inputs do not fit the model",
            why=problems[0],
            notes=problems[1:],
            help="the model takes " + "; ".join(map(str, specs)),
        )
