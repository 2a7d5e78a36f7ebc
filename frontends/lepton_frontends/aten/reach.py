"""Which tensors and containers can be reached from the values at hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lepton_frontends.aten.call import Tensor


def reachable(roots: Iterable[Any]) -> dict[int, Any]:
    """Return, by their id, the tensors, objects and containers that can be reached from values."""
    found: dict[int, Any] = {}
    todo = list(roots)
    while todo:
        value = todo.pop()
        if isinstance(value, Tensor):
            found[id(value.root)] = value.root
        parts = _parts(value)
        if parts is None or id(value) in found:
            continue
        found[id(value)] = value
        todo += parts
    return found


def _parts(value: Any) -> list[Any] | None:
    """Return what a container or an object holds; None for what is neither, nor a tensor."""
    if isinstance(value, Tensor):
        return []
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (list, tuple)):
        return list(value)
    attributes = getattr(value, "attributes", None)
    return list(attributes.values()) if isinstance(attributes, dict) else None
