"""Evaluating the symbolic costs that a manifest records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lepton_ir.artifact import TensorSpec
from lepton_ir.artifact.dims import dim_from_json
from lepton_ir.ir.dim import Expr, evaluate


def bind_sizes(specs: Iterable[Any], feeds: Mapping[str, Any]) -> dict[str, int]:
    """Return the sizes that the inputs give to the plain symbols of the model's input types."""
    env: dict[str, int] = {}
    for spec in specs:
        if not isinstance(spec, TensorSpec):
            continue
        for dim, size in zip(spec.type.shape, feeds[spec.name].shape, strict=True):
            if isinstance(dim, Expr) and str(dim).isidentifier():
                env[str(dim)] = int(size)
    return env


def number(cost: int | str, env: Mapping[str, int]) -> int:
    """Return a recorded cost as a number; 0 where a size is unknown."""
    try:
        return evaluate(dim_from_json(cost), env)
    except KeyError:
        return 0
