"""Branches made while nodes are lowered: what they give is joined, sizes in which they differ get fresh names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.runtime_dims import flat_ints, fresh_dims
from lepton_frontends.onnx.runtime_values import ChoiceNeededError
from lepton_frontends.onnx.sequences import as_type, as_value, widened
from lepton_ir.ir.core import Block, Region, Value
from lepton_ir.ir.dim import Dim, symbols
from lepton_ir.ir.opdef import InferenceError
from lepton_ir.ir.types import DType, OptionalType, SequenceType, TensorType, Type, UnrankedType
from lepton_ir.ops.control import If

if TYPE_CHECKING:
    from lepton_frontends.onnx.builder import OnnxBuilder
    from lepton_frontends.onnx.scope import Imported

Body = Callable[["OnnxBuilder"], Sequence[Value]]


def inner_builder(b: OnnxBuilder, block: Block) -> OnnxBuilder:
    """Return a builder at the end of a block inside of where ``b`` stands."""
    inner = type(b)(block, b.importer)
    inner.location = b.location
    return inner


def if_else(b: OnnxBuilder, condition: Value, then: Body, other: Body) -> tuple[Value, ...]:
    """Make a branch; ``condition`` is bool of rank 0.

    Raises:
        UnsupportedError: the branches give values whose ranks or element types differ.
    """
    outside = frozenset(b.importer.symbols)
    blocks = [Block(), Block()]
    values = [body(inner_builder(b, block)) for body, block in zip((then, other), blocks, strict=True)]
    return make_if(b, condition, blocks, values, outside)


def make_if(
    b: OnnxBuilder,
    condition: Value,
    blocks: Sequence[Block],
    values: Sequence[Sequence[Imported]],
    outside: frozenset[str],
) -> tuple[Value, ...]:
    """Make a branch of two blocks, which give ``values``; ``outside`` are the dimensions that are known around it."""
    held = [[as_value(inner_builder(b, block), v) for v in each] for block, each in zip(blocks, values, strict=True)]
    first, second = ([v.type for v in each] for each in held)
    types = [join(b, one, two, outside) for one, two in zip(first, second, strict=True)]
    for block, each in zip(blocks, held, strict=True):
        inner = inner_builder(b, block)
        inner.yield_([as_type(inner, v, t) for v, t in zip(each, types, strict=True)])
    op = If.build(condition, result_types=types, regions=[Region(block) for block in blocks], location=b.location)
    b.insert(op)
    return tuple(op.results)


def join(b: OnnxBuilder, one: Type, two: Type, outside: frozenset[str]) -> Type:
    """Return the type of a value that is of either type.

    Raises:
        UnsupportedError: they differ in more than sizes.
    """
    if isinstance(one, SequenceType) and isinstance(two, SequenceType):
        return SequenceType(widened(one.element, two.element))
    if isinstance(one, OptionalType) or isinstance(two, OptionalType):
        held, other = (t.element if isinstance(t, OptionalType) else t for t in (one, two))
        return OptionalType(join(b, held, other, outside))
    if isinstance(one, UnrankedType) and one == two:
        return one
    if (
        not isinstance(one, TensorType)
        or not isinstance(two, TensorType)
        or one.dtype is not two.dtype
        or one.rank != two.rank
    ):
        raise UnsupportedError(
            f"its branches lead to {one} and {two}",
            'fix what the condition depends on: an input, with constants={"name": value}, or a dynamic dimension, '
            'with dims={"name": size}',
        )

    def dim(d: Dim, e: Dim) -> Dim:
        return d if d == e and symbols(d) <= outside else fresh_dims(b, 1)[0]

    return TensorType(tuple(dim(d, e) for d, e in zip(one.shape, two.shape, strict=True)), one.dtype)


def choose(
    b: OnnxBuilder, choice: ChoiceNeededError, lower: Callable[[OnnxBuilder, tuple[int, ...]], list[Value]]
) -> tuple[Value, ...]:
    """Lower a node for every value of a parameter, in branches of which the running program takes one.

    Args:
        b: where the branches go.
        choice: the parameter.
        lower: lowers the node for one value.
    """
    possible = {numbers for numbers in choice.choices if _fits(b, lower, numbers)}
    if not possible:
        return tuple(lower(b, min(choice.choices)))  # Raises the reason.
    values = flat_ints(b, choice.value)
    count, low = len(choice.among), choice.among[0]
    digits = b.sub(values, b.const(np.int64(low)))
    if choice.wrap:
        negative = b.lt(values, b.const(np.int64(0)))
        digits = b.sub(b.where(negative, b.add(values, b.const(np.int64(choice.wrap))), values), b.const(np.int64(low)))
    inside = b.and_(b.ge(digits, b.const(np.int64(0))), b.lt(digits, b.const(np.int64(count))))
    length = int(values.shape[0])
    weights = b.const(np.array([count ** (length - 1 - i) for i in range(length)], np.int64))
    number = b.reshaped(b.reduce_sum(b.mul(digits, weights), axes=(0,), keepdims=False), ())
    table = b.const(np.array([n in possible for n in choice.numbered()]))
    message = f"the {choice.what} of {b.op_type} is out of range"
    b.control_require(b.reduce_all(inside, axes=(0,), keepdims=False), message=message)
    b.control_require(b.reshaped(b.tensor_gather(table, number, axis=0), ()), message=message)
    numbered = [(i, n) for i, n in enumerate(choice.numbered()) if n in possible]

    def search(inner: OnnxBuilder, left: Sequence[tuple[int, tuple[int, ...]]]) -> Sequence[Value]:
        if len(left) == 1:
            return lower(inner, left[0][1])
        half = len(left) // 2
        before = inner.lt(number, inner.const(np.int64(left[half][0])))
        return if_else(inner, before, lambda i: search(i, left[:half]), lambda i: search(i, left[half:]))

    return tuple(search(b, numbered))


def _fits(
    b: OnnxBuilder, lower: Callable[[OnnxBuilder, tuple[int, ...]], list[Value]], numbers: tuple[int, ...]
) -> bool:
    """Return whether a node can be lowered for a value of its parameter."""
    block = Block()
    try:
        lower(inner_builder(b, block), numbers)
    except (UnsupportedError, InferenceError):
        return False
    finally:
        block.erase_all()
    return True


def condition_of(b: OnnxBuilder, value: Value) -> Value:
    """Return a tensor of one element as a bool of rank 0."""
    return b.cast_to(b.reshaped(value, ()), DType.BOOL)
