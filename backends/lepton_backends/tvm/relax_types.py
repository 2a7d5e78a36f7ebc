"""Lepton's types and dimensions in TVM's terms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tvm import relax, tirx

from lepton_backends.tvm.emit.rules import storage_dtype
from lepton_ir.ir import TensorType
from lepton_ir.ir.dim import Dim, Func, Sym
from lepton_ir.ir.types import Type, is_numeric


class Symbols:
    """The symbolic dimensions of one Relax function, as its variables.

    Attributes:
        bound: the names that have a value at the place where code is being emitted.
    """

    def __init__(self) -> None:
        self._variables: dict[str, tirx.Var] = {}
        self.bound: dict[str, None] = {}

    def variable(self, name: str) -> tirx.Var:
        """Return the variable of the symbol ``name``."""
        if name not in self._variables:
            self._variables[name] = tirx.Var(name, "int64")
        return self._variables[name]

    def bind(self, names: Iterable[str]) -> None:
        """Make names known from here on."""
        self.bound.update(dict.fromkeys(names))

    def shape(self, dims: Iterable[Dim]) -> relax.ShapeExpr:
        return relax.ShapeExpr([self.dim(d) for d in dims])

    def type(self, type_: TensorType) -> relax.TensorType:
        return relax.TensorType([self.dim(d) for d in type_.shape], storage_dtype(type_.dtype))

    def value_type(self, type_: Type) -> relax.Type:
        """Return the type of a value, an object where it is no tensor of numbers."""
        if not is_numeric(type_):
            return relax.ObjectType()
        assert isinstance(type_, TensorType)
        return self.type(type_)

    def types(self, types: Sequence[TensorType]) -> list[relax.TensorType]:
        return [self.type(t) for t in types]

    def dim(self, dim: Dim) -> Any:
        """Return TVM's expression for a dimension."""
        if isinstance(dim, int):
            return tirx.IntImm("int64", dim)
        total: Any = None
        for monomial, coefficient in dim.terms:
            term: Any = tirx.IntImm("int64", coefficient)
            for atom, power in monomial:
                factor = self.variable(atom.name) if isinstance(atom, Sym) else self._function(atom)
                for _ in range(power):
                    term = term * factor
            total = term if total is None else total + term
        return total

    def _function(self, atom: Func) -> Any:
        a, b = self.dim(atom.lhs), self.dim(atom.rhs)
        match atom.fn:
            case "floordiv":
                return tirx.floordiv(a, b)
            case "ceildiv":
                return tirx.floordiv(a + b - 1, b)
            case "mod":
                return tirx.floormod(a, b)
            case "min":
                return tirx.min(a, b)
            case _:
                return tirx.max(a, b)
