"""The table of derivatives: one small function per operator, the vector-Jacobian product.

::

    @derivative("mul")
    def mul(b, op, dy):
        return unbroadcast(b, b.mul(dy, op.b), op.a), unbroadcast(b, b.mul(dy, op.a), op.b)

It gets the operation and the gradients of its results (None where nothing depends on a result), and returns one
gradient per operand: None means that the result does not vary with it. What is computed for operands that nobody
asks about is dead code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.types import TensorType

DerivativeRule = Callable[..., "Sequence[Value | None] | Value | None"]

RULES: dict[str, DerivativeRule] = {}


class NotDifferentiableError(Exception):
    """Something on the way from the variables to the result has no derivative that Lepton knows.

    Attributes:
        reason: what, in words that go on after "it".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def derivative(*names: str) -> Callable[[DerivativeRule], DerivativeRule]:
    """Register the derivative of operators; a rule for one operand may return its gradient alone."""

    def register(rule: DerivativeRule) -> DerivativeRule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


def number(b: Builder, like: Value, value: float) -> Value:
    """Return a constant scalar of the element type of ``like``."""
    return b.const(value, dtype=like.tensor.dtype)


def zeros(b: Builder, like: Value) -> Value:
    """Return zeros of the type of ``like``."""
    return filled(b, like, 0)


def filled(b: Builder, like: Value, value: float) -> Value:
    """Return a tensor of the type of ``like`` whose elements are all ``value``."""
    y: Value = b.tensor_full(number(b, like, value), shape=tuple(like.shape))
    return y


def reshaped(b: Builder, x: Value, shape: Sequence[Dim]) -> Value:
    """Return ``x`` in another shape, itself where it has that."""
    return x if tuple(x.shape) == tuple(shape) else b.tensor_reshape(x, shape=tuple(shape))


def swapped(b: Builder, x: Value) -> Value:
    """Return ``x`` with its last two axes exchanged."""
    last = x.rank - 1
    y: Value = b.tensor_transpose(x, perm=(*range(last - 1), last, last - 1))
    return y


def counted(b: Builder, like: Value, dims: Sequence[Dim]) -> Value:
    """Return the product of sizes as a scalar of the element type of ``like``."""
    count = product(dims)
    if isinstance(count, int):
        return number(b, like, count)
    y: Value = b.cast(b.tensor_reshape(b.tensor_dims(dims=(count,)), shape=()), to=like.tensor.dtype)
    return y


def unbroadcast(b: Builder, gradient: Value, operand: Value) -> Value:
    """Return the gradient of an operand that was broadcast: the sum over the axes along which it was repeated.

    Raises:
        NotDifferentiableError: whether an axis was repeated is known only at run time.
    """
    lead = gradient.rank - operand.rank
    axes = list(range(lead))
    for i, (have, want) in enumerate(zip(operand.shape, gradient.shape[lead:], strict=True)):
        if have == want:
            continue
        if have != 1:
            raise NotDifferentiableError(f"broadcasts {operand.type} to {gradient.type}, by a rule of the run")
        axes.append(lead + i)
    if not axes:
        return gradient
    return reshaped(b, b.reduce_sum(gradient, axes=tuple(axes), keepdims=True), operand.shape)


def kept_shape(op: Any) -> tuple[Dim, ...]:
    """Return the shape of a reduction's result with the reduced axes of size 1."""
    axes = {a % op.x.rank for a in op.axes}
    return tuple(1 if i in axes else d for i, d in enumerate(op.x.shape))


def is_float(value: Value | None) -> bool:
    """Return whether a value is a tensor of floats, and so may have a gradient."""
    return value is not None and isinstance(value.type, TensorType) and value.tensor.dtype.is_float
