"""BitCast between all element types of one width, and Det."""

import numpy as np
import pytest
from lepton_frontends.onnx.load import import_model
from lepton_frontends.onnx.tensors import DTYPES
from node_checks import check, close, compiled, node_model, onnxruntime_of, refused

import lepton_ir
from lepton_ir.interp import run
from lepton_ir.ir import DType

RNG = np.random.default_rng(5)
WHOLE_BYTES = [
    (a, b, number)
    for number, b in DTYPES.items()
    for a in DTYPES.values()
    if a.bits == b.bits >= 8 and not {a, b} & {DType.STR, DType.C64, DType.C128}
]
PARTS = [(a, b) for a in (DType.I4, DType.I2) for b in (DType.U4, DType.U2) if a.bits == b.bits]
NUMBERS = {b: number for number, b in DTYPES.items()}


def any_bits(dtype, *shape):
    """Return an array of random bits, NaN of every kind among them."""
    raw = RNG.integers(0, 256, (*shape, dtype.bits // 8), dtype=np.uint8)
    return (raw % 2 if dtype is DType.BOOL else raw).view(dtype.numpy).reshape(shape)


@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_whole_bytes(width):
    for a, b, number in WHOLE_BYTES:
        if a.bits != width:
            continue
        x = any_bits(a, 5, 13)
        found = compiled_bits(node_model("BitCast", [x], 26, to=number), x)
        wanted = x.view(np.uint8) != 0 if b is DType.BOOL else x
        assert found.dtype == b.numpy and found.tobytes() == wanted.tobytes(), (a, b)


def compiled_bits(model, x):
    module = import_model(model)
    (meant,) = run(module, {"x0": x})
    (found,) = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False))(x)
    assert meant.tobytes() == found.tobytes() and meant.dtype == found.dtype
    return found


@pytest.mark.parametrize("signed, unsigned", PARTS)
def test_parts_of_bytes(signed, unsigned):
    count = 1 << signed.bits
    codes = np.arange(count)
    numbers = np.where(codes >= count // 2, codes - count, codes)
    for a, b, x, wanted in ((signed, unsigned, numbers, codes), (unsigned, signed, codes, numbers)):
        given = x.astype(a.numpy)
        found = compiled_bits(node_model("BitCast", [given], 26, to=NUMBERS[b]), given)
        assert found.dtype == b.numpy
        np.testing.assert_array_equal(found.astype(np.int64), wanted)


def test_widths_must_agree():
    refused("one width, got f32 and f16", "BitCast", [np.ones(3, np.float32)], 26, to=NUMBERS[DType.F16])


@pytest.mark.parametrize("n", [0, 1, 2, 3, 6, 17])
def test_determinants(n):
    x = RNG.standard_normal((3, 2, n, n))
    model = node_model("Det", [x], 22)
    close(compiled(model, [x])[0], np.asarray(np.linalg.det(x)), 1e-12)
    narrow = x.astype(np.float32)
    close(compiled(node_model("Det", [narrow], 11), [narrow])[0], np.linalg.det(x).astype(np.float32), 1e-5)


def test_determinants_of_singular_matrices_and_a_single_one():
    check("Det", [np.zeros((4, 4), np.float32)], 11)
    check("Det", [np.array([[0, 2, 0], [1, 0, 0], [0, 0, 3]], np.float32)], 11, onnxruntime_of)
    refused("square matrices", "Det", [np.zeros((4, 3), np.float32)], 11)
