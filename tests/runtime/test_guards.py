"""Values that an operator has no meaning for end in an error, compiled and interpreted, with the same words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from test_cpp_example import _run, example  # noqa: F401 - the fixture

import lepton_ir
from lepton_ir.artifact import Golden
from lepton_ir.cli.main import EXIT_BAD_INPUT, main
from lepton_ir.diagnostics import LeptonError
from lepton_ir.interp import run
from lepton_ir.ir import Builder, DType, Function, Location, Module, TensorType, Value, sym, tensor
from lepton_ir.verifier import verify

N, M = sym("N"), sym("M")
LOWEST = np.iinfo(np.int64).min
Build = Callable[..., Value]


def module_of(types: Sequence[TensorType], build: Build) -> Module:
    function = Function("main", types, [f"x{i}" for i in range(len(types))])
    b = Builder(function.body, location=Location("model.onnx", "emb/lookup"))
    b.return_([build(b, *function.arguments)])
    module = Module([function])
    verify(module)
    return module


def i64(*values: int, shape: Sequence[int] | None = None) -> np.ndarray:
    array = np.array(values, np.int64)
    return array if shape is None else array.reshape(shape)


TABLE = tensor((5, 2))
ROWS = np.arange(10, dtype=np.float32).reshape(5, 2)
LONG = np.zeros(1001, np.int64)
LONG[700] = -6


def along(axis: int) -> Build:
    return lambda b, x, i: b.tensor_gather_elements(x, i, axis=axis)


CASES = {
    "gather": (
        [TABLE, tensor((N,), DType.I64)], lambda b, x, i: b.tensor_gather(x, i), [ROWS, i64(0, -5, 4)],
        [ROWS, i64(0, 5)], "the index 5 is outside of [-5, 5)",
    ),
    "gather with int32 in a long row": (
        [TABLE, tensor((N,), DType.I32)], lambda b, x, i: b.tensor_gather(x, i), [ROWS, np.zeros(9, np.int32)],
        [ROWS, LONG.astype(np.int32)], "the index -6 is outside of [-5, 5)",
    ),
    "gather with computed indices": (
        [TABLE, tensor((N,), DType.I64)], lambda b, x, i: b.tensor_gather(x, b.add(i, b.const(np.int64(1)))),
        [ROWS, i64(0, -6, 3)], [ROWS, i64(LOWEST + 3)], f"the index {LOWEST + 4} is outside of [-5, 5)",
    ),
    "gather with indices that wrap": (
        [TABLE, tensor((N,), DType.I64)], lambda b, x, i: b.tensor_gather(x, b.sub(i, b.const(np.int64(1)))),
        [ROWS, i64(5, -4)], [ROWS, i64(LOWEST)], f"the index {-LOWEST - 1} is outside of [-5, 5)",
    ),
    "gather with found indices": (
        [TABLE, tensor((3, N))],
        lambda b, x, y: b.tensor_gather(x, b.reduce_argmax(y, axis=1, keepdims=False)),
        [ROWS, np.zeros((3, 4), np.float32)], [ROWS, np.arange(21, dtype=np.float32).reshape(3, 7)],
        "the index 6 is outside of [-5, 5)",
    ),
    "gather from a dynamic table": (
        [tensor((N, 2)), tensor((M,), DType.I64)], lambda b, x, i: b.tensor_gather(x, i), [ROWS, i64(4)],
        [ROWS[:3], i64(1, 4)], "the index 4 is outside of [-3, 3)",
    ),
    "gather of nothing from nothing": (
        [tensor((N, 2)), tensor((M,), DType.I64)], lambda b, x, i: b.tensor_gather(x, i), [ROWS[:0], i64()],
        [ROWS[:0], i64(0)], "the index 0 is outside of [-0, 0)",
    ),
    "gather with unsigned indices": (
        [TABLE, tensor((N,), DType.U64)], lambda b, x, i: b.tensor_gather(x, i), [ROWS, np.array([4], np.uint64)],
        [ROWS, np.array([2**63], np.uint64)], f"the index {LOWEST} is outside of [-5, 5)",
    ),
    "gather_elements": (
        [TABLE, tensor((N, 2), DType.I64)], along(0), [ROWS, i64(4, -5, shape=(1, 2))],
        [ROWS, i64(0, 5, shape=(1, 2))], "the index 5 is outside of [-5, 5)",
    ),
    "gather_nd": (
        [TABLE, tensor((N, 2), DType.I64)], lambda b, x, i: b.tensor_gather_nd(x, i), [ROWS, i64(4, -2, shape=(1, 2))],
        [ROWS, i64(0, 1, 4, 2, shape=(2, 2))], "the index 2 is outside of [-2, 2)",
    ),
    "scatter_elements": (
        [TABLE, tensor((N, 2), DType.I64), tensor((N, 2))],
        lambda b, x, i, u: b.tensor_scatter_elements(x, i, u),
        [ROWS, i64(4, -5, shape=(1, 2)), ROWS[:1]], [ROWS, i64(-6, 0, shape=(1, 2)), ROWS[:1]],
        "the index -6 is outside of [-5, 5)",
    ),
    "scatter_nd": (
        [TABLE, tensor((N, 1), DType.I64), tensor((N, 2))], lambda b, x, i, u: b.tensor_scatter_nd(x, i, u),
        [ROWS, i64(4, shape=(1, 1)), ROWS[:1]], [ROWS, i64(5, shape=(1, 1)), ROWS[:1]],
        "the index 5 is outside of [-5, 5)",
    ),
    "div": (
        [tensor((N,), DType.I64)] * 2, lambda b, x, y: b.div(x, y), [i64(LOWEST, -7), i64(-1, 2)],
        [i64(1, 1), i64(1, 0)], "an integer is divided by zero",
    ),
    "mod by computed numbers": (
        [tensor((N,), DType.I32)] * 2, lambda b, x, y: b.mod(b.neg(x), b.abs(y)),
        [np.array([-(2**31), 7], np.int32), np.array([-1, -4], np.int32)],
        [np.array([1], np.int32), np.array([0], np.int32)], "an integer is divided by zero",
    ),
    "floordiv by a sum": (
        [tensor((N, 3), DType.I64)], lambda b, x: b.floordiv(x, b.reduce_sum(x, axes=(1,))),
        [i64(1, 2, 4, shape=(1, 3))], [i64(1, 2, -3, shape=(1, 3))], "an integer is divided by zero",
    ),
    "argmax": (
        [tensor((3, N))], lambda b, x: b.reduce_argmax(x, axis=1), [ROWS[:3]], [ROWS[:3, :0]],
        "axis 1 has no elements, so none is the largest",
    ),
    "pad": (
        [tensor((N,))], lambda b, x: b.tensor_pad(x, pads=(1, 0), mode="edge"), [ROWS[0]], [ROWS[0, :0]],
        "axis 0 has no elements to pad with",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("level", [0, 3])
def test_errors_are_those_of_the_interpreter(name: str, level: int) -> None:
    types, build, good, bad, message = CASES[name]
    module = module_of(types, build)
    model = lepton_ir.runtime.load(lepton_ir.compile(module.clone(), verify=False, opt_level=level))
    wanted = run(module, good)
    for call in (lambda: model(*bad), lambda: run(module, bad)):
        with pytest.raises(LeptonError) as caught:
            call()
        assert caught.value.diagnostics[0].message == message
        assert "emb/lookup" in str(caught.value.diagnostics[0].where)
    # The failure leaves nothing behind.
    np.testing.assert_array_equal(model(*good)[0], wanted[0])


def test_negative_bounds_cover_every_position() -> None:
    """Whatever vector lane or remainder an index stands in, it is checked."""
    model = lepton_ir.runtime.load(
        lepton_ir.compile(
            module_of([TABLE, tensor((N,), DType.I64)], lambda b, x, i: b.tensor_gather(x, i)), verify=False
        )
    )
    for size in (1, 7, 8, 19):
        for position in range(size):
            indices = np.zeros(size, np.int64)
            indices[position] = 5 if position % 2 else -6
            with pytest.raises(LeptonError, match="is outside of"):
                model(ROWS, indices)


def test_a_failure_inside_of_a_branch_and_shared_kernels_name_their_node() -> None:
    function = Function("main", [TABLE, tensor((N,), DType.I64), tensor((N,), DType.I64)], ["x", "i", "j"])
    x, i, j = function.arguments
    results = []
    for node, indices in (("first", i), ("second", j)):
        b = Builder(function.body, location=Location(node=node))
        results.append(b.exp(b.tensor_gather(x, indices)))
    b.return_(results)
    model = lepton_ir.runtime.load(lepton_ir.compile(Module([function]), verify=False))
    for bad, node in (((i64(9), i64(0)), "first"), ((i64(0), i64(9)), "second")):
        with pytest.raises(LeptonError) as caught:
            model(ROWS, *bad)
        assert str(caught.value.diagnostics[0].where) == node


def test_copies_with_other_dimensions_share_a_kernel_and_name_their_nodes() -> None:
    names = [(sym(f"R{i}"), sym(f"C{i}")) for i in range(5)]
    types = [t for rows, count in names for t in (tensor((rows, 2)), tensor((count,), DType.I64))]
    function = Function("main", types, [f"x{i}" for i in range(len(types))])
    results = []
    for i in range(len(names)):
        b = Builder(function.body, location=Location(node=f"copy{i}"))
        results.append(b.exp(b.tensor_gather(*function.arguments[2 * i : 2 * i + 2])))
    b.return_(results)
    module = Module([function])
    artifact = lepton_ir.compile(module.clone(), verify=False)
    assert artifact.manifest.statistics["kernels"] == 1
    model = lepton_ir.runtime.load(artifact)
    given = [a for i in range(len(names)) for a in (np.full((i + 2, 2), i, np.float32), i64(*range(i), -1))]
    for got, want in zip(model(*given), run(module, given), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    for i in range(len(names)):
        bad = [*given]
        bad[2 * i + 1] = i64(0, i + 2)
        with pytest.raises(LeptonError, match=rf"the index {i + 2} is outside of \[-{i + 2}, {i + 2}\)") as caught:
            model(*bad)
        assert str(caught.value.diagnostics[0].where) == f"copy{i}"


@pytest.mark.parametrize("indices", [i64(5), i64(0, -6)])
def test_constant_indices_are_checked_before_anything_runs(indices: np.ndarray) -> None:
    with pytest.raises(LeptonError, match="is outside of"):
        module_of([TABLE], lambda b, x: b.tensor_gather(x, b.const(indices)))


def test_constants_that_fit_cost_nothing() -> None:
    def text(build: Build, *types: TensorType) -> str:
        return str(lepton_ir.compile(module_of([TABLE, *types], build), verify=False).texts["tensorir.txt"])

    many = np.resize(i64(0, -5, 4), 100)
    for indices in (i64(0, -5, 4), many):
        assert "TVMFFIErrorSetRaised" not in text(lambda b, x, i=indices: b.tensor_gather(x, b.const(i)))
    dynamic = text(lambda b, x, i: b.tensor_gather(x, i), tensor((3,), DType.I64))
    assert "TVMFFIErrorSetRaised" in dynamic


def test_a_kernel_that_two_constants_share_is_checked_for_both() -> None:
    """A kernel's constant may be another one in another call."""
    table, many = tensor((N, 2)), np.resize(i64(0, 1), 100)
    module = module_of(
        [table],
        lambda b, x: b.add(b.tensor_gather(x, b.const(many)), b.tensor_gather(x, b.const(many + 3))),
    )
    model = lepton_ir.runtime.load(lepton_ir.compile(module.clone(), verify=False))
    np.testing.assert_array_equal(model(ROWS)[0], run(module, [ROWS])[0])
    with pytest.raises(LeptonError):
        model(ROWS[:4])


