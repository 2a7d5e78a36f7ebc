"""Counting arithmetic and memory traffic of operations.

A multiply-add counts as two floating-point operations, as in the papers' FLOP counts times two; an element-wise
operation counts one for each element of its result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lepton_ir.ir.core import Operation, Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.types import TensorType

_FREE = frozenset({"const", "return", "yield", "tensor.reshape", "tensor.dims", "tensor.slice", "tensor.concat"})
_RULES: dict[str, Callable[[Any], Dim]] = {}


@dataclass(frozen=True)
class Cost:
    """What an operation costs.

    Attributes:
        flops: arithmetic operations, an expression where dimensions are symbolic.
        bytes: bytes of operands and results, each counted once.
    """

    flops: Dim = 0
    bytes: Dim = 0


def _rule(*names: str) -> Callable[[Callable[[Any], Dim]], Callable[[Any], Dim]]:
    def register(fn: Callable[[Any], Dim]) -> Callable[[Any], Dim]:
        _RULES.update(dict.fromkeys(names, fn))
        return fn

    return register


@_rule("linalg.matmul")
def _matmul(op: Any) -> Dim:
    a = op.a.shape
    depth = a[0] if op.transpose_a and len(a) > 1 else a[-1]
    if op.transpose_a and len(a) > 1:
        depth = a[-2]
    return product(op.result.shape) * depth * 2


@_rule("linalg.matmul_packed")
def _matmul_packed(op: Any) -> Dim:
    return product(op.result.shape) * op.a.shape[-1] * 2


@_rule("nn.conv")
def _conv(op: Any) -> Dim:
    return product(op.result.shape) * product(op.w.shape[1:]) * 2


@_rule("nn.conv_packed")
def _conv_packed(op: Any) -> Dim:
    channels_in = op.x.shape[-1] // op.group
    return product(op.result.shape) * product(op.kernel_shape) * channels_in * 2


@_rule("nn.conv_transpose")
def _conv_transpose(op: Any) -> Dim:
    return product(op.x.shape) * product(op.w.shape[1:]) * 2


@_rule("nn.max_pool", "nn.avg_pool", "nn.lp_pool")
def _pool(op: Any) -> Dim:
    return product(op.result.shape) * product(op.kernel_shape)


@_rule("nn.attention")
def _attention(op: Any) -> Dim:
    q, v = op.q.shape, op.v.shape
    scores = product(q[:-1]) * v[-2]
    return scores * q[-1] * 2 + scores * v[-1] * 2


@_rule("nn.lstm")
def _lstm(op: Any) -> Dim:
    steps, batch = op.x.shape[:2]
    weights = product(op.w.shape) + product(op.r.shape)
    return steps * batch * weights * 2


def _elements(value: Value) -> Dim:
    return product(value.shape) if isinstance(value.type, TensorType) else 0


def _nbytes(values: Iterable[Value]) -> Dim:
    total: Dim = 0
    for value in dict.fromkeys(values):
        if isinstance(value.type, TensorType):
            total = value.type.nbytes + total
    return total


def flops(op: Operation) -> Dim:
    """Return the arithmetic operations of one operation, those of its regions included."""
    total: Dim = 0
    for region in op.regions:
        for inner in region.block.ops:
            total = flops(inner) + total
    if op.name in _FREE or op.regions or not op.results:
        return total
    rule = _RULES.get(op.name)
    if rule is not None:
        return rule(op) + total
    operands = op.present_operands
    largest = _elements(operands[0]) if op.name.startswith("reduce.") and operands else _elements(op.results[0])
    return largest + total


def cost(op: Operation) -> Cost:
    """Return the arithmetic and the memory traffic of one operation."""
    return Cost(flops(op), _nbytes([*op.present_operands, *op.results]))
