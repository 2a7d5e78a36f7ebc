"""Loops and calls, compiled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from lepton_backends.tvm.build import build_library
from lepton_backends.tvm.relax_program import build_relax
from small_model import BIAS, N, S, call_kernel, prim_functions

from lepton_ir import runtime
from lepton_ir.artifact import Artifact, Manifest, TensorSpec
from lepton_ir.ir import REGISTRY, Block, Builder, DType, Function, Module, Region, TensorType, tensor
from lepton_ir.target import host_target

ROWS = tensor((N * S, 4))
DIMS = tensor((N, S))
"""Names the symbols, which ``ROWS`` alone does not determine."""
NUMBER, FLAG = tensor((), DType.I64), tensor((), DType.BOOL)
X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(6, 4)
SHAPE = np.zeros((2, 3), np.float32)


def compile_module(module: Module, names: Sequence[str]) -> runtime.CompiledModel:
    program = build_relax(module, prim_functions())
    main = module.main
    manifest = Manifest.of(
        "control",
        [TensorSpec(a.name, a.tensor) for a in main.arguments],
        [TensorSpec(n, v.tensor) for n, v in zip(names, main.results, strict=True)],
        [TensorSpec(name, c.type) for name, c in program.weights.items()],
        host_target(),
    )
    weights = {name: c.array for name, c in program.weights.items()}
    return runtime.load(Artifact(manifest, build_library(program.module, host_target()), weights))


def loop_module(max_trips: bool, condition: bool) -> Module:
    """Return a model that subtracts the bias's opposite in each trip and counts on which trip it was last."""
    types: list[TensorType] = [ROWS, DIMS, NUMBER, FLAG]
    main = Function("main", types, ["x", "dims", "trips", "begin"])
    b = Builder(main.body)
    x, _, trips, begin = main.arguments
    bias = b.const(BIAS, name="bias")
    body = Region(Block([NUMBER, ROWS, NUMBER]))
    inner = Builder(body.block)
    trip, rows, _ = body.block.arguments
    # The condition after a trip is the one from before the loop, a value from outside.
    inner.yield_([begin, call_kernel(inner, "add_bias", rows, bias), trip])
    operands = [trips if max_trips else None, begin if condition else None, [x, trips]]
    loop = b.create(REGISTRY["control.loop"], *operands, regions=[body])
    b.return_(loop.results)
    return Module([main])


@pytest.fixture(scope="module")
def loop() -> runtime.CompiledModel:
    return compile_module(loop_module(True, True), ["y", "last"])


@pytest.mark.parametrize("trips", [0, 1, 2, 500])
def test_loop_runs_so_many_trips(loop: runtime.CompiledModel, trips: int) -> None:
    expected = X
    for _ in range(trips):
        expected = expected + BIAS
    outputs = loop(X, SHAPE, np.array(trips), np.array(True))
    np.testing.assert_array_equal(outputs["y"], expected)
    assert outputs["last"] == (trips - 1 if trips else 0)


def test_loop_that_does_not_begin(loop: runtime.CompiledModel) -> None:
    np.testing.assert_array_equal(loop(X, SHAPE, np.array(3), np.array(False))["y"], X)


def test_loop_without_a_condition_before_it() -> None:
    model = compile_module(loop_module(True, False), ["y", "last"])
    np.testing.assert_array_equal(model(X, SHAPE, np.array(3), np.array(False))["y"], X + BIAS)


def test_loop_without_a_limit() -> None:
    model = compile_module(loop_module(False, True), ["y", "last"])
    np.testing.assert_array_equal(model(X, SHAPE, np.array(3), np.array(False))["y"], X)


def test_function_called_twice() -> None:
    helper = Function("helper", [ROWS], ["x"])
    b = Builder(helper.body)
    b.return_([call_kernel(b, "add_bias", helper.arguments[0], b.const(BIAS, name="bias")), helper.arguments[0]])
    main = Function("main", [ROWS, DIMS], ["x", "dims"])
    b = Builder(main.body)
    once, _ = b.call([main.arguments[0]], callee="helper", result_types=[ROWS, ROWS])
    twice, before = b.call([once], callee="helper", result_types=[ROWS, ROWS])
    b.return_([twice, before])
    outputs = compile_module(Module([main, helper]), ["twice", "once"])(X, SHAPE)
    np.testing.assert_array_equal(outputs["once"], X + BIAS)
    np.testing.assert_array_equal(outputs["twice"], X + BIAS + BIAS)