@pytest.mark.parametrize("level", [0, 3])
@pytest.mark.parametrize("divisor", [(), (M,)])
def test_nothing_may_be_divided_by_zero(divisor: tuple, level: int) -> None:
    types = [tensor((M,), DType.I64), tensor(divisor, DType.I64)]
    module = module_of(types, lambda b, x, y: b.floordiv(b.neg(x), y))
    model = lepton_ir.runtime.load(lepton_ir.compile(module.clone(), verify=False, opt_level=level))
    nothing, zero = i64(), i64() if divisor else np.zeros((), np.int64)
    for found in (model(nothing, zero), run(module, [nothing, zero])):
        assert found[0].shape == (0,)


@pytest.mark.parametrize("level", [0, 3])
@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("dtype", [DType.I32, DType.I64])
def test_no_indices_fit_every_axis(dtype: DType, rows: int, level: int) -> None:
    table = np.ones((rows, 2), np.float32)
    for build, shape in (
        (lambda b, x, i: b.tensor_gather(x, i), (N,)),
        (lambda b, x, i: b.tensor_gather_nd(x, i), (N, 2)),
        (lambda b, x, i: b.tensor_gather_elements(x, i), (N, 2)),
    ):
        for axis in (rows, M):
            module = module_of([tensor((axis, 2)), tensor(shape, dtype)], build)
            model = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False, opt_level=level))
            indices = np.zeros((0, *shape[1:]), dtype.numpy)
            assert len(model(table, indices)[0]) == 0


