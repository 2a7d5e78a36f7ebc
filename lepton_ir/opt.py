"""Running pipelines over IR text: what ``leptonc opt`` does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lepton_ir.diagnostics import Diagnostic, LeptonError
from lepton_ir.expected import check_expected
from lepton_ir.ir.module import Module
from lepton_ir.passes import DumpPhases, Instrument, PassContext, PassManager, PrintAfterChange, Timing, parse_pipeline
from lepton_ir.rewrite import RewriteControl
from lepton_ir.target import Target, host_target
from lepton_ir.text import parse_module, print_module
from lepton_ir.text.parser import Weights
from lepton_ir.verifier import verify

SEPARATOR = "// -----"


@dataclass
class OptOptions:
    """What to do with each module of a text.

    Attributes:
        pipeline: the passes as text; "" only parses, verifies and prints.
        target: what the passes compile for.
        verify_each: verify before the first pass and after each.
        print_after_change: print the module to standard error after each pass that changed it.
        timing: print how long each pass took to standard error.
        statistics: print what the passes counted to standard error.
        explain: print why patterns did not apply to standard error.
        dump_dir: where to write the module after each pass.
        rewrite_limit: do no more rewrites than this.
        reproducer: where to write the module and the rest of the pipeline if a pass fails.
        locations: print where each operation came from.
        weights: the data of constants that the text only names.
        save_weights: where to write the constants that the printed text only names.
        split_input: the text holds several modules, separated by lines ``// -----``.
        records: gains what each module's run measured: the time of each pass, what the passes counted.
        verify_diagnostics: errors are expected where ``// expected-error`` comments say, and nowhere else.
    """

    pipeline: str = ""
    target: Target = field(default_factory=host_target)
    verify_each: bool = True
    print_after_change: bool = False
    timing: bool = False
    statistics: bool = False
    explain: bool = False
    dump_dir: Path | None = None
    rewrite_limit: int | None = None
    reproducer: Path | None = None
    locations: bool = False
    weights: Weights = None
    save_weights: Path | None = None
    split_input: bool = False
    verify_diagnostics: bool = False
    records: list[dict[str, Any]] = field(default_factory=list)


def run_opt(text: str, file: str, options: OptOptions) -> str:
    """Return the text after the pipeline.

    Args:
        text: one module, or several (see ``split_input``).
        file: the text's file, for messages.
        options: what to do.

    Raises:
        LeptonError: a module is wrong or a pass fails, or, where diagnostics are verified, they are not the
            expected ones.
    """
    chunks = split_input(text) if options.split_input else [text]
    if options.verify_diagnostics:
        findings = [d for chunk in chunks for d in check_expected(chunk, file, _diagnose(chunk, file, options))]
        if findings:
            raise LeptonError.of(findings)
        return ""
    return f"{SEPARATOR}\n".join([_run_one(chunk, file, options) for chunk in chunks])


def split_input(text: str) -> list[str]:
    """Return the parts between lines ``// -----``, each on the lines where it stood."""
    parts: list[list[str]] = [[]]
    for number, line in enumerate(text.split("\n")):
        if line.strip() == SEPARATOR:
            parts.append([""] * (number + 1))
        else:
            parts[-1].append(line)
    return ["\n".join(lines) for lines in parts]


def _diagnose(chunk: str, file: str, options: OptOptions) -> list[Diagnostic]:
    try:
        _run_one(chunk, file, options)
    except LeptonError as e:
        return e.diagnostics
    return []


def _run_one(text: str, file: str, options: OptOptions) -> str:
    module = parse_module(text, options.weights, file)
    verify(module)
    _run_passes(module, options)
    return print_module(module, weights_path=options.save_weights, locations=options.locations)


def _run_passes(module: Module, options: OptOptions) -> None:
    if not options.pipeline:
        return
    control = RewriteControl(limit=options.rewrite_limit, explain=options.explain)
    context = PassContext(options.target, control)
    timing = Timing()
    manager = PassManager(
        parse_pipeline(options.pipeline),
        options.verify_each,
        list(_instruments(options, timing)),
        options.reproducer,
    )
    manager.run(module, context)
    options.records.append(
        {
            "passes": [{"name": r.name, "seconds": r.seconds, "changed": r.changed} for r in timing.records],
            "statistics": {who: dict(counts) for who, counts in context.statistics.items()},
        }
    )
    for line in _reports(options, context, timing):
        print(line, file=sys.stderr)


def _instruments(options: OptOptions, timing: Timing) -> Iterator[Instrument]:
    yield timing
    if options.print_after_change:
        yield PrintAfterChange(stream=sys.stderr)
    if options.dump_dir is not None:
        yield DumpPhases(options.dump_dir)


def _reports(options: OptOptions, context: PassContext, timing: Timing) -> Iterator[str]:
    if options.timing:
        yield timing.report()
    if options.statistics:
        for who, counts in sorted(context.statistics.items()):
            yield from (f"{count:8d}  {who}: {what}" for what, count in sorted(counts.items()))
        yield from (f"{count:8d}  {name}" for name, count in sorted(context.control.counts.items()))
    if options.explain:
        yield from (f"{name}: {failure}" for name, failure in context.control.failures)
    if options.rewrite_limit is not None and context.control.last is not None:
        name, location = context.control.last
        yield f"the last of {context.control.done} rewrites: {name} at {location}"
