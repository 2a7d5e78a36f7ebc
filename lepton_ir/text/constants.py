"""Reading the constants of a text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from lark import Token

from lepton_ir.ir.constant import Constant
from lepton_ir.ir.types import TensorType, Type
from lepton_ir.text.dense import parse_dense
from lepton_ir.text.source import Source, did_you_mean
from lepton_ir.text.syntax import unquote


class ConstantReader:
    """Makes constants; those that are only named take their data from ``weights``, once each."""

    def __init__(self, source: Source, weights: Mapping[str, np.ndarray] | None) -> None:
        self._source = source
        self._weights = weights
        self._named: dict[str, Constant] = {}

    def read(self, symbol: Token | None, dense: Token | None, type: Type, place: Token) -> Constant:
        """Return the constant spelled ``@symbol``, ``dense<...>`` or both, of that type."""
        offset = place.start_pos or 0
        if not isinstance(type, TensorType) or not type.is_static:
            raise self._source.error("a constant is a tensor whose dimensions are numbers", offset, why=f"got {type}")
        name = unquote(symbol[1:]) if symbol is not None else ""
        if dense is None:
            return self._by_name(name, type, offset)
        try:
            array = parse_dense(dense[len("dense<") : -1], type)
        except (ValueError, OverflowError) as e:
            raise self._source.error(f"the literal is no {type}", offset, why=str(e)) from e
        return Constant(array, name)

    def _by_name(self, name: str, type: TensorType, offset: int) -> Constant:
        constant = self._named.get(name)
        if constant is None:
            constant = self._named[name] = Constant(self._array(name, offset), name)
        if constant.type != type:
            raise self._source.error(f"the constant @{name} is a {constant.type}, not a {type}", offset)
        return constant

    def _array(self, name: str, offset: int) -> np.ndarray:
        if self._weights is None:
            raise self._source.error(
                f"the text names the constant @{name} but not its data",
                offset,
                help="give the weights file, or put it beside the text as <stem>.safetensors",
            )
        array = self._weights.get(name)
        if array is None:
            hint = did_you_mean(name, self._weights)
            raise self._source.error(f"the weights have no constant @{name}", offset, help=hint)
        return array
