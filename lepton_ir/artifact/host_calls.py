"""Operations that the runtime evaluates on the host, as JSON inside the program.

A program calls the function ``lepton.host`` with the text of :func:`encode`, the dimensions that the operation's
attributes name, and its operands.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lepton_ir.artifact.dims import dim_from_json, dim_to_json
from lepton_ir.artifact.manifest import type_from_json, type_to_json
from lepton_ir.ir.constant import Constant
from lepton_ir.ir.core import Operation
from lepton_ir.ir.dim import Dim, Expr
from lepton_ir.ir.types import DType, TensorType, Type, is_numeric

CALL = "lepton.host"
"""The function that evaluates an operation."""
SHAPE = "lepton.host_shape"
"""The function that returns the shape of an array of strings."""


def encode(op: Operation) -> str:
    """Return the text that stands for a call of ``op`` in a program."""
    call = {
        "op": op.name,
        "where": str(op.location),
        "operands": [None if v is None else _held_as(v.type) for v in op.operands],
        "symbols": sorted(op.attribute_symbols),
        "attributes": {name: _to_json(value) for name, value in op.attributes.items()},
    }
    return json.dumps(call, separators=(",", ":"))


def _held_as(type_: Type) -> str:
    """Return the element type of a tensor of numbers, which its memory does not always tell; "" for anything else."""
    return str(type_.dtype) if is_numeric(type_) and isinstance(type_, TensorType) else ""


def decode(text: str) -> dict[str, Any]:
    """Return what :func:`encode` was given: "op", "where", "operands", "symbols", "attributes".

    Raises:
        ValueError, KeyError: the text is none of :func:`encode`.
    """
    call: dict[str, Any] = json.loads(text)
    call["attributes"] = {name: _from_json(value) for name, value in call["attributes"].items()}
    return call


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return {"list": [_to_json(v) for v in value]}
    if isinstance(value, Expr):
        return {"dim": dim_to_json(value)}
    if isinstance(value, DType):
        return {"dtype": str(value)}
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, Type):
        return {"type": type_to_json(value)}
    if not isinstance(value, Constant):
        return value
    array = value.array
    if value.type.dtype is DType.STR:
        return {"strings": [str(s) for s in array.reshape(-1)], "shape": list(array.shape)}
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"array": data, "dtype": str(value.type.dtype), "shape": list(array.shape)}


def _array(data: Mapping[str, Any]) -> Constant:
    if "strings" in data:
        array = np.empty(len(data["strings"]), object)
        array[:] = data["strings"]
    else:
        array = np.frombuffer(base64.b64decode(data["array"]), DType(data["dtype"]).numpy)
    return Constant(array.reshape(data["shape"]))


_READERS: dict[str, Callable[[Any], Any]] = {
    "list": lambda data: tuple(_from_json(v) for v in data["list"]),
    "dim": lambda data: _dim(data["dim"]),
    "type": lambda data: type_from_json(data["type"]),
    "float": lambda data: float.fromhex(data["float"]),
    "strings": _array,
    "array": _array,
    "dtype": lambda data: DType(data["dtype"]),
}
"""How a JSON object is read, by the first of these keys that it has."""


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    key = next(k for k in _READERS if k in value)
    return _READERS[key](value)


def _dim(value: int | str) -> Dim:
    return dim_from_json(value)
