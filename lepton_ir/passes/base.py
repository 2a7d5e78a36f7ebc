"""What a pass is, and how one is registered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import ClassVar, TypeVar

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.core import Operation
from lepton_ir.ir.module import Module
from lepton_ir.rewrite import Pattern, RewriteControl, apply_greedily
from lepton_ir.target import Target, host_target


@dataclass
class PassContext:
    """What passes share during one run.

    Attributes:
        target: what the code will run on.
        control: the rewrite limit and the record of rewrites and failed matches.
        statistics: what each pass counted.
    """

    target: Target = field(default_factory=host_target)
    control: RewriteControl = field(default_factory=RewriteControl)
    statistics: dict[str, Counter[str]] = field(default_factory=dict)

    def count(self, who: str, what: str, amount: int = 1) -> None:
        """Add to a statistic of the pass ``who``."""
        self.statistics.setdefault(who, Counter())[what] += amount

    def permit(self, who: str, op: Operation) -> bool:
        """Ask for one rewrite outside of the pattern driver; False once the rewrite limit is reached."""
        return self.control.permit(who, op)


@dataclass(frozen=True)
class Pass:
    """A transformation of a module; a frozen dataclass whose fields are its options.

    Attributes:
        name: the kebab-case name in pipelines, given by :func:`register_pass`.
        requires: properties (see :func:`register_property`) that must hold before.
        ensures: properties that hold afterwards.
        legalizes: without this pass there may be no machine code; a rewrite limit does not stop it, nor does it
            count against the limit.
    """

    name: ClassVar[str] = ""
    legalizes: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ()
    ensures: ClassVar[tuple[str, ...]] = ()

    def run(self, module: Module, ctx: PassContext) -> bool:
        """Transform ``module`` in place and return whether anything changed."""
        raise LeptonError(f"the pass {self.name} defines no run method")

    def describe(self) -> str:
        """Return the pass as pipeline text, options that differ from their defaults included."""
        options = [
            f"{f.name.replace('_', '-')}={_spell(getattr(self, f.name))}"
            for f in fields(self)
            if getattr(self, f.name) != f.default
        ]
        return self.name + (f"{{{' '.join(options)}}}" if options else "")


def _spell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return "[" + ",".join(_spell(v) for v in value) + "]"
    text = str(value)
    return f"{{{text}}}" if any(c in text for c in "{},= ") else text


@dataclass(frozen=True)
class PatternPass(Pass):
    """A pass that applies patterns until none applies."""

    def patterns(self, ctx: PassContext) -> Sequence[Pattern]:
        """Return the patterns to apply."""
        return ()

    def run(self, module: Module, ctx: PassContext) -> bool:
        return apply_greedily(module, self.patterns(ctx), ctx.control)


PASSES: dict[str, type[Pass]] = {}
PROPERTIES: dict[str, Callable[[Module], str | None]] = {}

PassT = TypeVar("PassT", bound=Pass)
PropertyT = TypeVar("PropertyT", bound=Callable[[Module], "str | None"])


def register_pass(name: str) -> Callable[[type[PassT]], type[PassT]]:
    """Register a pass under a kebab-case name::

        @register_pass("double-neg")
        @dataclass(frozen=True)
        class DoubleNeg(PatternPass):
            '''Drop pairs of neg.'''

    Raises:
        LeptonError: the class is no dataclass of its own, or another pass has the name.
    """

    def decorate(cls: type[PassT]) -> type[PassT]:
        if not is_dataclass(cls) or "__dataclass_fields__" not in cls.__dict__:
            raise LeptonError(f"the pass {name} must be a dataclass", help="put @dataclass(frozen=True) under it")
        known = PASSES.get(name)
        if known is not None and known.__qualname__ != cls.__qualname__:
            raise LeptonError(
                f"the pass name {name} is taken",
                why=f"{known.__module__}.{known.__qualname__} has it",
                help="rename one",
            )
        cls.name = name
        PASSES[name] = cls
        return cls

    return decorate


def register_property(name: str) -> Callable[[PropertyT], PropertyT]:
    """Register a property of modules, which passes may require or ensure.

    The function returns None where the property holds, else what stands against it.
    """

    def decorate(function: PropertyT) -> PropertyT:
        PROPERTIES[name] = function
        return function

    return decorate
