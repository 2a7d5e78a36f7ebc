"""Reading a protobuf ONNX file without holding its weights.

protobuf copies every byte of a message, once on parsing and once more at each access, so a model of 1 GB would
cost 3 GB before anything was done with it. Here the wire format is walked once, the data of large tensors is left
out, and where it lies in the file is written in its stead, in the way of external data. What is left is a small
message that protobuf parses, and the weights stay in the file.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

Buffer: TypeAlias = "bytes | memoryview"

SELF = f"\0{secrets.token_hex(8)}"
"""The location of tensor data that lies in the model file itself; no path can be this, and no file can say it."""
LARGE = 1024
_DEEPEST = 100
"""protobuf's own limit."""
MOST_BYTES = 256 << 20
"""What may be left without the data of tensors: parsed, a byte can take eight, and as Python numbers more."""
MOST_FIELDS = 1_000_000
"""Fields of messages and elements of lists; empty messages take two bytes in a file, and hundreds in memory."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TENSOR = "TensorProto"
_SCHEMA: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 8: "OperatorSetIdProto", 25: "FunctionProto"},
    "OperatorSetIdProto": {},
    "GraphProto": {1: "NodeProto", 5: _TENSOR, 11: "ValueInfoProto", 12: "ValueInfoProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 9: "OperatorSetIdProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: _TENSOR, 6: "GraphProto", 10: _TENSOR, 11: "GraphProto", 14: "TypeProto", 15: "TypeProto",
        22: "SparseTensorProto", 23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: _TENSOR, 2: _TENSOR},
    "ValueInfoProto": {2: "TypeProto"},
    "TypeProto": {1: "TensorTypeProto", 4: "TypeProto", 5: "TypeProto", 8: "TensorTypeProto", 9: "TypeProto"},
    "TensorTypeProto": {2: "TensorShapeProto"},
    "TensorShapeProto": {1: "DimensionProto"},
    "DimensionProto": {},
}  # fmt: skip
_UNREAD: dict[str, frozenset[int]] = {
    # Documentation, metadata, training, value types and quantization notes: nothing here reads them.
    "ModelProto": frozenset({6, 14, 20}),
    "GraphProto": frozenset({10, 13, 14, 16}),
    "FunctionProto": frozenset({8, 12, 14}),
    "NodeProto": frozenset({6, 9, 10}),
    "AttributeProto": frozenset({13}),
    "ValueInfoProto": frozenset({3, 4}),
}
_DATA_TYPE, _FLOAT_DATA, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 2, 4, 9, 13, 14
_FLOAT, _EXTERNAL = 1, 1


class WireError(ValueError):
    """The bytes are no protobuf message; ``truncated`` says that they end too early."""

    def __init__(self, message: str, truncated: bool = False) -> None:
        super().__init__(message)
        self.truncated = truncated


@dataclass(frozen=True)
class Field:
    """One field of a message: its number and wire type, where it starts, and where its payload lies."""

    number: int
    kind: int
    start: int
    payload: int
    end: int


def _varint(buffer: Buffer, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise WireError(f"a number at byte {at} does not end")
    raise WireError(f"the file ends inside a number at byte {at}", truncated=True)


def fields(buffer: Buffer, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message that lies in ``buffer[start:end]``.

    Raises:
        WireError: there is none.
    """
    at = start
    while at < end:
        first = at
        tag, at = _varint(buffer, at, end)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise WireError(f"byte {first} starts no field")
        payload = at
        if kind == _VARINT:
            _, at = _varint(buffer, at, end)
        elif kind == _BYTES:
            size, payload = _varint(buffer, at, end)
            at = payload + size
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise WireError(f"byte {first} has the wire type {kind}, which does not exist in ONNX")
        if at > end:
            raise WireError(f"a field at byte {first} needs {at - end} bytes more than there are", truncated=True)
        yield Field(number, kind, first, payload, at)


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _message(number: int, payload: bytes) -> bytes:
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(payload)) + payload


def _entry(key: str, value: str) -> bytes:
    return _message(_EXTERNAL_DATA, _message(1, key.encode()) + _message(2, value.encode()))


def _by_reference(offset: int, length: int) -> bytes:
    flag = _encode_varint(_DATA_LOCATION << 3 | _VARINT) + _encode_varint(_EXTERNAL)
    return flag + _entry("location", SELF) + _entry("offset", str(offset)) + _entry("length", str(length))


class _Stripper:
    """Copies a message without the data of large tensors and without what is not read, within the limits."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self.fields = 0
        self.bytes = 0

    def message(self, start: int, end: int, message: str, depth: int = 0) -> bytes:
        if depth > _DEEPEST:
            raise WireError(f"messages are nested more than {_DEEPEST} deep")
        if message == _TENSOR:
            return self._tensor(start, end)
        inner, unread = _SCHEMA[message], _UNREAD.get(message, frozenset())
        chunks: list[bytes] = []
        pending = start
        for f in self._fields(start, end):
            if f.number in unread:
                chunks.append(self._kept(pending, f.start))
                pending = f.end
            kind = inner.get(f.number)
            if kind is None or f.kind != _BYTES or f.end - f.payload < LARGE:
                continue
            chunks.append(self._kept(pending, f.start))
            chunks.append(_message(f.number, self.message(f.payload, f.end, kind, depth + 1)))
            pending = f.end
        chunks.append(self._kept(pending, end))
        return b"".join(chunks)

    def _fields(self, start: int, end: int) -> Iterator[Field]:
        for f in fields(self.buffer, start, end):
            self.fields += 1
            if self.fields > MOST_FIELDS:
                raise WireError(f"it has more than {MOST_FIELDS} nodes, numbers and other parts")
            yield f

    def _kept(self, start: int, end: int) -> bytes:
        self.bytes += end - start
        if self.bytes > MOST_BYTES:
            raise WireError(
                f"it has more than {MOST_BYTES >> 20} MiB beside the data of tensors; store weights as raw_data"
            )
        return bytes(self.buffer[start:end])

    def _tensor(self, start: int, end: int) -> bytes:
        found = list(self._fields(start, end))
        data_type = next((_varint(self.buffer, f.payload, f.end)[0] for f in found if f.number == _DATA_TYPE), 0)
        # Packed float_data is laid out as raw_data is; the other typed fields are varints and stay.
        movable = {_RAW_DATA, _FLOAT_DATA} if data_type == _FLOAT else {_RAW_DATA}
        data = [f for f in found if f.number in movable and f.kind == _BYTES and f.end - f.payload >= LARGE]
        if len(data) != 1 or sum(f.number == data[0].number for f in found) != 1:
            return self._kept(start, end)
        kept = self._kept(start, data[0].start) + self._kept(data[0].end, end)
        return kept + _by_reference(data[0].payload, data[0].end - data[0].payload)


def strip_weights(buffer: Buffer) -> bytes:
    """Return the serialized ModelProto without the data of its large tensors, which become references to the file.

    Raises:
        WireError: the bytes are no protobuf message, or too many beside the data of tensors.
    """
    return _Stripper(buffer).message(0, len(buffer), "ModelProto")
