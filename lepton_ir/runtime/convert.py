"""Arrays in and out: numpy and DLPack to TVM's tensors and back, copying only where the code demands it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_ir.artifact.tensors import aligned_empty, is_aligned
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.types import DType
from lepton_ir.runtime import native

_CPU = 1
_DTYPES = {dtype.numpy.name: dtype for dtype in DType if dtype is not DType.STR}
"""TVM spells element types as numpy does."""
_DLPACK_KINDS = "biufc"
"""Of numpy's own types; the "f" of float8_e5m2 is one that DLPack does not take."""
_SUB_BYTE = {
    **dict.fromkeys((DType.I4, DType.I2), np.dtype(np.int8)),
    **dict.fromkeys((DType.U4, DType.U2), np.dtype(np.uint8)),
    **dict.fromkeys((DType.F4E2M1, DType.F6E2M3, DType.F6E3M2), DType.F8E4M3FN.numpy),
}
"""Numbers below a byte take a byte each in compiled code, in a type that holds all of them."""


class HostValue:
    """A value that only the host looks into: an array of strings, a list of values, or None for an absent optional."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Memory:
    """What numpy makes a writable array of, over memory that ``owner`` keeps alive."""

    def __init__(self, owner: Any, pointer: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._owner = owner
        typestr = dtype.str if _is_dlpack(dtype) else f"|V{dtype.itemsize}"
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": typestr, "data": (pointer, False)}


def _is_dlpack(dtype: np.dtype) -> bool:
    return dtype.kind in _DLPACK_KINDS and dtype.isbuiltin != 2


def to_numpy(tensor: Any) -> np.ndarray:
    """Return a writable array over the memory of a contiguous TVM tensor on the CPU."""
    dtype = _DTYPES[str(tensor.dtype)].numpy
    shape = tuple(tensor.shape)
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.asarray(Memory(tensor, tensor.data_ptr(), shape, dtype)).view(dtype)


def to_tensor(array: np.ndarray) -> Any:
    """Return a TVM tensor over an aligned, contiguous array, without copying; compiled code only reads it."""
    ffi = native.tvm_ffi()
    if array.size == 0:
        # numpy's strides of an array without elements are not those that compiled code checks for.
        view = ffi.get_global_func("runtime.TVMTensorCreateView")
        return view(ffi.from_dlpack(np.zeros(1, np.uint64)), ffi.Shape(array.shape), array.dtype.name, 0)
    if not array.flags.writeable:
        # DLPack, as TVM speaks it, has no word for read-only memory.
        array = np.asarray(Memory(array, array.ctypes.data, array.shape, array.dtype)).view(array.dtype)
    if _is_dlpack(array.dtype):
        return ffi.from_dlpack(array)
    raw = ffi.from_dlpack(array.view(f"u{array.dtype.itemsize}"))
    return ffi.get_global_func("runtime.TVMTensorCreateView")(raw, ffi.Shape(array.shape), array.dtype.name, 0)


def as_stored(array: np.ndarray) -> np.ndarray:
    """Return the array as compiled code holds its element type: complex numbers, which it only moves, by their bits."""
    if array.dtype.kind == "O":
        return array
    if array.dtype == np.complex64:
        return array.view(np.uint64)
    stored = _SUB_BYTE.get(_DTYPES[array.dtype.name])
    return array if stored is None else array.astype(stored)


def from_stored(array: np.ndarray, dtype: DType) -> np.ndarray:
    """Return the array in the element type ``dtype``; the inverse of :func:`as_stored`."""
    if dtype is DType.C64:
        return array.view(np.complex64)
    return array.astype(dtype.numpy) if dtype in _SUB_BYTE else array


def view_argument(name: str, value: Any) -> Any:
    """Return what the caller passed as a numpy array, or as a TVM tensor where numpy lacks the element type.

    Raises:
        LeptonError: it is neither an array nor speaks DLPack, or it lies on another device.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if not hasattr(value, "__dlpack__"):
        raise LeptonError(
            f"the input {name} is no array",
            why=f"it is a {type(value).__module__}.{type(value).__qualname__}",
            help="pass a numpy array, or any object with __dlpack__ (torch, jax, cupy)",
        )
    device = value.__dlpack_device__()
    if int(device[0]) != _CPU:
        raise LeptonError(f"the input {name} lies on another device", why=f"DLPack device {tuple(map(int, device))}")
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError):
        return to_numpy(_contiguous(native.tvm_ffi().from_dlpack(value)))


def _contiguous(tensor: Any) -> Any:
    if tensor.is_contiguous():
        return tensor
    raise LeptonError("an input is not contiguous", help="pass a contiguous tensor: tensor.contiguous()")


def dtype_of(array: np.ndarray) -> DType | str:
    """Return the element type, or numpy's name of it where Lepton has none."""
    if array.dtype.kind in "OSUT":
        return DType.STR
    return _DTYPES.get(array.dtype.name, array.dtype.name)


class Staging:
    """Aligned buffers, one per input, reused from call to call, since fresh memory costs a fault per page."""

    def __init__(self) -> None:
        self._buffers: dict[int, np.ndarray] = {}

    def tensor(self, index: int, array: np.ndarray) -> Any:
        """Return a TVM tensor with the content of ``array``, over its own memory where that can be read in place."""
        if is_aligned(array):
            return to_tensor(array)
        buffer = self._buffers.get(index)
        if buffer is None or buffer.shape != array.shape or buffer.dtype != array.dtype:
            buffer = self._buffers[index] = aligned_empty(array.shape, array.dtype)
        buffer[...] = array
        return to_tensor(buffer)
