"""Helpers of the ONNX tests: small models from nodes, and the test cases of the onnx package."""

from __future__ import annotations

import re
import warnings
from functools import cache

import numpy as np
import onnx
from lepton_frontends.onnx.load import import_model
from onnx import TensorProto, helper, numpy_helper

from lepton_ir.diagnostics import LeptonError
from lepton_ir.interp import run

F32, F16, I64, I32, BOOL = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.BOOL,
)
DRAWN = re.compile("test_bernoulli|test_training_dropout(?!_zero_ratio)")
"""Cases that draw random numbers: theirs are those of numpy's generator, which ONNX leaves to the implementation."""
_DEPENDS = ("run time", "dynamic", "depends on")


def info(name, shape, dtype=F32):
    """Return a tensor's description."""
    return helper.make_tensor_value_info(name, dtype, shape)


def model(nodes, inputs, outputs, opset=18, initializers=(), functions=(), domains=(), ir_version=8):
    """Return a model; inputs are ValueInfos, outputs names or ValueInfos."""
    outs = [o if not isinstance(o, str) else onnx.ValueInfoProto(name=o) for o in outputs]
    weights = [numpy_helper.from_array(np.asarray(a), n) for n, a in dict(initializers).items()]
    graph = helper.make_graph(list(nodes), "g", list(inputs), outs, weights)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=ir_version)


def node_model(op, arrays, opset=18, weights=(), outputs=1, **attributes):
    """Return a model of one node; arrays named in ``weights`` become initializers."""
    names = list(arrays)
    given = [info(n, a.shape, helper.np_dtype_to_tensor_dtype(a.dtype)) for n, a in arrays.items() if n not in weights]
    ys = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, ys, **attributes)
    return model([node], given, ys, opset, {n: arrays[n] for n in weights})


def run_onnxruntime(proto, feeds):
    """Return ONNX Runtime's outputs, with its graph optimizations off."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))


def check_with_onnxruntime(proto, feeds, rtol=1e-5, atol=1e-6, **options):
    """Compare the interpreter's outputs with ONNX Runtime's; return the module."""
    module = import_model(proto, **options)
    wanted = run_onnxruntime(proto, feeds)
    got = run(module, {a.name: feeds[a.name] for a in module.main.arguments})
    assert len(got) == len(wanted)
    for g, w in zip(got, wanted, strict=True):
        assert (g.shape, g.dtype) == (w.shape, w.dtype)
        np.testing.assert_allclose(g, w, rtol=rtol, atol=atol)
    return module


def microsoft_model(op, arrays, outputs=1, optional=(), domain="com.microsoft", version=1, types=None, **attributes):
    """Return a model of one node of another domain.

    Args:
        op: the operator.
        arrays: its inputs by name, in order; None for one that is absent.
        outputs: how many outputs; those whose numbers are in ``optional`` are left out.
        optional: see there.
        domain: the operator's domain.
        version: the opset of that domain.
        types: element types of outputs, by number, where ONNX Runtime cannot infer them.
        attributes: the node's attributes; those that are None are left out.
    """
    names = [n if a is not None else "" for n, a in arrays.items()]
    given = {n: a for n, a in arrays.items() if a is not None}
    ys = ["" if i in optional else f"y{i}" for i in range(outputs)]
    own = {k: v for k, v in attributes.items() if v is not None}
    node = helper.make_node(op, names, ys, domain=domain, **own)
    inputs = [info(n, a.shape, helper.np_dtype_to_tensor_dtype(a.dtype)) for n, a in given.items()]
    outs = [info(y, None, types[i]) if types and i in types else y for i, y in enumerate(ys) if y]
    proto = model([node], inputs, outs, 18)
    if domain:
        proto.opset_import.append(helper.make_opsetid(domain, version))
    return proto


def run_compiled(proto, feeds, constants=(), **options):
    """Return the outputs of the model compiled for the CPU; the inputs named in ``constants`` are fixed."""
    import lepton_ir

    module = import_model(proto, constants={n: feeds[n] for n in constants}, **options)
    compiled = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False), threads=2)
    return compiled(*[feeds[a.name] for a in module.main.arguments])


def check_compiled(proto, feeds, rtol=1e-5, atol=2e-6, wanted=None, constants=(), **options):
    """Compile, run, and compare with ONNX Runtime (or with ``wanted``); return the results."""
    feeds = {n: a for n, a in feeds.items() if a is not None}
    got = run_compiled(proto, feeds, constants, **options)
    wanted = run_onnxruntime(proto, feeds) if wanted is None else wanted
    assert len(got) == len(wanted)
    for g, w in zip(got, wanted, strict=True):
        assert (g.shape, g.dtype) == (w.shape, w.dtype)
        np.testing.assert_allclose(g, w, rtol=rtol, atol=atol)
    return got


@cache
def node_cases():
    """Return the node test cases of the onnx package that are functions of tensors, by operator."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = load_model_tests(kind="node")
    found = {}
    for case in cases:
        graph = case.model.graph
        tensors = all(v.type.WhichOneof("value") == "tensor_type" for v in [*graph.input, *graph.output])
        if tensors and graph.node:
            expanded = case.name.endswith("_expanded") or "_expanded_" in case.name
            key = "(function bodies)" if expanded else graph.node[0].op_type
            found.setdefault(key, []).append(case)
    return found


def check_case(case):
    """Run one case of the onnx package; raise AssertionError where the result differs from the expected one."""
    names = [i.name for i in case.model.graph.input]
    for inputs, outputs in case.data_sets:
        feeds = {n: _array(x) for n, x in zip(names, inputs, strict=False)}
        module = _import(case.model, feeds)
        got = run(module, {a.name: feeds[a.name] for a in module.main.arguments})
        for g, wanted in zip(got, map(_array, outputs), strict=True):
            if DRAWN.match(case.name):
                # Other elements are 0 than in the expected result; where neither is, they agree.
                assert (g.shape, g.dtype) == (wanted.shape, wanted.dtype)
                both = (g != 0) & (wanted != 0)
                g, wanted = g[both], wanted[both]
            _check(g, wanted, case)


def _array(x):
    return numpy_helper.to_array(x) if isinstance(x, TensorProto) else np.asarray(x)


def _import(proto, feeds):
    """Import; inputs that shapes depend on become constants, as few as will do."""
    integers = [n for n, a in feeds.items() if a.dtype.kind in "iub" and a.size <= 64]
    small = [n for n, a in feeds.items() if a.size <= 16]
    first = next(iter(feeds), None)
    attempts = [[], [n for n in integers if n != first], integers, [n for n in small if n != first], small]
    for i, fixed in enumerate(attempts):
        try:
            return import_model(proto, constants={n: feeds[n] for n in fixed})
        except LeptonError as error:
            if i == len(attempts) - 1 or not any(text in str(error) for text in _DEPENDS):
                raise
    raise AssertionError


def _check(got, wanted, case):
    assert got.shape == wanted.shape
    if wanted.dtype.kind in "OUS":
        assert got.astype(str).tolist() == wanted.astype(str).tolist()
        return
    assert got.dtype == wanted.dtype
    if wanted.dtype.kind not in "fciub":
        # bf16, f8, ...: one unit in the last place of bf16, the finest of them.
        np.testing.assert_allclose(got.astype(np.float64), wanted.astype(np.float64), rtol=2**-6, atol=case.atol)
        return
    # f16 results may differ by one unit in the last place, 2**-10 or, across a power of two, 2**-9.
    rtol = max(case.rtol, 2**-9) if wanted.dtype == np.float16 else case.rtol
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=max(case.atol, 1e-6 if wanted.dtype.kind == "f" else 0))
