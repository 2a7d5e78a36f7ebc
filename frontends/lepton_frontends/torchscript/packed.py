"""The packed weights of quantized layers, which PyTorch saves as the states of custom classes.

Source: aten/src/ATen/native/quantized/cpu/conv_serialization.h and fbgemm_utils.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.call import Tensor
from lepton_frontends.aten.quantized import PackedParams, QuantizedTensor
from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.torchscript.unpickle import ScriptObject

_CLASSES = "__torch__.torch.classes.quantized."
_VERSION = "2"


def is_packed(value: Any) -> bool:
    """Return whether a value of the archive holds packed weights."""
    return isinstance(value, ScriptObject) and value.type.startswith(_CLASSES)


def unpacked(b: AtenBuilder, packed: ScriptObject, loaded: Callable[[Any], Any]) -> PackedParams:
    """Return packed weights.

    Args:
        b: reads the tensors.
        packed: the object.
        loaded: turns what the archive holds into tensors.

    Raises:
        UnsupportedError: they are of a class or a version that is not known.
    """
    kind, state = packed.type.removeprefix(_CLASSES), loaded(packed.state)
    if kind == "LinearPackedParamsBase" and isinstance(state, (tuple, list)) and len(state) == 2:
        return PackedParams(_weight(state[0]), _bias(b, state[1]))
    if kind in ("Conv2dPackedParamsBase", "Conv3dPackedParamsBase") and isinstance(state, tuple) and len(state) == 3:
        return _convolution(b, *state)
    raise UnsupportedError(f"reads packed weights of the class quantized.{kind}, in a form that Lepton does not know")


def _weight(value: Any) -> QuantizedTensor:
    if not isinstance(value, QuantizedTensor):
        raise UnsupportedError("reads packed weights that are not quantized")
    return value


def _bias(b: AtenBuilder, value: Any) -> Any:
    return value.read(b) if isinstance(value, Tensor) else None


def _convolution(b: AtenBuilder, version: Any, tensors: Sequence[Any], optional: Sequence[Any]) -> PackedParams:
    """The first tensor holds the spatial rank, stride, padding, dilation, output padding, groups, transposed."""
    if version != _VERSION or len(tensors) != 2:
        raise UnsupportedError(f"reads packed weights of version {version}, and Lepton knows version {_VERSION}")
    array = b.array(tensors[0].read(b))
    if array is None:
        raise UnsupportedError("reads packed weights without their parameters")
    rank, *numbers = (int(n) for n in array.reshape(-1))
    stride, padding, dilation, output_padding = (tuple(numbers[i * rank : (i + 1) * rank]) for i in range(4))
    groups, transposed = numbers[4 * rank : 4 * rank + 2]
    bias = _bias(b, optional[0]) if optional else None
    return PackedParams(_weight(tensors[1]), bias, stride, padding, dilation, groups, output_padding, bool(transposed))
