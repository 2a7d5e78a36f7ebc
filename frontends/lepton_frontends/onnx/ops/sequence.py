"""Sequences and optionals.

Where their lengths are known while the model is imported, nothing is left of them; elsewhere the running program holds
them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TypeProto, ValueInfoProto

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.runtime_dims import fresh_dims, partial_dims
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.inputs import InputTypes
from lepton_frontends.onnx.rules import onnx_op
from lepton_frontends.onnx.scope import Absent, Imported, ValueList
from lepton_frontends.onnx.sequences import as_value, is_absent, is_optional, is_sequence, read_type, widened
from lepton_frontends.onnx.tensors import dtype_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, ceildiv
from lepton_ir.ir.types import OptionalType, SequenceType, TensorType, Type, UnrankedType
from lepton_ir.ops.optional import Get, HasElement
from lepton_ir.ops.sequence import At, Concat, Erase, Insert, Length, Split


def _sequence(value: Imported) -> Value | ValueList:
    if not is_sequence(value):
        raise UnsupportedError("it gets something else where a sequence is expected", "the model is not valid ONNX")
    return value  # type: ignore[return-value]


def _tensor(value: Imported) -> Value:
    if not isinstance(value, Value) or not isinstance(value.type, (TensorType, UnrankedType)):
        raise UnsupportedError("it gets something else where a tensor is expected", "the model is not valid ONNX")
    return value


def _position(b: OnnxBuilder, position: Value, length: int) -> int | None:
    """Return an index from the start; None where only the running program knows it."""
    (index,) = partial_dims(b, position)
    if not isinstance(index, int):
        return None
    found = index + length if index < 0 else index
    if not 0 <= found <= length:
        raise UnsupportedError(f"it takes element {index} of a sequence of {length}", "the model is not valid")
    return found


def _scalar(b: OnnxBuilder, position: Value | None) -> Value | None:
    return None if position is None else b.reshaped(position, ())


def _element(xs: Value) -> Type:
    assert isinstance(xs.type, SequenceType)
    return xs.type.element


@onnx_op("SequenceEmpty", since=11)
def sequence_empty(b: OnnxBuilder, *, dtype: int = 1) -> ValueList:
    return ValueList((), UnrankedType(dtype_of(dtype)))


@onnx_op("SequenceConstruct", since=11, takes_lists=True)
def sequence_construct(b: OnnxBuilder, *xs: Value) -> ValueList:
    return ValueList(map(_tensor, xs))


@onnx_op("SequenceAt", since=11, takes_lists=True)
def sequence_at(b: OnnxBuilder, xs: Imported, position: Value) -> Value:
    given = _sequence(xs)
    if isinstance(given, ValueList):
        index = _position(b, position, len(given))
        if index is not None and index < len(given):
            return given[index]
        if index is not None or not given:
            raise UnsupportedError(f"it reads element {index} of a sequence of {len(given)}", "the model is not valid")
    held = as_value(b, given)
    return b.create(At, held, _scalar(b, position), result_types=[read_type(b, _element(held))]).y


@onnx_op("SequenceInsert", since=11, takes_lists=True)
def sequence_insert(b: OnnxBuilder, xs: Imported, x: Value, position: Value | None = None) -> Value | ValueList:
    given, new = _sequence(xs), _tensor(x)
    if isinstance(given, ValueList):
        index = len(given) if position is None else _position(b, position, len(given))
        if index is not None:
            return ValueList((*given[:index], new, *given[index:]))
    held = as_value(b, given)
    kind = SequenceType(widened(_element(held), new.type))
    return b.create(Insert, held, new, _scalar(b, position), result_types=[kind]).ys


@onnx_op("SequenceErase", since=11, takes_lists=True)
def sequence_erase(b: OnnxBuilder, xs: Imported, position: Value | None = None) -> Value | ValueList:
    given = _sequence(xs)
    if isinstance(given, ValueList):
        index = len(given) - 1 if position is None else _position(b, position, len(given))
        if index is not None and not 0 <= index < len(given):
            raise UnsupportedError(f"it erases element {index} of a sequence of {len(given)}", "the model is not valid")
        if index is not None:
            return ValueList((*given[:index], *given[index + 1 :]), given.element or given[0].type)
    return b.create(Erase, as_value(b, given), _scalar(b, position)).ys


@onnx_op("SequenceLength", since=11, takes_lists=True)
def sequence_length(b: OnnxBuilder, xs: Imported) -> Value:
    given = _sequence(xs)
    return b.const(np.int64(len(given))) if isinstance(given, ValueList) else b.create(Length, given).y


@onnx_op("SplitToSequence", since=11)
def split_to_sequence(
    b: OnnxBuilder, x: Value, split: Value | None = None, *, axis: int = 0, keepdims: int = 1
) -> Value | ValueList:
    along = b.axis(axis, x.rank)
    sizes = _sizes(b, x.shape[along], split)
    if sizes is None:
        return b.create(Split, x, split, axis=along, keepdims=bool(keepdims)).ys
    if not sizes:
        return ValueList((), x.tensor.with_shape([d for i, d in enumerate(x.shape) if i != along or keepdims]))
    pieces = [x] if len(sizes) == 1 else list(b.tensor_split(x, axis=along, sizes=tuple(sizes)))
    if split is None and not keepdims:
        pieces = [b.reshaped(p, [d for i, d in enumerate(p.shape) if i != along]) for p in pieces]
    return ValueList(pieces)


def _sizes(b: OnnxBuilder, size: Dim, split: Value | None) -> list[Dim] | None:
    """Return the sizes of the pieces; None where their number depends on a dynamic dimension or on data."""
    if split is not None and split.rank == 1:
        return list(b.dims(split, "list of sizes")) if split.tensor.is_static else None
    piece = 1 if split is None else partial_dims(b, split)[0]
    if not isinstance(size, int) or not isinstance(piece, int):
        return None
    if piece < 1:
        raise UnsupportedError(f"it makes pieces of size {piece}", "the model is not valid")
    count = ceildiv(size, piece)
    assert isinstance(count, int)
    b.importer.spend(count, b.location)
    return [min(piece, size - i * piece) for i in range(count)]


@onnx_op("ConcatFromSequence", since=11, takes_lists=True)
def concat_from_sequence(b: OnnxBuilder, xs: Imported, *, axis: int, new_axis: int = 0) -> Value:
    given = _sequence(xs)
    if isinstance(given, ValueList):
        return _concat(b, list(given), axis, bool(new_axis))
    element = _element(given)
    if not isinstance(element, TensorType):
        raise UnsupportedError(
            "the rank of the sequence's elements is unknown, since the model does not give it",
            'give the elements of the input that is a sequence a shape, with shapes={"name": [1, "N"]}',
        )
    at = b.axis(axis, element.rank + (1 if new_axis else 0))
    shape = list(read_type(b, element).shape)  # type: ignore[union-attr]
    shape[at : at + (0 if new_axis else 1)] = fresh_dims(b, 1)
    kind = element.with_shape(shape)
    return b.create(Concat, given, axis=at, new_axis=bool(new_axis), result_types=[kind]).y


def _concat(b: OnnxBuilder, values: list[Value], axis: int, new_axis: bool) -> Value:
    if not values:
        raise UnsupportedError("it joins the elements of a sequence that has none", "the model is not valid")
    at = b.axis(axis, values[0].rank + new_axis)
    if new_axis:
        values = [b.reshaped(v, (*v.shape[:at], 1, *v.shape[at:])) for v in values]
    return values[0] if len(values) == 1 else b.tensor_concat(values, axis=at)


@onnx_op("Optional", since=15, takes_lists=True)
def optional(b: OnnxBuilder, x: Imported | None = None, *, type: TypeProto | None = None) -> Imported:
    if x is not None:
        return x
    if type is None:
        return Absent()
    return Absent(
        InputTypes(b.importer.file).type_of(ValueInfoProto(name="optional", type=type), b.importer.reader.memory)
    )


@onnx_op("OptionalHasElement", since=15, takes_lists=True)
def optional_has_element(b: OnnxBuilder, x: Imported | None = None) -> Value:
    if is_optional(x):
        return b.create(HasElement, x).y  # type: ignore[arg-type]
    return b.const(np.bool_(not is_absent(x)))


@onnx_op("OptionalGetElement", since=15, takes_lists=True)
def optional_get_element(b: OnnxBuilder, x: Imported) -> Any:
    if is_absent(x):
        raise UnsupportedError("it reads an optional that is empty", "the model is not valid")
    if not is_optional(x):
        return x
    assert isinstance(x, Value) and isinstance(x.type, OptionalType)
    return b.create(Get, x, result_types=[read_type(b, x.type.element)]).y
