"""The inputs of a model: types, and names for their dynamic dimensions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from onnx import TypeProto, ValueInfoProto

from lepton_frontends.onnx.tensors import dtype_of
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.dim import Dim, sym
from lepton_ir.ir.types import DType, MapType, OptionalType, SequenceType, TensorType, Type, UnrankedType
from lepton_ir.limits import RAISE_MEMORY, type_problem

_RESERVED = frozenset({"floordiv", "ceildiv", "mod", "min", "max"})


@dataclass
class InputTypes:
    """Gives types to inputs.

    Attributes:
        file: the file to name in errors.
        dims: a size, or another name, for named dimensions; by the model's name or Lepton's.
        shapes: shapes for inputs by name; an entry None keeps what the model says.
    """

    file: str
    dims: Mapping[str, int | str] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[int | str | None]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)

    def type_of(self, info: ValueInfoProto, memory: int) -> Type:
        """Return the type of an input, which may have ``memory`` bytes.

        Raises:
            LeptonError: it is none of these types, the rank of a tensor is unknown, or it is too large.
        """
        return self._type(info.type, info.name, memory, nested=False)

    def _type(self, proto: TypeProto, name: str, memory: int, nested: bool) -> Type:
        kind = proto.WhichOneof("value")
        if kind == "sequence_type":
            return SequenceType(self._type(proto.sequence_type.elem_type, name, memory, nested=True))
        if kind == "optional_type":
            return OptionalType(self._type(proto.optional_type.elem_type, name, memory, nested=True))
        held = proto.map_type.value_type
        if kind == "map_type" and held.WhichOneof("value") == "tensor_type" and not held.tensor_type.shape.dim:
            numbers = (proto.map_type.key_type, held.tensor_type.elem_type)
            return MapType(*(self._element(name, number) for number in numbers))
        if kind != "tensor_type":
            raise LeptonError(
                f"the input {name} is not a tensor",
                self.file,
                f"it is {str(kind or 'of no type').replace('_', ' ')}",
                "Lepton compiles functions of tensors, sequences, optionals, and maps to scalars",
            )
        return self._tensor(proto.tensor_type, name, memory, nested)

    def _tensor(self, tensor: TypeProto.Tensor, name: str, memory: int, nested: bool) -> Type:
        given = self.shapes.get(name)
        if not tensor.HasField("shape") and given is None and nested:
            return UnrankedType(self._element(name, tensor.elem_type))
        if not tensor.HasField("shape") and given is None:
            raise LeptonError(
                f"the rank of the input {name} is unknown",
                self.file,
                "the model gives it no shape",
                f'give one, with shapes={{"{name}": [1, 3, 224, 224]}} or the like',
            )
        own = list(tensor.shape.dim)
        if given is not None and own and len(given) != len(own):
            raise LeptonError(
                f"the shape given for the input {name} has {len(given)} dimensions, the model's has {len(own)}",
                self.file,
            )
        shape: list[Dim] = []
        for i in range(len(given) if given is not None else len(own)):
            wanted = given[i] if given is not None else None
            param = own[i].dim_param if own else ""
            value = own[i].dim_value if own and own[i].HasField("dim_value") else -1
            shape.append(self._dim(name, i, wanted, param, value))
        found = TensorType(tuple(shape), self._element(name, tensor.elem_type))
        problem = type_problem(found, memory)
        if problem:
            raise LeptonError(f"the input {name} is too large", self.file, problem, RAISE_MEMORY)
        return found

    def _element(self, name: str, number: int) -> DType:
        try:
            return dtype_of(number)
        except LeptonError as error:
            raise LeptonError(f"the input {name} cannot be read", self.file, error.diagnostics[0].message) from None

    def _dim(self, input_name: str, axis: int, wanted: int | str | None, param: str, value: int) -> Dim:
        if isinstance(wanted, int) and wanted >= 0:
            return wanted
        if isinstance(wanted, str):
            return self._named(wanted)
        if value >= 0:
            return value
        return self._named(param) if param else self._named(f"{input_name}_d{axis}", fresh=True)

    def _named(self, name: str, fresh: bool = False) -> Dim:
        known = None if fresh else self._names.get(name)
        spelled = known or self._identifier(name)
        if not fresh:
            self._names[name] = spelled
        for key in (name, spelled):
            if key in self.dims:
                self._used.add(key)
                wanted = self.dims[key]
                return sym(_identifier(wanted)) if isinstance(wanted, str) else int(wanted)
        return sym(spelled)

    def _identifier(self, name: str) -> str:
        base = spelled = _identifier(name)
        taken, number = set(self._names.values()), 1
        while spelled in taken:
            number += 1
            spelled = f"{base}_{number}"
        return spelled

    def check_all_used(self, inputs: Sequence[str], symbols: frozenset[str]) -> None:
        """Check that every dimension and shape that was given exists.

        Raises:
            LeptonError: one does not.
        """
        for name in self.shapes:
            if name not in inputs:
                raise LeptonError(f"the model has no input {name}", self.file, help=f"it has: {', '.join(inputs)}")
        unused = [d for d in self.dims if d not in self._used]
        if unused:
            dynamic = sorted(symbols | self._used)
            raise LeptonError(
                f"the model has no dynamic dimension {', '.join(unused)}",
                self.file,
                help=f"it has: {', '.join(dynamic) or 'none'}",
            )


def _identifier(name: str) -> str:
    spelled = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "d"
    if not spelled[0].isalpha():
        spelled = f"d{spelled}"
    return f"{spelled}_" if spelled in _RESERVED else spelled
