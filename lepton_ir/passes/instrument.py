"""Watching a pipeline run: timing, printing, dumping, reproducing."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from lepton_ir.ir.module import Module
from lepton_ir.passes.base import Pass, PassContext
from lepton_ir.text import print_module, save_module


class Instrument:
    """Is told before and after every pass; the base class does nothing."""

    def before_pass(self, pass_: Pass, module: Module, ctx: PassContext) -> None:
        """``pass_`` is about to run."""

    def after_pass(self, pass_: Pass, module: Module, changed: bool, ctx: PassContext) -> None:
        """``pass_`` has run; the module is verified next."""


@dataclass
class PassTiming:
    """One run of one pass."""

    name: str
    seconds: float
    changed: bool


@dataclass
class Timing(Instrument):
    """Measures every pass.

    Attributes:
        records: what was measured, in order.
    """

    records: list[PassTiming] = field(default_factory=list)
    _start: float = 0.0

    def before_pass(self, pass_: Pass, module: Module, ctx: PassContext) -> None:
        self._start = time.perf_counter()

    def after_pass(self, pass_: Pass, module: Module, changed: bool, ctx: PassContext) -> None:
        self.records.append(PassTiming(pass_.name, time.perf_counter() - self._start, changed))

    def report(self) -> str:
        """Return a table, a line per pass, slowest first."""
        total = sum(r.seconds for r in self.records)
        lines = [
            f"{r.seconds * 1e3:10.1f} ms {100 * r.seconds / max(total, 1e-12):5.1f}%  {r.name}"
            for r in sorted(self.records, key=lambda r: -r.seconds)
        ]
        return "\n".join([*lines, f"{total * 1e3:10.1f} ms 100.0%  total"])


@dataclass
class PrintAfterChange(Instrument):
    """Prints the module after every pass that changed it.

    Attributes:
        only: names of the passes to print after; empty for all.
        stream: where to print.
    """

    only: tuple[str, ...] = ()
    stream: TextIO = field(default_factory=lambda: sys.stderr)

    def after_pass(self, pass_: Pass, module: Module, changed: bool, ctx: PassContext) -> None:
        if not changed or (self.only and pass_.name not in self.only):
            return
        print(f"// ----- after {pass_.describe()} -----\n{print_module(module)}", file=self.stream)


@dataclass
class DumpPhases(Instrument):
    """Writes the module after every pass into a folder, as ``03-fuse.lir``, and as ``00-input.lir`` before the first.

    Attributes:
        folder: created if missing.
    """

    folder: Path
    _count: int = 0

    def before_pass(self, pass_: Pass, module: Module, ctx: PassContext) -> None:
        if self._count == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write("00-input", module)
            self._count = 1

    def after_pass(self, pass_: Pass, module: Module, changed: bool, ctx: PassContext) -> None:
        safe = re.sub(r"[^A-Za-z0-9_-]+", "_", pass_.name)
        if changed:
            self._write(f"{self._count:02d}-{safe}", module)
        self._count += 1

    def _write(self, name: str, module: Module) -> None:
        (self.folder / f"{name}.lir").write_text(print_module(module), encoding="utf-8")


def write_reproducer(path: Path, module: Module, pipeline: str) -> None:
    """Write a module, with its weights beside it, and the pipeline that fails on it."""
    save_module(module, path)
    text = path.read_text(encoding="utf-8")
    path.write_text(f"// RUN: leptonc opt --pipeline='{pipeline}' {path.name}\n{text}", encoding="utf-8")
