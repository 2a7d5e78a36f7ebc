"""Kernels that reduce what an expansion makes: all lanes of a vector then read one element."""

from __future__ import annotations

import numpy as np
import pytest

import lepton_ir
import lepton_ir.runtime
from lepton_ir.interp import run
from lepton_ir.text import parse_module

CASES = {
    "mean": (
        "tensor<Nx4x1x1xf32>",
        "%0 = tensor.expand(%x) {shape = [N, 4, 6, 6]}\n %1 = reduce.mean(%0) {axes = [2, 3]}",
    ),
    "softmax": (
        "tensor<Nx4x6x20xf32>",
        "%0 = tensor.expand(%x) {shape = [N, 4, 6, 20]}\n %1 = nn.softmax(%0) {axis = 3}",
    ),
    "leading_axis": (
        "tensor<Nx1x6x20xf32>",
        "%0 = tensor.expand(%x) {shape = [N, 4, 6, 20]}\n %1 = reduce.max(%0) {axes = [1]}",
    ),
}


@pytest.mark.parametrize(("result", "body"), CASES.values(), ids=CASES)
def test_against_the_interpreter(result: str, body: str) -> None:
    text = f"module {{\n func @main(%x: tensor<Nx4x6x1xf32>) -> ({result}) {{\n {body}\n return %1\n }}\n}}"
    module = parse_module(text)
    model = lepton_ir.runtime.load(lepton_ir.compile(module.clone()))
    x = np.random.default_rng(0).standard_normal((3, 4, 6, 1)).astype(np.float32)
    np.testing.assert_allclose(model(x)[0], run(module, [x])[0], rtol=1e-5, atol=1e-6)
