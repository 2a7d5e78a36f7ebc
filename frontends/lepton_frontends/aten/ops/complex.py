"""Complex numbers: their parts lie side by side in the bits of c64, so kernels take them apart and join them."""

from __future__ import annotations

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.call import view_op
from lepton_frontends.aten.ops.views import expanded
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import category, promoted
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType, broadcast_shapes


def is_complex(x: Value) -> bool:
    """Return whether a tensor holds complex numbers."""
    return category(x.tensor.dtype) == 3


def parts_of(b: AtenBuilder, x: Value) -> tuple[Value, Value]:
    """Return the real and the imaginary parts of complex numbers, f32."""
    if x.tensor.dtype is not DType.C64:
        raise UnsupportedError(f"it takes {x.tensor.dtype} apart", "compute in torch.complex64")
    bits = b.bitcast(x, to=DType.U64)
    low = b.bitwise_and(bits, b.const(np.uint64(2**32 - 1)))
    high = b.shift_right(bits, b.const(np.uint64(32)))
    real, imag = (b.bitcast(b.cast(v, to=DType.U32), to=DType.F32) for v in (low, high))
    return real, imag


def joined_parts(b: AtenBuilder, real: Value, imag: Value) -> Value:
    """Return complex numbers of real and imaginary parts, f32."""
    if real.tensor.dtype is not DType.F32:
        raise UnsupportedError(f"it makes complex numbers of {real.tensor.dtype}", "compute in torch.float32")
    low, high = (b.cast(b.bitcast(v, to=DType.U32), to=DType.U64) for v in (real, imag))
    return b.bitcast(b.bitwise_or(low, b.shift_left(high, b.const(np.uint64(32)))), to=DType.C64)


def paired(b: AtenBuilder, x: Value) -> Value:
    """Return complex numbers as a new last axis of real and imaginary parts."""
    real, imag = (b.reshaped(v, (*x.shape, 1)) for v in parts_of(b, x))
    return b.tensor_concat([real, imag], axis=x.rank)


def unpaired(b: AtenBuilder, x: Value) -> Value:
    """Return what :func:`paired` was given."""
    shape, axis = x.shape[:-1], x.rank - 1
    real, imag = (b.tensor_slice(x, starts=(i,), ends=(i + 1,), axes=(axis,), steps=(1,)) for i in (0, 1))
    return joined_parts(b, b.reshaped(real, shape), b.reshaped(imag, shape))


@aten_op("view_as_real", "view_as_real_copy")
def view_as_real(b: AtenBuilder, self: Value) -> Value:
    return paired(b, self)


@view_op("view_as_real")
def write_view_as_real(b: AtenBuilder, whole: Value, new: Value) -> Value:
    return unpaired(b, new)


@aten_op("view_as_complex", "view_as_complex_copy")
def view_as_complex(b: AtenBuilder, self: Value) -> Value:
    return unpaired(b, self)


@view_op("view_as_complex")
def write_view_as_complex(b: AtenBuilder, whole: Value, new: Value) -> Value:
    return paired(b, new)


@aten_op("complex")
def complex_(b: AtenBuilder, real: Value, imag: Value) -> Value:
    return joined_parts(b, *_alike(b, real, imag))


@aten_op("polar")
def polar(b: AtenBuilder, abs: Value, angle: Value) -> Value:
    size, turn = _alike(b, abs, angle)
    return joined_parts(b, b.mul(size, b.cos(turn)), b.mul(size, b.sin(turn)))


def _alike(b: AtenBuilder, x: Value, y: Value) -> tuple[Value, Value]:
    """Return two tensors in one shape and element type."""
    shape = broadcast_shapes(x.shape, y.shape)
    first, second = (expanded(b, v, shape) for v in promoted(b, x, y))
    return first, second


@aten_op("real")
def real(b: AtenBuilder, self: Value) -> Value:
    return parts_of(b, self)[0] if is_complex(self) else self


@view_op("real")
def write_real(b: AtenBuilder, whole: Value, new: Value) -> Value:
    return joined_parts(b, new, parts_of(b, whole)[1]) if is_complex(whole) else new


@aten_op("imag")
def imag(b: AtenBuilder, self: Value) -> Value:
    if not is_complex(self):
        raise UnsupportedError("it takes the imaginary part of real numbers")
    return parts_of(b, self)[1]


@view_op("imag")
def write_imag(b: AtenBuilder, whole: Value, new: Value) -> Value:
    return joined_parts(b, parts_of(b, whole)[0], new)


@aten_op("conj", "conj_physical", "_conj", "_conj_physical")
def conj(b: AtenBuilder, self: Value) -> Value:
    if not is_complex(self):
        return self
    along, across = parts_of(b, self)
    return joined_parts(b, along, b.neg(across))


def magnitude(b: AtenBuilder, x: Value) -> Value:
    """Return the distance of complex numbers from 0, without overflow on the way."""
    along, across = (b.abs(v) for v in parts_of(b, x))
    large, small = b.maximum(along, across), b.minimum(along, across)
    zero = b.like(large, 0)
    is_plain = b.and_(b.gt(large, zero), b.not_(b.isinf(large)))
    ratio = b.where(is_plain, b.div(small, large), zero)
    return b.mul(large, b.sqrt(b.add(b.like(large, 1), b.mul(ratio, ratio))))


def angle_of(b: AtenBuilder, x: Value) -> Value:
    """Return the angle of complex numbers."""
    along, across = parts_of(b, x)
    return b.atan2(across, along)
