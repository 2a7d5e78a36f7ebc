"""DFT, STFT and MelWeightMatrix beyond ONNX's own cases, against numpy in f64 and ONNX Runtime."""

import numpy as np
import pytest
from node_checks import check, close, compiled, node_model, onnxruntime_of, reference_of, refused

RNG = np.random.default_rng(11)
LENGTHS = [1, 2, 7, 400, 600, 1009]
"""Single products, a split, a prime that becomes a convolution."""


def signal(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def transformed(x, length, axis, inverse, onesided):
    """Return the transform by numpy, in f64."""
    axis, wide = axis % x.ndim, x.astype(np.float64)
    z = wide[..., 0] + 1j * wide[..., 1] if x.shape[-1] == 2 else wide[..., 0]
    if inverse and onesided:
        return np.fft.irfft(z, length, axis)[..., None].astype(x.dtype)
    transform = (np.fft.ifft if inverse else np.fft.rfft) if inverse or onesided else np.fft.fft
    y = transform(z, length, axis)
    return np.stack([y.real, y.imag], -1).astype(x.dtype)


def check_dft(x, axis, inverse=0, onesided=0, length=None):
    size = x.shape[axis]
    points = length or (2 * (size - 1) if inverse and onesided else size)
    arrays = [x, None if length is None else np.array(length), np.array(axis)]
    fixed = (2,) if length is None else (1, 2)
    model = node_model("DFT", arrays, 20, inverse=inverse, onesided=onesided)
    tolerance = 2e-6 if x.dtype == np.float32 else 1e-13
    close(compiled(model, arrays, fixed)[0], transformed(x, points, axis, inverse, onesided), tolerance)


@pytest.mark.parametrize("n", LENGTHS)
def test_lengths(n):
    check_dft(signal(3, n, 1), 1, onesided=1)
    check_dft(signal(3, n, 2), 1, inverse=1)


@pytest.mark.parametrize("n, length", [(2, None), (9, 17), (301, None)])
def test_inverse_of_a_onesided_spectrum(n, length):
    check_dft(signal(2, n, 2), 1, inverse=1, onesided=1, length=length)


def test_cut_and_filled_signals_and_other_axes():
    check_dft(signal(3, 11, 2), 1, length=8)
    check_dft(signal(3, 11, 1), 1, onesided=1, length=20)
    check_dft(signal(7, 5, 2, dtype=np.float64), -3, inverse=1, length=9)
    check_dft(signal(3, 4, 5, 1), 0)
    check_dft(signal(6, 1), 0)


def test_the_axis_is_an_attribute_before_opset_20():
    x = signal(2, 5, 4, 1)
    for axis in (1, -2):
        model = node_model("DFT", [x], 17, axis=axis)
        close(compiled(model, [x])[0], transformed(x, x.shape[axis], axis, 0, 0))
    model = node_model("DFT", [x], 17, onesided=1)
    close(compiled(model, [x])[0], transformed(x, 5, 1, 0, 1))


@pytest.mark.parametrize("inverse, onesided, parts", [(0, 0, 1), (0, 0, 2), (0, 1, 1), (1, 0, 2), (1, 1, 2)])
def test_dynamic_length(inverse, onesided, parts):
    for n in (2, 9, 16):
        x = signal(2, n, parts)
        shapes = {"x0": [2, "N", parts]}
        model = node_model("DFT", [x], 17, shapes=shapes, axis=1, inverse=inverse, onesided=onesided)
        length = 2 * (n - 1) if inverse and onesided else n
        close(compiled(model, [x])[0], transformed(x, length, 1, inverse, onesided), 2e-6)


def test_narrow_floats_are_transformed_in_f32():
    x = signal(2, 40, 2, dtype=np.float16)
    wanted = transformed(x.astype(np.float32), 40, 1, 0, 0)
    close(compiled(node_model("DFT", [x], 17), [x])[0].astype(np.float32), wanted, 1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("given", ["length", "window", "both", "neither"])
def test_stft(given, dtype):
    window = signal(16, dtype=dtype) if given in ("window", "both") else None
    length = np.array(16) if given in ("length", "both") else None
    arrays = [signal(2, 50, 1, dtype=dtype), np.array(7), window, length]
    arrays = arrays if given != "window" else arrays[:3]
    arrays = arrays if given != "neither" else arrays[:2]
    fixed = (1, 3) if length is not None else (1,)
    for onesided in (0, 1):
        oracle = reference_of if given == "neither" else onnxruntime_of
        check("STFT", arrays, 17, oracle, fixed=fixed, onesided=onesided)
    complex_signal = [signal(2, 50, 2, dtype=dtype), *arrays[1:]]
    check("STFT", complex_signal, 17, reference_of, fixed=fixed, onesided=0)


def test_stft_of_a_signal_of_any_length():
    for n in (16, 50):
        arrays = [signal(1, n, 1), np.array(5), signal(16)]
        model = node_model("STFT", arrays, 17, shapes={"x0": [1, "N", 1]})
        wanted = onnxruntime_of(node_model("STFT", arrays, 17), arrays)[0]
        close(compiled(model, arrays, fixed=(1,))[0], wanted)


@pytest.mark.parametrize("fixed", [(0, 1), (0, 1, 2, 3, 4)])
def test_mel_weight_matrix(fixed):
    for bands, length, rate, low, high in ((8, 16, 8192, 0, 4096), (40, 512, 16000, 20, 7600), (3, 7, 100, 1, 50)):
        arrays = [np.array(bands), np.array(length), np.array(rate), np.float32(low), np.float32(high)]
        for kind in (1, 11, 6):
            check("MelWeightMatrix", arrays, 17, reference_of, fixed=fixed, output_datatype=kind)


def test_refusals_name_the_node():
    refused("needs real numbers", "DFT", [signal(1, 8, 2)], 17, onesided=1)
    refused("needs complex numbers", "DFT", [signal(1, 8, 1)], 17, onesided=1, inverse=1)
    refused("1 or 2 parts", "DFT", [signal(1, 8, 3)], 17)
    refused("holds the parts", "DFT", [signal(1, 8, 1)], 17, axis=2)
    refused("does not exist in a tensor of rank 3", "DFT", [signal(1, 8, 1)], 17, axis=3)
    refused("at least 1 point", "DFT", [signal(1, 8, 1), np.array(0)], 17, fixed=(1,))
    refused("longer than the signal", "STFT", [signal(1, 8, 1), np.array(2), signal(9)], 17, fixed=(1,))
    refused("start every 0", "STFT", [signal(1, 8, 1), np.array(0), signal(4)], 17, fixed=(1,))
    refused("not of rank 3", "STFT", [signal(8, 1), np.array(1), signal(4)], 17, fixed=(1,))


@pytest.mark.parametrize("window", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_windows(window):
    for size, periodic, kind in ((3, 0, 1), (7, 1, 1), (64, 0, 11), (65, 1, 10)):
        tolerance = 2e-3 if kind == 10 else 1e-6
        check(window, [np.array(size)], 17, reference_of, fixed=(0,), tolerance=tolerance,
              periodic=periodic, output_datatype=kind)  # fmt: skip
