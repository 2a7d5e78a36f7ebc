"""Shape-like parameters that are known only while the program runs.

A size becomes a dimension with a fresh name, bound from the tensor that holds it (``dims.bind``). A number that must be
known to make the operation at all, such as an axis, becomes a choice: the node is lowered once for each value that it
can have, in branches of which one runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lepton_frontends.onnx.rules import UnsupportedError
from lepton_ir.analysis.shape_value import symbolic_value
from lepton_ir.ir.core import Block, Value
from lepton_ir.ir.dim import Dim, product, sym
from lepton_ir.ir.types import DType
from lepton_ir.ops.runtime_dims import Bind

if TYPE_CHECKING:
    from lepton_frontends.onnx.builder import OnnxBuilder

MOST_CHOICES = 64
"""A node is lowered at most so many times for the values of a parameter."""


class ChoiceNeededError(Exception):
    """Raised by a rule that needs the numbers in a tensor which only the running program knows.

    Attributes:
        value: the tensor, of integers.
        what: what it holds, to name in errors.
        among: what each of its elements may be, neighbouring numbers.
        wrap: added to negative elements, so that these count from the end; no two may be the same then.
        only: those ``among`` which are possible here; all of them where it is empty.
        choices: all that it may hold, each as the numbers of the tensor, flat.
    """

    def __init__(
        self, value: Value, what: str, among: range, wrap: int, length: int, only: Collection[int] = ()
    ) -> None:
        super().__init__(what)
        self.value, self.what, self.among, self.wrap = value, what, among, wrap
        self._length = length
        possible = set(only or among)
        self.choices = {n for n in self.numbered() if possible.issuperset(n) and (not wrap or len(set(n)) == len(n))}

    def numbered(self) -> list[tuple[int, ...]]:
        """Return all combinations of elements, in lexicographic order, those that are no choice included."""
        return list(itertools.product(self.among, repeat=self._length))


def partial_dims(b: OnnxBuilder, value: Value) -> list[Dim | None]:
    """Return the elements of a tensor of integers, flat, None for each that depends on data.

    Raises:
        UnsupportedError: how many there are is not known.
    """
    constant = b.array(value)
    found = symbolic_value(value, b.importer.shape_values) if constant is None else constant
    if found is not None:
        return [_dim(d) for d in np.asarray(found, dtype=object).reshape(-1)]
    op = value.op
    if op is not None and op.name == "tensor.concat" and value.rank == 1:
        return [d for part in op.present_operands for d in partial_dims(b, part)]
    if op is not None and op.name in ("tensor.reshape", "cast") and op.present_operands[0].tensor.dtype.is_integer:
        return partial_dims(b, op.present_operands[0])
    count = product(value.shape)
    if not isinstance(count, int):
        raise UnsupportedError(
            f"it takes a list of {count} numbers, and how many these are decides the rank of a tensor",
            'give the dimension a size, with dims={"name": size}',
        )
    return [None] * count


def bound_dims(b: OnnxBuilder, value: Value, known: Sequence[Dim | None], what: str) -> tuple[Dim, ...]:
    """Return the elements of a tensor of integers as dimensions, with fresh names for those that are not ``known``.

    A negative number, or one above 2**48, will be an error of the running program.
    """
    unknown = [i for i, d in enumerate(known) if d is None]
    if not unknown:
        return tuple(d for d in known if d is not None)
    flat = flat_ints(b, value)
    if len(unknown) < len(known):
        flat = b.tensor_gather(flat, b.const(np.array(unknown, np.int64)), axis=0)
    names = fresh_dims(b, len(unknown))
    b.insert(Bind.build(flat, dims=names, what=what, location=b.location))
    found = iter(names)
    dims = tuple(next(found) if d is None else d for d in known)
    if _is_of(value, b.block):
        # Whoever reads the tensor from here on sees the same names.
        contents = np.empty(len(dims), object)
        contents[:] = dims
        b.importer.shape_values[value] = contents.reshape(value.tensor.static_shape)
    return dims


def _is_of(value: Value, block: Block) -> bool:
    return value.op.parent is block if value.op is not None else value.owner is block


def fresh_dims(b: OnnxBuilder, count: int) -> tuple[Dim, ...]:
    """Return dimensions with names that nothing in the model has."""
    return tuple(sym(b.importer.fresh_name()) for _ in range(count))


def flat_ints(b: OnnxBuilder, value: Value) -> Value:
    """Return a tensor of integers as i64 of rank 1."""
    return b.cast_to(b.reshaped(value, (product(value.shape),)), DType.I64)


def _dim(value: object) -> Dim:
    if isinstance(value, (int, np.integer, np.bool_, float, np.floating)):
        return int(value)
    return value  # type: ignore[return-value]
