"""One node, compiled for the CPU, against another implementation of ONNX."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
from lepton_frontends.onnx.load import import_model
from onnx import helper
from onnx.reference import ReferenceEvaluator

import lepton_ir
from lepton_ir.diagnostics import LeptonError
from lepton_ir.interp import run


def node_model(op, arrays, opset, outputs=1, domain="", shapes=None, **attributes):
    """Return a model of one node called "node"; its inputs are x0, x1, ... (None: absent)."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(arrays)]
    given = {n: a for n, a in zip(names, arrays, strict=True) if a is not None}
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), (shapes or {}).get(n, a.shape))
        for n, a in given.items()
    ]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, domain=domain, name="node", **attributes)
    untyped = [helper.make_value_info(y, onnx.TypeProto()) for y in results]
    graph = helper.make_graph([node], "g", inputs, untyped)
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=False)


def feeds_of(arrays):
    """Return the inputs of a node's model by name."""
    return {f"x{i}": a for i, a in enumerate(arrays) if a is not None}


def compiled(model, arrays, fixed=(), opt_level=3):
    """Return the results of the compiled model, after checking them against the interpreter's.

    Args:
        model: of :func:`node_model`.
        arrays: the inputs.
        fixed: the numbers of the inputs that are constants.
        opt_level: how far to optimize.
    """
    feeds = feeds_of(arrays)
    module = import_model(model, constants={f"x{i}": arrays[i] for i in fixed})
    given = [feeds[a.name] for a in module.main.arguments]
    meant = run(module, {a.name: feeds[a.name] for a in module.main.arguments})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        artifact = lepton_ir.compile(module, verify=False, opt_level=opt_level)
    found = lepton_ir.runtime.load(artifact, threads=2)(*given)
    for f, m in zip(found, meant, strict=True):
        # Sums in another order may round a 16-bit float the other way.
        close(f, m, max(2e-5, np.finfo(f.dtype).eps if f.dtype == np.float16 else 0))
    return found


def onnxruntime_of(model, arrays):
    """Return ONNX Runtime's results."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds_of(arrays))


def reference_of(model, arrays):
    """Return the ONNX reference evaluator's results."""
    return ReferenceEvaluator(model).run(None, feeds_of(arrays))


def close(found, wanted, tolerance=2e-5):
    """Compare shapes, element types and, to a part of the largest number, the numbers."""
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    if wanted.dtype.kind in "biu" or not wanted.size:
        np.testing.assert_array_equal(found, wanted)
        return
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    largest = np.abs(b[np.isfinite(b)]).max(initial=1e-3)
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * largest)


def check(op, arrays, opset, oracle=onnxruntime_of, fixed=(), outputs=1, tolerance=2e-5, domain="", **attributes):
    """Compile one node and compare it with an oracle."""
    model = node_model(op, arrays, opset, outputs, domain, **attributes)
    for found, wanted in zip(compiled(model, arrays, fixed), oracle(model, arrays), strict=True):
        close(found, wanted, tolerance)


def refused(match, op, arrays, opset, fixed=(), domain="", outputs=1, **attributes):
    """Check that the node is refused with one diagnostic that names it."""
    model = node_model(op, arrays, opset, outputs, domain, **attributes)
    with pytest.raises(LeptonError, match=match) as error:
        import_model(model, constants={f"x{i}": arrays[i] for i in fixed})
    assert len(error.value.diagnostics) == 1
    assert error.value.diagnostics[0].where.node == "node"
