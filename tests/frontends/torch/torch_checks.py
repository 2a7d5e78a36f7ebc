"""A PyTorch model, read from an archive by Lepton, against PyTorch itself."""

from __future__ import annotations

import numpy as np
import torch

import lepton_ir
from lepton_ir.frontend import load_model
from lepton_ir.interp import run

DTYPES = {torch.float32: "f32", torch.float64: "f64", torch.int64: "i64", torch.int32: "i32", torch.bool: "bool",
          torch.float16: "f16", torch.uint8: "u8"}  # fmt: skip


def spec(name, value):
    """Return the option --input for an example of an input."""
    if isinstance(value, torch.Tensor):
        return [":".join(filter(None, (name, "x".join(map(str, value.shape)), DTYPES[value.dtype])))]
    if isinstance(value, (list, tuple)):
        return [s for i, v in enumerate(value) for s in spec(f"{name}.{i}", v)]
    if isinstance(value, dict):
        return [s for k, v in value.items() for s in spec(f"{name}.{k}", v)]
    return [f"{name}={value}"]


def tensors(value):
    """Return the tensors and numbers of a nested value, in order, as arrays."""
    if isinstance(value, torch.Tensor):
        return [value.detach().numpy()]
    if isinstance(value, (list, tuple)):
        return [a for v in value for a in tensors(v)]
    if isinstance(value, dict):
        return [a for v in value.values() for a in tensors(v)]
    return [] if value is None or isinstance(value, str) else [np.asarray(value)]


def script_names(scripted):
    return [a.name for a in scripted.forward.schema.arguments[1:]]


def imported(scripted, folder, *args, inputs=None, **options):
    """Save a scripted or traced module, and read it."""
    path = folder / "model.pt"
    torch.jit.save(scripted, path)
    given = [s for n, a in zip(script_names(scripted), args, strict=False) for s in spec(n, a)]
    return load_model(path, inputs=given if inputs is None else inputs, **options)


def check(scripted, folder, *args, compiled=False, tolerance=1e-5, inputs=None):
    """Compare what Lepton and PyTorch compute; returns the module."""
    module = imported(scripted, folder, *args, inputs=inputs)
    feeds = tensors([a for a in args if not isinstance(a, (int, float, bool, str))])
    with torch.no_grad():
        wanted = tensors(scripted(*args))
    compare(module, feeds, wanted, compiled, tolerance)
    return module


def compare(module, feeds, wanted, compiled=False, tolerance=1e-5):
    """Compare a module's results with arrays."""
    if compiled:
        artifact = lepton_ir.compile(module, verify=False)
        found = lepton_ir.runtime.load(artifact, threads=1)(*feeds)
    else:
        found = run(module, list(feeds))
    assert len(found) == len(wanted)
    for f, w in zip(found, wanted, strict=True):
        assert (f.shape, f.dtype) == (w.shape, w.dtype)
        np.testing.assert_allclose(f, w, rtol=tolerance, atol=tolerance * max(1e-3, np.abs(w).max(initial=0)))
