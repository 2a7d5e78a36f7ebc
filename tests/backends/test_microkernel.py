"""Register tiles stay in registers, tiles and tasks cover everything once."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from kernel_cases import Case, case, check, compile_cases
from lepton_backends.tvm.schedules.cpu import tiling

from lepton_ir.ir import DType, tensor
from lepton_ir.ops.conv import pack_weight
from lepton_ir.ops.linalg import pack_columns
from lepton_ir.target import parse_target

LEVELS = ["x86-64-v3", "x86-64-v4"]


def hot_loops(assembly: str, least: int) -> list[list[str]]:
    """Return the innermost loops with at least so many fused multiply-adds."""
    lines = assembly.splitlines()
    labels: dict[str, int] = {}
    loops = []
    for i, line in enumerate(lines):
        if label := re.match(r"(\.\w+):", line):
            labels[label[1]] = i
        jump = re.match(r"\s+j\w+\s+(\.\w+)", line)
        if jump and jump[1] in labels:
            body = lines[labels[jump[1]] : i + 1]
            inner = sum(bool(re.match(r"\.\w+:", one)) for one in body) == 1
            if inner and sum("vfmadd" in one for one in body) >= least:
                loops.append(body)
    return loops


def product(rows: int, k: int, n: int, panel: int) -> Case:
    w = pack_columns(np.zeros((k, n), np.float32), panel)
    build = lambda b, a, w, bias: b.relu(b.linalg_matmul_packed(a, w, bias, n=n, panel=panel))  # noqa: E731
    return case("product", [(rows, k), w.shape, (n,)], build, {1: w})


def conv(size: int, channels: int, panel: int) -> Case:
    w = pack_weight(np.zeros((channels, channels, 3, 3), np.float32), panel)

    def build(b: Any, x: Any, w: Any) -> Any:
        y = b.nn_conv_packed(x, w, pads=(1, 1, 1, 1), kernel_shape=(3, 3), channels=channels, panel=panel)
        return b.relu(y)

    return case("conv", [(1, size, size, channels), w.shape], build, {1: w})


@pytest.mark.parametrize("mcpu", LEVELS)
@pytest.mark.parametrize("make", ["product", "conv"])
def test_no_accumulator_leaves_its_register(mcpu: str, make: str) -> None:
    target = parse_target("cpu", mcpu)
    panel = target.panel_width(3136, 128, 256)
    c = product(196, 256, 128, panel) if make == "product" else conv(28, 128, panel)
    loops = hot_loops(compile_cases([c], target).inspect_source("asm"), 12)
    assert loops
    register = "zmm" if mcpu == "x86-64-v4" else "ymm"
    for loop in loops:
        stacked = [line for line in loop if "(%rsp)" in line and register in line]
        assert not stacked, "\n".join(loop)


def test_column_vectors() -> None:
    assert tiling.column_vectors(32, 16) == [(0, 16), (16, 16)]
    assert tiling.column_vectors(24, 16) == [(0, 16), (16, 8)]
    assert tiling.column_vectors(7, 8) == [(0, 4), (4, 2), (6, 1)]


@pytest.mark.parametrize("extent", [1, 7, 14, 15, 49, 128, 197])
@pytest.mark.parametrize("largest", [4, 6, 14])
def test_balanced_tiles_cover_the_extent(extent: int, largest: int) -> None:
    groups = tiling.balanced(extent, largest)
    assert sum(count * size for count, size in groups) == extent
    assert max(size for _, size in groups) <= largest
    assert max(size for _, size in groups) - min(size for _, size in groups) <= 1


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 32])
def test_work_is_split_evenly(threads: int) -> None:
    target = parse_target("cpu", "x86-64-v3").with_threads(threads)
    cycles = {"row_cycles": 50_000.0, "row_bytes": 14_000.0, "panel_bytes": 70_000.0}
    split = tiling.split_work(56, 8, target=target, **cycles)
    busiest = -(-split.blocks * split.groups // threads) * -(-56 // split.blocks) * -(-8 // split.groups)
    assert busiest <= 1.35 * 56 * 8 / threads


@pytest.mark.parametrize("mcpu", ["x86-64-v2", *LEVELS])
def test_panels_fit_register_tiles(mcpu: str) -> None:
    target = parse_target("cpu", mcpu)
    lanes = target.lanes(DType.F32)
    for n in (1, 3, 8, 16, 24, 40, 72, 96, 120, 200, 512, 1000):
        for m in (1, 49, 3136):
            panel = target.panel_width(m, n, 256)
            assert panel % lanes == 0 or n <= panel < lanes
            vectors = -(-panel // lanes)
            assert tiling.max_rows(target, vectors) * vectors + vectors <= target.registers


def test_nothing_to_compute() -> None:
    w = pack_columns(np.zeros((8, 16), np.float32), 16)
    no_rows = case("no rows", [(0, 8), w.shape], lambda b, a, w: b.linalg_matmul_packed(a, w, n=16, panel=16), {1: w})
    no_sum = case("empty sum", [(3, 0), (0, 5)], lambda b, x, y: b.linalg_matmul(x, y))
    check([no_rows, no_sum])


def test_half_precision_weights() -> None:
    w = pack_weight(np.random.default_rng(0).standard_normal((24, 16, 3, 3)).astype(np.float16), 24)

    def build(b: Any, x: Any, w: Any) -> Any:
        return b.relu(b.nn_conv_packed(x, w, kernel_shape=(3, 3), channels=24, panel=24))

    types = [tensor((1, 9, 9, 16), DType.F16), tensor(w.shape, DType.F16)]
    check([case("half", types, build, {1: w}, tolerance=2e-3)])
