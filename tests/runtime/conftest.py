"""The small model of :mod:`small_model`, compiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lepton_backends.tvm.build import build_library
from lepton_backends.tvm.relax_program import RelaxProgram, build_relax
from small_model import BIAS, build_module, prim_functions, reference

from lepton_ir.artifact import Artifact, Golden, Manifest, TensorSpec
from lepton_ir.target import host_target


@pytest.fixture(scope="session")
def program() -> RelaxProgram:
    return build_relax(build_module(), prim_functions())


@pytest.fixture(scope="session")
def artifact(program: RelaxProgram) -> Artifact:
    main = build_module().main
    x = np.linspace(-2, 2, 24, dtype=np.float32).reshape(2, 3, 4)
    outputs = {"y": reference(x, True), "echo": x, "bias": BIAS}
    manifest = Manifest.of(
        "small",
        [TensorSpec(a.name, a.tensor) for a in main.arguments],
        [TensorSpec(n, v.tensor) for n, v in zip(main.result_names, main.results, strict=True)],
        [TensorSpec(name, c.type) for name, c in program.weights.items()],
        host_target(),
        options={"opt_level": 3},
    )
    return Artifact(
        manifest,
        build_library(program.module, host_target()),
        {name: c.array for name, c in program.weights.items()},
        {"relax.txt": program.relax_text(), "größe.txt": "ä"},
        Golden({"x": x, "flag": np.array(True)}, outputs),
    )


@pytest.fixture
def saved(artifact: Artifact, tmp_path: Path) -> Path:
    path = tmp_path / "small.lepton"
    artifact.save(path)
    return path
