"""Dimensions that data decides: names for sizes that are known only while the program runs.

``dims.bind`` reads numbers from a tensor and gives them names, which types and attributes of the operations after it
may use like those of the inputs' dimensions. ``dims.require`` checks a relation between dimensions before what relies
on it runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, Expr, Sym
from lepton_ir.ir.opdef import InferenceError, Operation, attribute, dim_attribute, dims_attribute, operand
from lepton_ir.ir.types import DType, TensorType, Type

LARGEST = 2**48
"""The largest number that a dimension may be bound to: more elements do not fit the address space."""
RELATIONS = ("==", "<=", "broadcasts")
"""What ``dims.require`` can ask for; ``a broadcasts b`` holds where a equals b or is 1."""


class Bind(Operation):
    """Names the numbers that a tensor holds as dimensions; it is an error if one is negative.

    The names hold from here on in this region and the regions inside of it. A program binds each name in one place.
    """

    name = "dims.bind"
    has_side_effects = True
    values: Value = operand("i64 of rank 1")
    dims = dims_attribute(doc="a name for each number")
    what = attribute(str, default="size", doc="what the numbers are, for the error message")

    def infer(self) -> Sequence[Type]:
        if self.values.type != TensorType((len(self.dims),), DType.I64):
            raise InferenceError(
                f"dims.bind names {len(self.dims)} numbers and takes tensor<{len(self.dims)}xi64>, "
                f"got {self.values.type}"
            )
        return []

    def verify(self) -> None:
        names = self.names()
        if len(set(names)) != len(names):
            raise InferenceError(f"dims.bind names two numbers alike: {', '.join(names)}")

    def names(self) -> list[str]:
        """Return the names that it gives."""
        return [_name(d) for d in self.dims]


class Require(Operation):
    """Fails with an error unless a relation between dimensions holds."""

    name = "dims.require"
    has_side_effects = True
    left = dim_attribute()
    relation = attribute(str, doc="==, <=, or broadcasts: equal, or 1 on the left")
    right = dim_attribute()

    def infer(self) -> Sequence[Type]:
        return []

    def verify(self) -> None:
        if self.relation not in RELATIONS:
            raise InferenceError(f"dims.require knows the relations {', '.join(RELATIONS)}, got {self.relation}")


def holds(left: int, relation: str, right: int) -> bool:
    """Return whether a relation holds between two numbers."""
    if relation == "<=":
        return left <= right
    return left == right or (relation == "broadcasts" and left == 1)


def _name(dim: Dim) -> str:
    """Return the name of a dimension that is a plain symbol.

    Raises:
        InferenceError: it is a number or an expression.
    """
    if isinstance(dim, Expr) and len(dim.terms) == 1:
        monomial, factor = dim.terms[0]
        if factor == 1 and len(monomial) == 1 and monomial[0][1] == 1 and isinstance(monomial[0][0], Sym):
            return monomial[0][0].name
    raise InferenceError(f"dims.bind gives names, and {dim} is none")
