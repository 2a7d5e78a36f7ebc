"""Functions and the module that holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lepton_ir.ir.core import Block, BlockArgument, Operation, Region, Value
from lepton_ir.ir.location import UNKNOWN, Location
from lepton_ir.ir.types import Type


class Function:
    """A function: a name, a body whose block arguments are the inputs, ended by ``return``.

    Attributes:
        name: the symbol, unique in the module.
        body: the single block.
        result_names: the names of the outputs, as the user's model has them ("" where unnamed).
        attributes: free-form plain values.
    """

    def __init__(
        self,
        name: str,
        argument_types: Sequence[Type] = (),
        argument_names: Sequence[str] = (),
        result_names: Sequence[str] = (),
        location: Location = UNKNOWN,
    ) -> None:
        self.name = name
        self.region = Region(Block())
        for i, t in enumerate(argument_types):
            self.body.add_argument(t, argument_names[i] if i < len(argument_names) else "")
        self.result_names: tuple[str, ...] = tuple(result_names)
        self.attributes: dict[str, Any] = {}
        self.location = location

    @property
    def body(self) -> Block:
        return self.region.block

    @property
    def arguments(self) -> list[BlockArgument]:
        return self.body.arguments

    @property
    def return_op(self) -> Operation:
        return self.body.terminator

    @property
    def results(self) -> tuple[Value, ...]:
        """The returned values."""
        return self.return_op.present_operands

    @property
    def result_types(self) -> tuple[Type, ...]:
        return tuple(v.type for v in self.results)

    def walk(self) -> Iterator[Operation]:
        return self.body.walk()

    def clone(self) -> Function:
        copy = Function(self.name, result_names=self.result_names, location=self.location)
        copy.region = self.region.clone({})
        copy.attributes = dict(self.attributes)
        return copy


class Module:
    """A symbol table of functions; ``main`` is the entry."""

    def __init__(self, functions: Sequence[Function] = (), attributes: dict[str, Any] | None = None) -> None:
        self.functions: dict[str, Function] = {}
        self.attributes: dict[str, Any] = dict(attributes or {})
        for function in functions:
            self.add(function)

    def add(self, function: Function) -> Function:
        """Add a function.

        Raises:
            ValueError: the name is taken.
        """
        if function.name in self.functions:
            raise ValueError(f"the module already has a function @{function.name}")
        self.functions[function.name] = function
        return function

    @property
    def main(self) -> Function:
        """The entry function.

        Raises:
            ValueError: there is none.
        """
        if "main" not in self.functions:
            raise ValueError("the module has no function @main")
        return self.functions["main"]

    def walk(self) -> Iterator[Operation]:
        """Yield every operation of every function, outer before inner."""
        for function in self.functions.values():
            yield from function.walk()

    def clone(self) -> Module:
        """Copy functions and operations; constants are shared."""
        return Module([f.clone() for f in self.functions.values()], self.attributes)
