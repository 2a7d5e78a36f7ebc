"""The tables of what each operator means as tensor expressions; one small decorated function per operator.

* ``@scalar("relu")``: the result element from the operand elements; attributes are the keyword-only parameters.
* ``@index_map("tensor.transpose")``: the index into the (only) operand for an index into the result.
* ``@forward_map("tensor.transpose")``: for bijective operators, the index into the result for one of the operand.
* ``@element("tensor.concat")``: any other operator whose elements can be computed one by one.
* ``@guard("tensor.gather", reads="indices")``: what must hold for an operand's values (see :mod:`.guards`).
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lepton_backends.tvm.tir import Expr
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import DType
from lepton_ir.ir.core import Operation, Value

if TYPE_CHECKING:
    from lepton_backends.tvm.emit.kernel import KernelView

IndexMap: TypeAlias = "Callable[[KernelView, Operation, Sequence[Expr]], list[Expr]]"
ElementRule: TypeAlias = "Callable[[KernelView, Operation, Sequence[Expr]], Expr]"


@dataclass(frozen=True)
class ScalarRule:
    """How one element is computed.

    Attributes:
        function: takes the operand elements (None where absent) and the attributes that it names.
        attributes: the names of the attributes that it takes.
        dtypes: it takes ``dtype``, the operand's and ``result``, the result's element type.
    """

    function: Callable[..., Expr]
    attributes: tuple[str, ...]
    takes_dtype: bool
    takes_result: bool

    def __call__(self, op: Operation, operands: Sequence[Expr | None]) -> Expr:
        values = op.attributes
        fields = op.spec.attributes
        given: dict[str, Any] = {name: values.get(name, fields[name].default) for name in self.attributes}
        if self.takes_dtype:
            given["dtype"] = op.present_operands[0].tensor.dtype
        if self.takes_result:
            given["result"] = op.results[0].tensor.dtype
        return self.function(*operands, **given)


@dataclass(frozen=True)
class GuardRule:
    """What a kernel checks before its loops.

    Attributes:
        function: adds the checks to the guards that it is given.
        reads: the name of the operand whose values it reads, "" where it reads only dimensions.
    """

    function: Callable[[Any, Any], None]
    reads: str

    def operand(self, op: Operation) -> Value | None:
        """Return the operand that it reads."""
        return getattr(op, self.reads) if self.reads else None


GUARDS: dict[str, GuardRule] = {}
SCALARS: dict[str, ScalarRule] = {}
INDEX_MAPS: dict[str, IndexMap] = {}
FORWARD_MAPS: dict[str, IndexMap] = {}
ELEMENTS: dict[str, ElementRule] = {}


def scalar(*operators: str) -> Callable[[Callable[..., Expr]], Callable[..., Expr]]:
    """Register how one result element is computed from the operand elements.

    A keyword-only parameter takes the attribute of its name; ``dtype`` takes the element type of the first
    operand and ``result`` that of the result.
    """

    def register(function: Callable[..., Expr]) -> Callable[..., Expr]:
        parameters = inspect.signature(function).parameters.values()
        names = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
        attributes = tuple(n for n in names if n not in ("dtype", "result"))
        for operator in operators:
            SCALARS[operator] = ScalarRule(function, attributes, "dtype" in names, "result" in names)
        return function

    return register


def index_map(*operators: str) -> Callable[[IndexMap], IndexMap]:
    """Register the operand index for a result index, of an operator that moves elements of one operand."""

    def register(function: IndexMap) -> IndexMap:
        INDEX_MAPS.update(dict.fromkeys(operators, function))
        return function

    return register


def forward_map(*operators: str) -> Callable[[IndexMap], IndexMap]:
    """Register the result index for an operand index, of an operator that permutes elements."""

    def register(function: IndexMap) -> IndexMap:
        FORWARD_MAPS.update(dict.fromkeys(operators, function))
        return function

    return register


def element(*operators: str) -> Callable[[ElementRule], ElementRule]:
    """Register how the result element at an index is computed."""

    def register(function: ElementRule) -> ElementRule:
        ELEMENTS.update(dict.fromkeys(operators, function))
        return function

    return register


def guard(*operators: str, reads: str = "") -> Callable[[Callable[[Any, Any], None]], Callable[[Any, Any], None]]:
    """Register what must hold for the values of the operand ``reads``, or for dimensions."""

    def register(function: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        GUARDS.update(dict.fromkeys(operators, GuardRule(function, reads)))
        return function

    return register


@functools.cache
def load_rules() -> None:
    """Import every module of rules."""
    package = importlib.import_module("lepton_backends.tvm.emit")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def is_injective(op: Operation) -> bool:
    """Return whether each result element of ``op`` can be computed by itself."""
    load_rules()
    return op.name in SCALARS or op.name in INDEX_MAPS or op.name in ELEMENTS or op.name == "const"


STORAGE = {
    DType.BOOL: "bool",
    DType.I8: "int8",
    DType.I16: "int16",
    DType.I32: "int32",
    DType.I64: "int64",
    DType.U8: "uint8",
    DType.U16: "uint16",
    DType.U32: "uint32",
    DType.U64: "uint64",
    DType.F16: "float16",
    DType.BF16: "bfloat16",
    DType.F32: "float32",
    DType.F64: "float64",
    DType.C64: "uint64",
    DType.F8E4M3FN: "float8_e4m3fn",
    DType.F8E4M3FNUZ: "float8_e4m3fnuz",
    DType.F8E5M2: "float8_e5m2",
    DType.F8E5M2FNUZ: "float8_e5m2fnuz",
    DType.F8E8M0FNU: "float8_e8m0fnu",
    DType.F6E2M3: "float8_e4m3fn",
    DType.F6E3M2: "float8_e4m3fn",
    DType.F4E2M1: "float8_e4m3fn",
    DType.I4: "int8",
    DType.U4: "uint8",
    DType.I2: "int8",
    DType.U2: "uint8",
}
"""TVM's name of each element type in memory; numbers below a byte take a byte each, in a type that holds them all."""

_SMALL_FLOATS = {d for d in DType if d.is_float and d.bits < 32}


def storage_dtype(dtype: DType) -> str:
    """Return TVM's name of the element type in memory.

    Raises:
        LeptonError: TVM has no such type.
    """
    if dtype not in STORAGE:
        raise LeptonError(
            f"the backend cannot compute on elements of type {dtype}",
            why="they have no counterpart in TVM's tensor IR",
            help="cast them to another type before the model is exported",
        )
    return STORAGE[dtype]


def compute_dtype(dtype: DType) -> str:
    """Return TVM's name of the type that elements are computed in: float32 for all shorter floats."""
    return "float32" if dtype in _SMALL_FLOATS else storage_dtype(dtype)
