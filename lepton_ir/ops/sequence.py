"""Sequences: lists of tensors, which the runtime holds on the host.

The names of dimensions inside of a sequence's type have no value: each element has sizes of its own. An operation that
reads an element names its sizes in the type of its result, as ``dims.bind`` does.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import sym
from lepton_ir.ir.opdef import (
    InferenceError,
    Operation,
    attribute,
    operand,
    optional_operand,
    result,
    type_attribute,
    variadic_operand,
)
from lepton_ir.ir.types import DType, OptionalType, SequenceType, TensorType, Type, UnrankedType
from lepton_ir.ops.support import Array, normalize_axis


class Reading(Operation):
    """Base class of what gives values whose sizes are known only afterwards.

    Its results' types name those sizes, and other operations may use the names where they do not use the values; so it
    is kept even if nothing uses the values.
    """

    is_host = True
    has_side_effects = True


class Empty(Operation):
    """The sequence without elements."""

    name = "seq.empty"
    is_host = True
    element = type_attribute(doc="the type of the elements that it might have")
    ys: OpResult = result()

    def infer(self) -> Type:
        return SequenceType(self.element)

    def evaluate(self) -> list[Any]:
        return []


class Construct(Operation):
    """The sequence of the operands."""

    name = "seq.construct"
    is_host = True
    xs: tuple[Value, ...] = variadic_operand("at least one; of one element type")
    ys: OpResult = result()

    def infer(self) -> Type:
        if not self.xs:
            raise InferenceError("seq.construct needs at least one operand; seq.empty makes a sequence without")
        element: Type = self.xs[0].type
        for x in self.xs[1:]:
            element = common_element(self.name, element, x.type)
        return SequenceType(element)

    def evaluate(self, *xs: Array) -> list[Array]:
        return [own(x) for x in xs]


class Length(Operation):
    """The number of elements, i64 of rank 0."""

    name = "seq.length"
    is_host = True
    xs: Value = operand()
    y: OpResult = result()

    def infer(self) -> Type:
        element_of(self.name, self.xs)
        return TensorType((), DType.I64)

    def evaluate(self, xs: list[Any]) -> Array:
        return np.array(len(xs), np.int64)


class At(Reading):
    """The element at a position; a negative one counts from the end. It is an error if there is no such element."""

    name = "seq.at"
    xs: Value = operand()
    position: Value = operand("an integer of rank 0")
    y: OpResult = result()

    def infer(self) -> Type:
        return element_of(self.name, self.xs)

    def verify(self) -> None:
        check_position(self.name, self.position)

    def evaluate(self, xs: list[Any], position: Array) -> Any:
        return xs[index_in(xs, position, len(xs) - 1)]


class Insert(Operation):
    """The sequence with a further element before a position, at its end where there is none."""

    name = "seq.insert"
    is_host = True
    xs: Value = operand()
    x: Value = operand()
    position: Value | None = optional_operand("an integer of rank 0")
    ys: OpResult = result()

    def infer(self) -> Type:
        return SequenceType(common_element(self.name, element_of(self.name, self.xs), self.x.type))

    def verify(self) -> None:
        check_position(self.name, self.position)

    def evaluate(self, xs: list[Any], x: Array, position: Array | None = None) -> list[Any]:
        at = len(xs) if position is None else index_in(xs, position, len(xs))
        return [*xs[:at], own(x), *xs[at:]]


class Erase(Operation):
    """The sequence without the element at a position, without the last one where there is none."""

    name = "seq.erase"
    is_host = True
    xs: Value = operand()
    position: Value | None = optional_operand("an integer of rank 0")
    ys: OpResult = result()

    def infer(self) -> Type:
        return SequenceType(element_of(self.name, self.xs))

    def verify(self) -> None:
        check_position(self.name, self.position)

    def evaluate(self, xs: list[Any], position: Array | None = None) -> list[Any]:
        at = index_in(xs, np.int64(-1) if position is None else position, len(xs) - 1)
        return [*xs[:at], *xs[at + 1 :]]


class Concat(Reading):
    """The elements one after the other along an axis, which is a new one where ``new_axis`` is set."""

    name = "seq.concat"
    xs: Value = operand()
    axis = attribute(int)
    new_axis = attribute(bool, default=False)
    y: OpResult = result()

    def infer(self) -> Type:
        element = element_of(self.name, self.xs)
        if not isinstance(element, TensorType):
            raise InferenceError(f"{self.name} needs elements of a known rank, got {self.xs.type}")
        shape = list(element.shape)
        axis = normalize_axis(self.axis, element.rank + self.new_axis)
        joined = sym("joined")
        shape[axis : axis + (not self.new_axis)] = [joined]
        return element.with_shape(shape)

    def evaluate(self, xs: list[Array]) -> Array:
        if not xs:
            raise ValueError("it joins the elements of a sequence that has none")
        return np.stack(xs, self.axis) if self.new_axis else np.concatenate(xs, self.axis)


class Split(Operation):
    """The pieces of x along an axis, as a sequence.

    Without ``split`` they have size 1; with a number, that size (the last one what is left); with a list, those sizes.
    """

    name = "seq.split"
    is_host = True
    x: Value = operand()
    split: Value | None = optional_operand("integers of rank 0 or 1")
    axis = attribute(int, default=0)
    keepdims = attribute(bool, default=True, doc="whether pieces of size 1 keep the axis; without split only")
    ys: OpResult = result()

    def infer(self) -> Type:
        x = self.x.tensor
        axis = normalize_axis(self.axis, x.rank)
        if self.split is None:
            middle = [1] if self.keepdims else []
            return SequenceType(x.with_shape([*x.shape[:axis], *middle, *x.shape[axis + 1 :]]))
        return SequenceType(x.with_shape([*x.shape[:axis], sym("piece"), *x.shape[axis + 1 :]]))

    def verify(self) -> None:
        if self.split is not None and not (self.split.tensor.dtype.is_integer and self.split.rank < 2):
            raise InferenceError(f"split of {self.name} must be integers of rank 0 or 1, got {self.split.type}")

    def evaluate(self, x: Array, split: Array | None = None) -> list[Array]:
        size = x.shape[self.axis]
        sizes = piece_sizes(size, split)
        ends = np.cumsum([0, *sizes])
        pieces = [own(x[self._cut(x, a, b)]) for a, b in itertools.pairwise(ends)]
        return pieces if split is not None or self.keepdims else [p.squeeze(self.axis) for p in pieces]

    def _cut(self, x: Array, start: int, end: int) -> tuple[slice, ...]:
        cut = [slice(None)] * x.ndim
        cut[self.axis] = slice(start, end)
        return tuple(cut)


def piece_sizes(size: int, split: Array | None) -> list[int]:
    """Return the sizes of the pieces that ``seq.split`` makes.

    Raises:
        ValueError: the sizes do not add up to ``size``, or one is not possible.
    """
    if split is not None and np.ndim(split) == 1:
        sizes = [int(n) for n in split]
        if sum(sizes) != size or any(n < 0 for n in sizes):
            raise ValueError(f"the sizes {sizes} are none of pieces of {size} elements")
        return sizes
    piece = 1 if split is None else int(split)
    if piece < 1:
        raise ValueError(f"the pieces have size {piece}")
    return [min(piece, size - start) for start in range(0, size, piece)]


def own(x: Array) -> Array:
    """Return a copy: a program may use an operand's memory again while a sequence still holds it."""
    return np.array(x)


