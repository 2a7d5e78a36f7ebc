"""One test case of the onnx package: import, compile for the CPU, run, compare with the expected outputs."""

from __future__ import annotations

import traceback
import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
from lepton_frontends.onnx.load import import_model
from onnx import TensorProto, numpy_helper

import lepton_ir
from lepton_ir.diagnostics import LeptonError

PASS, REFUSED, WRONG, CRASH = "pass", "refused", "wrong", "crash"
LIKE_ONNX_RUNTIME = {
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
}
"""ONNX's reference resamples with the scale before it is rounded to a size; Lepton and ONNX Runtime with the sizes."""

_DEPENDS = ("run time", "dynamic", "depends on")
_INTERNAL = ("bug in Lepton", "the model failed while it ran")


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        name: the case.
        operator: the operator that it is about.
        status: PASS; REFUSED, a diagnostic; WRONG numbers, shapes or element types; CRASH, any other failure.
        reason: why it did not pass.
    """

    name: str
    operator: str
    status: str
    reason: str = ""


@cache
def node_cases():
    """Return the node test cases of the onnx package by name."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: case for case in load_model_tests(kind="node")}


def operator_of(case):
    """Return the operator that a case is about; the bodies of functions count as one."""
    expanded = case.name.endswith("_expanded") or "_expanded_" in case.name
    nodes = case.model.graph.node
    return "(function bodies)" if expanded or not nodes else nodes[0].op_type


def judge(case, opt_level=3):
    """Return the outcome of compiling and running one case."""
    operator = operator_of(case)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            _run(case, opt_level)
    except LeptonError as error:
        text = str(error)
        status = CRASH if any(i in text for i in _INTERNAL) else REFUSED
        return Outcome(case.name, operator, status, text.strip())
    except AssertionError as error:
        own = traceback.extract_tb(error.__traceback__)[-1].filename
        ours = own == __file__ or "numpy" in own
        reason = " ".join(str(error).split()) if ours else traceback.format_exc()
        return Outcome(case.name, operator, WRONG if ours else CRASH, reason)
    except Exception:
        return Outcome(case.name, operator, CRASH, traceback.format_exc())
    return Outcome(case.name, operator, PASS)


def _run(case, opt_level):
    names = [i.name for i in case.model.graph.input]
    for inputs, outputs in case.data_sets:
        feeds = dict(zip(names, map(_array, inputs), strict=False))
        module = _import(case.model, feeds)
        given = [feeds[a.name] for a in module.main.arguments]
        compiled = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False, opt_level=opt_level), threads=2)
        got = compiled(*given)
        wanted = _onnxruntime(case.model, feeds) if case.name in LIKE_ONNX_RUNTIME else [_array(o) for o in outputs]
        assert len(got) == len(wanted), f"{len(got)} outputs instead of {len(wanted)}"
        for g, w in zip(got, wanted, strict=True):
            compare(g, w, case.rtol, case.atol)


def _onnxruntime(proto, feeds):
    import onnxruntime as ort

    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def _array(x):
    """Return what the suite gives as an array, a list of arrays, or None for an optional that holds nothing."""
    if isinstance(x, TensorProto):
        return numpy_helper.to_array(x)
    if isinstance(x, list):
        return [_array(v) for v in x]
    return x if x is None else np.asarray(x)


def _import(proto, feeds):
    """Import; inputs that shapes depend on become constants, as few as will do."""
    tensors = {n: a for n, a in feeds.items() if isinstance(a, np.ndarray)}
    integers = [n for n, a in tensors.items() if a.dtype.kind in "iub" and a.size <= 64]
    small = [n for n, a in tensors.items() if a.size <= 16]
    first = next(iter(feeds), None)
    attempts = [[], [n for n in integers if n != first], integers, [n for n in small if n != first], small]
    for i, fixed in enumerate(attempts):
        try:
            return import_model(proto, constants={n: feeds[n] for n in fixed})
        except LeptonError as error:
            if i == len(attempts) - 1 or not any(text in str(error) for text in _DEPENDS):
                raise
    raise AssertionError


def compare(got, wanted, rtol, atol):
    """Raise AssertionError where the result differs from the expected one in shape, element type or numbers."""
    if wanted is None or isinstance(wanted, list):
        assert type(got) is type(wanted), f"{got} instead of {wanted}"
        assert wanted is None or len(got) == len(wanted), f"{len(got)} elements instead of {len(wanted)}"
        for g, w in zip(got or (), wanted or (), strict=True):
            compare(g, w, rtol, atol)
        return
    assert got.shape == wanted.shape, f"shape {got.shape} instead of {wanted.shape}"
    if wanted.dtype.kind in "OUS":
        assert got.astype(str).tolist() == wanted.astype(str).tolist()
        return
    assert got.dtype == wanted.dtype, f"elements of {got.dtype} instead of {wanted.dtype}"
    if wanted.dtype.kind not in "fciub":
        # bf16, f8, ...: one unit in the last place of bf16, the finest of them.
        np.testing.assert_allclose(got.astype(np.float64), wanted.astype(np.float64), rtol=2**-6, atol=atol)
        return
    # f16 results may differ by one unit in the last place, 2**-10 or, across a power of two, 2**-9.
    rtol = max(rtol, 2**-9) if wanted.dtype == np.float16 else rtol
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=max(atol, 1e-6 if wanted.dtype.kind == "f" else 0))
