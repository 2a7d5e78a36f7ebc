"""The builder that lowering rules get: Lepton's, which folds small constants and checks sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.state import ImportState
from lepton_ir.analysis.memory import working_types
from lepton_ir.analysis.shape_value import symbolic_value
from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import Block, Value
from lepton_ir.ir.core import Operation as CoreOperation
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.opdef import BY_BUILDER_NAME, Operation
from lepton_ir.ir.types import DType, TensorType
from lepton_ir.limits import RAISE_MEMORY, type_problem

_SMALL = 1024
"""Results of constants with at most this many elements are computed at once: shape arithmetic, not weights."""


class FoldingBuilder(Builder):
    """Creates operations for one node of a foreign model after the other.

    Attributes:
        importer: the import that this belongs to.
    """

    importer: ImportState

    def __init__(self, block: Block, importer: ImportState) -> None:
        super().__init__(block)
        self.importer = importer

    def inner(self, block: Block) -> Any:
        """Return a builder of this kind at the end of a block inside of where this one stands."""
        builder = type(self)(block, self.importer)
        builder.location = self.location
        return builder

    def insert(self, op: CoreOperation) -> CoreOperation:
        inserted = super().insert(op)
        if isinstance(op, Operation):
            try:
                op.verify()
                self._check_size(op)
            except BaseException:
                op.erase()
                raise
        return inserted

    def _check_size(self, op: Operation) -> None:
        if op.name == "const":
            return
        problem = next(filter(None, (type_problem(t, self.importer.memory) for t in working_types(op))), "")
        if problem:
            raise UnsupportedError(f"it computes {problem}", RAISE_MEMORY)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        cls = BY_BUILDER_NAME.get(name)
        if cls is None:
            raise AttributeError(f"no operator is called {name}")

        def build(*operands: Any, **kwargs: Any) -> Any:
            results = self._folded(self.create(cls, *operands, **kwargs))
            return results[0] if len(results) == 1 else results

        return build

    def _folded(self, op: Operation) -> tuple[Value, ...]:
        if (
            op.regions
            or not op.results
            or op.name == "const"
            or op.is_random
            or not all(map(_is_small, (*op.results, *op.present_operands)))
        ):
            return op.results
        arrays = [None if v is None else self.array(v) for v in op.operands]
        if any(a is None and v is not None for a, v in zip(arrays, op.operands, strict=True)):
            return op.results if not op.is_shape_computation else self._resolved(op)
        if op.attribute_symbols:
            return self._resolved(op) if op.is_shape_computation else op.results
        if not all(r.tensor.is_static for r in op.results):
            return op.results
        try:
            with np.errstate(all="ignore"):
                found = op.evaluate(*arrays)
        except (ArithmeticError, LookupError, MemoryError, ValueError) as error:
            raise UnsupportedError(f"its inputs are constants, and computing it fails: {error}") from None
        return self._replaced(op, found if isinstance(found, (tuple, list)) else (found,))

    def _resolved(self, op: Operation) -> tuple[Value, ...]:
        """Replace shape arithmetic whose result does not depend on symbols."""
        if any(r.tensor.dtype.is_float for r in op.results):
            return op.results
        values = [symbolic_value(r, self.importer.shape_values) for r in op.results]
        if any(v is None or _is_symbolic(v) for v in values):
            return op.results
        return self._replaced(op, [np.asarray(v) for v in values])

    def _replaced(self, op: Operation, arrays: Sequence[np.ndarray]) -> tuple[Value, ...]:
        types = [r.tensor for r in op.results]
        op.erase()
        return tuple(
            self.const(np.asarray(a).astype(t.dtype.numpy, copy=False).reshape(t.static_shape))
            for a, t in zip(arrays, types, strict=True)
        )

    def array(self, value: Value | None) -> np.ndarray | None:
        """Return the data of a constant, None for any other value."""
        if value is None or value.op is None or value.op.name != "const":
            return None
        return value.op.attributes["value"].array

    def like(self, x: Value, number: float) -> Value:
        """Return a scalar constant of the element type of ``x``."""
        return self.const(np.asarray(number).astype(x.tensor.dtype.numpy))

    def cast_to(self, x: Value, dtype: DType) -> Value:
        """Return ``x`` in the element type ``dtype``, itself where it has that."""
        return x if x.tensor.dtype is dtype else self.cast(x, to=dtype)

    def reshaped(self, x: Value, shape: Sequence[Dim]) -> Value:
        """Return ``x`` in another shape, itself where it has that."""
        return x if tuple(x.shape) == tuple(shape) else self.tensor_reshape(x, shape=tuple(shape))


def _is_small(value: Value) -> bool:
    if not isinstance(value.type, TensorType):
        return False
    size = product(value.shape)
    return isinstance(size, int) and size <= _SMALL


def _is_symbolic(array: Any) -> bool:
    flat = np.asarray(array, dtype=object).reshape(-1)
    return any(not isinstance(d, (int, bool, np.integer, np.bool_)) for d in flat)
