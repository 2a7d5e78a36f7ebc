"""Constant folding."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from lepton_ir.ir import Builder, Constant, FusionKind, Module, Operation, TensorType
from lepton_ir.ir.core import Operation as CoreOperation
from lepton_ir.passes import Pass, PassContext, register_pass
from lepton_ir.rewrite import constant_of, remove_dead_ops


@register_pass("constant-fold")
@dataclass(frozen=True)
class ConstantFold(Pass):
    """Compute at compile time what depends on constants only.

    Attributes:
        max_growth: bytes by which the result may be larger than the operands, so that an expanded scalar does
            not become a large weight. The weights of anchors are computed whatever their size.
        max_total: bytes by which all results of one run may be larger than their operands, weights included; many
            small expansions cost as much as a large one.
    """

    max_growth: int = 1 << 18
    max_total: int = 1 << 32

    def run(self, module: Module, ctx: PassContext) -> bool:
        before, left = ctx.control.done, self.max_total
        for op in module.walk():
            if not self._foldable(op) or _growth(op) > left:
                continue
            left -= max(0, _growth(op))
            if not self._fold(op, ctx):
                ctx.count(self.name, "failed")
        if ctx.control.done == before:
            return False
        remove_dead_ops(module)
        return True

    def _foldable(self, op: CoreOperation) -> bool:
        if not isinstance(op, Operation) or op.name == "const" or op.regions or not op.results:
            return False
        if op.has_side_effects or op.is_terminator or type(op).evaluate is CoreOperation.evaluate:
            return False
        if any(constant_of(v) is None for v in op.present_operands):
            return False
        if not all(isinstance(r.type, TensorType) and r.type.is_static for r in op.results):
            return False
        if op.attribute_symbols:
            return False
        return _growth(op) <= self.max_growth or _is_weight(op)

    def _fold(self, op: CoreOperation, ctx: PassContext) -> bool:
        operands = [None if v is None else op_array(v) for v in op.operands]
        try:
            values = op.evaluate(*operands)
        except (ArithmeticError, ValueError, TypeError, IndexError, MemoryError):
            # The program may never reach it; if it does, it fails there, as it would have without folding.
            return False
        arrays = list(values) if isinstance(values, (tuple, list)) else [values]
        if not ctx.permit(self.name, op):
            return True
        builder = Builder.before_op(op)
        op.replace_with([_constant(builder, a, r) for a, r in zip(arrays, op.results, strict=True)])
        return True


def _growth(op: CoreOperation) -> int:
    """Return by how many bytes the results of a foldable operation are larger than its operands."""
    given = sum(op_array(v).nbytes for v in op.present_operands)
    return sum(prod(r.tensor.static_shape) * r.tensor.dtype.numpy.itemsize for r in op.results) - given


def _is_weight(op: Operation) -> bool:
    """Whether convolutions, products and the like read the results, and nothing else does: then they need them."""
    users = [user for r in op.results for user in r.users]
    return bool(users) and all(isinstance(u, Operation) and u.fusion is FusionKind.ANCHOR for u in users)


def op_array(value: Any) -> np.ndarray:
    """Return the array of a value known to be constant."""
    constant = constant_of(value)
    if constant is None:
        raise TypeError("the value is no constant")
    return constant.array


def _constant(builder: Builder, array: Any, result: Any) -> Any:
    found = np.asarray(array)
    wanted = result.tensor.dtype.numpy
    if found.dtype != wanted:
        found = found.astype(wanted)
    return builder.const(Constant(np.ascontiguousarray(found).reshape(result.tensor.static_shape), result.name))
