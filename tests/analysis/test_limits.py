"""What a model may cost, and expressions of dimensions that must not grow without bound."""

import time

import numpy as np
import pytest

import lepton_ir
from lepton_ir.analysis.memory import peak
from lepton_ir.diagnostics import Diagnostic, LeptonError
from lepton_ir.ir import Builder, DType, Function, Module, TensorType
from lepton_ir.ir.dim import DimError, floordiv, sym
from lepton_ir.limits import Limits, type_problem
from lepton_ir.reference import ReferenceRunner, sample_reference
from lepton_ir.reference_process import CrashedError, RefusedError, _Process


def types(*shapes):
    return [TensorType(tuple(s), DType.F32) for s in shapes]


def doubling(count, size=4):
    """Return a module in which every result is twice as large as the one before."""
    main = Function("main", types([size]), ["x"], ["y"])
    b, value = Builder(main.body), main.arguments[0]
    for _ in range(count):
        value = b.tensor_concat([value, value], axis=0)
    b.return_([value])
    return Module([main])


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        ((2, 3), ""),
        ((sym("N"), 1 << 20), ""),
        ((1 << 20, 1 << 20), "takes 4 TiB"),
        ((sym("N"), 1 << 40), "takes 4 TiB"),
        ((0, 1 << 62), "64 bits"),
        ((-1, 4), "negative"),
        ((1,) * 33, "33 dimensions"),
    ],
)
def test_types_that_cannot_be(shape, problem):
    found = type_problem(TensorType(shape, DType.F32), 1 << 30)
    assert problem in found and bool(found) == bool(problem)


def test_peak_counts_what_lives_at_one_time():
    most, where = peak(doubling(3).main.body, {})
    # The last concatenation reads 16 elements and makes 32; the others are dead by then.
    assert most == 4 * (16 + 32) and where.name == "tensor.concat"


def test_a_model_beyond_the_memory_budget_is_refused_before_it_is_run():
    module = doubling(20)
    with pytest.raises(LeptonError, match="memory budget"):
        lepton_ir.compile(module, limits=Limits(memory=1 << 20))
    runner = ReferenceRunner(module, None, Limits(memory=1 << 26))
    assert sample_reference(runner, module.main).outputs["y"].shape == (4 << 20,)


def test_the_interpreter_gives_up():
    main = Function("main", types([2]), ["x"], ["y"])
    b = Builder(main.body)
    module = Module([main])
    value = main.arguments[0]
    for _ in range(200):
        value = b.neg(value)
    b.return_([value])
    runner = ReferenceRunner(module, None, Limits(seconds=-1.0))
    with pytest.raises(LeptonError, match="not done"):
        runner({"x": np.zeros(2, np.float32)})


def grow_terms():
    product = 1
    for i in range(60):
        product = (sym(f"A{i}") + sym(f"B{i}")) * product
    return product


def grow_power():
    d = sym("N")
    for _ in range(60):
        d = d * d
    return d


def grow_nesting():
    d = sym("N")
    for _ in range(60):
        d = floordiv(d * d + 3, 5)
    return d


def grow_coefficient():
    d = sym("N")
    for _ in range(60):
        d = d * (1 << 40)
    return d


@pytest.mark.parametrize("grow", [grow_terms, grow_power, grow_nesting, grow_coefficient])
def test_dimensions_do_not_grow_without_bound(grow):
    started = time.perf_counter()
    with pytest.raises(DimError):
        grow()
    assert time.perf_counter() - started < 10


def test_a_crash_and_a_hang_of_onnxruntime_stay_in_its_process(tmp_path):
    process = _Process()
    with pytest.raises(RefusedError):
        process.ask({"open": str(tmp_path / "missing.onnx")}, (), 60)
    process.end()
    with pytest.raises(CrashedError):
        process.ask({"close": True}, (), 60)
    with pytest.raises(TimeoutError):
        _Process().ask({"close": True}, (), 0)


def test_diagnostics_are_fit_for_a_terminal():
    text = str(Diagnostic("bad \x1b[31mname\n", "a\u202eb", "x" * 100_000, "do\nthis"))
    assert "\x1b" not in text and "\u202e" not in text and len(text) < 4000
    assert text.splitlines()[0] == r"a\u202eb: error: bad \x1b[31mname\n"
