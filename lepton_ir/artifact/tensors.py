"""Named arrays as safetensors, laid out so that every array can be used in place from a memory map."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from lepton_ir.artifact.manifest import TensorSpec, typed
from lepton_ir.ir.types import SAFETENSORS, DType

ALIGNMENT = 64
"""Bytes. The code relies on it: aligned vector loads fault on anything less."""


def aligned_empty(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Return an uninitialized C-contiguous array that starts at a multiple of 64 bytes."""
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes].view(dtype).reshape(tuple(shape))


def is_aligned(array: np.ndarray) -> bool:
    """Return whether compiled code can read ``array`` in place."""
    return bool(array.flags.c_contiguous and (array.ctypes.data % ALIGNMENT == 0 or array.size == 0))


def aligned(array: np.ndarray) -> np.ndarray:
    """Return ``array`` itself where compiled code can read it in place, else an aligned copy."""
    if is_aligned(array):
        return array
    copy = aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def encode(arrays: Mapping[str, np.ndarray]) -> tuple[Iterator[memoryview | bytes], int]:
    """Return the chunks of a safetensors file holding ``arrays``, and its size in bytes.

    Arrays keep their order; between them stand padding tensors, since the format allows no holes.
    """
    header: dict[str, object] = {"__metadata__": {"format": "lepton", "alignment": str(ALIGNMENT)}}
    chunks: list[np.ndarray | bytes] = []
    end = 0
    for name, array in arrays.items():
        spelled = SAFETENSORS.get(DType.of(array))
        shape = list(array.shape) if spelled else [array.nbytes]
        header[name] = {"dtype": spelled or "U8", "shape": shape, "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
        chunks.append(array)
        padding = -end % ALIGNMENT
        if padding:
            header[f"__padding__.{end}"] = {"dtype": "U8", "shape": [padding], "data_offsets": [end, end + padding]}
            end += padding
            chunks.append(bytes(padding))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    return _stream(struct.pack("<Q", len(text)) + text, chunks), 8 + len(text) + end


def _stream(head: bytes, chunks: Iterable[np.ndarray | bytes]) -> Iterator[memoryview | bytes]:
    yield head
    for chunk in chunks:
        if isinstance(chunk, bytes):
            yield chunk
        elif chunk.size:
            yield np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data


def decode(data: memoryview, specs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Return the arrays named by ``specs`` as views of ``data``, in the order of ``specs``.

    Args:
        data: a safetensors file.
        specs: key in the file to the tensor it is; symbolic dimensions take the stored sizes.

    Raises:
        ValueError: the file does not hold them so.
    """
    if len(data) < 8:
        raise ValueError("the file is too short")
    (size,) = struct.unpack("<Q", data[:8])
    if size > len(data) - 8:
        raise ValueError("the header is longer than the file")
    try:
        header = json.loads(bytes(data[8 : 8 + size]))
    except RecursionError:
        raise ValueError("the header is nested too deeply") from None
    if not isinstance(header, dict):
        raise ValueError("the header is no object")
    body = data[8 + size :]
    return {key: _array(key, header, body, spec) for key, spec in specs.items()}


def _array(key: str, header: Mapping[str, Any], body: memoryview, spec: TensorSpec) -> np.ndarray:
    if key not in header:
        raise ValueError(f"tensor {key} is missing")
    entry = header[key]
    start, end = _numbers(entry, "data_offsets")
    dtype = spec.type.dtype
    shape = _numbers(entry, "shape") if dtype in SAFETENSORS else spec.type.static_shape
    fits = len(shape) == spec.type.rank and all(
        a == b for a, b in zip(shape, spec.type.shape, strict=True) if isinstance(b, int)
    )
    nbytes = prod(shape) * dtype.numpy.itemsize
    if not fits or not 0 <= start <= end <= len(body) or end - start != nbytes:
        raise ValueError(f"tensor {key} is not a {spec.type}")
    return np.frombuffer(body[start:end], dtype.numpy).reshape(tuple(shape))


def _numbers(entry: Any, key: str) -> list[int]:
    numbers = typed(entry, key, list)
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError(f"{key} is {numbers!r:.60}")
    return numbers
