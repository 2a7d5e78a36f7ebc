"""Dropout: nothing happens in inference."""

from __future__ import annotations

from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import number_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType


def require_no_dropout(p: Any, train: Any) -> None:
    """Check that no elements are dropped at random.

    Raises:
        UnsupportedError: some are.
    """
    if train and number_of(p, "probability") not in (0, 1):
        raise UnsupportedError(
            f"it drops elements at random with probability {p}, as in training",
            "call model.eval() before exporting the model",
        )


@aten_op("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
def dropout(b: AtenBuilder, input: Value, p: Any = 0.5, train: Any = True) -> Value:
    require_no_dropout(p, train)
    if not train or number_of(p, "probability") == 0:
        return input
    return b.mul(input, b.full((), 0, input.tensor.dtype))


@aten_op("native_dropout")
def native_dropout(b: AtenBuilder, input: Value, p: Any, train: Any) -> tuple[Value, Value]:
    # None stands for training, too.
    trains = train is None or train
    kept = not trains or number_of(p, "probability") == 0
    return dropout(b, input, p, trains), b.full(input.shape, kept, DType.BOOL)
