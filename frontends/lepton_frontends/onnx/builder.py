"""The builder that lowering rules get: Lepton's, which folds small constants, and knows the ONNX node at hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lepton_frontends.onnx.rules import UnsupportedError
from lepton_frontends.onnx.runtime_values import MOST_CHOICES, ChoiceNeededError, bound_dims, partial_dims
from lepton_ir.analysis.memory import working_types
from lepton_ir.analysis.shape_value import symbolic_value
from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import Block, Value
from lepton_ir.ir.core import Operation as CoreOperation
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.opdef import BY_BUILDER_NAME, Operation
from lepton_ir.ir.types import DType, TensorType
from lepton_ir.limits import RAISE_MEMORY, type_problem

if TYPE_CHECKING:
    from onnx import NodeProto

    from lepton_frontends.onnx.graph import GraphImporter
    from lepton_frontends.onnx.scope import Scope

_SMALL = 1024
"""Results of constants with at most this many elements are computed at once: shape arithmetic, not weights."""


class OnnxBuilder(Builder):
    """Creates operations for one ONNX node after the other.

    Attributes:
        importer: the import that this belongs to.
        scope: the names that the node sees.
        node: the node that is being lowered.
        opset: the opset of the node's domain.
    """

    importer: GraphImporter
    scope: Scope
    node: NodeProto
    opset: int

    def __init__(self, block: Block, importer: GraphImporter) -> None:
        super().__init__(block)
        self.importer = importer

    @property
    def op_type(self) -> str:
        return str(self.node.op_type)

    def wants(self, index: int) -> bool:
        """Return whether somebody reads the node's output ``index``."""
        return index < len(self.node.output) and bool(self.node.output[index])

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
        problem = next(filter(None, (type_problem(t, self.importer.reader.memory) for t in working_types(op))), "")
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

    def dims(self, value: Value, what: str) -> tuple[Dim, ...]:
        """Return the dimensions that a tensor of integers holds, flat; those that data decides get fresh names.

        Raises:
            UnsupportedError: how many there are is not known.
        """
        return bound_dims(self, value, partial_dims(self, value), what)

    def ints(
        self, value: Value, what: str, among: range | None = None, wrap: int = 0, only: Collection[int] = ()
    ) -> tuple[int, ...]:
        """Return the numbers that a tensor of integers holds, flat.

        Args:
            value: the tensor.
            what: what it holds, to name in errors.
            among: all values that its elements may have, where these are few.
            wrap: not 0 where the elements are different axes: this number is added to negative ones.
            only: those ``among`` which are possible here; all of them where it is empty.

        Raises:
            UnsupportedError: they are known only at run time, or depend on dynamic dimensions.
            ChoiceNeededError: they are known only at run time, and are ``among`` few.
        """
        found = partial_dims(self, value)
        if None in found:
            if among and len(among) ** len(found) <= MOST_CHOICES:
                raise ChoiceNeededError(value, what, among, wrap, len(found), only)
            raise UnsupportedError(
                f"the {what} is computed from data at run time",
                'fix the input that it comes from, with constants={"name": array}',
            )
        symbolic = [d for d in found if not isinstance(d, int)]
        if symbolic:
            raise UnsupportedError(
                f"the {what} depends on the dynamic dimension {symbolic[0]}",
                'give the dimension a size, with dims={"name": size}',
            )
        return tuple(int(d) for d in found if isinstance(d, int))

    def axes_in(
        self, value: Value, rank: int, what: str = "list of axes", only: Collection[int] = ()
    ) -> tuple[int, ...]:
        """Return the axes that a tensor names, counted from 0 or the end; ``only`` some may be possible.

        Raises:
            UnsupportedError: they are known only at run time and may be too many.
            ChoiceNeededError: they are known only at run time.
        """
        return self.ints(value, what, range(rank), rank, only)

    def floats(self, value: Value, what: str) -> tuple[float, ...]:
        """Return the numbers that a constant tensor holds, flat.

        Raises:
            UnsupportedError: they are known only at run time.
        """
        array = self.array(value)
        if array is None:
            raise UnsupportedError(
                f"the {what} is computed at run time",
                'give the sizes that it comes from, with dims={"name": size} or constants={"name": array}',
            )
        return tuple(float(v) for v in array.astype(np.float64).reshape(-1))

    def axes(self, given: Sequence[int], rank: int) -> tuple[int, ...]:
        """Return axes counted from 0.

        Raises:
            UnsupportedError: one lies outside of the rank.
        """
        return tuple(self.axis(a, rank) for a in given)

    def axis(self, axis: int, rank: int) -> int:
        """Return one axis counted from 0.

        Raises:
            UnsupportedError: it lies outside of the rank.
        """
        if not -rank <= axis < rank:
            raise UnsupportedError(
                f"axis {axis} does not exist in a tensor of rank {rank}", "the model is not valid ONNX"
            )
        return axis % rank if rank else 0


def _is_small(value: Value) -> bool:
    if not isinstance(value.type, TensorType):
        return False
    size = product(value.shape)
    return isinstance(size, int) and size <= _SMALL


def _is_symbolic(array: Any) -> bool:
    flat = np.asarray(array, dtype=object).reshape(-1)
    return any(not isinstance(d, (int, bool, np.integer, np.bool_)) for d in flat)
