"""Helpers of the tests of quantized operators: one node compiled, and the same node in ONNX Runtime."""

import numpy as np
import onnxruntime as ort
from lepton_frontends.onnx.load import import_model
from onnx import helper, numpy_helper

import lepton_ir

RNG = np.random.default_rng(5)
U8, I8, F32 = np.uint8, np.int8, np.float32


def proto_of(op, arrays, weights=(), opset=21, domain="", outputs=1, **attributes):
    """Return a model of one node; inputs whose array is None are absent, those in ``weights`` are initializers."""
    names = ["" if a is None else n for n, a in arrays.items()]
    ys = [f"y{i}" for i in range(outputs)]
    given = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(np.asarray(a).dtype), np.shape(a))
        for n, a in arrays.items()
        if a is not None and n not in weights
    ]
    graph = helper.make_graph(
        [helper.make_node(op, names, ys, domain=domain, **attributes)],
        "g",
        given,
        [helper.make_empty_tensor_value_info(y) for y in ys],
        [numpy_helper.from_array(np.asarray(arrays[n]), n) for n in weights],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def compiled(proto, arrays):
    """Return the compiled model's outputs."""
    module = import_model(proto)
    ready = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False))
    return ready(*(np.asarray(arrays[a.name]) for a in module.main.arguments))


def onnxruntime(proto, arrays):
    """Return ONNX Runtime's outputs."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: np.asarray(arrays[i.name]) for i in proto.graph.input})


def check(op, arrays, off_by_one=0.0, atol=0.0, domain="", **options):
    """Compile a node, compare with ONNX Runtime, and return the outputs.

    Args:
        off_by_one: how many of ONNX Runtime's numbers, in parts of all, may be one step away.
        atol: the absolute error of floats against ONNX Runtime.
    """
    proto = proto_of(op, arrays, domain=domain, **options)
    theirs = onnxruntime(proto, arrays)
    got = compiled(proto, arrays)
    for g, t in zip(got, theirs, strict=True):
        assert (g.shape, g.dtype) == (t.shape, t.dtype)
        if g.dtype.kind == "f":
            np.testing.assert_allclose(g, t, atol=atol, rtol=1e-5 if g.dtype == F32 else 2e-3)
            continue
        steps = np.abs(g.astype(np.int64) - t)
        assert steps.max(initial=0) <= 1
        assert np.count_nonzero(steps) <= off_by_one * steps.size
    return got


def numbers(dtype, *shape, most=None):
    """Return random integers of the whole range of a type, or up to ``most`` in absolute terms."""
    info = np.iinfo(dtype)
    low, high = (info.min, info.max) if most is None else (max(info.min, -most), min(info.max, most))
    return RNG.integers(low, high + 1, shape).astype(dtype)


def scale(*shape, low=0.05, high=0.1):
    return RNG.uniform(low, high, shape).astype(F32)


def requantized(total, factor, zero):
    """Return what the specifications say of integers times a factor."""
    info = np.iinfo(zero.dtype)
    scaled = np.rint(total.astype(F32) * factor.astype(F32)).astype(np.int64) + zero.astype(np.int64)
    return np.clip(scaled, info.min, info.max).astype(zero.dtype)
