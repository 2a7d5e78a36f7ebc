"""The node test cases of the onnx package with other element types: every type that the operator's schema allows.

A variant is called after its case, the type variable and the type: ``test_relu@T=float16``. What it is compared with
comes from ONNX's reference evaluator or from ONNX Runtime, whichever computes it.
"""

from __future__ import annotations

import re
import warnings
from functools import cache

import ml_dtypes
import numpy as np
from onnx import TensorProto, defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

EXCEPTIONS = {
    r"castlike": "numbers beyond an integer type may become any; test_casts has the others",
    r"qlinearmatmul.*=float8": "the reference truncates them to integers",
    r"dequantizelinear.*=float4|quantizelinear.*T3=float8": "the reference leaves their zero point out",
    r"gridsample.*=u?int": "the reference computes the weights in integers, of which most are 0",
    r"attention_local_window.*U=u?int": "the reference pads a mask of integers with infinity",
    r"layer_normalization.*T=bfloat16": "the reference does not stash in float32, as stash_type says",
    r"nllloss_NCd1d2d3d4d5_mean_weight.*=bfloat16": "the reference adds up in bfloat16, and gets half of the sum",
}
"""Variants that are not made, by the name, and why."""

_TYPES = {
    "float": TensorProto.FLOAT, "double": TensorProto.DOUBLE,
    **{n.lower(): v for n, v in TensorProto.DataType.items() if n not in ("UNDEFINED", "STRING", "FLOAT", "DOUBLE")},
}  # fmt: skip


@cache
def variant_names(cases_of_node):
    """Return the names of all variants of the given cases, a function that returns cases by name."""
    by_operator = {}
    for case in cases_of_node().values():
        if _is_plain(case):
            by_operator.setdefault(case.model.graph.node[0].op_type, []).append(case)
    names = []
    for cases in by_operator.values():
        ordered = sorted(cases, key=lambda c: (len(c.model.graph.node[0].input), c.name))
        chosen = {c.name: c for c in (ordered[0], ordered[-1])}
        names += [f"{c.name}@{var}={kind}" for c in chosen.values() for var, kind in _choices(c)]
    return [n for n in names if not any(re.search(pattern, n) for pattern in EXCEPTIONS)]


def _is_plain(case):
    """Return whether a case is one node of ONNX's own, with tensors in and out."""
    graph = case.model.graph
    tensors = all(v.type.WhichOneof("value") == "tensor_type" for v in [*graph.input, *graph.output])
    return tensors and len(graph.node) == 1 and graph.node[0].domain == "" and not graph.initializer


def _schema(case):
    opset = next(o.version for o in case.model.opset_import if o.domain in ("", "ai.onnx"))
    return defs.get_schema(case.model.graph.node[0].op_type, opset, "")


def _variables(case):
    """Return the type variable of each input of the node, by the input's name."""
    schema, found = _schema(case), {}
    for i, name in enumerate(case.model.graph.node[0].input):
        formal = schema.inputs[min(i, len(schema.inputs) - 1)]
        if name and formal.is_homogeneous:
            found[name] = formal.type_str
    return found


def _choices(case):
    variables = _variables(case)
    present = {variables[i.name]: i.type.tensor_type.elem_type for i in case.model.graph.input if i.name in variables}
    for constraint in _schema(case).type_constraints:
        var = constraint.type_param_str
        for text in constraint.allowed_type_strs:
            kind = text.removeprefix("tensor(").removesuffix(")")
            if var in present and kind in _TYPES and _TYPES[kind] != present[var]:
                yield var, kind


def variants(case, choice):
    """Yield a case with the type variable of ``choice`` (``T=float16``) bound to another type, once per reference."""
    var, kind = choice.split("=")
    number = _TYPES[kind]
    model = type(case.model)()
    model.CopyFrom(case.model)
    changed = {name for name, v in _variables(case).items() if v == var}
    for value in model.graph.input:
        if value.name in changed:
            value.type.tensor_type.elem_type = number
    for value in model.graph.output:
        value.ClearField("type")
    dtype = helper.tensor_dtype_to_np_dtype(number)
    names = [i.name for i in model.graph.input]
    arrays = [_array(x) for x in case.data_sets[0][0]]
    inputs = [converted(a, dtype) if n in changed else a for n, a in zip(names, arrays, strict=False)]
    for reference in (_reference, _onnxruntime):
        outputs = _attempt(reference, model, dict(zip(names, inputs, strict=False)))
        if outputs is not None:
            outputs = _declared(case, outputs, var, dtype)
            atol = max([case.atol, *(_rounding(o) for o in outputs)])
            yield case.__class__(**{**vars(case), "model": model, "data_sets": [(inputs, outputs)], "atol": atol})


def _declared(case, outputs, var, dtype):
    """Return outputs in the type that the schema gives them: numpy sums short integers in longer ones."""
    formal = _schema(case).outputs
    kinds = [formal[min(i, len(formal) - 1)].type_str for i in range(len(outputs))]
    return [o.astype(dtype) if k == var else o for o, k in zip(outputs, kinds, strict=True)]


def _rounding(array):
    """Return the error that references make which compute in 16 bits from end to end, and kernels do not."""
    if array.dtype not in (np.float16, ml_dtypes.bfloat16) or not array.size:
        return 0.0
    finite = np.nan_to_num(array.astype(np.float64), posinf=0, neginf=0)
    return float(4 * ml_dtypes.finfo(array.dtype).eps * np.abs(finite).max())


def _array(x):
    return numpy_helper.to_array(x) if isinstance(x, TensorProto) else np.asarray(x)


def converted(array, dtype):
    """Return an array with similar numbers in another type; integers made of floats are not 0, so that they divide."""
    if array.dtype == dtype or array.dtype.kind in "OUS":
        return array.astype(dtype)
    if dtype == np.bool_:
        return array.astype(np.float64) > 0
    if dtype.kind in "iu" or dtype in (ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2):
        wide = np.nan_to_num(array.astype(np.float64))
        if array.dtype.kind not in "iub":
            wide = np.rint(wide * 4)
            wide = np.where(wide == 0, 1, wide)
        info = ml_dtypes.iinfo(dtype)
        wide = np.abs(wide) if info.min == 0 else wide
        return np.clip(wide, info.min, min(info.max, 2**31 - 1)).astype(np.int64).astype(dtype)
    return array.astype(np.float32 if dtype.kind == "V" else np.float64).astype(dtype)


def _attempt(run, model, feeds):
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = run(model, feeds)
    except Exception:
        # Whatever it fails with: it computes no such type.
        return None
    return found if all(isinstance(f, np.ndarray) for f in found) else None


def _reference(model, feeds):
    return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, feeds)]


def _onnxruntime(model, feeds):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)
