"""Trained networks as TorchScript, compiled, against PyTorch."""

from pathlib import Path

import numpy as np
import pytest
import torch

import lepton_ir

MODELS = Path(__file__).parents[3] / "benchmarks" / "models"


@pytest.mark.parametrize(("rate", "size"), [(16000, 512), (8000, 256)])
def test_a_voice_detector_with_state_over_fifty_chunks(rate, size):
    """Noise that swells and falls, with tones in it, as speech has; PyTorch keeps the state itself."""
    path = MODELS / "silero_vad.jit"
    artifact = lepton_ir.compile(path, inputs=[f"x:1x{size}:f32", f"sr={rate}"])
    model = lepton_ir.runtime.load(artifact, threads=2)
    names = [s.name for s in artifact.manifest.inputs]
    state = {s.name: np.zeros(s.type.static_shape, np.float32) for s in artifact.manifest.inputs if s.name != "x"}
    assert set(names) == {"x", "_context", "_state"}
    reference, rng = torch.jit.load(path), np.random.default_rng(1)
    time = np.arange(50 * size) / rate
    sound = np.sin(2 * np.pi * 3 * time) * (np.sin(2 * np.pi * 180 * time) + 0.5 * rng.standard_normal(time.size))
    chunks = sound.astype(np.float32).reshape(50, 1, size)
    found, wanted = [], []
    for chunk in chunks:
        results = dict(zip((s.name for s in artifact.manifest.outputs), model(x=chunk, **state), strict=True))
        found.append(results["output"])
        state = {name: results[f"{name}.next"] for name in state}
        with torch.no_grad():
            wanted.append(reference(torch.from_numpy(chunk), rate).numpy())
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(wanted), atol=1e-5)
    assert np.ptp(np.concatenate(wanted)) > 0.01


def test_a_traced_lenet():
    path = MODELS / "heir_lenet_traced.pt"
    x = np.random.default_rng(0).standard_normal((1, 1, 32, 32)).astype(np.float32)
    (found,) = lepton_ir.runtime.load(lepton_ir.compile(path), threads=1)(x)
    with torch.no_grad():
        wanted = torch.jit.load(path)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
