"""The pytest plugin that collects ``.lir`` files with ``RUN:`` lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect ``.lir`` files; those without a RUN line hold no test."""
    if file_path.suffix != ".lir":
        return None
    return LirFile.from_parent(parent, path=file_path)


class LirFile(pytest.File):
    """A ``.lir`` file; each RUN line is a test."""

    def collect(self) -> Iterator[pytest.Item]:
        from lepton_ir.testing.runner import run_lines

        lines = run_lines(self.path.read_text(encoding="utf-8"))
        for i, line in enumerate(lines):
            name = self.path.stem if len(lines) == 1 else f"{self.path.stem}[{i}]"
            yield LirItem.from_parent(self, name=name, line=line)


class LirItem(pytest.Item):
    """One RUN line."""

    def __init__(self, *, line: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.line = line

    def runtest(self) -> None:
        """Run the line."""
        from lepton_ir.testing.runner import run_line

        factory: pytest.TempPathFactory = self.config._tmp_path_factory  # type: ignore[attr-defined]
        run_line(self.line, self.path, factory.mktemp(self.path.stem))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show what the line printed instead of a traceback."""
        from lepton_ir.testing.runner import RunError

        if isinstance(excinfo.value, RunError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.path.name}: {self.line}"
