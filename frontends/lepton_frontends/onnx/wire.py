"""Reading a protobuf ONNX file without holding its weights.

protobuf copies every byte of a message, once on parsing and once more at each access, so a model of 1 GB would
cost 3 GB before anything was done with it. Here the wire format is walked once, the data of large tensors is left
out, and where it lies in the file is written in its stead, in the way of external data. What is left is a small
message that protobuf parses, and the weights stay in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

Buffer: TypeAlias = "bytes | memoryview"

SELF = "\0"
"""The location of tensor data that lies in the model file itself; no path can be this."""
LARGE = 1024
_DEEPEST = 100
"""protobuf's own limit."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TENSOR = "TensorProto"
_SCHEMA: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 25: "FunctionProto"},
    "GraphProto": {1: "NodeProto", 5: _TENSOR},
    "FunctionProto": {7: "NodeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {5: _TENSOR, 6: "GraphProto", 10: _TENSOR, 11: "GraphProto"},
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


def _strip_tensor(buffer: Buffer, start: int, end: int) -> bytes:
    found = list(fields(buffer, start, end))
    data_type = next((_varint(buffer, f.payload, f.end)[0] for f in found if f.number == _DATA_TYPE), 0)
    # Packed float_data is laid out as raw_data is; the other typed fields are varints and stay.
    movable = {_RAW_DATA, _FLOAT_DATA} if data_type == _FLOAT else {_RAW_DATA}
    data = [f for f in found if f.number in movable and f.kind == _BYTES and f.end - f.payload >= LARGE]
    if len(data) != 1 or sum(f.number == data[0].number for f in found) != 1:
        return bytes(buffer[start:end])
    kept = b"".join(bytes(buffer[f.start : f.end]) for f in found if f is not data[0])
    return kept + _by_reference(data[0].payload, data[0].end - data[0].payload)


def _strip(buffer: Buffer, start: int, end: int, message: str, depth: int = 0) -> bytes:
    if depth > _DEEPEST:
        raise WireError(f"messages are nested more than {_DEEPEST} deep")
    if message == _TENSOR:
        return _strip_tensor(buffer, start, end)
    inner = _SCHEMA[message]
    chunks: list[bytes] = []
    pending = start
    for f in fields(buffer, start, end):
        kind = inner.get(f.number)
        if kind is None or f.kind != _BYTES or f.end - f.payload < LARGE:
            continue
        chunks.append(bytes(buffer[pending : f.start]))
        chunks.append(_message(f.number, _strip(buffer, f.payload, f.end, kind, depth + 1)))
        pending = f.end
    chunks.append(bytes(buffer[pending:end]))
    return b"".join(chunks)


def strip_weights(buffer: Buffer) -> bytes:
    """Return the serialized ModelProto without the data of its large tensors, which become references to the file.

    Raises:
        WireError: the bytes are no protobuf message.
    """
    return _strip(buffer, 0, len(buffer), "ModelProto")
