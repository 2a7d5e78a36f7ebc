"""Evaluating an operation by what it decomposes into."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import Block, OpResult, Value
from lepton_ir.ir.opdef import Operation
from lepton_ir.ir.types import DType, TensorType
from lepton_ir.ops.support import Array


def evaluate_by_decomposition(op: Operation, operands: Sequence[Array | None]) -> tuple[Array, ...]:
    """Return the results of an operation that has a ``decompose`` method, given its operands' arrays."""
    block = Block()
    known: dict[Value, Array] = {}
    stand_ins: list[Value | None] = []
    for array in operands:
        if array is None:
            stand_ins.append(None)
            continue
        argument = block.add_argument(TensorType(tuple(array.shape), DType.of(array)))
        known[argument] = array
        stand_ins.append(argument)
    static = type(op)(stand_ins, op.attributes)
    inferred = static.infer()
    types = list(inferred) if isinstance(inferred, Sequence) else [inferred]
    static.results = tuple(OpResult(t, static, i) for i, t in enumerate(types))
    results: Sequence[Value] = static.decompose(Builder(block))  # type: ignore[attr-defined]
    for inner in block.ops:
        values = inner.evaluate(*(None if v is None else known[v] for v in inner.operands))
        found = values if isinstance(values, tuple) else (values,)
        known.update(zip(inner.results, found, strict=True))
    return tuple(np.asarray(known[v]) for v in results)
