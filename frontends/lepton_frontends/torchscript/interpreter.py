"""Runs TorchScript while the model is imported: what is known is computed, operators on tensors become operations.

Methods are inlined, loops with a known number of trips unrolled, branches on known conditions taken. What only the
running program decides becomes a branch or a loop of the IR, see :mod:`lepton_frontends.torchscript.control`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lepton_frontends.aten import numbers
from lepton_frontends.aten.rules import Scalar
from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.torchscript.control import run_if, run_loop
from lepton_frontends.torchscript.expressions import Evaluator, Frame
from lepton_frontends.torchscript.functions import PLAIN
from lepton_frontends.torchscript.program import Code
from lepton_frontends.torchscript.signals import FAILED, JumpedError, ModelRaisesError, ReturnedError, has_failed
from lepton_frontends.torchscript.state import MISSING
from lepton_frontends.torchscript.syntax import (
    Assert,
    Assign,
    Attribute,
    For,
    FunctionDef,
    If,
    Index,
    Jump,
    Name,
    Node,
    Pass,
    Return,
    While,
    With,
)  # fmt: skip
from lepton_frontends.torchscript.unpickle import ScriptObject
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.dim import Expr
from lepton_ir.ir.location import Location
from lepton_ir.ir.opdef import InferenceError

_DEEPEST_CALLS = 60


class Interpreter(Evaluator):
    """One import of one method: runs statements and methods."""

    # Calls

    def invoke(self, code: Code, args: Sequence[Any], kwargs: Mapping[str, Any], path: str = "") -> Any:
        """Run a function or a method and return its result."""
        if len(self.frames) >= _DEEPEST_CALLS:
            raise UnsupportedError(f"its calls are nested more than {_DEEPEST_CALLS} deep")
        frame = Frame(code, path=path or (self.frame.path if self.frames else ""))
        self.frames.append(frame)
        try:
            frame.names.update(self._bound(code.definition, args, kwargs))
            self.run(code.definition.body)
        except ReturnedError as returned:
            return returned.value
        finally:
            self.frames.pop()
        return None

    def _bound(self, definition: FunctionDef, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        names = [p.name for p in definition.parameters]
        bound = dict(zip(names, args, strict=False)) | dict(kwargs)
        if len(args) > len(names) or kwargs.keys() - set(names):
            raise UnsupportedError(f"{definition.name} is called with arguments that it has not")
        for parameter in definition.parameters:
            if parameter.name in bound:
                continue
            if parameter.default is None:
                raise UnsupportedError(f"{definition.name} is called without {parameter.name}")
            bound[parameter.name] = self.evaluate(parameter.default)
        return bound

    # Statements

    def run(self, statements: Sequence[Node]) -> None:
        """Run statements."""
        for statement in statements:
            self.importer.spend(1, self.b.location)
            with self.b.at(self._place(statement)):
                self._guarded(statement)

    def _place(self, node: Node) -> Location:
        frame = self.frame
        found = self.program.place(frame.code.record, node.start, node.line)
        kind = frame.path or frame.code.definition.name
        return Location(found.file, kind, found.line, found.column)

    def _guarded(self, statement: Node) -> None:
        try:
            self._statement(statement)
        except ModelRaisesError as error:
            error.where = error.where or self.b.location
            raise
        except UnsupportedError as error:
            self._fail(error.reason, error.help)
        except InferenceError as error:
            self._fail(str(error), "check the inputs' shapes, --input 'name:1x3x224x224:f32'")
        except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
            self._fail(f"{type(error).__name__}: {error}"[:300], "the archive's code is not as PyTorch writes it")

    def _fail(self, why: str, help: str) -> None:
        raise LeptonError(
            "the model cannot be imported",
            self.b.location,
            f"it {why}" if why[:1].islower() and not (why.startswith(("a ", "the ", "it ", "there "))) else why,
            help,
        ) from None

    def _statement(self, s: Node) -> None:
        if isinstance(s, Assign):
            self._assign(s)
        elif isinstance(s, If):
            self._if(s)
        elif isinstance(s, (For, While)):
            self._loop(s)
        elif isinstance(s, Return):
            raise ReturnedError(None if s.value is None else self.evaluate(s.value))
        elif isinstance(s, With):
            self.run(s.body)
        elif isinstance(s, Assert):
            self._assert(s)
        elif isinstance(s, Jump):
            raise JumpedError(s.kind)
        elif not isinstance(s, Pass):
            raise UnsupportedError(f"a statement of the kind {type(s).__name__}")

    def _assign(self, s: Assign) -> None:
        value = self.evaluate(s.value)
        if not s.unpack:
            for target in s.targets:
                self._bind(target, value)
            return
        items = [FAILED] * len(s.targets) if value is FAILED else list(value)
        if len(items) != len(s.targets):
            raise UnsupportedError(f"{len(items)} values are taken apart into {len(s.targets)}")
        for target, item in zip(s.targets, items, strict=True):
            self._bind(target, item)

    def _bind(self, target: Node, value: Any) -> None:
        if isinstance(target, Name):
            self.frame.names[target.id] = value
        elif isinstance(target, Attribute):
            owner = self.evaluate(target.value)
            if not isinstance(owner, ScriptObject):
                raise UnsupportedError(f"an attribute {target.name} of what is no object is set")
            self.set_attribute(owner, target.name, value)
        elif isinstance(target, Index):
            self.function = "_set_item"
            PLAIN["_set_item"](self, self.evaluate(target.value), self.evaluate(target.index), value)
        else:
            raise UnsupportedError("a value is given to what cannot take one")

    def set_attribute(self, owner: ScriptObject, name: str, value: Any) -> None:
        """Set an attribute of an object."""
        self.note(owner, name)
        self.written.setdefault((id(owner), name), (owner, name))
        owner.attributes[name] = value

    def _truth(self, e: Node) -> bool | Scalar:
        value = self.evaluate(e)
        if has_failed(value):
            raise UnsupportedError("decides by what could not be imported")
        return numbers.truth(self.b, value)

    def _if(self, s: If) -> None:
        condition = self._truth(s.condition)
        if isinstance(condition, Scalar):
            run_if(self, condition.value, s)
        else:
            self.run(s.then if condition else s.other)

    def _loop(self, s: For | While) -> None:
        iterable = None
        if isinstance(s, For):
            iterable = self.evaluate(s.iterable)
            if isinstance(iterable, (Scalar, Expr)):
                run_loop(self, s, iterable)
                return
            if isinstance(iterable, dict):
                iterable = list(iterable)
        trips = iter(iterable) if iterable is not None else None
        while True:
            if trips is not None and isinstance(s, For):
                item = next(trips, MISSING)
                if item is MISSING:
                    return
                self.frame.names[s.target] = item
            elif isinstance(s, While):
                condition = self._truth(s.condition)
                if isinstance(condition, Scalar):
                    run_loop(self, s, None)
                    return
                if not condition:
                    return
            self.importer.spend(1, self.b.location)
            try:
                self.run(s.body)
            except JumpedError as jump:
                if jump.kind == "break":
                    return

    def _assert(self, s: Assert) -> None:
        message = "" if s.message is None else str(self.evaluate(s.message))
        if s.condition is None:
            raise ModelRaisesError(message)
        condition = self._truth(s.condition)
        if isinstance(condition, Scalar):
            self.b.control_require(condition.value, message=message or "an assertion of the model fails")
        elif not condition:
            raise ModelRaisesError(message)
