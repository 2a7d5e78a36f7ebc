"""Conversions between element types, and copies."""

from __future__ import annotations

from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import dtype_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType

_NAMED = {"float": DType.F32, "double": DType.F64, "half": DType.F16, "bfloat16": DType.BF16, "int": DType.I32,
          "long": DType.I64, "short": DType.I16, "char": DType.I8, "byte": DType.U8, "bool": DType.BOOL}  # fmt: skip


@aten_op("to", "_to_copy", "_autocast_to_reduced_precision", "_autocast_to_full_precision")
def to(b: AtenBuilder, self: Value, *given: Any, dtype: Any = None, other: Any = None, **_: Any) -> Value:
    """The overloads have the element type first, after a device, or take it from another tensor."""
    if b.op.startswith("_autocast"):
        return self
    for item in ([other] if other is not None else []) + list(given):
        if isinstance(item, Value):
            return b.convert(self, item.tensor.dtype)
    if dtype is None:
        codes = [g for g in given if isinstance(g, DType) or (isinstance(g, int) and not isinstance(g, bool))]
        dtype = codes[0] if codes else None
    return self if dtype is None else b.convert(self, dtype_of(dtype))


@aten_op("type_as")
def type_as(b: AtenBuilder, self: Value, other: Value) -> Value:
    return b.convert(self, other.tensor.dtype)


@aten_op(*_NAMED)
def named(b: AtenBuilder, self: Value) -> Value:
    return b.convert(self, _NAMED[b.op])


@aten_op("contiguous", "clone", "detach", "alias", "lift_fresh_copy", "lift_fresh", "lift", "cpu", "cuda",
         "detach_copy", "alias_copy", "requires_grad", "pin_memory", "view_of", "data")  # fmt: skip
def copied(b: AtenBuilder, self: Value, *_: Any, **__: Any) -> Value:
    return self


@aten_op("copy")
def copy(b: AtenBuilder, self: Value, src: Value, non_blocking: Any = False) -> Value:
    value = b.convert(src, self.tensor.dtype)
    if value.rank > self.rank:
        value = b.reshaped(value, value.shape[value.rank - self.rank :])
    return value if tuple(value.shape) == tuple(self.shape) else b.tensor_expand(value, shape=tuple(self.shape))


@aten_op("_shape_as_tensor")
def shape_as_tensor(b: AtenBuilder, self: Value) -> Value:
    return b.tensor_dims(dims=tuple(self.shape))
