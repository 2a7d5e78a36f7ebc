"""Computing in the element type that PyTorch computes in, and rounding once."""

from __future__ import annotations

from collections.abc import Callable

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.types import category
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.types import DType


def wide_type(dtype: DType) -> DType:
    """Return the type that functions of real numbers are computed in: f32 for narrower floats and for integers."""
    return dtype if dtype is DType.F64 or category(dtype) > 2 else DType.F32


def rounded_once(b: AtenBuilder, compute: Callable[..., Value], *given: Value, double: bool = False) -> Value:
    """Return a function of tensors of one type, computed in f32 where they are narrower, or in f64 if ``double``.

    Integers become f32.
    """
    own = given[0].tensor.dtype
    target = own if category(own) >= 2 else DType.F32
    inner = DType.F64 if double else wide_type(own)
    return b.convert(compute(*(b.convert(g, inner) for g in given)), target)


def refuse_complex(*given: Value) -> None:
    """Check that no tensor holds complex numbers.

    Raises:
        UnsupportedError: one does.
    """
    if any(category(g.tensor.dtype) == 3 for g in given):
        raise UnsupportedError("it computes with complex numbers", "compute with real and imaginary parts")


def dim_tensor(b: AtenBuilder, dim: Dim, dtype: DType) -> Value:
    """Return a dimension as a tensor of rank 0."""
    return b.convert(b.reshaped(b.tensor_dims(dims=(dim,)), ()), dtype)


def squeezed(b: AtenBuilder, x: Value, axes: tuple[int, ...], keepdim: bool) -> Value:
    """Return a reduction whose axes have size 1, without these unless they are to be kept."""
    return x if keepdim else b.reshaped(x, tuple(d for i, d in enumerate(x.shape) if i not in axes))
