"""Random graphs keep their meaning under the standard pipelines, and when they are compiled."""

from __future__ import annotations

import numpy as np
import pytest
from graph_grower import Grower
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_harness import assert_same_meaning, random_inputs

import lepton_ir
import lepton_ir.runtime
from lepton_ir.interp import run
from lepton_ir.passes import PassContext, run_pipeline
from lepton_ir.rewrite import RewriteControl
from lepton_ir.verifier import verify


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(3, 14), st.booleans(), st.sampled_from(["O0", "O1", "O2", "O3"]))
def test_meaning_is_kept(seed: int, steps: int, dynamic: bool, level: str) -> None:
    before = Grower(seed, dynamic).grow(steps)
    verify(before)
    after = before.clone()
    run_pipeline(after, level)
    assert_same_meaning(before, after, rtol=5e-4, atol=5e-4)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(0, 40))
def test_meaning_is_kept_up_to_any_rewrite_limit(seed: int, limit: int) -> None:
    before = Grower(seed, False).grow(10)
    after = before.clone()
    ctx = PassContext(control=RewriteControl(limit=limit))
    run_pipeline(after, "O3", ctx)
    assert ctx.control.done <= limit
    assert_same_meaning(before, after, rtol=5e-4, atol=5e-4)


@pytest.mark.parametrize("seed", range(8))
def test_compiled_graphs_agree_with_the_interpreter(seed: int) -> None:
    module = Grower(seed, dynamic=seed % 2 == 1).grow(6 + seed)
    model = lepton_ir.runtime.load(lepton_ir.compile(module.clone()))
    inputs = random_inputs(module.main, 1)
    for want, got in zip(run(module, inputs), model(*inputs), strict=True):
        scale = max(1.0, float(np.abs(want).max()))
        np.testing.assert_allclose(np.asarray(got), want, rtol=1e-4, atol=1e-5 * scale)
