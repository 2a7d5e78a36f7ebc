"""Fourier transforms, and the matrices that go with them."""

from __future__ import annotations

import math

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_frontends.onnx.tensors import dtype_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, floordiv
from lepton_ir.ir.types import DType
from lepton_ir.ops.runtime_dims import Require


@onnx_op("DFT", since=17)
def dft_along_attribute(
    b: OnnxBuilder, x: Value, length: Value | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> Value:
    return _dft(b, x, length, axis, inverse=bool(inverse), onesided=bool(onesided))


@onnx_op("DFT", since=20)
def dft(
    b: OnnxBuilder,
    x: Value,
    length: Value | None = None,
    axis: Value | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Value:
    along = -2 if axis is None else b.axes_in(axis, x.rank, "axis", only=range(x.rank - 1))[0]
    return _dft(b, x, length, along, inverse=bool(inverse), onesided=bool(onesided))


def _dft(b: OnnxBuilder, x: Value, length: Value | None, axis: int, *, inverse: bool, onesided: bool) -> Value:
    size = x.shape[b.axis(axis, x.rank)]
    default = 2 * (size - 1) if inverse and onesided else size
    points = default if length is None else b.dims(length, "length of the transform")[0]
    return b.signal_dft(x, length=points, axis=axis, inverse=inverse, onesided=onesided)


@onnx_op("STFT", since=17)
def stft(
    b: OnnxBuilder,
    signal: Value,
    frame_step: Value,
    window: Value | None = None,
    frame_length: Value | None = None,
    *,
    onesided: int = 1,
) -> Value:
    """The frames gathered from the signal, times the window, transformed."""
    if signal.rank != 3:
        raise UnsupportedError(f"its signal is {signal.type}, not of rank 3", "the model is not valid ONNX")
    step = b.dims(frame_step, "frame_step")[0]
    if not isinstance(step, int):
        b.insert(Require.build(left=1, relation="<=", right=step, location=b.location))
    length: Dim = signal.shape[1]
    if frame_length is not None:
        length = b.dims(frame_length, "frame_length")[0]
    elif window is not None:
        length = window.shape[0]
    if (isinstance(step, int) and step < 1) or (isinstance(length, int) and length < 1):
        raise UnsupportedError(f"its frames of {length} elements start every {step} elements")
    room = signal.shape[1] - length
    if isinstance(room, int) and room < 0:
        raise UnsupportedError(f"its frames of {length} elements are longer than the signal, {signal.type}")
    starts = b.tensor_iota(shape=(floordiv(room, step) + 1, 1), axis=0, step=step)
    frames = b.tensor_gather(signal, b.add(starts, b.tensor_iota(shape=(1, length), axis=1)), axis=1)
    if window is not None:
        frames = b.mul(frames, b.reshaped(window, (length, 1)))
    return b.signal_dft(frames, length=length, axis=2, onesided=bool(onesided))


@onnx_op("MelWeightMatrix", since=17)
def mel_weight_matrix(
    b: OnnxBuilder,
    num_mel_bins: Value,
    dft_length: Value,
    sample_rate: Value,
    lower_edge_hertz: Value,
    upper_edge_hertz: Value,
    *,
    output_datatype: int = 1,
) -> Value:
    """Triangles that rise and fall between neighbouring frequencies, equally far apart on the mel scale.

    ``mel(f) = 2595 log10(1 + f / 700)``, as the specification says; as in the reference evaluator, frequencies are
    computed in f64 and rounded down to elements of the spectrum.
    """
    bands = b.dims(num_mel_bins, "num_mel_bins")[0]
    rows = floordiv(b.dims(dft_length, "dft_length")[0], 2) + 1

    def number(value: float) -> Value:
        return b.const(value, dtype=DType.F64)

    def scalar(value: Value) -> Value:
        return b.cast_to(b.reshaped(value, ()), DType.F64)

    per_decade = number(2595 / math.log(10))
    low, high = (
        b.mul(b.log(b.add(b.div(scalar(v), number(700)), number(1))), per_decade)
        for v in (lower_edge_hertz, upper_edge_hertz)
    )
    count = b.reshaped(b.cast(b.tensor_dims(dims=(bands + 2,)), to=DType.F64), ())
    steps = b.tensor_iota(shape=(bands + 2,), axis=0, dtype=DType.F64)
    mel = b.add(b.mul(steps, b.div(b.sub(high, low), count)), low)
    hertz = b.mul(b.sub(b.exp(b.div(mel, per_decade)), number(1)), number(700))
    points = b.floor(b.div(b.mul(b.add(scalar(dft_length), number(1)), hertz), scalar(sample_rate)))
    left, center, right = (
        b.tensor_slice(points, starts=(i,), ends=(bands + i,), axes=(0,), steps=(1,)) for i in range(3)
    )
    place = b.tensor_iota(shape=(rows, 1), axis=0, dtype=DType.F64)
    falls = b.and_(b.ge(place, center), b.lt(place, right))
    rises = b.and_(b.ge(place, left), b.le(place, center))
    up = b.where(b.eq(left, center), number(1), b.div(b.sub(place, left), b.sub(center, left)))
    weight = b.where(rises, up, number(0))
    down = b.div(b.sub(right, place), b.sub(right, center))
    return b.cast_to(b.where(falls, down, weight), dtype_of(output_datatype))
