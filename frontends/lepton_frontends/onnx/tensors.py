"""Tensors of an ONNX file as constants: element types, weights by reference, external data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from onnx import SparseTensorProto, TensorProto

from lepton_frontends.onnx.external import ExternalDataError, ExternalFiles
from lepton_frontends.onnx.tensor_data import DATA_FIELDS, dense, field_of, typed, unpacked
from lepton_frontends.onnx.wire import SELF
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.constant import Constant
from lepton_ir.ir.types import DType, TensorType
from lepton_ir.limits import RAISE_MEMORY, default_memory, element_bits, type_problem

_SPELLING = {
    "FLOAT": "f32", "DOUBLE": "f64", "FLOAT16": "f16", "BFLOAT16": "bf16", "BOOL": "bool", "STRING": "str",
    "INT8": "i8", "INT16": "i16", "INT32": "i32", "INT64": "i64", "INT4": "i4", "INT2": "i2",
    "UINT8": "u8", "UINT16": "u16", "UINT32": "u32", "UINT64": "u64", "UINT4": "u4", "UINT2": "u2",
    "COMPLEX64": "c64", "COMPLEX128": "c128", "FLOAT8E4M3FN": "f8e4m3fn", "FLOAT8E4M3FNUZ": "f8e4m3fnuz",
    "FLOAT8E5M2": "f8e5m2", "FLOAT8E5M2FNUZ": "f8e5m2fnuz", "FLOAT8E8M0": "f8e8m0fnu", "FLOAT4E2M1": "f4e2m1",
    "FLOAT6E2M3": "f6e2m3", "FLOAT6E3M2": "f6e3m2",
}  # fmt: skip
DTYPES: dict[int, DType] = {
    number: DType(_SPELLING[name]) for name, number in TensorProto.DataType.items() if name in _SPELLING
}
_FREE_STANDING = 1 << 16
"""Tensors smaller than this are read at once, so that a small model does not keep its file mapped."""
_UNLIMITED = 1 << 62
_NUMBER = re.compile(r"[0-9]{1,19}")
_DAMAGED = "the file is damaged; export it again"


def dtype_of(number: int) -> DType:
    """Return the element type with ONNX's number.

    Raises:
        LeptonError: Lepton has no such element type.
    """
    found = DTYPES.get(number)
    if found is None:
        known = {v: k for k, v in TensorProto.DataType.items()}
        raise LeptonError(f"element type {known.get(number, number)} is not supported")
    return found


@dataclass
class TensorReader:
    """Turns TensorProtos into constants.

    Attributes:
        path: the model's file, None for a model that was never in one.
        file: the name to report it by.
        root: the folder of the external data; the model's own where None.
        memory: how many bytes sparse tensors may be expanded to.
    """

    path: Path | None = None
    file: str = ""
    root: Path | None = None
    memory: int = field(default_factory=default_memory)
    _files: ExternalFiles | None = None

    def __post_init__(self) -> None:
        if self.path is not None:
            self._files = ExternalFiles(self.path, self.root)

    def read(self, tensor: TensorProto) -> Constant:
        """Return the tensor's data, by reference where the file allows.

        Raises:
            LeptonError: the data is missing, lies outside of its file or does not fit the shape.
        """
        dtype, shape = self._type(tensor)
        try:
            return Constant(self._data(tensor, dtype, shape), tensor.name)
        except ExternalDataError as error:
            raise self._error(tensor, str(error), error.help) from None
        except (ValueError, OverflowError) as error:
            raise self._error(tensor, str(error)) from None

    def read_sparse(self, tensor: SparseTensorProto) -> Constant:
        """Return a sparse tensor's data, zeros included.

        Raises:
            LeptonError: its parts are damaged, do not fit each other, or take more than the memory budget.
        """
        values = self.read(tensor.values)
        try:
            indices = self.read(tensor.indices)
        except LeptonError as error:
            first = error.diagnostics[0]
            raise self._error(tensor.values, f"the indices of its sparse values: {first.why}", first.help) from None
        shape = tuple(tensor.dims)
        problem = type_problem(TensorType(shape, values.type.dtype), self.memory)
        if problem:
            raise self._error(tensor.values, f"as a dense tensor it is {problem}", RAISE_MEMORY)
        self.memory -= prod(shape) * element_bits(values.type.dtype) // 8
        try:
            return Constant(dense(values.array, indices.array, shape), tensor.values.name)
        except ValueError as error:
            raise self._error(tensor.values, str(error)) from None

    def check_reference(self, tensor: TensorProto) -> None:
        """Check that the tensor's data, where it is external, is in a file that may be read.

        Raises:
            LeptonError: it is not.
        """
        location = self._entries(tensor).get("location", "")
        if tensor.data_location != TensorProto.EXTERNAL or location == SELF:
            return
        try:
            self._contents(location)
        except ExternalDataError as error:
            raise self._error(tensor, str(error), error.help) from None

    def _type(self, tensor: TensorProto) -> tuple[DType, tuple[int, ...]]:
        try:
            dtype = dtype_of(tensor.data_type)
        except LeptonError as error:
            raise self._error(tensor, error.diagnostics[0].message) from None
        shape = tuple(tensor.dims)
        if any(d < 0 for d in shape):
            raise self._error(tensor, f"the shape {list(shape)} has a negative dimension")
        problem = type_problem(TensorType(shape, dtype), _UNLIMITED)
        if problem:
            raise self._error(tensor, f"it is {problem}")
        if tensor.HasField("segment"):
            raise self._error(tensor, "it is one segment of a larger tensor", "store the tensor whole")
        return dtype, shape

    def _data(self, tensor: TensorProto, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
        """Return the data; ValueError says what is wrong with it."""
        held = [name for name in DATA_FIELDS if len(getattr(tensor, name))]
        own = "raw_data" if tensor.HasField("raw_data") else field_of(dtype)
        if tensor.data_location == TensorProto.EXTERNAL:
            if held:
                raise ValueError(f"its data is external, and in {held[0]} too")
            return self._external(tensor, dtype, shape)
        if tensor.data_location != TensorProto.DEFAULT:
            raise ValueError(f"its data_location is {tensor.data_location}")
        if any(name != own for name in held):
            raise ValueError(f"its data is in {' and '.join(held)}; {dtype} has it in {field_of(dtype)} or raw_data")
        return _raw(tensor.raw_data, dtype, shape) if own == "raw_data" else typed(tensor, dtype, shape)

    def _external(self, tensor: TensorProto, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
        entries = self._entries(tensor)
        if len(entries) < len(tensor.external_data):
            raise ValueError("its external data is described twice")
        numbers = {key: entries[key] for key in ("offset", "length") if key in entries}
        if not all(_NUMBER.fullmatch(text) for text in numbers.values()):
            raise ValueError("offset or length of the external data is no number")
        data = self._contents(entries.get("location", ""))
        offset, size = int(numbers.get("offset", 0)), len(data)
        length = int(numbers.get("length", max(0, size - offset)))
        if offset + length > size:
            raise ExternalDataError(
                f"bytes {offset} to {offset + length} of its data file, which has {size}",
                "the data file is truncated or belongs to another version of the model",
            )
        needed = (prod(shape) * dtype.bits + 7) // 8
        if length < needed or (length != needed and "length" in entries):
            raise ValueError(f"{length} bytes of external data do not fill {list(shape)} of {dtype}")
        piece = data[offset : offset + needed]
        if needed < _FREE_STANDING or offset % dtype.numpy.itemsize:
            # Misaligned data is read into memory of its own, once: kernels and DLPack want alignment.
            return _raw(bytes(piece), dtype, shape)
        return _raw(piece, dtype, shape)

    def _entries(self, tensor: TensorProto) -> dict[str, str]:
        return {e.key: e.value for e in tensor.external_data}

    def _contents(self, location: str) -> memoryview:
        if self._files is None:
            raise ExternalDataError("its data is external, but the model was not read from a file", _DAMAGED)
        return self._files.own() if location == SELF else self._files.contents(location)

    def _error(self, tensor: TensorProto, why: str, help: str = _DAMAGED) -> LeptonError:
        return LeptonError(f"tensor {tensor.name or '(unnamed)'} cannot be read", self.file, why, help)


def _raw(data: bytes | memoryview, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    """Return the elements that ``data`` holds as a processor has them in memory."""
    if dtype is DType.STR:
        raise ValueError("strings cannot be raw or external data")
    if dtype.bits < 8:
        return unpacked(data, dtype, shape)
    if len(data) != prod(shape) * dtype.numpy.itemsize:
        raise ValueError(f"{len(data)} bytes of data do not fill {list(shape)} of {dtype}")
    if dtype is DType.BOOL and (np.frombuffer(data, np.uint8) > 1).any():
        raise ValueError("a byte of its booleans is neither 0 nor 1")
    return np.frombuffer(data, dtype.numpy).reshape(shape)
