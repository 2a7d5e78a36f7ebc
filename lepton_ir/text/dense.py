"""Dense literals, ``dense<[1.0, 2.0]>``: array data inside the text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np

from lepton_ir.ir.types import DType, TensorType
from lepton_ir.text.lexical import quote

_TOKEN = re.compile(r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<number>[^\s\[\],"]+)|(?P<mark>[\[\],]))')


def format_dense(array: np.ndarray) -> str:
    """Return ``dense<...>`` with nested lists; a broadcast scalar is written once."""
    dtype = DType.of(array)
    if array.size > 1 and not any(array.strides):
        array = array.reshape(-1)[:1].reshape(())
    with np.errstate(all="ignore"):  # Candidate spellings of a large number may overflow.
        return f"dense<{_nested(array, _formatter(dtype))}>"


def _nested(array: np.ndarray, element: Callable[[Any], str]) -> str:
    if array.ndim == 0:
        return element(array[()])
    return "[" + ", ".join([_nested(array[i, ...], element) for i in range(array.shape[0])]) + "]"


def _formatter(dtype: DType) -> Callable[[Any], str]:
    if dtype is DType.STR:
        return lambda x: quote(x.decode() if isinstance(x, bytes) else str(x))
    if dtype is DType.BOOL:
        return lambda x: "true" if x else "false"
    if dtype in (DType.C64, DType.C128):
        part = DType.F32 if dtype is DType.C64 else DType.F64
        return lambda x: f"({_float(x.real, part)};{_float(x.imag, part)})"
    if dtype.is_float:
        return lambda x: _float(x, dtype)
    return lambda x: str(int(x))


def _float(value: Any, dtype: DType) -> str:
    """Return the shortest text that reads back as the same bits; an unusual NaN is written as its bits."""
    kind = dtype.numpy.type
    bits, number = kind(value).tobytes(), float(value)
    candidates = (repr(float(f"{number:.{digits}g}")) for digits in range(1, 10 if dtype is not DType.F64 else 1))
    for text in chain(candidates, (repr(number),)):
        if kind(float(text)).tobytes() == bits:
            return text
    return f"0x{int.from_bytes(bits, 'little'):0{2 * dtype.numpy.itemsize}x}"


def parse_dense(text: str, type: TensorType) -> np.ndarray:
    """Return the array that the inside of ``dense<...>`` means.

    Raises:
        ValueError: the text is no literal of that type, or its shape is another one.
    """
    shape = type.static_shape
    with np.errstate(all="ignore"):
        elements, found = _read(text, type.dtype)
    array = np.empty(len(elements), type.dtype.numpy)
    for i, element in enumerate(elements):
        array[i] = element
    if found == () and shape:
        return np.broadcast_to(array.reshape(()), shape)
    if found != shape and not (array.size == 0 and 0 in shape):
        raise ValueError(f"the literal has shape {list(found)}, the type says {list(shape)}")
    return array.reshape(shape)


def _read(text: str, dtype: DType) -> tuple[list[Any], tuple[int, ...]]:
    """Return the elements in order, and the shape of the nested lists."""
    convert = _converter(dtype)
    elements: list[Any] = []
    lengths: list[int | None] = []  # per depth: the length of the lists there
    counts: list[int] = []  # per open list: the entries so far
    position = 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"cannot read {text[position : position + 20]!r} in a dense literal")
        position = match.end()
        mark = match["mark"]
        if mark == ",":
            continue
        if mark == "]":
            _close_list(counts, lengths)
            continue
        if counts:
            counts[-1] += 1
        if mark == "[":
            counts.append(0)
            if len(counts) > len(lengths):
                lengths.append(None)
            continue
        if len(counts) != len(lengths) or (not counts and elements):
            raise ValueError("the lists of a dense literal are nested unevenly")
        elements.append(convert(match["string"] or match["number"]))
    if counts:
        raise ValueError("a list of a dense literal is not closed")
    return elements, tuple(n or 0 for n in lengths)


def _close_list(counts: list[int], lengths: list[int | None]) -> None:
    if not counts:
        raise ValueError("a dense literal closes a list that it did not open")
    depth, count = len(counts) - 1, counts.pop()
    if lengths[depth] not in (None, count):
        raise ValueError(f"the lists of a dense literal have lengths {lengths[depth]} and {count}")
    lengths[depth] = count


def _converter(dtype: DType) -> Callable[[str], Any]:
    kind = dtype.numpy.type
    if dtype is DType.STR:
        return _string
    if dtype is DType.BOOL:
        return lambda text: _choice(text, {"true": True, "false": False})
    if dtype in (DType.C64, DType.C128):
        part = _converter(DType.F32 if dtype is DType.C64 else DType.F64)
        return lambda text: _complex(text, part).view(dtype.numpy)[0]
    if dtype.is_float:
        return lambda text: _bits(text, dtype) if text.startswith("0x") else kind(float(text))
    return lambda text: _integer(text, dtype)


def _integer(text: str, dtype: DType) -> Any:
    value = int(text, 0)
    low = -(1 << (dtype.bits - 1)) if dtype.is_signed else 0
    if not low <= value < low + (1 << dtype.bits):
        raise ValueError(f"{value} does not fit {dtype}")
    return dtype.numpy.type(value)


def _string(text: str) -> str:
    value = json.loads(text)
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {text}")
    return value


def _choice(text: str, values: dict[str, Any]) -> Any:
    if text not in values:
        raise ValueError(f"expected {' or '.join(values)}, got {text}")
    return values[text]


def _complex(text: str, part: Callable[[str], Any]) -> np.ndarray:
    real, separator, imaginary = text.strip("()").partition(";")
    if not separator:
        raise ValueError(f"expected a complex number (real;imaginary), got {text}")
    return np.array([part(real), part(imaginary)])


def _bits(text: str, dtype: DType) -> Any:
    return np.frombuffer(int(text, 16).to_bytes(dtype.numpy.itemsize, "little"), dtype.numpy)[0]
