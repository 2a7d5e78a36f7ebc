"""TorchScript and torch.export are read where PyTorch is not installed."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "benchmarks" / "models"
_BLOCKED = """
import sys

sys.modules["torch"] = None
try:
    import torch
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("torch is there")
"""


def without_torch(code, *args):
    """Run code in a process of its own that cannot import PyTorch."""
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED + code, *map(str, args)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_torch_is_no_dependency():
    needed = [r for r in metadata.requires("lepton-ir") if "extra ==" not in r]
    assert needed and not [r for r in needed if "torch" in r]


def test_torchscript_is_compiled_verified_and_run(tmp_path):
    code = """
from lepton_ir.cli.main import script
sys.argv = ["leptonc", *sys.argv[1:]]
script()
"""
    artifact, model = tmp_path / "vad.lepton", MODELS / "silero_vad.jit"
    given = ("--input", "x:1x512:f32", "--input", "sr=16000", "--json")
    report = without_torch(code, "compile", model, "-o", artifact, *given)
    assert '"reference": "the interpreter"' in report
    assert '"ok": true' in without_torch(code, "verify", artifact, model, "--json")
    assert '"x: tensor<1x512xf32>"' in without_torch(code, "inspect", model, *given)


def test_torch_export_is_read(tmp_path):
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.GELU()).eval()
    x = torch.randn(2, 4)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "model.pt2")
    np.save(tmp_path / "x.npy", x.numpy())
    code = """
import numpy as np
from lepton_ir.frontend import load_model
from lepton_ir.interp import run
folder = sys.argv[1]
np.save(folder + "/y.npy", run(load_model(folder + "/model.pt2"), [np.load(folder + "/x.npy")])[0])
"""
    without_torch(code, tmp_path)
    with torch.no_grad():
        np.testing.assert_allclose(np.load(tmp_path / "y.npy"), model(x).numpy(), rtol=1e-5, atol=1e-6)
