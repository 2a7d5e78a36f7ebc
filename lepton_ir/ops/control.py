"""Structure: terminators, branches, loops, calls and fused kernels."""

from __future__ import annotations

from collections.abc import Sequence

from lepton_ir.ir.core import OpResult, Region, Value
from lepton_ir.ir.dim import symbols
from lepton_ir.ir.opdef import (
    InferenceError,
    Operation,
    attribute,
    operand,
    optional_operand,
    region,
    variadic_operand,
    variadic_result,
)
from lepton_ir.ir.types import DType, OptionalType, SequenceType, TensorType, Type, UnrankedType
from lepton_ir.ops.folds import shape as shape_folds
from lepton_ir.ops.sequence import common_element


class Yield(Operation):
    """Ends a region and gives its values to the operation around it."""

    name = "yield"
    is_terminator = True
    values: tuple[Value, ...] = variadic_operand()

    def infer(self) -> Sequence[Type]:
        return []


class Return(Operation):
    """Ends a function with its results."""

    name = "return"
    is_terminator = True
    values: tuple[Value, ...] = variadic_operand()

    def infer(self) -> Sequence[Type]:
        return []


class Call(Operation):
    """Calls a function of the module. Its result types are the function's, and must be given when it is built."""

    name = "call"
    arguments: tuple[Value, ...] = variadic_operand()
    callee = attribute(str, doc="the function's name")
    ys: tuple[OpResult, ...] = variadic_result()


class If(Operation):
    """Runs one of two regions, which may use the values around them, and gives what it yields.

    Where the regions yield values of different sizes, the type of the result names the size, as ``dims.bind`` does.
    """

    name = "control.if"
    canonicalizations = (shape_folds.if_decided,)
    condition: Value = operand("bool, rank 0")
    then_region: Region = region("run where the condition holds")
    else_region: Region = region("run where it does not")
    ys: tuple[OpResult, ...] = variadic_result()

    def infer(self) -> Sequence[Type]:
        first, second = yielded_types(self.then_region), yielded_types(self.else_region)
        if len(first) != len(second):
            raise InferenceError(f"the branches of control.if yield {len(first)} and {len(second)} values")
        stated = [r.type for r in self.results] if self.results else [None] * len(first)
        return [_join(a, b, s) for a, b, s in zip(first, second, stated, strict=True)]

    def verify(self) -> None:
        _check_condition("the condition of control.if", self.condition)
        if self.then_region.block.arguments or self.else_region.block.arguments:
            raise InferenceError("the regions of control.if take no arguments")


class Loop(Operation):
    """Runs its body again and again, at most ``max_trips`` times, while the condition holds.

    The body's arguments are the number of the trip (i64, rank 0), then the carried values; it yields whether to go
    on (bool, rank 0), then the new carried values. The results are the last carried values. A size that may change
    from trip to trip has a name of its own in the type of the body's argument, and another in that of the result.
    """

    name = "control.loop"
    max_trips: Value | None = optional_operand("i64, rank 0; unlimited where absent")
    condition: Value | None = optional_operand("bool, rank 0: whether to begin; true where absent")
    carried: tuple[Value, ...] = variadic_operand("the values before the first trip")
    body: Region = region()
    budget = attribute(int, default=100_000_000, doc="an error ends the run after so many trips")
    ys: tuple[OpResult, ...] = variadic_result()

    def infer(self) -> Sequence[Type]:
        return [r.type for r in self.results] if self.results else [v.type for v in self.carried]

    def verify(self) -> None:
        if self.max_trips is not None and self.max_trips.type != TensorType((), DType.I64):
            raise InferenceError(f"max_trips of control.loop must be i64 of rank 0, got {self.max_trips.type}")
        if self.condition is not None:
            _check_condition("the condition of control.loop", self.condition)
        arguments = [a.type for a in self.body.block.arguments]
        if not _all_fit([TensorType((), DType.I64), *(v.type for v in self.carried)], arguments):
            raise InferenceError("the body of control.loop takes the trip's number and the carried values")
        if not _all_fit(yielded_types(self.body), [TensorType((), DType.BOOL), *arguments[1:]]):
            raise InferenceError("the body of control.loop yields whether to go on and the carried values")
        if not _all_fit(arguments[1:], [r.type for r in self.results]):
            raise InferenceError("the results of control.loop are the carried values")


