"""Printing modules as text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lepton_ir.ir.constant import Constant
from lepton_ir.ir.core import Block, Operation, Region, Value
from lepton_ir.ir.module import Function, Module
from lepton_ir.ir.types import Type
from lepton_ir.text.dense import format_dense
from lepton_ir.text.lexical import SYMBOL_ATTRIBUTES, format_attributes, format_location, format_name, region_label
from lepton_ir.text.names import ConstantNames, ValueNames
from lepton_ir.text.weights import save_weights

ELIDE_ABOVE = 16
"""Constants with more elements are written by name."""


def print_module(
    module: Module,
    *,
    weights_path: str | os.PathLike[str] | None = None,
    elide_above: int = ELIDE_ABOVE,
    locations: bool = False,
) -> str:
    """Return the module as text.

    Args:
        module: what to print; it need not be valid.
        weights_path: where to write the constants that are too large for the text, as safetensors (no file if
            there are none). Without it they are only named, and :func:`parse_module` needs their data from elsewhere.
        elide_above: the largest number of elements that is written inline.
        locations: whether to write where each operation came from.
    """
    printer = Printer(elide_above, locations)
    text = printer.module(module)
    if weights_path is not None and printer.constants.named:
        save_weights(weights_path, printer.constants.named)
    return text


def save_module(module: Module, path: str | os.PathLike[str], *, locations: bool = True) -> None:
    """Write ``path`` and, beside it, ``<stem>.safetensors`` with the large constants where there are any."""
    path = Path(path)
    text = print_module(module, weights_path=path.with_suffix(".safetensors"), locations=locations)
    path.write_text(text, encoding="utf-8")


def print_operation(op: Operation, *, locations: bool = False) -> str:
    """Return one operation (and what is inside it) as text, for messages."""
    printer = Printer(ELIDE_ABOVE, locations)
    inside: set[Value] = {v for inner in op.walk() for v in inner.results}
    inside.update(a for inner in op.walk() for region in inner.regions for a in region.block.arguments)
    for value in dict.fromkeys(v for inner in op.walk() for v in inner.present_operands):
        if value not in inside:
            printer.values.define(value)
    printer.operation(op, "")
    return "".join(printer.out).rstrip("\n")


class Printer:
    """Writes text into ``out``; ``constants`` gathers the constants that were only named."""

    def __init__(self, elide_above: int = ELIDE_ABOVE, locations: bool = False) -> None:
        self.elide_above = elide_above
        self.locations = locations
        self.out: list[str] = []
        self.values = ValueNames()
        self.constants = ConstantNames()
        self._types: dict[Type, str] = {}

    def module(self, module: Module) -> str:
        attributes = f"{self._attributes(module.attributes)} " if module.attributes else ""
        self.out.append(f"module {attributes}{{\n")
        for i, function in enumerate(module.functions.values()):
            if i:
                self.out.append("\n")
            self.function(function)
        self.out.append("}\n")
        return "".join(self.out)

    def function(self, function: Function) -> None:
        self.values = ValueNames()
        arguments = self._arguments(function.body)
        attributes = f" {self._attributes(function.attributes)}" if function.attributes else ""
        location = f" {format_location(function.location)}" if self.locations else ""
        results = self._results(function)
        self.out.append(f"  func @{format_name(function.name)}({arguments}) -> ({results}){attributes}{location} {{\n")
        self._body(function.body, "    ")
        self.out.append("  }\n")

    def _results(self, function: Function) -> str:
        last = function.body.last
        types = [] if last is None or not _is_terminator(last) else [v.type for v in last.present_operands]
        names = function.result_names
        return ", ".join(
            f"{format_name(names[i])}: {self._type(t)}" if i < len(names) and names[i] else self._type(t)
            for i, t in enumerate(types)
        )

    def _arguments(self, block: Block) -> str:
        return ", ".join([f"%{self.values.define(a)}: {self._type(a.type)}" for a in block.arguments])

    def _body(self, block: Block, indent: str) -> None:
        for op in block.ops:
            self.operation(op, indent)

    def operation(self, op: Operation, indent: str) -> None:
        """Write one operation with its regions."""
        out = self.out
        operands = ", ".join(["none" if v is None else f"%{self.values.of(v)}" for v in op._operands])
        scopes = [self._region(region, indent, op) for region in op.regions]
        results = ", ".join([f"%{self.values.define(r)}" for r in op.results])
        out.append(f"{indent}{results} = " if results else indent)
        constant = op.attributes.get("value")
        if op.name == "const" and isinstance(constant, Constant):
            out.append(f"const {self.constant(constant)}")
        else:
            self._head(op, operands)
        for i, (region, text) in enumerate(zip(op.regions, scopes, strict=True)):
            label = f" {region_label(op.spec.regions[i])}" if 1 < len(op.spec.regions) > i else ""
            arguments, body = text
            head = f"\n{indent}  ^({arguments}):\n" if region.block.arguments else "\n"
            out.append(f"{label} {{{head}{body}{indent}}}")
        types: Sequence[Value] = op.present_operands if _is_terminator(op) else op.results
        if types:
            out.append(" : " + ", ".join([self._type(v.type) for v in types]))
        out.append(f" {format_location(op.location)}\n" if self.locations else "\n")

    def _head(self, op: Operation, operands: str) -> None:
        symbol = next((a for a in SYMBOL_ATTRIBUTES if a in op.attributes and a in op.spec.attributes), None)
        attributes = _stored(op, symbol)
        self.out.append(op.name)
        if symbol is not None:
            self.out.append(f" @{format_name(str(op.attributes[symbol]))}")
        if not _is_terminator(op):
            self.out.append(f"({operands})")
        elif operands:
            self.out.append(f" {operands}")
        if attributes:
            self.out.append(" " + self._attributes(attributes))

    def _region(self, region: Region, indent: str, op: Operation) -> tuple[str, str]:
        """Return the arguments and the body as text; names given inside end with the region."""
        outer, self.out = self.out, []
        with self.values.scope(isolated=getattr(op, "is_isolated", False)):
            arguments = self._arguments(region.block)
            self._body(region.block, indent + "  ")
        text, self.out = "".join(self.out), outer
        return arguments, text

    def constant(self, constant: Constant) -> str:
        """Return ``@name``, ``dense<...>`` or, for small named constants, both."""
        array = constant.array
        if array.size > self.elide_above and any(array.strides):
            return f"@{format_name(self.constants.name(constant))}"
        name = f"@{format_name(constant.name)} " if constant.name else ""
        return name + format_dense(array)

    def _attributes(self, attributes: dict[str, object]) -> str:
        return format_attributes(attributes, self.constant)

    def _type(self, type: Type) -> str:
        text = self._types.get(type)
        if text is None:
            text = self._types[type] = str(type)
        return text


def _stored(op: Operation, symbol: str | None) -> dict[str, Any]:
    """Return the attributes to write, in the order of declaration: not the symbol, no defaults."""
    if not op.attributes:
        return {}
    fields = op.spec.attributes
    declared = {name: op.attributes[name] for name in fields if name in op.attributes and name != symbol}
    kept = {k: v for k, v in declared.items() if v != fields[k].default or type(v) is not type(fields[k].default)}
    return {**kept, **{k: v for k, v in op.attributes.items() if k not in fields}}


def _is_terminator(op: Operation) -> bool:
    return bool(getattr(op, "is_terminator", False))
