"""Types: ranked tensors with symbolic dimensions, sequences, optionals and maps."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

from lepton_ir.ir.dim import Dim, dmax, is_static, product, substitute, symbols


class DType(enum.Enum):
    """An element type; the value is its spelling in the text form."""

    BOOL = "bool"
    I8 = "i8"
    I16 = "i16"
    I32 = "i32"
    I64 = "i64"
    U8 = "u8"
    U16 = "u16"
    U32 = "u32"
    U64 = "u64"
    F16 = "f16"
    BF16 = "bf16"
    F32 = "f32"
    F64 = "f64"
    C64 = "c64"
    C128 = "c128"
    F8E4M3FN = "f8e4m3fn"
    F8E4M3FNUZ = "f8e4m3fnuz"
    F8E5M2 = "f8e5m2"
    F8E5M2FNUZ = "f8e5m2fnuz"
    F8E8M0FNU = "f8e8m0fnu"
    F6E2M3 = "f6e2m3"
    F6E3M2 = "f6e3m2"
    F4E2M1 = "f4e2m1"
    I4 = "i4"
    U4 = "u4"
    I2 = "i2"
    U2 = "u2"
    STR = "str"

    # Members are singletons, so identity hashing is right, and much faster than Enum's own.
    __hash__ = object.__hash__

    @cached_property
    def numpy(self) -> np.dtype:
        """The numpy (or ml_dtypes) dtype of an array of these elements."""
        return np.dtype(_NUMPY[self])

    @cached_property
    def is_float(self) -> bool:
        return self.value[0] == "f" or self is DType.BF16

    @cached_property
    def is_integer(self) -> bool:
        return self.value[0] in "iu"

    @cached_property
    def is_signed(self) -> bool:
        return self.value[0] in "ifbc" and self is not DType.BOOL

    @cached_property
    def bits(self) -> int:
        """Bits of one element as stored densely (int4: 4); 0 for strings."""
        if self is DType.STR:
            return 0
        return _SUB_BYTE.get(self, self.numpy.itemsize * 8)

    @staticmethod
    def of(array_or_dtype: np.ndarray | np.dtype | type) -> DType:
        """Return the element type of a numpy array or dtype.

        Raises:
            KeyError: Lepton has no such element type.
        """
        dtype = array_or_dtype.dtype if isinstance(array_or_dtype, np.ndarray) else np.dtype(array_or_dtype)
        return DType.STR if dtype.kind in "OSUT" else _FROM_NUMPY[dtype]

    def __str__(self) -> str:
        return str(self.value)

    def __repr__(self) -> str:
        return f"DType.{self.name}"


_NUMPY: dict[DType, Any] = {
    DType.BOOL: np.bool_,
    DType.I8: np.int8,
    DType.I16: np.int16,
    DType.I32: np.int32,
    DType.I64: np.int64,
    DType.U8: np.uint8,
    DType.U16: np.uint16,
    DType.U32: np.uint32,
    DType.U64: np.uint64,
    DType.F16: np.float16,
    DType.BF16: ml_dtypes.bfloat16,
    DType.F32: np.float32,
    DType.F64: np.float64,
    DType.C64: np.complex64,
    DType.C128: np.complex128,
    DType.F8E4M3FN: ml_dtypes.float8_e4m3fn,
    DType.F8E4M3FNUZ: ml_dtypes.float8_e4m3fnuz,
    DType.F8E5M2: ml_dtypes.float8_e5m2,
    DType.F8E5M2FNUZ: ml_dtypes.float8_e5m2fnuz,
    DType.F8E8M0FNU: ml_dtypes.float8_e8m0fnu,
    DType.F6E2M3: ml_dtypes.float6_e2m3fn,
    DType.F6E3M2: ml_dtypes.float6_e3m2fn,
    DType.F4E2M1: ml_dtypes.float4_e2m1fn,
    DType.I4: ml_dtypes.int4,
    DType.U4: ml_dtypes.uint4,
    DType.I2: ml_dtypes.int2,
    DType.U2: ml_dtypes.uint2,
    DType.STR: np.object_,
}
_SUB_BYTE = {
    DType.F6E2M3: 6, DType.F6E3M2: 6, DType.F4E2M1: 4, DType.I4: 4, DType.U4: 4, DType.I2: 2, DType.U2: 2,
}  # fmt: skip
SAFETENSORS = {
    DType.BOOL: "BOOL",
    DType.I8: "I8",
    DType.I16: "I16",
    DType.I32: "I32",
    DType.I64: "I64",
    DType.U8: "U8",
    DType.U16: "U16",
    DType.U32: "U32",
    DType.U64: "U64",
    DType.F16: "F16",
    DType.BF16: "BF16",
    DType.F32: "F32",
    DType.F64: "F64",
    DType.C64: "C64",
    DType.F8E4M3FN: "F8_E4M3",
    DType.F8E5M2: "F8_E5M2",
}
"""Element types that the safetensors format knows, by its names; others are stored as bytes."""
_FROM_NUMPY = {d.numpy: d for d in DType if d is not DType.STR}


@dataclass(frozen=True)
class TensorType:
    """A ranked tensor, ``tensor<Nx3x224x224xf32>``."""

    shape: tuple[Dim, ...]
    dtype: DType

    @property
    def rank(self) -> int:
        return len(self.shape)

    @cached_property
    def is_static(self) -> bool:
        """Whether every dimension is a number."""
        return is_static(self.shape)

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape as numbers.

        Raises:
            ValueError: a dimension is symbolic.
        """
        if not self.is_static:
            raise ValueError(f"{self} has symbolic dimensions")
        return tuple(int(d) for d in self.shape)  # type: ignore[arg-type]

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return product(self.shape)

    @property
    def nbytes(self) -> Dim:
        """The number of bytes (sub-byte elements packed)."""
        size = self.size
        return (size * self.dtype.bits + 7) // 8 if isinstance(size, int) else size * max(1, self.dtype.bits // 8)

    def with_shape(self, shape: Sequence[Dim]) -> TensorType:
        return TensorType(tuple(shape), self.dtype)

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(self.shape, dtype)

    def symbols(self) -> frozenset[str]:
        return frozenset().union(*(symbols(d) for d in self.shape))

    def substitute(self, env: Mapping[str, Dim]) -> TensorType:
        return TensorType(tuple(substitute(d, env) for d in self.shape), self.dtype)

    def __str__(self) -> str:
        dims = [str(d) if isinstance(d, int) or str(d).isidentifier() else f"({d})" for d in self.shape]
        # "Nx3" is read as the dimension N and 3, so a name that could be misread stands in parentheses.
        dims = [f"({d})" if d.isidentifier() and "x" in d else d for d in dims]
        return f"tensor<{'x'.join([*dims, str(self.dtype)])}>"


