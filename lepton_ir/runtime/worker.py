"""One virtual machine, which one call at a time may use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from lepton_ir.runtime import native
from lepton_ir.runtime.convert import HostValue, Staging, to_numpy

_RUN = "lepton_run"


class Worker:
    """A virtual machine over a shared library and shared weights.

    Args:
        library: the loaded library.
        weights: the weights as tensors; on the CPU they are moved to the device first.
        kind: the device, a key of :data:`native.DEVICE_TYPES`.
    """

    def __init__(self, library: Any, weights: Sequence[Any], kind: str) -> None:
        self._device = native.DEVICE_TYPES[kind]
        self._on_cpu = kind == "cpu"
        self._vm = library["vm_load_executable"]()
        cpu = (native.DEVICE_TYPES["cpu"], 0, native.POOLED_ALLOCATOR)
        self._vm["vm_initialization"](*(cpu if self._on_cpu else (self._device, 0, native.POOLED_ALLOCATOR, *cpu)))
        self.weights = [self._to_device(w) for w in weights]
        # Binds the weights as the last parameters of main.
        self._vm["save_function"]("main", _RUN, True, *self.weights)
        self._run = self._vm[_RUN]
        self._staging = Staging()

    def run(self, arrays: Sequence[Any], weight_pointers: Collection[int]) -> list[Any]:
        """Return the outputs for the inputs ``arrays`` as arrays of their own.

        Args:
            arrays: the inputs, checked: arrays, or :class:`HostValue` where they are no tensors of numbers.
            weight_pointers: where the weights lie.
        """
        given = [a if isinstance(a, HostValue) else self._staging.tensor(i, a) for i, a in enumerate(arrays)]
        tensors = [t for t in given if not isinstance(t, HostValue)]
        results = self._run(*map(self._to_device, given))
        if not self._on_cpu:
            return [to_numpy(self._to_host(result)) for result in results]
        # An output may be an input, a weight or another output (or a view of it); the caller gets a copy of those.
        taken = {int(t.data_ptr()) for t in tensors}
        outputs: list[Any] = []
        for result in results:
            if isinstance(result, HostValue):
                outputs.append(result.value)
                continue
            pointer = int(result.data_ptr())
            array = to_numpy(result)
            outputs.append(array.copy() if pointer in taken or pointer in weight_pointers else array)
            taken.add(pointer)
        return outputs

    def set_instrument(self, instrument: Callable[..., int]) -> None:
        """Have ``instrument(function, symbol, before, result, *args)`` called around every call of the program."""
        self._vm["set_instrument"](native.tvm_ffi().convert(instrument))

    def _to_device(self, tensor: Any) -> Any:
        if self._on_cpu or isinstance(tensor, HostValue) or tensor.device.dlpack_device_type() == self._device:
            return tensor
        return _copy(tensor, self._device)

    def _to_host(self, tensor: Any) -> Any:
        return _copy(tensor, native.DEVICE_TYPES["cpu"])


def _copy(tensor: Any, device_type: int) -> Any:
    ffi = native.tvm_ffi()
    allocate = ffi.get_global_func("runtime.TVMTensorAllocWithScope")
    copied = allocate(ffi.Shape(tensor.shape), tensor.dtype, ffi.device(device_type, 0), None)
    ffi.get_global_func("runtime.TVMTensorCopyFromTo")(tensor, copied)
    return copied