def test_indices_never_reach_beyond_the_other_axes() -> None:
    module = module_of([tensor((5, N)), tensor((1, M), DType.I64)], along(0))
    model = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False))
    assert model(ROWS, i64(1, shape=(1, 1)))[0].tolist() == [[2.0]]
    with pytest.raises(LeptonError, match="M <= N must hold"):
        model(ROWS, i64(0, 0, 0, shape=(1, 3)))


def test_sizes_whose_bytes_overflow_are_refused() -> None:
    module = module_of([tensor((N,))], lambda b, x: b.tensor_expand(x, shape=(N, N, N, N)))
    model = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False))
    assert model(np.zeros(2, np.float32))[0].shape == (2, 2, 2, 2)
    with pytest.raises(LeptonError, match="must hold"):
        model(np.zeros(1 << 16, np.float32))


def test_the_command_line_prints_one_message(tmp_path, capsys) -> None:
    module = module_of([TABLE, tensor((N,), DType.I64)], lambda b, x, i: b.tensor_gather(x, i))
    path, inputs = tmp_path / "m.lepton", tmp_path / "in.npz"
    lepton_ir.compile(module, verify=False).save(path)
    np.savez(inputs, x0=ROWS, x1=i64(7))
    assert main(["run", str(path), "--inputs", str(inputs)]) == EXIT_BAD_INPUT
    shown = capsys.readouterr().err
    assert "emb/lookup" in shown and "the index 7 is outside of [-5, 5)" in shown and "Traceback" not in shown


def test_programs_without_python_get_the_message(example, tmp_path) -> None:  # noqa: F811
    module = module_of([TABLE, tensor((2,), DType.I64)], lambda b, x, i: b.tensor_gather(x, i))
    artifact = lepton_ir.compile(module)
    assert artifact.golden is not None
    bad = Golden({"x0": ROWS, "x1": i64(1, 7)}, artifact.golden.outputs)
    path = tmp_path / "m.lepton"
    replace(artifact, golden=bad).save(path)
    done = _run(example, str(path))
    assert done.returncode == 1
    assert "the index 7 is outside of [-5, 5)" in done.stderr and "emb/lookup" in done.stderr
