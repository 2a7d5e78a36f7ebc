"""Sizes that are known only while the program runs.

A size becomes a dimension with a fresh name, bound from the tensor that holds it (``dims.bind``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_frontends.common.builder import FoldingBuilder
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.analysis.shape_value import symbolic_value
from lepton_ir.ir.core import Block, Value
from lepton_ir.ir.dim import Dim, product, sym
from lepton_ir.ir.types import DType
from lepton_ir.ops.runtime_dims import Bind


def partial_dims(b: FoldingBuilder, value: Value) -> list[Dim | None]:
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


def bound_dims(b: FoldingBuilder, value: Value, known: Sequence[Dim | None], what: str) -> tuple[Dim, ...]:
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


def fresh_dims(b: FoldingBuilder, count: int) -> tuple[Dim, ...]:
    """Return dimensions with names that nothing in the model has."""
    return tuple(sym(b.importer.fresh_name()) for _ in range(count))


def flat_ints(b: FoldingBuilder, value: Value) -> Value:
    """Return a tensor of integers as i64 of rank 1."""
    return b.cast_to(b.reshaped(value, (product(value.shape),)), DType.I64)


def _dim(value: object) -> Dim:
    if isinstance(value, (int, np.integer, np.bool_, float, np.floating)):
        return int(value)
    return value  # type: ignore[return-value]