@dataclass(frozen=True)
class UnrankedType:
    """A tensor of any shape, ``tensor<*xf32>``: an element of a sequence about which the model says no more."""

    dtype: DType

    def __str__(self) -> str:
        return f"tensor<*x{self.dtype}>"


@dataclass(frozen=True)
class SequenceType:
    """A list of values of one type, ``seq<tensor<4xf32>>``."""

    element: Type

    def __str__(self) -> str:
        return f"seq<{self.element}>"


@dataclass(frozen=True)
class OptionalType:
    """A value that may be absent, ``optional<tensor<4xf32>>``."""

    element: Type

    def __str__(self) -> str:
        return f"optional<{self.element}>"


@dataclass(frozen=True)
class MapType:
    """A dictionary, ``map<i64, f32>``: its keys are integers or strings, its values scalars."""

    key: DType
    value: DType

    def __str__(self) -> str:
        return f"map<{self.key}, {self.value}>"


Type: TypeAlias = TensorType | SequenceType | OptionalType | UnrankedType | MapType


def is_numeric(type: Type) -> bool:
    """Return whether values of the type are tensors of numbers, which compiled kernels take.

    Complex numbers of 128 bits are none: no machine word holds one.
    """
    return isinstance(type, TensorType) and type.dtype not in (DType.STR, DType.C128)


def symbols_in(type: Type) -> frozenset[str]:
    """Return the names of dimensions in a type, those of the elements of sequences and optionals included."""
    if isinstance(type, (SequenceType, OptionalType)):
        return symbols_in(type.element)
    return type.symbols() if isinstance(type, TensorType) else frozenset()


def tensor(shape: Sequence[Dim], dtype: DType = DType.F32) -> TensorType:
    """Return ``TensorType(tuple(shape), dtype)``."""
    return TensorType(tuple(shape), dtype)


def broadcast_shapes(*shapes: Sequence[Dim]) -> tuple[Dim, ...]:
    """Return the numpy broadcast of the shapes.

    A symbolic dimension against a number other than 1 takes the number; of two different symbolic dimensions, which
    may turn out to be equal or one of them 1, it is the larger one.

    Raises:
        ValueError: two dimensions cannot be broadcast.
    """
    rank = max((len(s) for s in shapes), default=0)
    out: list[Dim] = []
    for axis in range(-rank, 0):
        dim: Dim = 1
        for shape in shapes:
            d = shape[axis] if -axis <= len(shape) else 1
            if d == dim or (isinstance(d, int) and d == 1):
                continue
            if (isinstance(dim, int) and dim == 1) or (isinstance(d, int) and not isinstance(dim, int)):
                dim = d
            elif not isinstance(d, int) and not isinstance(dim, int):
                dim = dmax(dim, d)
            elif isinstance(dim, int) and isinstance(d, int):
                listed = " and ".join(f"[{', '.join(map(str, s))}]" for s in shapes)
                raise ValueError(f"shapes {listed} do not broadcast: {dim} against {d}")
        out.append(dim)
    return tuple(out)
