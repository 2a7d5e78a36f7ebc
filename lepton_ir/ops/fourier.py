"""Discrete Fourier transforms as matrix products.

A short transform is one product with the matrix of its roots of unity. A longer one whose length has divisors is
split into two shorter ones (Cooley and Tukey 1965, https://doi.org/10.1090/S0025-5718-1965-0178586-1); one of prime
length becomes a convolution, by three transforms of a power of two (Bluestein 1970,
https://doi.org/10.1109/TAU.1970.1162132). Tensors hold complex numbers as pairs in their last axis.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, dmin
from lepton_ir.ir.types import DType
from lepton_ir.ops.support import Array, ints

if TYPE_CHECKING:
    from lepton_ir.ops.signal import Dft

DIRECT = 512
"""Up to this length a transform is one matrix product."""


def decompose(op: Dft, b: Builder) -> Value:
    """Return what computes a transform."""
    dtype, axis, last = op.x.tensor.dtype, op.signal_axis, op.x.rank - 2
    wide = dtype if dtype in (DType.F32, DType.F64) else DType.F32
    x = op.x if wide is dtype else b.cast(op.x, to=wide)
    order = [a for a in range(op.x.rank) if a not in (axis, op.x.rank - 1)]
    moved = [*order, axis, op.x.rank - 1]
    x = x if axis == last else b.tensor_transpose(x, perm=moved)
    x = _of_length(b, x, op.half if op.onesided and op.inverse else op.length)
    y = _irfft(b, x, op.length) if op.onesided and op.inverse else _fft(b, x, op)
    if axis != last:
        y = b.tensor_transpose(y, perm=[moved.index(a) for a in range(op.x.rank)])
    return y if wide is dtype else b.cast(y, to=dtype)


def _of_length(b: Builder, x: Value, length: Dim) -> Value:
    """Return x with its signals (the last axis but one) cut or filled with zeros."""
    size = x.shape[-2]
    if size == length:
        return x
    kept = dmin(size, length)
    if kept != size:
        x = b.tensor_slice(x, starts=(0,), ends=(kept,), axes=(x.rank - 2,), steps=(1,))
    return x if kept == length else b.tensor_pad(x, pads=[0] * (2 * x.rank - 2) + [length - kept, 0])


def _fft(b: Builder, x: Value, op: Dft) -> Value:
    length, frequencies = op.length, op.half if op.onesided else op.length
    sign = 1 if op.inverse else -1
    if not isinstance(length, int):
        y = _by_computed_matrix(b, x, length, frequencies, sign)
    elif length <= DIRECT:
        y = _by_matrix(b, x, _roots(length, sign), frequencies)
    else:
        y = _split(b, x, length, sign)
        if op.onesided:
            y = b.tensor_slice(y, starts=(0,), ends=(frequencies,), axes=(y.rank - 2,), steps=(1,))
    return _divided(b, y, length) if op.inverse else y


def _divided(b: Builder, y: Value, length: Dim) -> Value:
    dtype = y.tensor.dtype
    if isinstance(length, int):
        return b.mul(y, b.const(1 / max(length, 1), dtype=dtype))
    size = b.cast(b.tensor_reshape(b.tensor_dims(dims=(length,)), shape=()), to=dtype)
    return b.div(y, size)


def _irfft(b: Builder, x: Value, length: Dim) -> Value:
    """Return the real signal of a one-sided spectrum: the other frequencies are the conjugates of these."""
    half = x.shape[-2]
    parts = b.const(np.array([1, -1], x.tensor.dtype.numpy))
    others = b.tensor_slice(x, starts=(1,), ends=(length - half + 1,), axes=(x.rank - 2,), steps=(1,))
    mirrored = b.mul(b.tensor_reverse(others, axes=(x.rank - 2,)), parts)
    y = _transform(b, b.tensor_concat([x, mirrored], axis=x.rank - 2), length, 1)
    real = b.tensor_slice(y, starts=(0,), ends=(1,), axes=(y.rank - 1,), steps=(1,))
    return _divided(b, real, length)


def _transform(b: Builder, x: Value, length: Dim, sign: int) -> Value:
    """Return all frequencies of the signals in the last axis but one."""
    if not isinstance(length, int):
        return _by_computed_matrix(b, x, length, length, sign)
    return _by_matrix(b, x, _roots(length, sign), length) if length <= DIRECT else _split(b, x, length, sign)


def _roots(length: int, sign: int) -> Array:
    """Return the matrix ``exp(sign * 2 pi i k n / length)``."""
    n = np.arange(length)
    return np.asarray(np.exp(sign * 2j * np.pi * (np.outer(n, n) % max(length, 1)) / max(length, 1)))


def _by_matrix(b: Builder, x: Value, roots: Array, frequencies: Dim) -> Value:
    """Multiply by a matrix of complex numbers, as one of real numbers that is twice as wide (and as high)."""
    columns, parts = ints((frequencies, x.shape[-1]))
    kept = roots[:, :columns]
    rows = [np.stack([kept.real, kept.imag], -1), np.stack([-kept.imag, kept.real], -1)][:parts]
    matrix = np.stack(rows, 1).reshape(len(kept) * len(rows), -1).astype(x.tensor.dtype.numpy)
    return _multiplied(b, x, b.const(matrix), frequencies)


def _by_computed_matrix(b: Builder, x: Value, length: Dim, frequencies: Dim, sign: int) -> Value:
    """As :func:`_by_matrix`, for a length that is known only at run time."""
    n = b.tensor_iota(shape=(length, 1), axis=0)
    k = b.tensor_iota(shape=(1, frequencies), axis=1)
    size = b.tensor_reshape(b.tensor_dims(dims=(length,)), shape=())
    turn = b.cast(b.mod(b.mul(n, k), size), to=DType.F64)
    angle = b.mul(b.div(turn, b.cast(size, to=DType.F64)), b.const(sign * 2 * np.pi, dtype=DType.F64))
    real, imag = (b.cast(v, to=x.tensor.dtype) for v in (b.cos(angle), b.sin(angle)))

    def row(*parts: Value) -> Value:
        columns = [b.tensor_reshape(p, shape=(length, 1, frequencies, 1)) for p in parts]
        pair: Value = b.tensor_concat(columns, axis=3)
        return pair

    rows = [row(real, imag)]
    if x.shape[-1] == 2:
        rows.append(row(b.neg(imag), real))
    whole = rows[0] if len(rows) == 1 else b.tensor_concat(rows, axis=1)
    return _multiplied(b, x, b.tensor_reshape(whole, shape=(length * len(rows), frequencies * 2)), frequencies)


def _multiplied(b: Builder, x: Value, matrix: Value, frequencies: Dim) -> Value:
    lead = x.shape[:-2]
    flat = b.tensor_reshape(x, shape=(*(lead or (1,)), x.shape[-2] * x.shape[-1]))
    y: Value = b.tensor_reshape(b.linalg_matmul(flat, matrix), shape=(*lead, frequencies, 2))
    return y


def _times(b: Builder, x: Value, factors: Array) -> Value:
    """Multiply by complex constants that broadcast against x without its last axis."""
    dtype = x.tensor.dtype.numpy
    real = np.stack([factors.real, factors.real], -1).astype(dtype)
    imag = np.stack([-factors.imag, factors.imag], -1).astype(dtype)
    if x.shape[-1] == 1:
        return b.mul(x, b.const(np.stack([factors.real, factors.imag], -1).astype(dtype)))
    turned = b.mul(b.tensor_reverse(x, axes=(x.rank - 1,)), b.const(imag))
    return b.add(b.mul(x, b.const(real)), turned)


def _split(b: Builder, x: Value, length: int, sign: int) -> Value:
    """Two transforms of lengths whose product is the length; see the module's documentation."""
    first = next((d for d in range(isqrt(length), 1, -1) if length % d == 0), None)
    if first is None:
        return _convolved(b, x, length, sign)
    second = length // first
    *lead, _, parts = x.shape
    axes = list(range(len(lead)))
    swap = [*axes, len(lead) + 1, len(lead), len(lead) + 2]
    x = b.tensor_transpose(b.tensor_reshape(x, shape=(*lead, first, second, parts)), perm=swap)
    x = _transform(b, x, first, sign)
    turns = np.outer(np.arange(second), np.arange(first)) / length
    x = b.tensor_transpose(_times(b, x, np.exp(sign * 2j * np.pi * turns)), perm=swap)
    x = b.tensor_transpose(_transform(b, x, second, sign), perm=swap)
    y: Value = b.tensor_reshape(x, shape=(*lead, length, 2))
    return y


def _convolved(b: Builder, x: Value, length: int, sign: int) -> Value:
    """A transform as a convolution with a chirp."""
    n = np.arange(length)
    chirp = np.exp(sign * 1j * np.pi * (n * n % (2 * length)) / length)
    size = 1 << (2 * length - 2).bit_length()
    filter_ = np.zeros(size, np.complex128)
    filter_[:length] = chirp.conj()
    filter_[size - length + 1 :] = chirp[1:][::-1].conj()
    spectrum = _transform(b, _of_length(b, _times(b, x, chirp), size), size, -1)
    product = _times(b, spectrum, np.fft.fft(filter_) / size)
    return _times(b, _of_length(b, _transform(b, product, size, 1), length), chirp)
