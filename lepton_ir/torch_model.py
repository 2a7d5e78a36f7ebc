"""A TorchScript or torch.export archive in PyTorch itself, as the reference; only the reference's process imports this.

PyTorch runs what an archive says, so this is for files that the user trusts, and in a process of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NEXT = ".next"
"""The end of the name of an output that is an attribute after the call."""


class TorchModel:
    """An archive, opened by PyTorch.

    Args:
        path: the file.
        inputs: the names of the compiled model's inputs; those that are no argument are attributes.
        outputs: the names of its outputs.
        fixed: the arguments with one value, by name.
    """

    def __init__(self, path: str, inputs: Sequence[str], outputs: Sequence[str], fixed: Mapping[str, Any]) -> None:
        import torch

        torch.set_num_threads(1)
        self._torch = torch
        self._inputs, self._outputs, self._fixed = list(inputs), list(outputs), dict(fixed)
        self._spec: Any = None
        if path.lower().endswith(".pt2"):
            program = torch.export.load(path)
            self._module: Any = program.module()
            self._spec = program.call_spec.in_spec
            constants = {s.arg.name: s.arg.value for s in program.graph_signature.input_specs
                         if type(s.arg).__name__ == "ConstantArgument"}  # fmt: skip
            self._fixed = constants | self._fixed
            kinds = [s for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT"]
            self._parameters = [s.arg.name for s in kinds]
        else:
            self._module = torch.jit.load(path, map_location="cpu").eval()
            self._parameters = [a.name for a in self._module.forward.schema.arguments[1:]]

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the outputs for inputs in the order of their names."""
        feeds = {n: self._torch.from_numpy(np.array(a)) for n, a in zip(self._inputs, arrays, strict=True)}
        given = {n: self._argument(n, feeds) for n in self._parameters}
        for name, value in feeds.items():
            if name.partition(".")[0] not in self._parameters:
                self._set(name, value)
        with self._torch.no_grad():
            result = self._called(given)
        found = [np.asarray(v.detach().numpy() if hasattr(v, "detach") else v) for v in _flat(result)]
        states = [n.removesuffix(NEXT) for n in self._outputs if n.endswith(NEXT)]
        return found + [np.asarray(self._get(n)) for n in states]

    def _called(self, given: Mapping[str, Any]) -> Any:
        known = {n: v for n, v in given.items() if v is not _MISSING}
        if self._spec is None:
            return self._module(**known)
        args, kwargs = self._torch.utils._pytree.tree_unflatten([given[n] for n in self._parameters], self._spec)
        return self._module(*args, **kwargs)

    def _argument(self, name: str, feeds: Mapping[str, Any]) -> Any:
        if name in feeds:
            value = feeds[name]
            return value.item() if self._spec is None and not value.dim() and self._is_number(name) else value
        if name in self._fixed:
            return self._fixed[name]
        parts = {n[len(name) + 1 :]: v for n, v in feeds.items() if n.startswith(f"{name}.")}
        if not parts:
            return _MISSING
        if all(k.isdigit() for k in parts):
            items = [parts[str(i)] for i in range(len(parts))]
            return tuple(items) if "Tuple" in self._kind(name) else items
        return parts

    def _kind(self, name: str) -> str:
        return next(str(a.type) for a in self._module.forward.schema.arguments if a.name == name)

    def _is_number(self, name: str) -> bool:
        return self._kind(name) in ("int", "float", "bool")

    def _owner(self, name: str) -> tuple[Any, str]:
        path, _, last = name.rpartition(".")
        return self._module.get_submodule(path) if path else self._module, last

    def _get(self, name: str) -> Any:
        owner, last = self._owner(name)
        value = getattr(owner, last)
        return value.detach().numpy() if hasattr(value, "detach") else value

    def _set(self, name: str, value: Any) -> None:
        owner, last = self._owner(name)
        number = not isinstance(getattr(owner, last), self._torch.Tensor)
        setattr(owner, last, value.item() if number else value.clone())


_MISSING = object()


def _flat(value: Any) -> list[Any]:
    """Return the tensors and numbers of a nested result, in order."""
    if isinstance(value, dict):
        return [leaf for v in value.values() for leaf in _flat(v)]
    if isinstance(value, (list, tuple)):
        return [leaf for v in value for leaf in _flat(v)]
    return [value] if hasattr(value, "detach") or isinstance(value, (bool, int, float)) else []
