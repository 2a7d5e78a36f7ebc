"""Runs one operator on arrays, and the same through ONNX Runtime or the ONNX reference evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import lepton_ir.ops  # noqa: F401
from lepton_ir.ir import REGISTRY, Block, DType, Operation, TensorType, Value
from lepton_ir.ops.expand import evaluate_by_decomposition


def make(name: str, *arrays: Any, **attributes: Any) -> Operation:
    """Build the operator for operands of the arrays' types (None: absent; a list: variadic)."""
    block = Block()

    def argument(array: Any) -> Any:
        if array is None:
            return None
        if isinstance(array, (list, tuple)):
            return [argument(a) for a in array]
        if isinstance(array, TensorType):
            return block.add_argument(array)
        return block.add_argument(TensorType(tuple(array.shape), DType.of(array)))

    op: Operation = REGISTRY[name].build(*map(argument, arrays), **attributes)
    op.verify()
    return op


def flat(arrays: Sequence[Any]) -> list[Any]:
    """Return the operands with variadic ones spread."""
    out: list[Any] = []
    for a in arrays:
        out.extend(a) if isinstance(a, (list, tuple)) else out.append(a)
    return out


def evaluate(name: str, *arrays: Any, **attributes: Any) -> Any:
    """Return what the operator means, after checking it against the inferred types and its decomposition."""
    op = make(name, *arrays, **attributes)
    found = op.evaluate(*flat(arrays))
    results = found if isinstance(found, tuple) else (found,)
    for array, result in zip(results, op.results, strict=True):
        assert TensorType(tuple(array.shape), DType.of(array)) == result.type
    check_decomposition(op, flat(arrays), results)
    return found


def check_decomposition(op: Operation, arrays: Sequence[Any], results: Sequence[np.ndarray]) -> None:
    """Compare an operator with what it decomposes into, where it does."""
    if not hasattr(op, "decompose"):
        return
    for array, result in zip(evaluate_by_decomposition(op, arrays), results, strict=True):
        assert array.dtype == result.dtype and array.shape == result.shape, op.name
        narrow = result.dtype in (np.float16, ml_dtypes.bfloat16)
        assert_close(array, result, rtol=2e-2 if narrow else 2e-5, atol=4e-3 if narrow else 2e-6)


def assert_close(actual: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Compare arrays of any element type."""
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    if actual.dtype.kind in "biuO":
        np.testing.assert_array_equal(actual, expected)
        return
    np.testing.assert_allclose(actual.astype(np.float64), expected.astype(np.float64), rtol=rtol, atol=atol)


def model_of(op_type: str, arrays: Sequence[np.ndarray | None], outputs: int, opset: int, **attributes: Any) -> Any:
    """Return an ONNX model of one node."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(arrays)]
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in zip(names, arrays, strict=True)
        if a is not None
    ]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op_type, names, results, **attributes)
    untyped = [helper.make_value_info(n, onnx.TypeProto()) for n in results]
    graph = helper.make_graph([node], "one", inputs, untyped)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    try:
        return onnx.shape_inference.infer_shapes(model, strict_mode=False)
    except onnx.shape_inference.InferenceError:
        return model


def ort(op_type: str, *arrays: np.ndarray | None, outputs: int = 1, opset: int = 21, **attributes: Any) -> Any:
    """Return what ONNX Runtime computes for one node."""
    model = model_of(op_type, arrays, outputs, opset, **attributes)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {f"x{i}": a for i, a in enumerate(arrays) if a is not None})
    return found[0] if outputs == 1 else found


def reference(op_type: str, *arrays: np.ndarray | None, outputs: int = 1, opset: int = 21, **attributes: Any) -> Any:
    """Return what the ONNX reference evaluator computes for one node."""
    evaluator = ReferenceEvaluator(model_of(op_type, arrays, outputs, opset, **attributes))
    found = evaluator.run(None, {f"x{i}": a for i, a in enumerate(arrays) if a is not None})
    return found[0] if outputs == 1 else found


def floats(*shape: int, seed: int = 0, dtype: Any = np.float32, low: float = -3.0, high: float = 3.0) -> np.ndarray:
    """Return random floats."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


def integers(*shape: int, seed: int = 0, dtype: Any = np.int64, low: int = -9, high: int = 10) -> np.ndarray:
    """Return random integers."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


__all__ = [
    "TensorProto",
    "Value",
    "assert_close",
    "check_decomposition",
    "evaluate",
    "flat",
    "floats",
    "integers",
    "make",
    "model_of",
    "ort",
    "reference",
]
