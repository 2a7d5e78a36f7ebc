"""What a compiled program has the host do: strings, sequences, and what libraries decode.

The program calls ``lepton.host`` for such an operation; its meaning is that of the operator's class. Values that are no
tensors of numbers pass through the program as :class:`~lepton_ir.runtime.convert.HostValue`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_ir.artifact.host_calls import CALL, SHAPE, decode
from lepton_ir.artifact.tensors import aligned
from lepton_ir.ir.core import Operation, Value
from lepton_ir.ir.dim import Dim, Expr, substitute
from lepton_ir.ir.location import Location
from lepton_ir.ir.opdef import REGISTRY
from lepton_ir.ir.types import DType, TensorType
from lepton_ir.runtime import native
from lepton_ir.runtime.convert import HostValue, as_stored, from_stored, to_numpy, to_tensor


@functools.cache
def register() -> None:
    """Make the functions known that programs with host operations call."""
    import lepton_ir.ops  # noqa: F401 - defines the operators

    ffi = native.tvm_ffi()
    ffi.register_global_func(CALL, _call, override=True)
    ffi.register_global_func(SHAPE, _shape, override=True)


def outgoing(value: Any) -> Any:
    """Return a value as the program holds it: a tensor where it is an array of numbers."""
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if array.dtype == np.complex128:
            return HostValue(np.array(array))
        if array.dtype.kind not in "OSUT":
            # A tensor keeps no array alive that it was made of, so it gets memory of its own.
            stored = aligned(np.array(as_stored(array)))
            return to_tensor(stored)
        return HostValue(array.astype(object))
    return HostValue(value)


def incoming(value: Any, dtype: str = "") -> Any:
    """Return what the program passes as arrays, in the element type given, and lists of arrays."""
    if isinstance(value, HostValue):
        return value.value
    array = to_numpy(value)
    return from_stored(array, DType(dtype)) if dtype else array


def _shape(value: HostValue) -> Any:
    return native.tvm_ffi().Shape(np.shape(value.value))


def _call(text: str, sizes: Any, *given: Any) -> Any:
    call = _decoded(text)
    env = dict(zip(call["symbols"], map(int, sizes), strict=True))
    operands = iter(given)
    values = [None if dtype is None else incoming(next(operands), dtype) for dtype in call["operands"]]
    op = _operation(call, values, env)
    try:
        with np.errstate(all="ignore"):
            found = op.evaluate(*values)
    except Exception as error:
        # Whatever the operator's meaning rejects is an error of this run, at the user's node.
        raise ValueError(f"{call['where']}: {error}") from error
    results = list(found) if isinstance(found, tuple) else [found]
    sent = [outgoing(r) for r in results]
    return sent[0] if len(sent) == 1 else sent


@functools.lru_cache(maxsize=4096)
def _decoded(text: str) -> dict[str, Any]:
    return decode(text)


def _operation(call: dict[str, Any], values: Sequence[Any], env: dict[str, Dim]) -> Any:
    placeholders = [
        None if dtype is None else Value(_type_of(v)) for v, dtype in zip(values, call["operands"], strict=True)
    ]
    attributes = {name: _sized(value, env) for name, value in call["attributes"].items()}
    cls: type[Operation] = REGISTRY[call["op"]]
    return cls(placeholders, attributes, (), (), Location(node=call["where"]))


def _type_of(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return TensorType(tuple(value.shape), DType.of(value))
    return None


def _sized(value: Any, env: dict[str, Dim]) -> Any:
    if isinstance(value, Expr):
        return substitute(value, env)
    return tuple(_sized(v, env) for v in value) if isinstance(value, tuple) else value
