"""Constant data, held by reference and compared by content."""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np

from lepton_ir.ir.types import DType, TensorType


class Constant:
    """An immutable array with an optional name.

    The array is referenced, never copied: it may lie over a memory-mapped file. Two constants are equal when
    dtype, shape and bytes are.

    Attributes:
        array: the data; read-only.
        name: the name that the model gave it, or "".
    """

    __slots__ = ("__dict__", "array", "name")

    def __init__(self, array: np.ndarray, name: str = "") -> None:
        array = np.asarray(array)
        if array.flags.writeable:
            array = array.view()
            array.flags.writeable = False
        self.array = array
        self.name = name

    @cached_property
    def type(self) -> TensorType:
        return TensorType(tuple(self.array.shape), DType.of(self.array))

    @property
    def nbytes(self) -> int:
        return int(self.array.nbytes)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of dtype, shape and bytes, in hexadecimal."""
        h = hashlib.sha256(str(self.type).encode())
        if self.array.dtype == np.object_:
            h.update(repr(self.array.tolist()).encode())
        else:
            h.update(np.ascontiguousarray(self.array).view(np.uint8).reshape(-1).data)
        return h.hexdigest()

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Constant) or self.type != other.type:
            return False
        if self.array is other.array:
            return True
        return self.digest == other.digest

    @cached_property
    def _hash(self) -> int:
        if self.nbytes <= 256 or self.array.dtype == np.object_:
            return hash(self.digest)
        # Hashing every weight would read the whole model; a few elements tell nearly all apart, and == is exact.
        return hash((self.type, self.array.flat[:: max(1, self.array.size // 32)].tobytes()))

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Constant({self.name or self.type})"
