"""The objects of a TorchScript program: modules, their parameters, named tuples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lepton_frontends.aten import numbers
from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.call import Tensor
from lepton_frontends.aten.quantized import PackedParams, QuantizedTensor
from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.state import ImportState
from lepton_frontends.torchscript.packed import is_packed, unpacked
from lepton_frontends.torchscript.program import Program
from lepton_frontends.torchscript.state import MISSING
from lepton_frontends.torchscript.syntax import Attribute, Display, Index, Name, Node
from lepton_frontends.torchscript.unpickle import ScriptObject, StoredTensor
from lepton_ir.ir.constant import Constant
from lepton_ir.ir.core import Block, Value
from lepton_ir.ir.types import DType

if TYPE_CHECKING:
    from lepton_frontends.torchscript.expressions import Evaluator


@dataclass(frozen=True)
class Reference:
    """A name that is no local variable: a function, a class, a module such as ``torch``."""

    name: str


class NamedTuple(tuple[Any, ...]):
    """A tuple whose items have names.

    Attributes:
        fields: the names.
    """

    fields: tuple[str, ...]

    @classmethod
    def of(cls, fields: Sequence[str], items: Sequence[Any]) -> NamedTuple:
        made = cls(items)
        made.fields = tuple(fields)
        return made

    def get(self, name: str) -> Any:
        """Return an item by its name."""
        return self[self.fields.index(name)]


class Objects:
    """Gives the attributes of objects; parameters become constants at the beginning of the program."""

    def __init__(self, program: Program, block: Block, importer: ImportState) -> None:
        self.program = program
        self._block = block
        self._importer = importer
        self._paths: dict[int, str] = {id(program.root): ""}
        self._tensors: dict[int, Tensor] = {}
        self._names: dict[int, str] = {}
        self._first: dict[int, Any] = {}
        self._packed: dict[int, PackedParams] = {}
        self._given: dict[str, Tensor] = {}
        self._name(program.root, "")

    def _name(self, owner: ScriptObject, path: str) -> None:
        """Find each object's place in the model: that of the first attribute that holds it."""
        todo = [(owner, path)]
        while todo:
            current, prefix = todo.pop()
            for name, value in current.attributes.items():
                if isinstance(value, ScriptObject) and id(value) not in self._paths:
                    self._paths[id(value)] = f"{prefix}.{name}" if prefix else name
                    todo.append((value, self._paths[id(value)]))

    def is_part(self, owner: ScriptObject) -> bool:
        """Return whether an object belongs to the model, and was not made while it ran."""
        return id(owner) in self._paths

    def tensors(self) -> list[Tensor]:
        """Return the model's tensors that have been read."""
        return list(self._tensors.values())

    def changed(self) -> dict[str, Tensor]:
        """Return the model's tensors that have been written to in place, by their place in the model."""
        return {self._names[key]: t for key, t in self._tensors.items() if t.state() != self._first[key]}

    def replace(self, name: str, tensor: Tensor) -> None:
        """Have a tensor of the model, written to in place, be another one."""
        self._given[name] = tensor

    def path(self, owner: ScriptObject) -> str:
        """Return the object's place in the model, such as "layer1.0.conv1"; "" for the model itself."""
        return self._paths.get(id(owner), "")

    def attribute(self, interpreter: Evaluator, owner: ScriptObject, name: str) -> Any:
        """Return an attribute of an object."""
        found = owner.attributes.get(name, MISSING)
        if found is MISSING:
            cls = self.program.class_of(owner.type)
            annotation = None if cls is None else cls.annotations.get(name)
            if annotation is None or annotation.value is None:
                raise UnsupportedError(f"{owner.type.removeprefix('__torch__.')} has no attribute {name}")
            return interpreter.evaluate(annotation.value)
        path = self.path(owner)
        return self.loaded(found, f"{path}.{name}" if path else name)

    def constant(self, number: int) -> Any:
        """Return one of the code's constants."""
        return self.loaded(self.program.constants[number], f"constant_{number}", "constants")

    def loaded(self, value: Any, name: str, folder: str = "data") -> Any:
        """Return what the archive holds with its tensors as constants."""
        if isinstance(value, StoredTensor):
            if value.quantizer is not None:
                return self._quantized(value, name, folder)
            if id(value) not in self._tensors:
                tensor = self._given.get(name) or Tensor(self._constant(value, name, folder))
                self._tensors[id(value)], self._names[id(value)] = tensor, name
                self._first[id(value)] = tensor.state()
            return self._tensors[id(value)]
        if is_packed(value):
            if id(value) not in self._packed:
                read = partial(self.loaded, name=name, folder=folder)
                self._packed[id(value)] = unpacked(self._builder(), value, read)
            return self._packed[id(value)]
        if isinstance(value, list) and any(isinstance(v, (StoredTensor, list, tuple, dict)) for v in value):
            value[:] = [self.loaded(v, f"{name}.{i}", folder) for i, v in enumerate(value)]
        elif isinstance(value, dict):
            value.update({k: self.loaded(v, f"{name}.{k}", folder) for k, v in value.items()})
        elif isinstance(value, tuple) and not isinstance(value, NamedTuple):
            return tuple(self.loaded(v, f"{name}.{i}", folder) for i, v in enumerate(value))
        return value

    def _quantized(self, stored: StoredTensor, name: str, folder: str) -> QuantizedTensor:
        """Return a quantized tensor: integers with their scale and zero point, for all of it or for each channel."""
        kind, *parameters = stored.quantizer
        value = self._constant(stored, name, folder)
        b = self._builder()
        if str(kind) == "torch.per_tensor_affine":
            scale, zero_point = (b.const(p, dtype=t) for p, t in zip(parameters, (DType.F32, DType.I64), strict=True))
            return QuantizedTensor(value, scale, zero_point)
        if str(kind) != "torch.per_channel_affine":
            raise UnsupportedError(f"reads the tensor {name}, which is quantized by {kind}")
        arrays = [self.program.array(p, folder) for p in parameters[:2]]
        scales, zero_points = (b.const(a, dtype=t) for a, t in zip(arrays, (DType.F32, DType.I64), strict=True))
        return QuantizedTensor(value, scales, zero_points, int(parameters[2]))

    def _builder(self) -> AtenBuilder:
        """Return a builder at the beginning of the program."""
        b = AtenBuilder(self._block, self._importer)
        b.before = self._block.first
        return b

    def _constant(self, stored: StoredTensor, name: str, folder: str) -> Value:
        array = self.program.array(stored, folder)
        if any(isinstance(s, int) and s != w for s, w in zip(array.strides, _dense_strides(array), strict=True)):
            array = np.ascontiguousarray(array)
        return self._builder().const(Constant(array, name))

    def make(self, interpreter: Evaluator, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Return an object of a class that is called like a function: a named tuple; None where it is none."""
        cls = self.program.class_of(name)
        if cls is None or not any(isinstance(base, Name) and base.id == "NamedTuple" for base in cls.bases):
            return None
        fields = list(cls.annotations)
        return NamedTuple.of(fields, [*args, *(kwargs[f] for f in fields[len(args) :])])

    def is_instance(self, value: Any, kind: Node) -> bool:
        """Return whether a value is of a type, given as an expression."""
        if isinstance(kind, Display):
            return any(self.is_instance(value, item) for item in kind.items)
        name = _dotted(kind.value if isinstance(kind, Index) else kind)
        if isinstance(kind, Index) and name == "Optional":
            return value is None or self.is_instance(value, kind.index)
        if isinstance(kind, Index) and name == "List" and isinstance(value, list):
            return all(self.is_instance(v, kind.index) for v in value)
        if name == "Tensor":
            return isinstance(value, Tensor)
        if isinstance(value, ScriptObject):
            return value.type == name
        known: dict[str, Any] = {"List": list, "Dict": dict, "Tuple": tuple, "str": str, "bool": bool}
        if name in known:
            return isinstance(value, known[name])
        if name in ("NoneType", "None"):
            return value is None
        if name in ("int", "float", "number", "complex") and numbers.is_number(value) and not isinstance(value, bool):
            return name == "number" or isinstance(value, float) == (name == "float")
        return False


def _dotted(kind: Node) -> str:
    if isinstance(kind, Attribute):
        return f"{_dotted(kind.value)}.{kind.name}"
    return kind.id if isinstance(kind, Name) else ""


def _dense_strides(array: np.ndarray) -> tuple[int, ...]:
    strides, step = [], array.itemsize
    for size in reversed(array.shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))
