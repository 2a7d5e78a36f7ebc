"""From syntax to IR: names become values, texts become types and attributes, and everything is checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from lark import Token
from lark.exceptions import LarkError, UnexpectedInput

from lepton_ir.ir.constant import Constant
from lepton_ir.ir.core import Block, OpResult, Region, Value
from lepton_ir.ir.core import Operation as CoreOperation
from lepton_ir.ir.kinds import coerce, describe_kind, kind_check
from lepton_ir.ir.location import UNKNOWN, Location
from lepton_ir.ir.module import Function, Module
from lepton_ir.ir.opdef import REGISTRY, InferenceError, Operation, normalize_attributes
from lepton_ir.ir.types import Type
from lepton_ir.text.constants import ConstantReader
from lepton_ir.text.lexical import SYMBOL_ATTRIBUTES, region_label
from lepton_ir.text.scopes import Scopes
from lepton_ir.text.source import Source, did_you_mean
from lepton_ir.text.syntax import (
    ConstantSyntax,
    FunctionSyntax,
    MeaningError,
    ModuleSyntax,
    OperationSyntax,
    ParameterSyntax,
    RegionSyntax,
    parse_attributes,
    parse_type,
    unquote,
)

_NAMES = re.compile(r'%((?:[\w$.-]+|"(?:[^"\\]|\\.)*"))|none')
_TYPES = re.compile(r"(?:(?:seq|optional)\s*<\s*)*(?:tensor|map)\s*<[^<>]*>(?:\s*>)*")
_PLACE = re.compile(r'("(?:[^"\\]|\\.)*"):("(?:[^"\\]|\\.)*"):(\d+):(\d+)')


class ModuleBuilder:
    """Builds one module from its syntax.

    Args:
        source: the text, for locations and errors.
        weights: the arrays of constants that the text only names.
    """

    def __init__(self, source: Source, weights: Mapping[str, np.ndarray] | None) -> None:
        self.source = source
        self.constants = ConstantReader(source, weights)
        self.scopes = Scopes(source)
        self._attributes: dict[tuple[type, str], dict[str, Any]] = {}
        self._types: dict[str, tuple[Type, ...]] = {}

    def build(self, syntax: ModuleSyntax) -> Module:
        """Return the module."""
        module = Module(attributes=self._parse_attributes(syntax.attributes))
        for function in syntax.functions:
            name = unquote(function.name[1:])
            if name in module.functions:
                raise self.error(f"the function @{name} is defined twice", function.name)
            module.add(self._function(name, function))
        return module

    def error(self, message: str, token: Token, *, offset: int = 0, why: str = "", help: str = "") -> Exception:
        """Return an error that points at a token, or ``offset`` characters into it."""
        return self.source.error(message, (token.start_pos or 0) + offset, why=why, help=help)

    # ---- functions

    def _function(self, name: str, syntax: FunctionSyntax) -> Function:
        self.scopes = Scopes(self.source)
        function = Function(name, location=self._location(syntax.location, syntax.name))
        function.attributes = self._parse_attributes(syntax.attributes)
        self._arguments(function.body, syntax.parameters)
        self._operations(function.body, syntax.operations)
        names = [unquote(n) if n is not None else "" for n, _ in syntax.results]
        function.result_names = tuple(names) if any(names) else ()
        self._check_results(function, syntax)
        return function

    def _check_results(self, function: Function, syntax: FunctionSyntax) -> None:
        last = function.body.last
        if last is None or not isinstance(last, Operation) or not last.is_terminator:
            return  # The verifier says what is missing.
        stated = [self._types_of(token)[0] for _, token in syntax.results]
        found = list(function.result_types)
        if stated == found:
            return
        pairs = zip(syntax.results, stated, found, strict=False)
        where = next((token for (_, token), s, f in pairs if s != f), syntax.name)
        raise self.error(
            f"@{function.name} returns ({_listed(found)}), its head says ({_listed(stated)})",
            where,
        )

    def _arguments(self, block: Block, parameters: list[ParameterSyntax]) -> None:
        for parameter in parameters:
            argument = block.add_argument(self._types_of(parameter.type)[0])
            self.scopes.define(argument, parameter.name[1:], parameter.name.start_pos or 0)

    # ---- operations

    def _operations(self, block: Block, operations: list[OperationSyntax]) -> None:
        for syntax in operations:
            block.append(self._operation(syntax))

    def _operation(self, syntax: OperationSyntax) -> CoreOperation:
        cls = REGISTRY.get(syntax.name)
        if cls is None:
            hint = did_you_mean(str(syntax.name), REGISTRY)
            raise self.error(
                f"unknown operator {syntax.name}", syntax.name, help=hint or "`leptonc ops` lists the operators"
            )
        operands = self._operands(syntax.payload)
        location = self._location(syntax.location, syntax.results or syntax.name)
        if cls.name == "const" and (syntax.symbol is not None or syntax.payload is not None):
            attributes: dict[str, Any] = {"value": self._const(syntax)}
        else:
            attributes = self._op_attributes(cls, syntax)
        regions = [self._region(r, cls) for r in syntax.regions]
        self._check_labels(cls, syntax)
        op = cls(operands, attributes, (), regions, location)
        self._set_results(op, syntax)
        return op

    def _operands(self, token: Token | None) -> list[Value | None]:
        if token is None or token.type == "DENSE":
            return []
        lookup = self.scopes.lookup
        start = token.start_pos or 0
        return [lookup(m[1], start + m.start()) if m[1] is not None else None for m in _NAMES.finditer(token)]

    def _set_results(self, op: Operation, syntax: OperationSyntax) -> None:
        names = list(_NAMES.finditer(syntax.results)) if syntax.results is not None else []
        if op.is_terminator:
            self._check_terminator(op, syntax)
            types: tuple[Type, ...] = ()
        elif syntax.types is None and syntax.results is None:
            types = ()
        elif syntax.types is not None:
            types = self._types_of(syntax.types)
        else:
            types = self._infer(op, syntax)
        if len(names) != len(types):
            raise self.error(
                f"{op.name} has {len(names)} result names and {len(types)} result types",
                syntax.results or syntax.name,
                help="write %a, %b = op(...) : type, type",
            )
        if not types:
            return
        op.results = tuple([OpResult(t, op, i) for i, t in enumerate(types)])
        start = syntax.results.start_pos or 0 if syntax.results is not None else 0
        for result, match in zip(op.results, names, strict=True):
            self.scopes.define(result, match[1], start + match.start())

    def _infer(self, op: Operation, syntax: OperationSyntax) -> tuple[Type, ...]:
        """Return the types of an operation that states none."""
        if not op.spec.results:
            return ()
        required = sum(not f.optional and not f.variadic for f in op.spec.operands)
        if len(op.operands) < required:
            raise self.error(f"{op.name} takes {required} operands, got {len(op.operands)}", syntax.name)
        try:
            inferred = op.infer()
        except (InferenceError, ValueError, TypeError, IndexError, AttributeError) as e:
            raise self.error(f"{op.name} does not fit its operands", syntax.name, why=str(e)) from e
        single = isinstance(inferred, Type)
        return (inferred,) if single else tuple(inferred)  # type: ignore[return-value, arg-type]

    def _check_terminator(self, op: Operation, syntax: OperationSyntax) -> None:
        if syntax.types is None:
            return
        stated, found = self._types_of(syntax.types), tuple(v.type for v in op.present_operands)
        if stated != found:
            raise self.error(
                f"{op.name} of ({_listed(found)}) states the types ({_listed(stated)})",
                syntax.types,
            )

    # ---- regions

    def _region(self, syntax: RegionSyntax, cls: type[Operation]) -> Region:
        region = Region(Block())
        with self.scopes.nested(isolated=cls.is_isolated):
            self._arguments(region.block, syntax.arguments)
            self._operations(region.block, syntax.operations)
        return region

    def _check_labels(self, cls: type[Operation], syntax: OperationSyntax) -> None:
        fields = cls.spec.regions
        for field, region in zip(fields, syntax.regions, strict=False):
            if region.label is not None and region.label != region_label(field):
                names = ", ".join(map(region_label, fields))
                raise self.error(f"{cls.name} has no region {region.label} here", region.label, help=f"it has: {names}")

    # ---- attributes, types, locations

    def _op_attributes(self, cls: type[Operation], syntax: OperationSyntax) -> dict[str, Any]:
        key = (cls, str(syntax.attributes or ""))
        known = self._attributes.get(key) if syntax.symbol is None else None
        if known is not None:
            return known
        given = self._parse_attributes(syntax.attributes)
        if syntax.symbol is not None:
            given[self._symbol_attribute(cls, syntax.symbol)] = unquote(syntax.symbol[1:])
        place = syntax.attributes or syntax.name
        for name, value in given.items():
            self._check_attribute(cls, name, value, place)
            given[name] = coerce(cls.spec.attributes[name].kind, value)
        try:
            stored = normalize_attributes(cls.spec, given)
        except InferenceError as e:
            raise self.error(str(e), place) from e
        if syntax.symbol is None:
            self._attributes[key] = stored
        return stored

    def _check_attribute(self, cls: type[Operation], name: str, value: Any, place: Token) -> None:
        field = cls.spec.attributes.get(name)
        offset = max(str(place).find(name), 0)
        if field is None:
            known = ", ".join(cls.spec.attributes) or "none"
            hint = did_you_mean(name, cls.spec.attributes)
            raise self.error(
                f"{cls.name} has no attribute {name}", place, offset=offset, help=hint or f"its attributes: {known}"
            )
        if not kind_check(field.kind)(coerce(field.kind, value)) and not (value is None and not field.required):
            raise self.error(f"the attribute {name} of {cls.name} is {describe_kind(field.kind)}", place, offset=offset)

    def _symbol_attribute(self, cls: type[Operation], token: Token) -> str:
        name = next((a for a in SYMBOL_ATTRIBUTES if a in cls.spec.attributes), None)
        if name is None:
            raise self.error(f"{cls.name} takes no symbol", token)
        return name

    def _parse_attributes(self, token: Token | None) -> dict[str, Any]:
        if token is None:
            return {}
        try:
            parsed = parse_attributes(str(token))
        except (LarkError, MeaningError) as e:
            raise self._inner_error(e, token, "attributes") from None
        return {name: self._resolve(value, token) for name, value in parsed.items()}

    def _resolve(self, value: Any, token: Token) -> Any:
        """Replace the constants inside an attribute's value by their data."""
        if isinstance(value, ConstantSyntax):
            return self.constants.read(value.symbol, value.dense, value.type, token)
        if type(value) is tuple:
            return tuple(self._resolve(v, token) for v in value)
        if isinstance(value, dict):
            return {k: self._resolve(v, token) for k, v in value.items()}
        return value

    def _const(self, syntax: OperationSyntax) -> Constant:
        if syntax.types is None:
            raise self.error("a constant needs its type", syntax.name, help="write const dense<...> : tensor<...>")
        dense = syntax.payload
        if dense is not None and dense.type != "DENSE":
            raise self.error("a constant takes no operands", dense)
        return self.constants.read(syntax.symbol, dense, self._types_of(syntax.types)[0], syntax.symbol or syntax.name)

    def _types_of(self, token: Token) -> tuple[Type, ...]:
        text = str(token)
        known = self._types.get(text)
        if known is not None:
            return known
        types = []
        for match in _TYPES.finditer(text):
            try:
                types.append(parse_type(match[0]))
            except (LarkError, MeaningError) as e:
                raise self._inner_error(e, token, "type", match.start()) from None
        return self._types.setdefault(text, tuple(types))

    def _inner_error(self, error: Exception, token: Token, what: str, offset: int = 0) -> Exception:
        if isinstance(error, MeaningError):
            return self.error(str(error), token, offset=offset)
        inside = error.pos_in_stream or 0 if isinstance(error, UnexpectedInput) else 0
        inside = len(token) - offset - 1 if inside < 0 else inside
        return self.error(f"cannot read the {what}", token, offset=offset + inside)

    def _location(self, token: Token | None, place: Token) -> Location:
        if token is None:
            return Location(self.source.file, line=place.line or 0, column=place.column or 0)
        found = [Location(json.loads(m[1]), json.loads(m[2]), int(m[3]), int(m[4])) for m in _PLACE.finditer(token)]
        if token.startswith("loc(fused"):
            return Location(fused=tuple(found))
        if not found and "unknown" not in token:
            raise self.error("cannot read the location", token, help='write loc("file":"node":line:column)')
        return found[0] if found else UNKNOWN


def _listed(types: Iterable[Type]) -> str:
    return ", ".join(map(str, types))
