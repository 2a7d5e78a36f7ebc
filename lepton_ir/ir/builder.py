"""Building operations at an insertion point."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from lepton_ir.ir.constant import Constant
from lepton_ir.ir.core import Block, Region, Value
from lepton_ir.ir.core import Operation as CoreOperation
from lepton_ir.ir.location import UNKNOWN, Location
from lepton_ir.ir.opdef import BY_BUILDER_NAME, REGISTRY, Operation
from lepton_ir.ir.types import DType, Type

OpT = TypeVar("OpT", bound=Operation)


class Builder:
    """Creates operations at a place in a block.

    ``b.nn_conv(x, w, strides=(2, 2))`` creates ``nn.conv`` and returns its result (a tuple where there are
    several); ``b.create(Conv, ...)`` returns the operation. Dots in operator names become underscores.
    """

    def __init__(self, block: Block, before: CoreOperation | None = None, location: Location = UNKNOWN) -> None:
        self.block = block
        self.before = before
        self.location = location

    @classmethod
    def before_op(cls, op: CoreOperation) -> Builder:
        """Return a builder that inserts before ``op``, with its location."""
        if op.parent is None:
            raise ValueError(f"{op.name} stands in no block")
        return cls(op.parent, op, op.location)

    @classmethod
    def after_op(cls, op: CoreOperation) -> Builder:
        """Return a builder that inserts after ``op``, with its location."""
        if op.parent is None:
            raise ValueError(f"{op.name} stands in no block")
        return cls(op.parent, op.next_op, op.location)

    def insert(self, op: CoreOperation) -> CoreOperation:
        """Insert a detached operation; subclasses observe creation here."""
        if not op.location.is_known:
            op.location = self.location
        return self.block.insert_before(self.before, op)

    def create(
        self,
        cls: type[OpT],
        *operands: Value | Sequence[Value] | None,
        result_types: Sequence[Type] | None = None,
        regions: Sequence[Region] = (),
        location: Location | None = None,
        **attributes: Any,
    ) -> OpT:
        """Create an operation of ``cls`` here and return it; see :meth:`Operation.build` for the arguments."""
        op: OpT = cls.build(
            *operands,
            result_types=result_types,
            regions=regions,
            location=self.location if location is None else location,
            **attributes,
        )
        self.insert(op)
        return op

    def const(self, value: Any, dtype: DType | None = None, name: str = "") -> Value:
        """Create a constant from a number, a list, an array or a :class:`Constant`."""
        if not isinstance(value, Constant):
            array = np.asarray(value)
            if dtype is not None and array.dtype != dtype.numpy:
                array = array.astype(dtype.numpy)
            value = Constant(array, name)
        return self.create(REGISTRY["const"], value=value).results[0]

    @contextmanager
    def at(self, location: Location) -> Iterator[Builder]:
        """Give everything created inside this context the location."""
        previous, self.location = self.location, location
        try:
            yield self
        finally:
            self.location = previous

    def __getattr__(self, name: str) -> Callable[..., Any]:
        cls = BY_BUILDER_NAME.get(name)
        if cls is None:
            raise AttributeError(f"no operator is called {name}")

        def build(*operands: Any, **kwargs: Any) -> Any:
            results = self.create(cls, *operands, **kwargs).results
            return results[0] if len(results) == 1 else results

        return build
