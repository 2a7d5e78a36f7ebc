"""How an operator is declared.

An operator is one class::

    class LeakyRelu(Operation):
        '''x where x >= 0, else alpha * x.'''

        name = "leaky_relu"
        x = operand()
        alpha = attribute(float, default=0.01)
        y = result()

        def infer(self) -> Type:
            return self.x.type

        def evaluate(self, x: np.ndarray) -> np.ndarray:
            return np.where(x >= 0, x, x * self.alpha)

Defining the class registers it. Text form, builder, documentation and constant folding come from it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar, cast, overload

from lepton_ir.ir.constant import Constant
from lepton_ir.ir.core import Operation as _CoreOperation
from lepton_ir.ir.core import OpResult, Region, Value
from lepton_ir.ir.dim import Dim, Expr
from lepton_ir.ir.location import UNKNOWN, Location
from lepton_ir.ir.types import DType, TensorType, Type, is_numeric

T = TypeVar("T")


class InferenceError(ValueError):
    """Operands and attributes of an operation do not fit together."""


class FusionKind(enum.IntEnum):
    """How an operator may share a kernel with others (the pattern kinds of TVM's FuseOps)."""

    ELEMENTWISE = 0
    BROADCAST = 1
    INJECTIVE = 2
    REDUCTION = 3
    ANCHOR = 4
    OPAQUE = 8


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED: Any = _Required()


@dataclass
class Field:
    """A declared operand, result, attribute or region; the index counts fields of one kind."""

    name: str = ""
    index: int = 0
    doc: str = ""


@dataclass
class OperandField(Field):
    """An operand; ``variadic`` ones take the rest, and come last."""

    optional: bool = False
    variadic: bool = False

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, op: Operation | None, owner: type | None = None) -> Any:
        if op is None:
            return self
        if self.variadic:
            return tuple(op._operands[self.index :])
        return op._operands[self.index] if self.index < len(op._operands) else None


@dataclass
class ResultField(Field):
    """A result; ``variadic`` ones take the rest, and come last."""

    variadic: bool = False

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, op: Operation | None, owner: type | None = None) -> Any:
        if op is None:
            return self
        return op.results[self.index :] if self.variadic else op.results[self.index]


