"""What a tensor says about itself: sizes, rank, element count, its number."""

from __future__ import annotations

from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.numbers import compute, scalar_of
from lepton_frontends.aten.rules import Scalar, aten_op
from lepton_frontends.aten.types import axis_of, category
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product


@aten_op("size", "sym_size")
def size(b: AtenBuilder, self: Value, dim: Any = None) -> Any:
    return list(self.shape) if dim is None else self.shape[axis_of(dim, self.rank)]


@aten_op("dim")
def dim(b: AtenBuilder, self: Value) -> int:
    return self.rank


@aten_op("numel", "sym_numel")
def numel(b: AtenBuilder, self: Value) -> Dim:
    return product(self.shape)


@aten_op("stride", "sym_stride")
def stride(b: AtenBuilder, self: Value, dim: Any = None) -> Any:
    """The strides of a dense tensor, as every tensor of a compiled program is."""
    strides: list[Dim] = []
    step: Dim = 1
    for d in reversed(self.shape):
        strides.append(step)
        step = d * step
    strides.reverse()
    return strides if dim is None else strides[axis_of(dim, self.rank)]


@aten_op("storage_offset", "sym_storage_offset")
def storage_offset(b: AtenBuilder, self: Value) -> int:
    return 0


@aten_op("is_floating_point")
def is_floating_point(b: AtenBuilder, self: Value) -> bool:
    return category(self.tensor.dtype) == 2


@aten_op("is_complex")
def is_complex(b: AtenBuilder, self: Value) -> bool:
    return category(self.tensor.dtype) == 3


@aten_op("is_contiguous", "sym_is_contiguous")
def is_contiguous(b: AtenBuilder, self: Value) -> bool:
    return True


@aten_op("is_nonzero")
def is_nonzero(b: AtenBuilder, self: Value) -> Any:
    return Scalar(b.reshaped(b.ne(self, b.like(self, 0)), ()))


@aten_op("item", "_local_scalar_dense")
def item(b: AtenBuilder, self: Value) -> Any:
    """The number in a tensor: Python's where it is known, a size, or one of the run."""
    return scalar_of(b, self)


@aten_op("sym_constrain_range", "sym_constrain_range_for_size")
def constrain_range(b: AtenBuilder, size: Any, *, min: Any = None, max: Any = None) -> None:
    """Have the program check a range that its exporter relied on."""
    for name, bound in (("ge", min), ("le", max)):
        holds = True if bound is None else compute(b, name, size, bound)
        if isinstance(holds, Scalar):
            b.control_require(holds.value, message=f"a size is not {'at least' if name == 'ge' else 'at most'} {bound}")
        elif not holds:
            raise UnsupportedError(f"needs a size from {min} to {max}, and it is {size}")


@aten_op("_assert_tensor_metadata")
def promise(b: AtenBuilder, *_: Any, **__: Any) -> None:
    """What the exporter promises about a tensor; nothing is computed."""