class Require(Operation):
    """Ends the run with an error unless a condition holds."""

    name = "control.require"
    has_side_effects = True
    condition: Value = operand("bool, rank 0")
    message = attribute(str, doc="the error's message")

    def infer(self) -> Sequence[Type]:
        return []

    def verify(self) -> None:
        _check_condition("the condition of control.require", self.condition)


class Kernel(Operation):
    """Operations that become one function of machine code; nothing from outside is used but the operands.

    The body's arguments stand for the operands; it ends in ``yield``.
    """

    name = "kernel"
    is_isolated = True
    inputs: tuple[Value, ...] = variadic_operand()
    symbol = attribute(str, doc="the function's name")
    body: Region = region()
    ys: tuple[OpResult, ...] = variadic_result()

    @property
    def symbol_names(self) -> tuple[str, ...]:
        """The names of the dimensions that the body needs, in the order in which they appear."""
        found: dict[str, None] = {}
        block = self.body.block
        for value in [*block.arguments, *(r for op in block.ops for r in op.results)]:
            for dim in value.shape:
                found.update(dict.fromkeys(sorted(symbols(dim))))
        for op in block.ops:
            found.update(dict.fromkeys(sorted(op.attribute_symbols)))
        return tuple(found)

    def infer(self) -> Sequence[Type]:
        return yielded_types(self.body)

    def verify(self) -> None:
        have, want = [a.type for a in self.body.block.arguments], [v.type for v in self.present_operands]
        if have != want:
            raise InferenceError(
                f"the body of kernel @{self.symbol} takes ({', '.join(map(str, have))}), "
                f"but its operands are ({', '.join(map(str, want))})"
            )


def yielded_types(body: Region) -> list[Type]:
    """Return the types of the values that end a region."""
    last = body.block.last
    return [] if last is None else [v.type for v in last.present_operands]


def _join(a: Type, b: Type, stated: Type | None) -> Type:
    """Return the type of a value that is of either type; a result that is said to be of some size may have any."""
    if a == b:
        return a
    if isinstance(a, SequenceType) and isinstance(b, SequenceType):
        return SequenceType(common_element("control.if", a.element, b.element))
    if isinstance(a, OptionalType) and isinstance(b, OptionalType):
        return OptionalType(_join(a.element, b.element, stated.element if isinstance(stated, OptionalType) else None))
    alike = isinstance(a, TensorType) and isinstance(b, TensorType) and a.dtype is b.dtype and a.rank == b.rank
    if not alike or not isinstance(stated, TensorType) or stated.rank != a.rank:  # type: ignore[union-attr]
        raise InferenceError(f"the branches of control.if yield {a} and {b} in one place")
    shapes = zip(a.shape, b.shape, stated.shape, strict=True)  # type: ignore[union-attr]
    return TensorType(tuple(d if d == e else s for d, e, s in shapes), a.dtype)  # type: ignore[union-attr]


def _all_fit(have: Sequence[Type], want: Sequence[Type]) -> bool:
    """Return whether values may take places of the types ``want``, in which sizes may be names for any size."""
    return len(have) == len(want) and all(map(_fits, have, want))


def _fits(have: Type, want: Type) -> bool:
    if isinstance(have, TensorType) and isinstance(want, TensorType):
        sizes = zip(have.shape, want.shape, strict=False)
        named = all(d == e or not isinstance(e, int) for d, e in sizes)
        return have.dtype is want.dtype and have.rank == want.rank and named
    if isinstance(want, UnrankedType):
        return isinstance(have, (TensorType, UnrankedType)) and have.dtype is want.dtype
    for container in (SequenceType, OptionalType):
        if isinstance(have, container) and isinstance(want, container):
            return _fits(have.element, want.element)
    return have == want


def _check_condition(what: str, value: Value) -> None:
    if isinstance(value.type, (SequenceType, OptionalType)) or value.type != TensorType((), DType.BOOL):
        raise InferenceError(f"{what} must be bool of rank 0, got {value.type}")
