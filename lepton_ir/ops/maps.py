"""Maps from integers or strings to scalars; the host evaluates them. A program holds them as dictionaries."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import sym
from lepton_ir.ir.opdef import InferenceError, Operation, attribute, operand, result
from lepton_ir.ir.types import DType, MapType, SequenceType, TensorType, Type
from lepton_ir.ops.sequence import Reading
from lepton_ir.ops.support import Array, dims_differ

Held = dict[Any, Any]


class Zip(Operation):
    """A sequence of maps, one for each row: from the keys to the row's elements."""

    name = "map.zip"
    is_host = True
    x: Value = operand("[N, C]")
    keys: Value = operand("[C], i64 or strings, all different")
    ys: OpResult = result()

    def infer(self) -> Type:
        rows, keys = self.x.tensor, self.keys.tensor
        if rows.rank != 2 or keys.rank != 1 or dims_differ(rows.shape[1], keys.shape[0]):
            raise InferenceError(f"map.zip needs a key for each column, got {rows} and {keys}")
        return SequenceType(MapType(keys.dtype, rows.dtype))

    def evaluate(self, x: Array, keys: Array) -> list[Held]:
        names = keys.tolist()
        return [dict(zip(names, row, strict=True)) for row in x.tolist()]


class Vectorize(Operation):
    """A map's values at the given keys, [1, C]; 0 or the empty string where it has no such key."""

    name = "map.vectorize"
    is_host = True
    x: Value = operand("a map")
    keys: Value = operand("[C], of the type of the map's keys")
    dtype = attribute(DType, doc="the element type of the map's values")
    strict = attribute(bool, default=False, doc="whether it is an error if the map has other keys")
    y: OpResult = result()

    def infer(self) -> Type:
        kind, keys = _map_type(self), self.keys.tensor
        if keys.rank != 1 or keys.dtype is not kind.key:
            raise InferenceError(f"map.vectorize needs keys [C] of {kind.key}, got {keys}")
        return TensorType((1, keys.shape[0]), kind.value)

    def evaluate(self, x: Held, keys: Array) -> Array:
        names = keys.tolist()
        other = x.keys() - set(names) if self.strict else ()
        if other:
            raise ValueError(f"the map has the key {min(other)}, which is none of those that are taken")
        missing = "" if self.dtype is DType.STR else 0
        return np.array([[x.get(key, missing) for key in names]], self.dtype.numpy)


class Values(Reading):
    """A map's values in the order of their keys, [1, C]."""

    name = "map.values"
    x: Value = operand("a map")
    dtype = attribute(DType, doc="the element type of the map's values")
    y: OpResult = result()

    def infer(self) -> Type:
        return TensorType((1, sym("entries")), _map_type(self).value)

    def evaluate(self, x: Held) -> Array:
        return np.array([[x[key] for key in sorted(x)]], self.dtype.numpy)


def _map_type(op: Vectorize | Values) -> MapType:
    kind = op.x.type
    if not isinstance(kind, MapType) or kind.value is not op.dtype:
        raise InferenceError(f"{op.name} needs a map to {op.dtype}, got {kind}")
    return kind
