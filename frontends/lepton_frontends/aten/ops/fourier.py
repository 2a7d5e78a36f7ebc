"""Fourier transforms; complex tensors are taken apart for them and joined again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.complex import is_complex, paired, unpaired
from lepton_frontends.aten.ops.padding import pad
from lepton_frontends.aten.ops.shape import roll
from lepton_frontends.aten.ops.strided import unfold
from lepton_frontends.aten.ops.views import transpose
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import (
    axis_of,
    dim_of,
    dims_of,
    dtype_of,
    floats,
    int_of,
    ints_of,
    number_of,
    tensor_of,
)
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.types import DType

_ONE_AXIS = ("fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_hfft", "fft_ihfft")
_TWO_AXES = tuple(f"{name}2" for name in _ONE_AXIS)
_MANY_AXES = tuple(f"{name}n" for name in _ONE_AXIS)


class _Scale(NamedTuple):
    """The factor ``points ** power``."""

    points: Dim
    power: float


@aten_op(*_ONE_AXIS)
def fft(b: AtenBuilder, self: Value, n: Any = None, dim: Any = -1, norm: str | None = None) -> Value:
    lengths = [None if n is None else dim_of(b, n, "length of the transform")]
    return _transformed(b, b.op.removeprefix("fft_"), self, [axis_of(dim, self.rank)], lengths, norm)


@aten_op(*_TWO_AXES)
def fft2(b: AtenBuilder, self: Value, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Value:
    return _along_many(b, b.op.removeprefix("fft_")[:-1], self, s, dim, norm)


@aten_op(*_MANY_AXES)
def fftn(b: AtenBuilder, self: Value, s: Any = None, dim: Any = None, norm: str | None = None) -> Value:
    return _along_many(b, b.op.removeprefix("fft_")[:-1], self, s, dim, norm)


def _along_many(b: AtenBuilder, kind: str, x: Value, s: Any, dim: Any, norm: str | None) -> Value:
    lengths: list[Dim | None] | None = None
    if s is not None:
        lengths = [None if n == -1 else n for n in dims_of(b, s, "length of the transform")]
    if dim is not None:
        axes = [axis_of(a, x.rank) for a in ints_of(dim, "axis")]
    else:
        axes = list(range(0 if lengths is None else x.rank - len(lengths), x.rank))
    return _transformed(b, kind, x, axes, lengths or [None] * len(axes), norm)


def _transformed(
    b: AtenBuilder, kind: str, x: Value, axes: Sequence[int], given: Sequence[Dim | None], norm: str | None
) -> Value:
    """Transform along some axes; ``kind`` is fft, ifft, rfft, irfft, hfft or ihfft."""
    if not axes:
        return x
    sizes = [x.shape[a] for a in axes]
    if kind in ("irfft", "hfft"):
        sizes[-1] = 2 * (sizes[-1] - 1)
    lengths = [size if n is None else n for size, n in zip(sizes, given, strict=True)]
    scale = _Scale(product(lengths), _power(norm, kind in ("ifft", "irfft", "ihfft")))
    if kind in ("rfft", "ihfft"):
        y = _from_real(b, x, axes, lengths, scale, onesided=True)
        return unpaired(b, _mirrored(b, y) if kind == "ihfft" else y)
    pairs = _pairs(b, x)
    if kind in ("irfft", "hfft"):
        return _to_real(b, _mirrored(b, pairs) if kind == "hfft" else pairs, axes, lengths, scale)
    return unpaired(b, _times(b, _steps(b, pairs, axes, lengths, kind == "ifft"), scale))


def _power(norm: str | None, is_inverse: bool) -> float:
    if norm == "ortho":
        return -0.5
    if norm not in (None, "backward", "forward"):
        raise UnsupportedError(f'its norm is "{norm}"')
    return -1.0 if is_inverse == (norm != "forward") else 0.0


def _pairs(b: AtenBuilder, x: Value) -> Value:
    if is_complex(x):
        return paired(b, x)
    real = floats(b, x)
    return b.reshaped(real, (*x.shape, 1))


def _mirrored(b: AtenBuilder, pairs: Value) -> Value:
    """Return the conjugates."""
    return b.mul(pairs, b.const(np.array([1, -1], pairs.tensor.dtype.numpy))) if pairs.shape[-1] == 2 else pairs


def _times(b: AtenBuilder, x: Value, scale: _Scale) -> Value:
    points, power = scale
    if power == 0 or points == 1:
        return x
    dtype = x.tensor.dtype
    if isinstance(points, int):
        return b.mul(x, b.const(max(points, 1) ** power, dtype=dtype))
    factor = tensor_of(b, points, dtype)
    if power == 1:
        return b.mul(x, factor)
    return b.div(x, factor if power == -1 else b.sqrt(factor))


def _steps(b: AtenBuilder, pairs: Value, axes: Sequence[int], lengths: Sequence[Dim], is_inverse: bool) -> Value:
    """Transform along one axis after the other, without a factor."""
    for axis, n in zip(axes, lengths, strict=True):
        pairs = b.signal_dft(pairs, length=n, axis=axis, inverse=is_inverse)
        pairs = _times(b, pairs, _Scale(n, 1.0)) if is_inverse else pairs
    return pairs


def _from_real(
    b: AtenBuilder, x: Value, axes: Sequence[int], lengths: Sequence[Dim], scale: _Scale, onesided: bool
) -> Value:
    if is_complex(x):
        raise UnsupportedError("a transform of real numbers gets complex ones")
    y = b.signal_dft(_pairs(b, x), length=lengths[-1], axis=axes[-1], onesided=onesided)
    return _times(b, _steps(b, y, axes[:-1], lengths[:-1], False), scale)


def _to_real(b: AtenBuilder, pairs: Value, axes: Sequence[int], lengths: Sequence[Dim], scale: _Scale) -> Value:
    if pairs.shape[-1] == 1:
        pairs = b.tensor_concat([pairs, b.mul(pairs, b.like(pairs, 0))], axis=pairs.rank - 1)
    y = _steps(b, pairs, axes[:-1], lengths[:-1], True)
    last = b.signal_dft(y, length=lengths[-1], axis=axes[-1], inverse=True, onesided=True)
    undone = _times(b, last, _Scale(lengths[-1], 1.0))
    return b.reshaped(_times(b, undone, scale), last.shape[:-1])


def _factor(normalization: Any, sizes: Sequence[Dim]) -> _Scale:
    return _Scale(product(sizes), (0.0, -0.5, -1.0)[int_of(normalization, "normalization")])


def _axes_and_sizes(x: Value, dim: Any) -> tuple[list[int], list[Dim]]:
    axes = [axis_of(a, x.rank) for a in ints_of(dim, "axis")]
    return axes, [x.shape[a] for a in axes]


@aten_op("_fft_r2c")
def fft_r2c(b: AtenBuilder, self: Value, dim: Any, normalization: Any, onesided: bool) -> Value:
    axes, sizes = _axes_and_sizes(self, dim)
    return unpaired(b, _from_real(b, self, axes, sizes, _factor(normalization, sizes), onesided))


@aten_op("_fft_c2c")
def fft_c2c(b: AtenBuilder, self: Value, dim: Any, normalization: Any, forward: bool) -> Value:
    axes, sizes = _axes_and_sizes(self, dim)
    y = _steps(b, _pairs(b, self), axes, sizes, not forward)
    return unpaired(b, _times(b, y, _factor(normalization, sizes)))


@aten_op("_fft_c2r")
def fft_c2r(b: AtenBuilder, self: Value, dim: Any, normalization: Any, last_dim_size: Any) -> Value:
    axes, sizes = _axes_and_sizes(self, dim)
    sizes[-1] = dim_of(b, last_dim_size, "length of the transform")
    return _to_real(b, _pairs(b, self), axes, sizes, _factor(normalization, sizes))


@aten_op("fft_fftshift", "fft_ifftshift")
def fftshift(b: AtenBuilder, self: Value, dim: Any = None) -> Value:
    """Roll every axis by half of its size, rounded down, or back."""
    axes = list(range(self.rank)) if dim is None else [axis_of(a, self.rank) for a in ints_of(dim, "axis")]
    sizes = [self.shape[a] for a in axes]
    shifts = [size // 2 if b.op == "fft_fftshift" else (size + 1) // 2 for size in sizes]
    return roll(b, self, shifts, axes) if axes else self


@aten_op("stft")
def stft(
    b: AtenBuilder, self: Value, n_fft: Any, hop_length: Any = None, win_length: Any = None,
    window: Value | None = None, *rest: Any, **named: Any,
) -> Value:  # fmt: skip
    """Spectra of windows of a signal, [..., frequencies, windows]."""
    # One overload centers the windows; its two arguments come before those of the other.
    is_centered = "center" in named or "pad_mode" in named or (len(rest) > 1 and isinstance(rest[1], str))
    names = ["center", "pad_mode"] if is_centered else []
    names += ["normalized", "onesided", "return_complex", "align_to_window"]
    options = {**dict(zip(names, rest, strict=False)), **named}
    points = int_of(n_fft, "length of the transform")
    hop = points // 4 if hop_length is None else int_of(hop_length, "step")
    x = b.reshaped(self, (1, self.shape[0])) if self.rank == 1 else self
    if options.get("center", is_centered):
        sides = b.reshaped(x, (x.shape[0], 1, x.shape[1]))
        half = points // 2
        x = pad(b, sides, [half, half], options.get("pad_mode", "reflect"))
        x = b.reshaped(x, (x.shape[0], x.shape[2]))
    frames = _windowed(b, unfold(b, x, 1, points, hop), points, win_length, window)
    onesided = options.get("onesided")
    scale = _Scale(points, -0.5 if options.get("normalized") else 0.0)
    y = _from_real(b, frames, [2], [points], scale, onesided is None or bool(onesided))
    y = transpose(b, y, 1, 2)
    y = y if self.rank > 1 else b.reshaped(y, y.shape[1:])
    return unpaired(b, y) if options.get("return_complex") else y


def _windowed(b: AtenBuilder, frames: Value, points: int, win_length: Any, window: Value | None) -> Value:
    """Multiply by the window, which stands in the middle of each frame."""
    width = points if win_length is None else int_of(win_length, "length of the window")
    if window is None and width == points:
        return frames
    weights = b.full((width,), 1, frames.tensor.dtype) if window is None else window
    before = (points - width) // 2
    return b.mul(frames, b.tensor_pad(weights, None, pads=(before, points - width - before)))


_WINDOWS = {"hann_window": (0.5, 0.5), "hamming_window": (0.54, 0.46), "blackman_window": (0.42, 0.5, 0.08)}
"""What multiplies the cosines of 0, 1 and 2 turns, with alternating signs."""


@aten_op(*_WINDOWS)
def window(b: AtenBuilder, window_length: Any, periodic: bool = True, *rest: Any, dtype: Any = None) -> Value:
    length = int_of(window_length, "length of the window")
    factors: Sequence[float] = [float(number_of(r)) for r in rest] or _WINDOWS[b.op]
    if len(factors) == 1:
        factors = (factors[0], 0.46)
    turns = np.arange(length) / max(length if periodic else length - 1, 1)
    values = sum((-1) ** i * f * np.cos(2 * np.pi * i * turns) for i, f in enumerate(factors))
    return b.const(np.asarray(values if length > 1 else np.ones(length)), dtype=dtype_of(dtype, DType.F32))
