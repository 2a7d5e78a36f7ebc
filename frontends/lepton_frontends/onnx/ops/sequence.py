"""Sequences and optionals, whose lengths are known while the model is imported: nothing is left of them."""

from __future__ import annotations

import numpy as np

from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import UnsupportedError, onnx_op
from lepton_frontends.onnx.scope import ValueList
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, ceildiv


def _list(value: Value | ValueList | None) -> ValueList:
    if not isinstance(value, ValueList):
        raise UnsupportedError(
            "it gets a sequence whose length is known only at run time",
            "use tensors: Split and Concat instead of sequences",
        )
    return value


def _position(b: OnnxBuilder, position: Value | None, length: int) -> int:
    """Return an index from the start; the end where there is none."""
    if position is None:
        return length
    index = b.ints(position, "position in the sequence")[0]
    return index + length if index < 0 else index


@onnx_op("SequenceEmpty", since=11)
def sequence_empty(b: OnnxBuilder, *, dtype: int = 1) -> ValueList:
    return ValueList()


@onnx_op("SequenceConstruct", since=11)
def sequence_construct(b: OnnxBuilder, *xs: Value) -> ValueList:
    return ValueList(xs)


@onnx_op("SequenceAt", since=11, takes_lists=True)
def sequence_at(b: OnnxBuilder, xs: ValueList, position: Value) -> Value:
    values = _list(xs)
    index = _position(b, position, len(values))
    if not 0 <= index < len(values):
        raise UnsupportedError(f"it reads element {index} of a sequence of {len(values)}", "the model is not valid")
    return values[index]


@onnx_op("SequenceInsert", since=11, takes_lists=True)
def sequence_insert(b: OnnxBuilder, xs: ValueList, x: Value, position: Value | None = None) -> ValueList:
    values = _list(xs)
    index = _position(b, position, len(values))
    return ValueList((*values[:index], x, *values[index:]))


@onnx_op("SequenceErase", since=11, takes_lists=True)
def sequence_erase(b: OnnxBuilder, xs: ValueList, position: Value | None = None) -> ValueList:
    values = _list(xs)
    index = len(values) - 1 if position is None else _position(b, position, len(values))
    return ValueList((*values[:index], *values[index + 1 :]))


@onnx_op("SequenceLength", since=11, takes_lists=True)
def sequence_length(b: OnnxBuilder, xs: ValueList) -> Value:
    return b.const(np.int64(len(_list(xs))))


@onnx_op("SplitToSequence", since=11)
def split_to_sequence(
    b: OnnxBuilder, x: Value, split: Value | None = None, *, axis: int = 0, keepdims: int = 1
) -> ValueList:
    along = b.axis(axis, x.rank)
    size = x.shape[along]
    sizes = _sizes(b, size, split)
    pieces = [x] if len(sizes) == 1 else list(b.tensor_split(x, axis=along, sizes=tuple(sizes)))
    if split is None and not keepdims:
        pieces = [b.reshaped(p, [d for i, d in enumerate(p.shape) if i != along]) for p in pieces]
    return ValueList(pieces)


def _sizes(b: OnnxBuilder, size: Dim, split: Value | None) -> list[Dim]:
    if split is not None and split.rank == 1:
        return list(b.dims(split, "list of sizes"))
    if not isinstance(size, int):
        raise UnsupportedError(
            "into how many pieces it splits depends on a dynamic dimension",
            'give the dimension a size, with dims={"name": size}',
        )
    piece = 1 if split is None else b.ints(split, "size of the pieces")[0]
    count = ceildiv(size, piece)
    assert isinstance(count, int)
    b.importer.spend(count, b.location)
    return [min(piece, size - i * piece) for i in range(count)]


@onnx_op("ConcatFromSequence", since=11, takes_lists=True)
def concat_from_sequence(b: OnnxBuilder, xs: ValueList, *, axis: int, new_axis: int = 0) -> Value:
    values = list(_list(xs))
    at = b.axis(axis, values[0].rank + (1 if new_axis else 0))
    if new_axis:
        values = [b.reshaped(v, (*v.shape[:at], 1, *v.shape[at:])) for v in values]
    return values[0] if len(values) == 1 else b.tensor_concat(values, axis=at)


@onnx_op("Optional", since=15, takes_lists=True)
def optional(b: OnnxBuilder, x: Value | ValueList | None = None, *, type: object = None) -> Value | ValueList:
    return ValueList() if x is None else x


@onnx_op("OptionalHasElement", since=15, takes_lists=True)
def optional_has_element(b: OnnxBuilder, x: Value | ValueList | None = None) -> Value:
    return b.const(np.bool_(x is not None and not (isinstance(x, ValueList) and not x)))


@onnx_op("OptionalGetElement", since=15, takes_lists=True)
def optional_get_element(b: OnnxBuilder, x: Value | ValueList) -> Value | ValueList:
    if isinstance(x, ValueList) and not x:
        raise UnsupportedError("it reads an optional that is empty", "the model is not valid")
    return x
