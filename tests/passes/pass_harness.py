"""Running functions before and after passes on random inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_ir.interp import run
from lepton_ir.ir import DType, Function, Module, TensorType

SYMBOLS = {"N": 2, "S": 3}


def random_inputs(function: Function, seed: int = 0) -> list[np.ndarray]:
    """Return an array for every argument; symbols have the sizes in SYMBOLS, other ones 5."""
    rng = np.random.default_rng(seed)
    arrays = []
    for argument in function.arguments:
        assert isinstance(argument.type, TensorType)
        shape = [d if isinstance(d, int) else SYMBOLS.get(str(d), 5) for d in argument.shape]
        dtype = argument.type.dtype
        if dtype is DType.BOOL:
            arrays.append(rng.integers(0, 2, shape).astype(np.bool_))
        elif dtype.is_integer:
            arrays.append(rng.integers(0, 9, shape).astype(dtype.numpy))
        else:
            arrays.append(rng.standard_normal(shape).astype(dtype.numpy))
    return arrays


def outputs(module: Module, name: str, inputs: Sequence[Any]) -> list[np.ndarray]:
    """Run one function by the reference interpreter."""
    return run(module, inputs, function=name)


def assert_same_meaning(before: Module, after: Module, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Compare all functions that both modules have on random inputs."""
    for name, function in before.functions.items():
        if name not in after.functions:
            continue
        for seed in range(2):
            inputs = random_inputs(function, seed)
            expected, found = outputs(before, name, inputs), outputs(after, name, inputs)
            for want, got in zip(expected, found, strict=True):
                assert want.dtype == got.dtype and want.shape == got.shape
                np.testing.assert_allclose(
                    np.asarray(got, np.float64), np.asarray(want, np.float64), rtol, atol, err_msg=name
                )
