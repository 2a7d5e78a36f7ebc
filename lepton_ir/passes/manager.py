"""Running pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.module import Module
from lepton_ir.passes.base import PROPERTIES, Pass, PassContext
from lepton_ir.passes.instrument import Instrument, write_reproducer
from lepton_ir.passes.pipeline import parse_pipeline, print_pipeline
from lepton_ir.verifier import verify


@dataclass
class PassManager:
    """Runs passes in order, and checks what each leaves behind.

    Attributes:
        passes: what to run.
        verify_each: verify the module before the first pass and after each.
        instruments: who watches.
        reproducer: where to write the module and the pipeline if a pass fails; None writes nothing.
    """

    passes: Sequence[Pass]
    verify_each: bool = True
    instruments: Sequence[Instrument] = field(default_factory=list)
    reproducer: Path | None = None

    @classmethod
    def from_text(cls, pipeline: str, **options: object) -> PassManager:
        """Return a manager for a pipeline given as text; see :func:`~lepton_ir.passes.parse_pipeline`."""
        return cls(parse_pipeline(pipeline), **options)  # type: ignore[arg-type]

    def run(self, module: Module, ctx: PassContext | None = None) -> bool:
        """Run every pass on ``module`` in place and return whether anything changed.

        Raises:
            LeptonError: a pass fails, leaves a module that does not verify, or misses what it requires.
        """
        ctx = ctx if ctx is not None else PassContext()
        if self.verify_each:
            verify(module)
        changed = False
        for index, pass_ in enumerate(self.passes):
            before = module.clone() if self.reproducer is not None else None
            try:
                changed |= self._run_one(pass_, module, ctx)
            except Exception as error:
                raise self._explain(error, index, before, module) from error
        return changed

    def _run_one(self, pass_: Pass, module: Module, ctx: PassContext) -> bool:
        _check_properties(pass_, module, pass_.requires, "requires")
        for instrument in self.instruments:
            instrument.before_pass(pass_, module, ctx)
        with ctx.control.unlimited() if pass_.legalizes else nullcontext():
            changed = pass_.run(module, ctx)
        for instrument in self.instruments:
            instrument.after_pass(pass_, module, changed, ctx)
        if self.verify_each and changed:
            verify(module)
        if self.verify_each:
            _check_properties(pass_, module, pass_.ensures, "ensures")
        return changed

    def _explain(self, error: Exception, index: int, before: Module | None, module: Module) -> LeptonError:
        notes = [f"in the pipeline {print_pipeline(self.passes)}"] if len(self.passes) > 1 else []
        if before is not None and self.reproducer is not None:
            write_reproducer(self.reproducer, before, print_pipeline(self.passes[index:]))
            notes.append(f"the module before the pass, and the rest of the pipeline, are in {self.reproducer}")
        name = self.passes[index].name
        if isinstance(error, LeptonError):
            first = error.diagnostics[0]
            why = f"{first.message} ({first.why})" if first.why else first.message
            return LeptonError(f"the pass {name} failed", first.where, why, first.help, (*first.notes, *notes))
        return LeptonError(
            f"the pass {name} failed",
            next((f.location for f in module.functions.values()), None),
            why=f"{type(error).__name__}: {error}",
            help="this is a bug in the pass; a reproducer helps to report it",
            notes=notes,
        )


def _check_properties(pass_: Pass, module: Module, names: tuple[str, ...], verb: str) -> None:
    for name in names:
        objection = PROPERTIES[name](module)
        if objection is not None:
            raise LeptonError(f"the pass {pass_.name} {verb} a module in {name}", why=objection)


def run_pipeline(module: Module, pipeline: str, ctx: PassContext | None = None, *, verify_each: bool = True) -> bool:
    """Run a pipeline given as text on ``module`` and return whether anything changed."""
    return PassManager(parse_pipeline(pipeline), verify_each).run(module, ctx)
