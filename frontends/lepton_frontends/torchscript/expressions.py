"""Expressions of TorchScript: names, attributes, operators, and calls of functions and of aten operators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lepton_frontends.aten import numbers
from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.call import Tensor, call, rule_of
from lepton_frontends.aten.rules import Scalar
from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.state import ImportState
from lepton_frontends.torchscript.functions import PLAIN
from lepton_frontends.torchscript.objects import NamedTuple, Objects, Reference
from lepton_frontends.torchscript.program import Code, Program
from lepton_frontends.torchscript.signals import FAILED, ModelRaisesError, has_failed
from lepton_frontends.torchscript.state import MISSING, Journal, Unknown
from lepton_frontends.torchscript.syntax import (
    Attribute,
    Call,
    Dictionary,
    Display,
    Index,
    Literal,
    Name,
    Node,
    Operator,
)  # fmt: skip
from lepton_frontends.torchscript.unpickle import ScriptObject
from lepton_ir.ir.core import Block
from lepton_ir.ir.dim import DimError, Expr
from lepton_ir.ir.location import Location
from lepton_ir.ir.opdef import InferenceError

_OPERATORS = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "remainder", "**": "pow", "@": "matmul",
    "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "&": "__and__", "|": "__or__",
    "^": "__xor__", "<<": "__lshift__", ">>": "__rshift__", "is": "__is__", "in": "__contains__", "not": "__not__",
    "u-": "neg", "u~": "bitwise_not",
}  # fmt: skip
_CONVERSIONS = ("int", "float", "bool")
_KNOWN = frozenset(
    {*_CONVERSIONS, "Int", "Float", "Bool", "item", "IntImplicit", "FloatImplicit", "ScalarImplicit",
     "prim.RaiseException"}
)  # fmt: skip
_TENSOR_ATTRIBUTES = {"shape": "size", "T": "numpy_T", "mT": "mT", "H": "mT", "ndim": "dim"}


@dataclass
class Frame:
    """One call.

    Attributes:
        code: what runs.
        names: the local variables.
        path: the module's place in the model, to name operations.
    """

    code: Code
    names: dict[str, Any] = field(default_factory=dict)
    path: str = ""


class Evaluator(ABC):
    """Evaluates expressions; what statements do, and calls of methods, is the interpreter's.

    Attributes:
        program: the archive.
        importer: the state of the import.
        b: the builder where code runs now.
        function: the name of the function at hand, for functions that have several.
        written: the attributes that the code has set, by object and name.
    """

    def __init__(self, program: Program, importer: ImportState, block: Block) -> None:
        self.program = program
        self.importer = importer
        self.b = AtenBuilder(block, importer)
        self.b.before_write = lambda cell: self.note(cell)
        self.objects = Objects(program, block, importer)
        self.function = ""
        self.written: dict[tuple[int, str], tuple[ScriptObject, str]] = {}
        self.journals: list[Journal] = []
        self.frames: list[Frame] = []

    def restore(self, owners: Sequence[ScriptObject]) -> None:
        """Have objects that were saved as a state, as modules with packed weights are, take it up again."""
        for owner in reversed(owners):
            code = self.program.method(owner.type, "__setstate__")
            if owner.state is None or code is None or isinstance(owner.state, dict):
                continue
            path = self.objects.path(owner)
            state = self.objects.loaded(owner.state, f"{path}.state" if path else "state")
            self.invoke(code, [owner, state], {}, path)
        self.written.clear()

    @property
    def frame(self) -> Frame:
        """The call at hand."""
        return self.frames[-1]

    def roots(self) -> list[Any]:
        """Return the values from which code can reach all others: local variables, the model, its tensors."""
        local = [value for frame in self.frames for value in frame.names.values()]
        return [*local, self.program.root, *self.objects.tensors()]

    def note(self, owner: Any, name: str = "") -> None:
        """Say that something is about to change."""
        for journal in self.journals:
            journal.note(owner, name)

    @abstractmethod
    def invoke(self, code: Code, args: Sequence[Any], kwargs: Mapping[str, Any], path: str = "") -> Any:
        """Run a function or a method and return its result."""

    def evaluate(self, e: Node) -> Any:
        """Return the value of an expression."""
        if isinstance(e, Literal):
            return e.value
        if isinstance(e, Name):
            return self._name(e)
        if isinstance(e, Call):
            return self._call(e)
        if isinstance(e, Attribute):
            return self._attribute(e)
        if isinstance(e, Index):
            return self.apply("__getitem__", [self.evaluate(e.value), self.evaluate(e.index)], {})
        if isinstance(e, Display):
            items = [self.evaluate(item) for item in e.items]
            return items if e.is_list else tuple(items)
        if isinstance(e, Dictionary):
            return {self.evaluate(k): self.evaluate(v) for k, v in e.items}
        if isinstance(e, Operator):
            return self._operator(e)
        raise UnsupportedError(f"an expression of the kind {type(e).__name__}")

    def _name(self, e: Name) -> Any:
        found = self.frame.names.get(e.id, MISSING)
        if found is MISSING:
            if e.id in ("inf", "nan"):
                return float(e.id)
            return Reference(e.id)
        if isinstance(found, Unknown):
            raise UnsupportedError(f"the value of {e.id} {found.why}")
        return found

    def _attribute(self, e: Attribute) -> Any:
        owner = self.evaluate(e.value)
        if isinstance(owner, Reference):
            name = f"{owner.name}.{e.name}"
            if owner.name == "CONSTANTS":
                return self.objects.constant(int(e.name[1:]))
            return Reference(name)
        return self.attribute(owner, e.name)

    def attribute(self, owner: Any, name: str) -> Any:
        """Return an attribute of a value."""
        if owner is FAILED:
            return FAILED
        if isinstance(owner, ScriptObject):
            found = self.objects.attribute(self, owner, name)
            if isinstance(found, Unknown):
                raise UnsupportedError(f"the attribute {name} {found.why}")
            return found
        if isinstance(owner, NamedTuple):
            return owner.get(name)
        if isinstance(owner, Tensor) and name in _TENSOR_ATTRIBUTES:
            return self.apply(_TENSOR_ATTRIBUTES[name], [owner], {})
        if isinstance(owner, Tensor):
            return PLAIN[f"prim.{name}"](self, owner)
        raise UnsupportedError(f"there is no attribute {name} in a value of the type {type(owner).__name__}")

    def _operator(self, e: Operator) -> Any:
        if e.op == "if":
            condition = numbers.truth(self.b, self.evaluate(e.operands[0]))
            if isinstance(condition, Scalar):
                raise UnsupportedError("a conditional expression depends on data")
            return self.evaluate(e.operands[1 if condition else 2])
        if e.op in ("and", "or"):
            first = numbers.truth(self.b, self.evaluate(e.operands[0]))
            if isinstance(first, bool):
                return self.evaluate(e.operands[1]) if first == (e.op == "and") else first
            second = numbers.truth(self.b, self.evaluate(e.operands[1]))
            return numbers.compute(self.b, f"__{e.op}__", first, second)
        operands = [self.evaluate(o) for o in e.operands]
        if e.op == "in":
            operands.reverse()
        return operands[0] if e.op == "u+" else self.apply(_OPERATORS[e.op], operands, {})

    def _call(self, e: Call) -> Any:
        if isinstance(e.function, Attribute):
            owner = self.evaluate(e.function.value)
            if not isinstance(owner, Reference):
                return self._method(owner, e.function.name, *self._arguments(e))
            name = f"{owner.name}.{e.function.name}"
        else:
            function = self.evaluate(e.function)
            if not isinstance(function, Reference):
                raise UnsupportedError("what is called is no function")
            name = function.name
        special = getattr(self, f"_call_{name.rpartition('.')[2]}", None) if "." not in name else None
        if special is not None:
            return special(e)
        args, kwargs = self._arguments(e)
        return self._named(name, args, kwargs)

    def _arguments(self, e: Call) -> tuple[list[Any], dict[str, Any]]:
        return [self.evaluate(a) for a in e.args], {k: self.evaluate(v) for k, v in e.kwargs.items()}

    def _method(self, owner: Any, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if isinstance(owner, ScriptObject):
            code = self.program.method(owner.type, name)
            if code is None:
                raise UnsupportedError(
                    f"calls {name} of {owner.type.removeprefix('__torch__.')}, of which the archive has no code",
                    "custom classes are not supported; export the model without them",
                )
            return self.invoke(code, [owner, *args], kwargs, self.objects.path(owner))
        return self.apply(name, [owner, *args], kwargs)

    def _named(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call a function by its qualified name."""
        if name.startswith("torch."):
            return self.apply(name.removeprefix("torch."), args, kwargs)
        if name.startswith("ops."):
            _, namespace, function = name.split(".", 2)
            if namespace in ("aten", "prim"):
                return self.apply(function if namespace == "aten" else f"prim.{function}", args, kwargs)
            return self.apply(f"{namespace}::{function}", args, kwargs)
        if name.startswith("__torch__."):
            return self._own(name, args, kwargs)
        return self.apply(name, args, kwargs)

    def _own(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        code = self.program.function(name)
        if code is not None:
            return self.invoke(code, args, kwargs)
        owner, _, last = name.rpartition(".")
        if last == "__new__" and self.program.class_of(owner) is not None:
            return ScriptObject(owner)
        method = self.program.method(owner, last)
        if method is not None:
            return self.invoke(method, args, kwargs)
        made = self.objects.make(self, name, args, kwargs)
        if made is None:
            raise UnsupportedError(f"calls {name.removeprefix('__torch__.')}, of which the archive has no code")
        return made

    def apply(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call a function of TorchScript: on tensors by the table of operators, else on numbers, lists, ..."""
        if has_failed(args):
            if name not in PLAIN and rule_of(name)[0] is None and name not in numbers.NAMES | _KNOWN:
                self._operation(name, [], {})
            return FAILED
        if name == "prim.RaiseException":
            raise ModelRaisesError(str(args[0]) if args else "")
        if name in _KNOWN:
            kind = name.removesuffix("Implicit").lower()
            return (
                numbers.converted(self.b, args[0], kind)
                if kind in _CONVERSIONS
                else numbers.scalar_of(self.b, args[0].read(self.b))
            )
        self.function = name
        first = args[0] if args else None
        of_tensor = isinstance(first, Tensor) and not name.startswith("prim.")
        if name in PLAIN and not of_tensor and not _mixes(name, args):
            return PLAIN[name](self, *args, **kwargs)
        if args and all(map(numbers.is_number, args)) and name in numbers.NAMES:
            return numbers.compute(self.b, name, *args)
        if name == "len" and isinstance(first, Tensor):
            return self.apply("size", [first, 0], {})
        if name == "__getitem__" and isinstance(first, Tensor):
            return self.apply("select", [first, 0, args[1]], {})
        if name in PLAIN and rule_of(name)[0] is None:
            return PLAIN[name](self, *args, **kwargs)
        return self._operation(name, args, kwargs)

    def _operation(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        where = self.b.location
        kind = name.rpartition("::")[2].rpartition(".")[2]
        node = f"{self.frame.path}/{kind}" if self.frame.path else kind
        with self.b.at(Location(where.file, node, where.line, where.column)):
            try:
                return call(self.b, name, args, kwargs)
            except (UnsupportedError, InferenceError, DimError) as error:
                reason, help = getattr(error, "reason", str(error)), getattr(error, "help", "")
                what = f"the operator {name} is not supported here"
                self.importer.report(self.b.location, what, reason, help)
                return FAILED

    # Functions that look at types

    def _call_annotate(self, e: Call) -> Any:
        value = self.evaluate(e.args[1])
        kind = e.args[0].id if isinstance(e.args[0], Name) else ""
        if isinstance(value, Tensor) and kind in ("number", *_CONVERSIONS):
            return numbers.scalar_of(self.b, value.read(self.b))
        return value

    def _call_unchecked_cast(self, e: Call) -> Any:
        return self.evaluate(e.args[1])

    def _call_uninitialized(self, e: Call) -> Any:
        return Unknown("is never set")

    def _call_getattr(self, e: Call) -> Any:
        return self.attribute(self.evaluate(e.args[0]), self.evaluate(e.args[1]))

    def _call_hasattr(self, e: Call) -> Any:
        owner = self.evaluate(e.args[0])
        return isinstance(owner, ScriptObject) and self.evaluate(e.args[1]) in owner.attributes

    def _call_isinstance(self, e: Call) -> Any:
        return self.objects.is_instance(self.evaluate(e.args[0]), e.args[1])

    def _call_fork(self, e: Call) -> Any:
        raise UnsupportedError("forks a task", "export the model without torch.jit.fork")

    def _call_range(self, e: Call) -> Any:
        args = [self.evaluate(a) for a in e.args]
        if len(args) == 1 and isinstance(args[0], (Scalar, Expr)):
            return args[0]
        if not all(isinstance(a, int) for a in args):
            raise UnsupportedError("a loop's bounds depend on data")
        found = range(*args)
        if len(found) > self.importer.budget:
            self.importer.spend(len(found), self.b.location)
        return found


def _mixes(name: str, args: Sequence[Any]) -> bool:
    """Return whether a function of numbers is called with a number first and tensors after it."""
    return name in numbers.NAMES and any(isinstance(a, Tensor) for a in args)