@dataclass
class RegionField(Field):
    """A region."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, op: Operation | None, owner: type | None = None) -> Any:
        return self if op is None else op.regions[self.index]


@dataclass
class AttributeField(Field, Generic[T]):
    """An attribute of a Python type, with a default unless required."""

    kind: Any = None
    default: Any = REQUIRED

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @overload
    def __get__(self, op: None, owner: type | None = None) -> AttributeField[T]: ...
    @overload
    def __get__(self, op: _CoreOperation, owner: type | None = None) -> T: ...
    def __get__(self, op: _CoreOperation | None, owner: type | None = None) -> AttributeField[T] | T:
        if op is None:
            return self
        return cast(T, op.attributes.get(self.name, self.default))


def operand(doc: str = "") -> Value:
    """Declare an operand."""
    return cast(Value, OperandField(doc=doc))


def optional_operand(doc: str = "") -> Value | None:
    """Declare an operand that may be absent."""
    return cast(Value, OperandField(doc=doc, optional=True))


def variadic_operand(doc: str = "") -> tuple[Value, ...]:
    """Declare the operand that takes all remaining ones; it comes last."""
    return cast("tuple[Value, ...]", OperandField(doc=doc, variadic=True))


def result(doc: str = "") -> OpResult:
    """Declare a result."""
    return cast(OpResult, ResultField(doc=doc))


def variadic_result(doc: str = "") -> tuple[OpResult, ...]:
    """Declare the result that takes all remaining ones; it comes last."""
    return cast("tuple[OpResult, ...]", ResultField(doc=doc, variadic=True))


def region(doc: str = "") -> Region:
    """Declare a region."""
    return cast(Region, RegionField(doc=doc))


def attribute(kind: type[T], default: Any = REQUIRED, doc: str = "") -> AttributeField[T]:
    """Declare an attribute: int, float, bool, str, DType, Constant, or a tuple such as ``tuple[int, ...]``.

    A default of None makes it optional; a missing attribute reads as its default.
    """
    return AttributeField(doc=doc, kind=kind, default=default)


def optional_attribute(kind: type[T], doc: str = "") -> AttributeField[T | None]:
    """Declare an attribute that may be absent, read as None."""
    return AttributeField(doc=doc, kind=kind, default=None)


def dims_attribute(default: Any = REQUIRED, doc: str = "") -> AttributeField[tuple[Dim, ...]]:
    """Declare an attribute that holds dimensions, each a number or an expression."""
    return AttributeField(doc=doc, kind=tuple[Expr, ...], default=default)


def dim_attribute(default: Any = REQUIRED, doc: str = "") -> AttributeField[Dim]:
    """Declare an attribute that holds one dimension."""
    return AttributeField(doc=doc, kind=Expr, default=default)


def type_attribute(doc: str = "") -> AttributeField[Type]:
    """Declare an attribute that holds a type."""
    return AttributeField(doc=doc, kind=Type)


def optional_type_attribute(doc: str = "") -> AttributeField[Type | None]:
    """Declare an attribute that holds a type or is absent, read as None."""
    return AttributeField(doc=doc, kind=Type, default=None)


@dataclass
class OpSpec:
    """What an operator's class declares, gathered for parser, printer, docs and verifier."""

    name: str
    cls: type[Operation]
    operands: list[OperandField] = field(default_factory=list)
    results: list[ResultField] = field(default_factory=list)
    attributes: dict[str, AttributeField[Any]] = field(default_factory=dict)
    regions: list[RegionField] = field(default_factory=list)

    @property
    def has_variadic_operand(self) -> bool:
        return bool(self.operands) and self.operands[-1].variadic

    @property
    def builder_name(self) -> str:
        """The name as a Python identifier: ``nn.conv`` is ``nn_conv``; Python's keywords get a ``_``."""
        flat = self.name.replace(".", "_")
        return flat + "_" if flat in {"and", "or", "not", "if", "return", "yield", "is"} else flat


REGISTRY: dict[str, type[Operation]] = {}
BY_BUILDER_NAME: dict[str, type[Operation]] = {}


