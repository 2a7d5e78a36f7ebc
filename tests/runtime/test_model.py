"""Calling a compiled model."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from small_model import BIAS, reference

from lepton_ir import runtime
from lepton_ir.artifact import Artifact
from lepton_ir.diagnostics import LeptonError
from lepton_ir.runtime import convert

X = np.random.default_rng(0).standard_normal((2, 3, 4), np.float32)
YES = np.array(True)


class Speaker:
    """Something that only speaks DLPack."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **kwargs: object) -> object:
        return self._array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


class Elsewhere(Speaker):
    """Something on a CUDA device."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0


@pytest.fixture(scope="module")
def model(artifact: Artifact) -> runtime.CompiledModel:
    return runtime.load(artifact)


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 4), (2, 3, 4), (7, 128, 4), (0, 3, 4)])
def test_shapes_and_branches(model: runtime.CompiledModel, shape: tuple[int, ...], flag: bool) -> None:
    x = np.random.default_rng(1).standard_normal(shape, np.float32)
    outputs = model(x, np.array(flag))
    np.testing.assert_array_equal(outputs["y"], reference(x, flag))
    np.testing.assert_array_equal(outputs["echo"], x)


def test_outputs_by_position_and_name(model: runtime.CompiledModel) -> None:
    outputs = model(flag=YES, x=X)
    assert outputs.names == ("y", "echo", "bias")
    assert list(outputs.asdict()) == ["y", "echo", "bias"]
    y, echo, bias = outputs
    assert y is outputs[0] is outputs["y"]
    assert len(outputs[1:]) == 2
    np.testing.assert_array_equal(echo, X)
    np.testing.assert_array_equal(bias, BIAS)
    with pytest.raises(KeyError):
        outputs["z"]


def test_outputs_belong_to_the_caller(model: runtime.CompiledModel) -> None:
    x = X.copy()
    first = model(x, YES)
    kept = first["y"].copy()
    for array in first[1:]:
        array.fill(9)
    second = model(x, YES)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(second["bias"], BIAS)
    np.testing.assert_array_equal(first["y"], kept)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda x: x, id="numpy"),
        pytest.param(Speaker, id="dlpack"),
        pytest.param(lambda x: np.asfortranarray(x), id="fortran order"),
        pytest.param(lambda x: np.repeat(x, 2, axis=0)[::2], id="strided"),
        pytest.param(lambda x: np.concatenate([np.zeros(1, "f4"), x.ravel()])[1:].reshape(x.shape), id="unaligned"),
        pytest.param(lambda x: Speaker(x.transpose(1, 0, 2).copy().transpose(1, 0, 2)), id="strided dlpack"),
    ],
)
def test_kinds_of_input(model: runtime.CompiledModel, make: object) -> None:
    np.testing.assert_array_equal(model(make(X), YES)["y"], reference(X, True))  # type: ignore[operator]


def test_read_only_input_is_not_copied(model: runtime.CompiledModel) -> None:
    x = convert.aligned_empty(X.shape, X.dtype)
    x[...] = X
    x.flags.writeable = False
    tensor = convert.Staging().tensor(0, x)
    assert tensor.data_ptr() == x.ctypes.data
    np.testing.assert_array_equal(model(x, YES)["y"], reference(X, True))


def test_numpy_scalar_is_accepted(model: runtime.CompiledModel) -> None:
    np.testing.assert_array_equal(model(X, np.False_)["y"], reference(X, False))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.bool_, np.uint64])
@pytest.mark.parametrize("shape", [(), (3,), (0, 2)])
def test_conversion_round_trip(dtype: type, shape: tuple[int, ...]) -> None:
    array = convert.aligned_empty(shape, np.dtype(dtype))
    array[...] = 1
    back = convert.to_numpy(convert.to_tensor(array))
    assert back.dtype == array.dtype and back.flags.writeable
    np.testing.assert_array_equal(back, array)


def test_sub_byte_integers_take_a_byte_each() -> None:
    array = np.array([-8, -1, 0, 7]).astype(ml_dtypes.int4)
    stored = convert.as_stored(array)
    assert stored.dtype == np.int8
    np.testing.assert_array_equal(convert.from_stored(stored, convert.dtype_of(array)), array)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ([X], {}, "the input flag: tensor<bool> is missing"),
        ([X, YES, X], {}, "3 inputs were given by position, the model takes 2"),
        ([X, YES], {"x": X}, "the input x was given twice"),
        ([X], {"flags": YES}, "the model has no input flags"),
        ([X.astype(np.float64), YES], {}, "the input x must have elements of f32, those given are f64"),
        ([X.astype("datetime64[s]"), YES], {}, "those given are datetime64[s]"),
        ([X[0], YES], {}, "needs 3 dimensions, the shape given is [3, 4]"),
        ([X[..., :3], YES], {}, "dimension 2 of the input x must be 4, the size given is 3"),
        ([[1.0], YES], {}, "the input x is no array"),
        ([Elsewhere(X), YES], {}, "the input x lies on another device"),
    ],
)
def test_wrong_inputs(
    model: runtime.CompiledModel, args: list[object], kwargs: dict[str, object], message: str
) -> None:
    with pytest.raises(LeptonError) as caught:
        model(*args, **kwargs)
    assert message in str(caught.value)


def test_all_problems_are_named_at_once(model: runtime.CompiledModel) -> None:
    with pytest.raises(LeptonError) as caught:
        model(X.astype(np.int8)[..., :2], np.zeros(3))
    text = str(caught.value)
    for part in ("i8", "dimension 2", "elements of bool", "0 dimensions", "x: tensor<NxSx4xf32>; flag: tensor<bool>"):
        assert part in text


def test_failure_while_running_is_an_error_of_ours(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    model = runtime.load(artifact)

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model._idle[0], "_run", fail)
    with pytest.raises(LeptonError) as caught:
        model(X, YES)
    assert "out of memory" in str(caught.value)
    # The next call takes a machine of its own.
    np.testing.assert_array_equal(model(X, YES)["y"], reference(X, True))


def test_many_threads_share_one_model(artifact: Artifact) -> None:
    model = runtime.load(artifact, threads=1)
    wrong: list[int] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(30):
            x = rng.standard_normal((int(rng.integers(1, 9)), 5, 4), np.float32)
            flag = bool(rng.integers(2))
            if not np.array_equal(model(x, np.array(flag))["y"], reference(x, flag)):
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert len(model._idle) <= 8


@pytest.mark.parametrize("threads", [1, 2])
def test_number_of_threads(artifact: Artifact, threads: int) -> None:
    x = np.ones((64, 64, 4), np.float32)
    np.testing.assert_array_equal(runtime.load(artifact, threads=threads)(x, YES)["y"], reference(x, True))


def test_no_threads_is_an_error(artifact: Artifact) -> None:
    with pytest.raises(LeptonError, match="0 threads"):
        runtime.load(artifact, threads=0)


def test_profile_counts_kernel_calls(model: runtime.CompiledModel) -> None:
    times = {t.symbol: t for t in model.profile(X, YES, repeat=4)}
    assert {symbol: t.calls for symbol, t in times.items()} == {"add_bias": 4, "shifted_relu": 12}
    assert all(t.seconds > 0 for t in times.values())


def test_golden(artifact: Artifact, model: runtime.CompiledModel) -> None:
    assert model.check_golden() < 1e-6
    assert artifact.golden is not None
    artifact.golden.outputs["y"].flat[0] += 1
    try:
        with pytest.raises(LeptonError, match="the output y differs"):
            model.check_golden()
    finally:
        artifact.golden.outputs["y"].flat[0] -= 1


def test_relative_error() -> None:
    one = np.ones(3)
    assert runtime.model.relative_error(one, one) == 0
    assert runtime.model.relative_error(one * 1.1, one) == pytest.approx(0.1)
    assert runtime.model.relative_error(one[:2], one) == np.inf
    assert runtime.model.relative_error(one * np.nan, one) != 0
    assert runtime.model.relative_error(one * np.nan, one * np.nan) == 0
    assert runtime.model.relative_error(one[:0], one[:0]) == 0


def test_runs_without_importing_a_compiler(saved: Path) -> None:
    script = (
        "import sys, numpy as np\n"
        "from lepton_ir import runtime\n"
        f"print(runtime.load({str(saved)!r}).check_golden() < 1e-6)\n"
        "print(sorted({'tvm', 'onnx', 'torch', 'lark', 'networkx'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split("\n")[:2] == ["True", "[]"]


def test_sizes_that_the_code_cannot_run_are_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    import lepton_ir

    # A table of 16 positions, cut to the length of the input.
    table = helper.make_tensor("table", TensorProto.FLOAT, [16, 2], np.arange(32, dtype=np.float32))
    zero, axis = (helper.make_tensor(n, TensorProto.INT64, [1], [0]) for n in ("zero", "axis"))
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], end=1),
        helper.make_node("Slice", ["table", "zero", "shape", "axis"], ["positions"], name="cut"),
        helper.make_node("Add", ["x", "positions"], ["y"], name="sum"),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["S", 2]) for n in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], [table, zero, axis])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "m.onnx")
    model = lepton_ir.runtime.load(lepton_ir.compile(tmp_path / "m.onnx", sample_dims={"S": 4}))
    assert model(np.ones((16, 2), np.float32))[0].shape == (16, 2)
    with pytest.raises(lepton_ir.LeptonError, match="do not fit") as refused:
        model(np.ones((17, 2), np.float32))
    assert "S <= 16" in str(refused.value) and "cut" in str(refused.value)
