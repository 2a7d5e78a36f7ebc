"""signal.dft against numpy, as it is and taken apart."""

from __future__ import annotations

import numpy as np
import pytest
from op_harness import assert_close, evaluate, floats


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 3, 64, 511, 513, 521, 1024, 1042, 2048, 2053])
def test_every_way_of_taking_it_apart(n: int, dtype: type) -> None:
    x = floats(2, n, 2, dtype=dtype)
    z = x[..., 0].astype(np.float64) + 1j * x[..., 1]
    for inverse, transform in ((False, np.fft.fft), (True, np.fft.ifft)):
        y = transform(z, axis=1)
        expected = np.stack([y.real, y.imag], -1).astype(dtype)
        found = evaluate("signal.dft", x / np.float32(n**0.5), length=n, inverse=inverse)
        assert_close(found * n**0.5, expected, 1e-5, 1e-4 if dtype is np.float32 else 1e-9)


@pytest.mark.parametrize("n", [2, 9, 600, 1021])
def test_a_real_signal_and_back(n: int) -> None:
    x = floats(3, n, 1, 1)
    spectrum = evaluate("signal.dft", x / np.float32(n**0.5), length=n, axis=1, onesided=True)
    assert spectrum.shape == (3, n // 2 + 1, 1, 2)
    back = evaluate("signal.dft", spectrum, length=n, axis=1, inverse=True, onesided=True)
    assert_close(back * np.float32(n**0.5), x, 1e-5, 1e-5)
