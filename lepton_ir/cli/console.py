"""Printing for people (to standard error) and for programs (JSON to standard output)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lepton_ir.cli import interrupt
from lepton_ir.diagnostics import printable


class PhaseReporter:
    """Shows the phase that is running, and how long each finished one took.

    Attributes:
        seconds: the time of each finished phase, by name, in order.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self.console = console
        self.quiet = quiet
        self.seconds: dict[str, float] = {}
        self._current = ""
        self._started = 0.0
        self._status = console.status("", spinner="dots") if console.is_terminal and not quiet else None

    def __call__(self, phase: str) -> None:
        """Begin ``phase``; the one before it is finished."""
        interrupt.check()
        self._finish()
        self._current, self._started = phase, time.perf_counter()
        if self._status is not None:
            self._status.update(f"{phase} ...")

    def _finish(self) -> None:
        if not self._current:
            return
        elapsed = time.perf_counter() - self._started
        self.seconds[self._current] = self.seconds.get(self._current, 0.0) + elapsed
        if not self.quiet:
            self.console.print(f"  [green]✓[/] {self._current} [dim]{elapsed:.2f} s[/]", highlight=False)
        self._current = ""

    @contextmanager
    def running(self) -> Iterator[PhaseReporter]:
        """Show the spinner while inside."""
        if self._status is not None:
            self._status.start()
        try:
            yield self
            self._finish()
        finally:
            if self._status is not None:
                self._status.stop()


def stderr() -> Console:
    """Return the console for people."""
    return Console(stderr=True, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    print(json.dumps(value, indent=2, default=str))


def key_value_table(title: str, rows: Mapping[str, object]) -> Table:
    """Return a two-column table."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    for key, value in rows.items():
        table.add_row(plain(key), plain(str(value)))
    return table


def plain(text: str) -> Text:
    """Return text that may come from a stranger's file: no markup, no terminal escapes."""
    return Text("\n".join(map(printable, text.split("\n"))))


def human_bytes(count: float) -> str:
    """Return a byte count with a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def human_flops(count: float) -> str:
    """Return an operation count with a decimal unit."""
    for unit in ("", "k", "M", "G"):
        if abs(count) < 1000 or unit == "G":
            return f"{count:.2f} {unit}FLOP"
        count /= 1000
    raise AssertionError
