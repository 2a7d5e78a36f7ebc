"""Matrix product kernels against the operators' numpy meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import Case, case, check

from lepton_ir.ir import DType, sym, tensor
from lepton_ir.ops.linalg import pack_columns
from lepton_ir.target import parse_target

TARGETS = ["native", "x86-64-v3", "x86-64-v2"]
M, K, N, B = sym("M"), sym("K"), sym("N"), sym("B")


def packed(
    name: str, a: tuple[Any, ...], n: int, panel: int, activation: str = "relu", env: dict[str, int] | None = None
) -> Case:
    w = pack_columns(np.random.default_rng(n).standard_normal((a[-1], n)).astype(np.float32), panel)
    build = lambda b, a, w, bias: getattr(b, activation)(b.linalg_matmul_packed(a, w, bias, n=n, panel=panel))  # noqa: E731
    return case(name, [a, w.shape, (n,)], build, {1: w}, env)


@pytest.mark.parametrize("mcpu", TARGETS)
def test_packed(mcpu: str) -> None:
    cases = [
        packed("one tile", (4, 30), 32, 32),
        packed("tail of the panel", (3, 20, 30), 70, 32),
        packed("narrow panel", (37, 30), 24, 24),
        packed("wide panel", (49, 64), 128, 64, "gelu"),
        packed("one row", (1, 300), 100, 16),
        packed("few columns", (50, 30), 7, 8),
        packed("rows that alias", (30, 512), 200, 32),
        packed("vector", (64,), 40, 16),
    ]
    check(cases, parse_target("cpu", mcpu))


def test_packed_with_symbolic_rows() -> None:
    env = {"M": 23, "B": 2}
    cases = [
        packed("rows", (M, 30), 70, 32, env=env),
        packed("batch and rows", (B, M, 30), 32, 32, "silu", env=env),
        packed("one row", (M, 30), 70, 32, env={"M": 1}),
        packed("many rows", (M, 16), 40, 16, env={"M": 250}),
    ]
    check(cases, parse_target("cpu", "x86-64-v3"))


def test_packed_threads() -> None:
    for threads in (1, 3, 8):
        check([packed("threads", (45, 40), 200, 16)], parse_target("cpu").with_threads(threads))


def test_epilogue_splits_heads() -> None:
    w = pack_columns(np.random.default_rng(0).standard_normal((24, 48)).astype(np.float32), 16)

    def build(b: Any, a: Any, w: Any, bias: Any) -> Any:
        y = b.linalg_matmul_packed(a, w, bias, n=48, panel=16)
        return b.tensor_transpose(b.tensor_reshape(y, shape=(2, 5, 3, 16)), perm=(0, 2, 1, 3))

    check([case("heads", [(2, 5, 24), w.shape, (48,)], build, {1: w})])


def test_prologue() -> None:
    w = pack_columns(np.random.default_rng(0).standard_normal((24, 40)).astype(np.float32), 32)

    def build(b: Any, a: Any, scale: Any, w: Any) -> Any:
        return b.linalg_matmul_packed(b.mul(b.silu(a), scale), w, n=40, panel=32)

    check([case("prologue", [(20, 24), (24,), w.shape], build, {2: w})])


def product(name: str, a: tuple[Any, ...], b: tuple[Any, ...], env: dict[str, int] | None = None, **kw: Any) -> Case:
    return case(name, [a, b], lambda builder, x, y: builder.linalg_matmul(x, y, **kw), env=env)


@pytest.mark.parametrize("mcpu", TARGETS)
def test_run_time_operands(mcpu: str) -> None:
    cases = [
        product("batched", (3, 20, 30), (3, 30, 40)),
        product("broadcast a", (20, 30), (5, 30, 33)),
        product("broadcast b", (2, 3, 20, 30), (3, 30, 40)),
        product("broadcast both", (2, 1, 9, 8), (1, 3, 8, 20)),
        product("a transposed", (3, 30, 20), (3, 30, 40), transpose_a=True),
        product("b transposed", (3, 20, 30), (3, 40, 30), transpose_b=True),
        product("both transposed", (3, 30, 20), (3, 40, 30), transpose_a=True, transpose_b=True),
        product("row times matrix", (30,), (30, 7)),
        product("matrix times column", (5, 30), (30,)),
        product("row times column", (30,), (30,)),
        product("one row", (1, 30), (30, 70)),
        product("rows that alias", (2, 50, 512), (2, 512, 20)),
    ]
    check(cases, parse_target("cpu", mcpu))


def test_run_time_operands_with_symbolic_sizes() -> None:
    env = {"M": 7, "K": 9, "N": 37, "B": 2}
    cases = [
        product("columns", (2, 3, 9), (2, 9, N), env),
        product("rows and columns", (2, M, 9), (2, 9, N), env),
        product("everything", (B, M, K), (B, K, N), env),
        product("b transposed", (B, M, 9), (B, N, 9), env, transpose_b=True),
        product("few columns", (M, K), (K, N), {"M": 5, "K": 3, "N": 2}),
    ]
    check(cases, parse_target("cpu", "x86-64-v3"))


def test_prologues_and_heads() -> None:
    def scores(b: Any, q: Any, k: Any) -> Any:
        q, k = (b.tensor_transpose(x, perm=(0, 2, 1, 3)) for x in (q, k))
        return b.linalg_matmul(b.mul(q, b.const(np.float32(0.125))), k, transpose_b=True)

    check([case("scores", [(2, 10, 3, 8), (2, 12, 3, 8)], scores)])


def test_integers_and_other_floats() -> None:
    cases = []
    for dtype in (DType.I32, DType.I64, DType.F64, DType.F16):
        types = [tensor((3, 9, 20), dtype), tensor((20, 17), dtype)]
        tolerance = 2e-3 if dtype is DType.F16 else 2e-6
        cases.append(case(str(dtype), types, lambda b, x, y: b.linalg_matmul(x, y), tolerance=tolerance))
    check(cases)
