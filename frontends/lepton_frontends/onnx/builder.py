"""The builder that lowering rules get: one that folds small constants, and knows the ONNX node at hand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lepton_frontends.common.builder import FoldingBuilder
from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.runtime_dims import bound_dims, partial_dims
from lepton_frontends.onnx.runtime_values import MOST_CHOICES, ChoiceNeededError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim

if TYPE_CHECKING:
    from onnx import NodeProto

    from lepton_frontends.onnx.graph import GraphImporter
    from lepton_frontends.onnx.scope import Scope


class OnnxBuilder(FoldingBuilder):
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

    @property
    def op_type(self) -> str:
        return str(self.node.op_type)

    def wants(self, index: int) -> bool:
        """Return whether somebody reads the node's output ``index``."""
        return index < len(self.node.output) and bool(self.node.output[index])

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
