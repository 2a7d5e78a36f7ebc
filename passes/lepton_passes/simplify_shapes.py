"""Shape arithmetic becomes constants and dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lepton_ir.analysis.shape_value import Memo, symbolic_value
from lepton_ir.ir import Builder, DType, Module, Value
from lepton_ir.ir.core import Operation
from lepton_ir.passes import Pass, PassContext, register_pass
from lepton_ir.rewrite import remove_dead_ops

_KNOWN = frozenset({"const", "tensor.dims"})


@register_pass("simplify-shapes")
@dataclass(frozen=True)
class SimplifyShapes(Pass):
    """Replace integer tensors that are computed from shapes alone by their value.

    What is a number becomes a constant, what depends on symbols a ``tensor.dims``.
    """

    def run(self, module: Module, ctx: PassContext) -> bool:
        before = ctx.control.done
        memo: Memo = {}
        for op in list(module.walk()):
            if op.name in _KNOWN or len(op.results) != 1 or _restates_dims(op):
                continue
            array = symbolic_value(op.results[0], memo)
            if array is None or not _expressible(op.results[0], array):
                continue
            if not ctx.permit(self.name, op):
                break
            op.replace_with([_materialize(Builder.before_op(op), op.results[0], array)])
        if ctx.control.done == before:
            return False
        remove_dead_ops(module)
        return True


def _restates_dims(op: Operation) -> bool:
    """Whether ``op`` only gives a ``tensor.dims`` its shape or element type: what this pass writes itself."""
    while op.name in ("cast", "tensor.reshape"):
        source = op.present_operands[0].op
        if source is None:
            return False
        op = source
    return op.name == "tensor.dims" and not all(isinstance(d, int) for d in op.attributes["dims"])


def _is_static(array: np.ndarray) -> bool:
    return all(isinstance(e, (bool, int, np.bool_, np.integer)) for e in array.reshape(-1))


def _expressible(value: Value, array: np.ndarray) -> bool:
    return _is_static(array) or value.tensor.dtype.is_integer


def _materialize(b: Builder, value: Value, array: np.ndarray) -> Value:
    dtype = value.tensor.dtype
    if _is_static(array):
        return b.const(np.array(array.tolist(), dtype.numpy).reshape(array.shape), name=value.name)
    made: Value = b.tensor_dims(dims=tuple(array.reshape(-1)))
    if array.ndim != 1:
        made = b.tensor_reshape(made, shape=array.shape)
    if dtype is not DType.I64:
        made = b.cast(made, to=dtype)
    return made