class Operation(_CoreOperation):
    """Base class of all operators; see the module's documentation."""

    __slots__ = ()

    fusion: ClassVar[FusionKind] = FusionKind.OPAQUE
    is_terminator: ClassVar[bool] = False
    has_side_effects: ClassVar[bool] = False
    is_isolated: ClassVar[bool] = False
    """Whether the regions see none of the values outside them, only their block arguments."""
    is_host: ClassVar[bool] = False
    """Whether the runtime evaluates it on the host: work on strings, on sequences, or of libraries."""
    is_random: ClassVar[bool] = False
    """Whether the numbers are drawn: the same in every run, but not those of another implementation."""
    is_shape_computation: ClassVar[bool] = False
    """Whether ``evaluate`` also works on arrays of dimensions (numpy object arrays), for shape arithmetic."""
    canonicalizations: ClassVar[tuple[Any, ...]] = ()
    """Patterns (see :mod:`lepton_ir.rewrite`) whose root is this operator."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            return
        spec = OpSpec(cls.name, cls)
        for base in reversed(cls.__mro__):
            for member in vars(base).values():
                _add_field(spec, member)
        cls.spec = spec
        known = REGISTRY.get(cls.name)
        if known is not None and known.__qualname__ != cls.__qualname__:
            raise TypeError(f"operator {cls.name} is already defined by {known.__module__}.{known.__qualname__}")
        REGISTRY[cls.name] = cls
        BY_BUILDER_NAME[spec.builder_name] = cls

    @classmethod
    def build(
        cls,
        *operands: Value | Sequence[Value] | None,
        result_types: Sequence[Type] | None = None,
        regions: Sequence[Region] = (),
        location: Location = UNKNOWN,
        **attributes: Any,
    ) -> Any:
        """Make a detached operation; result types are inferred unless given.

        Operands are positional in the order of declaration, a variadic one is a sequence; they may also be
        given by name. Attributes equal to their default are not stored, None means absent.

        Raises:
            InferenceError: unknown or missing attributes, wrong operand count, or a failed inference.
        """
        named = {f.name for f in cls.spec.operands} & attributes.keys()
        values = _flatten(cls.spec, operands, {k: attributes.pop(k) for k in named})
        op = cls(values, normalize_attributes(cls.spec, attributes), (), regions, location)
        try:
            if result_types is None:
                inferred = op.infer()
                result_types = [inferred] if isinstance(inferred, Type) else list(inferred)
        except BaseException:
            op.drop_uses()
            raise
        op.results = tuple(OpResult(t, op, i) for i, t in enumerate(result_types))
        return op

    def may_fail(self) -> bool:
        """Return whether some values of the operands are errors, whatever their types.

        Compiled code checks for them, and names the operation that failed.
        """
        return False

    def moves_elements(self) -> bool:
        """Return whether the results hold elements of the operands as they are.

        Kernels do so with complex numbers too, as bits; the host computes with them.
        """
        return self.fusion is FusionKind.INJECTIVE

    def attribute_values(self) -> dict[str, Any]:
        """Return all attributes, the defaults included."""
        return {name: self.attributes.get(name, f.default) for name, f in self.spec.attributes.items()}


def runs_on_host(op: _CoreOperation) -> bool:
    """Return whether the runtime evaluates the operation on the host, since no kernel can take its values."""
    if not isinstance(op, Operation) or op.regions or op.is_terminator or op.name in ("call", "const"):
        return False
    types = [v.type for v in (*op.present_operands, *op.results)]
    if op.is_host or not all(map(is_numeric, types)):
        return True
    return not op.moves_elements() and any(t.dtype is DType.C64 for t in types if isinstance(t, TensorType))


def _add_field(spec: OpSpec, member: object) -> None:
    if isinstance(member, OperandField):
        member.index = len(spec.operands)
        spec.operands.append(member)
    elif isinstance(member, ResultField):
        member.index = len(spec.results)
        spec.results.append(member)
    elif isinstance(member, RegionField):
        member.index = len(spec.regions)
        spec.regions.append(member)
    elif isinstance(member, AttributeField):
        spec.attributes[member.name] = member


def _flatten(
    spec: OpSpec, positional: Sequence[Value | Sequence[Value] | None], named: Mapping[str, Any]
) -> list[Value | None]:
    given: list[Any] = list(positional)
    if len(given) > len(spec.operands):
        raise InferenceError(f"{spec.name} takes {len(spec.operands)} operands, got {len(given)}")
    for f in spec.operands[len(given) :]:
        given.append(named.get(f.name, () if f.variadic else None))
    values: list[Value | None] = []
    for f, value in zip(spec.operands, given, strict=True):
        if f.variadic:
            values.extend(value)
            continue
        if value is None and not f.optional:
            raise InferenceError(f"{spec.name} needs its operand {f.name}")
        values.append(value)
    while values and values[-1] is None:
        values.pop()
    return values


def normalize_attributes(spec: OpSpec, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes in their stored form: lists as tuples, numpy scalars as Python's, defaults left out.

    Raises:
        InferenceError: an attribute is unknown or a required one is missing.
    """
    unknown = attributes.keys() - spec.attributes.keys()
    if unknown:
        known = ", ".join(spec.attributes) or "none"
        raise InferenceError(f"{spec.name} has no attribute {', '.join(sorted(unknown))} (it has: {known})")
    stored: dict[str, Any] = {}
    for name, f in spec.attributes.items():
        value = _plain(attributes.get(name))
        if value is None:
            if f.required:
                raise InferenceError(f"{spec.name} needs its attribute {name}")
            continue
        if f.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if value != f.default or type(value) is not type(f.default):
            stored[name] = value
    return stored


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_plain(v) for v in value)
    if isinstance(value, (Constant, DType, Expr, str, int, float, bool)) or value is None:
        return value
    item: Callable[[], Any] | None = getattr(value, "item", None)
    return item() if item is not None else value
