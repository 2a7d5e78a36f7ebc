"""The manifest: what an artifact holds, what it was made for and by, as JSON."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from lepton_ir.artifact.dims import dim_from_json, dim_to_json
from lepton_ir.ir.dim import Dim, evaluate, symbols
from lepton_ir.ir.types import DType, MapType, OptionalType, SequenceType, TensorType, Type, UnrankedType
from lepton_ir.target import Target

T = TypeVar("T")
FORMAT = "lepton-artifact"
FORMAT_VERSION = 3
_ANY_SIZE = 1 << 62
_PACKAGES = {"lepton": "lepton-ir", "tvm": "apache-tvm", "tvm-ffi": "apache-tvm-ffi", "onnx": "onnx", "numpy": "numpy"}


@dataclass(frozen=True)
class TensorSpec:
    """A named tensor at the border of the compiled model: an input, an output or a weight."""

    name: str
    type: TensorType

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, **type_to_json(self.type)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> TensorSpec:
        type_ = type_from_json(data)
        if not isinstance(type_, TensorType):
            raise ValueError(f"{data['name']} is no tensor")
        return TensorSpec(typed(data, "name", str), type_)

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


@dataclass(frozen=True)
class ValueSpec:
    """A named value at the border of the compiled model that is no tensor: a sequence, an optional or a map."""

    name: str
    type: SequenceType | OptionalType | MapType

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, **type_to_json(self.type)}

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


Spec: TypeAlias = TensorSpec | ValueSpec


def spec_of(name: str, type_: Type) -> Spec:
    """Return the description of an input or output.

    Raises:
        ValueError: a value at the border has no shape and is in no sequence.
    """
    if isinstance(type_, TensorType):
        return TensorSpec(name, type_)
    if isinstance(type_, UnrankedType):
        raise ValueError(f"the rank of {name} is unknown")
    return ValueSpec(name, type_)


def type_to_json(type_: Type) -> dict[str, Any]:
    """Return a type as JSON."""
    if isinstance(type_, TensorType):
        return {"dtype": str(type_.dtype), "shape": [dim_to_json(d) for d in type_.shape]}
    if isinstance(type_, UnrankedType):
        return {"dtype": str(type_.dtype)}
    if isinstance(type_, MapType):
        return {"map": [str(type_.key), str(type_.value)]}
    key = "sequence" if isinstance(type_, SequenceType) else "optional"
    return {key: type_to_json(type_.element)}


def type_from_json(data: Mapping[str, Any]) -> Type:
    """Return the type that :func:`type_to_json` was given."""
    if "sequence" in data:
        return SequenceType(type_from_json(data["sequence"]))
    if "optional" in data:
        return OptionalType(type_from_json(data["optional"]))
    if "map" in data:
        key, value = data["map"]
        return MapType(DType(key), DType(value))
    dtype = DType(data["dtype"])
    return TensorType(tuple(dim_from_json(d) for d in data["shape"]), dtype) if "shape" in data else UnrankedType(dtype)


@dataclass(frozen=True)
class Condition:
    """What the code takes for granted about the sizes of dynamic dimensions, such as ``S <= 512``.

    Attributes:
        left: a dimension.
        relation: "==", "<=" or "broadcasts" (equal, or 1 on the left).
        right: the other dimension.
        where: the first operation that relies on it.
    """

    left: Dim
    relation: str
    right: Dim
    where: str = ""

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Return whether it holds; a condition on dimensions without a size does."""
        if not (symbols(self.left) | symbols(self.right)) <= sizes.keys():
            return True
        left, right = evaluate(self.left, sizes), evaluate(self.right, sizes)
        if self.relation == "<=":
            return left <= right
        return left == right or (self.relation == "broadcasts" and left == 1)

    def to_json(self) -> dict[str, Any]:
        left, right = dim_to_json(self.left), dim_to_json(self.right)
        return {"left": left, "relation": self.relation, "right": right, "where": self.where}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Condition:
        relation = typed(data, "relation", str)
        if relation not in ("==", "<="):
            raise ValueError(f"{relation!r} is no relation")
        return Condition(dim_from_json(data["left"]), relation, dim_from_json(data["right"]), typed(data, "where", str))

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"