def index_in(xs: Sequence[Any], position: Any, last: int) -> int:
    """Return a position as one counted from the start.

    Raises:
        ValueError: it lies outside of the sequence.
    """
    given = int(position)
    found = given + len(xs) if given < 0 else given
    if not 0 <= found <= last:
        raise ValueError(f"the position {given} lies outside of a sequence of {len(xs)} elements")
    return found


def element_of(what: str, xs: Value) -> Type:
    """Return the type of a sequence's elements.

    Raises:
        InferenceError: the value is no sequence.
    """
    if not isinstance(xs.type, SequenceType):
        raise InferenceError(f"{what} needs a sequence, got {xs.type}")
    return xs.type.element


def common_element(what: str, one: Type, two: Type) -> Type:
    """Return the type of a sequence's elements that have either type.

    Raises:
        InferenceError: they are of different kinds.
    """
    if one == two:
        return one
    for container in (SequenceType, OptionalType):
        if isinstance(one, container) and isinstance(two, container):
            return container(common_element(what, one.element, two.element))
    tensors = (TensorType, UnrankedType)
    if not isinstance(one, tensors) or not isinstance(two, tensors) or one.dtype is not two.dtype:
        raise InferenceError(f"{what} needs elements of one type, got {one} and {two}")
    if isinstance(one, UnrankedType) or isinstance(two, UnrankedType) or one.rank != two.rank:
        return UnrankedType(one.dtype)
    pairs = enumerate(zip(one.shape, two.shape, strict=True))
    return one.with_shape([d if d == e else sym(f"any{i}") for i, (d, e) in pairs])


def check_position(what: str, position: Value | None) -> None:
    """Check that a position is an integer of rank 0.

    Raises:
        InferenceError: it is not.
    """
    if position is None:
        return
    if not isinstance(position.type, TensorType) or position.rank or not position.tensor.dtype.is_integer:
        raise InferenceError(f"the position of {what} must be an integer of rank 0, got {position.type}")
