"""The builder that aten rules get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lepton_frontends.common.builder import FoldingBuilder
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType


class AtenBuilder(FoldingBuilder):
    """Creates operations for one aten operator after the other.

    Attributes:
        op: the name of the operator at hand, for rules that lower several.
        is_inner: whether this stands in a branch or a loop, whose values are not seen outside.
        before_write: called with a tensor's cell before it changes.
    """

    op: str = ""
    is_inner: bool = False
    before_write: Callable[[Any], None] = staticmethod(lambda cell: None)

    def full(self, shape: Any, number: Any, dtype: DType) -> Value:
        """Return a tensor whose elements are all ``number``."""
        y: Value = self.tensor_full(self.const(number, dtype=dtype), shape=tuple(shape))
        return y

    def convert(self, x: Value, dtype: DType) -> Value:
        """Return ``x`` in another element type as PyTorch converts it: to bool by comparing with 0."""
        if x.tensor.dtype is dtype:
            return x
        if dtype is DType.BOOL:
            compared: Value = self.ne(x, self.like(x, 0))
            return compared
        converted: Value = self.cast(x, to=dtype)
        return converted