@dataclass(frozen=True)
class Entry:
    """The size and the content hash of one file inside the artifact."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """What the artifact holds.

    Attributes:
        name: the model's name.
        inputs: the inputs, in order of position.
        outputs: the outputs, in order.
        weights: the weights, in the order in which ``main`` takes them after the inputs.
        conditions: what must hold for the sizes of dynamic dimensions, checked at every call.
        target: what the code was compiled for, as :meth:`Target.to_json` gives it.
        machine: the processor architecture of the host code (``platform.machine()``).
        options: the options of the compilation.
        versions: versions of Lepton and of what it used.
        statistics: kernels, FLOPs, memory and the like, for people to read.
        kernels: kernel symbol to what is known of it: "nodes" (the user's node names), "flops", "bytes".
        host: the operations that the runtime evaluates on the host: "op" and "nodes" (the user's node names).
        entries: the files inside the artifact; filled in when it is written.
        format_version: the version of this format.
    """

    name: str
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    weights: tuple[TensorSpec, ...]
    target: Mapping[str, Any]
    conditions: tuple[Condition, ...] = ()
    machine: str = field(default_factory=platform.machine)
    options: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=lambda: installed_versions())
    statistics: Mapping[str, Any] = field(default_factory=dict)
    kernels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    host: tuple[Mapping[str, Any], ...] = ()
    entries: Mapping[str, Entry] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @staticmethod
    def of(
        name: str,
        inputs: Sequence[Spec],
        outputs: Sequence[Spec],
        weights: Sequence[TensorSpec],
        target: Target,
        **rest: Any,
    ) -> Manifest:
        """Return a manifest for code compiled for ``target``; ``rest`` are further fields."""
        return Manifest(name, tuple(inputs), tuple(outputs), tuple(weights), target.to_json(), **rest)

    @property
    def dynamic_dims(self) -> tuple[str, ...]:
        """The names of the dimensions that a caller chooses, sorted."""
        tensors = (spec.type for spec in self.inputs if isinstance(spec, TensorSpec))
        return tuple(sorted(frozenset().union(*(t.symbols() for t in tensors))))

    @property
    def features(self) -> frozenset[str]:
        """The instruction sets that the code uses, named as in /proc/cpuinfo."""
        return frozenset(self.target.get("features", ()))

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "format_version": self.format_version,
            "name": self.name,
            "inputs": [s.to_json() for s in self.inputs],
            "outputs": [s.to_json() for s in self.outputs],
            "dynamic_dims": list(self.dynamic_dims),
            "weights": [s.to_json() for s in self.weights],
            "conditions": [c.to_json() for c in self.conditions],
            "target": dict(self.target),
            "machine": self.machine,
            "options": dict(self.options),
            "versions": dict(self.versions),
            "statistics": dict(self.statistics),
            "kernels": {name: dict(facts) for name, facts in self.kernels.items()},
            "host": [dict(entry) for entry in self.host],
            "entries": {name: {"sha256": e.sha256, "size": e.size} for name, e in self.entries.items()},
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Manifest:
        """Read what :meth:`to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is no manifest of this version.
        """
        target = typed(data, "target", dict)
        typed({"kind": "", **target}, "kind", str)
        _texts(typed({"features": [], **target}, "features", list))
        versions, kernels = typed(data, "versions", dict), typed(data, "kernels", dict)
        _texts(list(versions.values()))
        return Manifest(
            name=typed(data, "name", str),
            inputs=_named(data, "inputs"),
            outputs=_named(data, "outputs"),
            weights=_weights(data),
            conditions=tuple(Condition.from_json(c) for c in typed(data, "conditions", list)),
            target=target,
            machine=typed(data, "machine", str),
            options=typed(data, "options", dict),
            versions=versions,
            statistics=typed(data, "statistics", dict),
            kernels={name: typed(kernels, name, dict) for name in kernels},
            host=tuple(typed({"entry": entry}, "entry", dict) for entry in typed(data, "host", list)),
            entries={
                name: Entry(typed(e, "sha256", str), typed(e, "size", int))
                for name, e in typed(data, "entries", dict).items()
            },
            format_version=typed(data, "format_version", int),
        )


def typed(data: Any, key: str, kind: type[T]) -> T:
    """Return ``data[key]``.

    Raises:
        KeyError, TypeError: it is not there, or is not of the JSON type that it must be.
    """
    value = data[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{key} is {value!r:.60}")
    return value


def _named(data: Mapping[str, Any], key: str) -> tuple[Spec, ...]:
    specs = tuple(spec_of(typed(s, "name", str), type_from_json(s)) for s in typed(data, key, list))
    if len({s.name for s in specs}) < len(specs) and key != "outputs":
        raise ValueError(f"two of its {key} have one name")
    return specs


def _weights(data: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    specs = tuple(TensorSpec.from_json(s) for s in typed(data, "weights", list))
    if len({s.name for s in specs}) < len(specs):
        raise ValueError("two of its weights have one name")
    return specs


def _texts(values: Sequence[Any]) -> None:
    if not all(isinstance(v, str) for v in values):
        raise TypeError(f"{values!r:.60} are not all text")


def installed_versions() -> dict[str, str]:
    """Return the versions of Lepton and of the packages that a compiled model depends on, where installed."""
    found: dict[str, str] = {}
    for key, package in _PACKAGES.items():
        try:
            found[key] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
