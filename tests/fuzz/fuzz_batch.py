"""Running cases in a process apart, so that one that ends the process is a finding."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BATCH = 100
"""Cases per process, which keeps the loaded libraries few."""


@dataclass(frozen=True)
class Result:
    """What became of a seed: its status (see :class:`fuzz_judge.Outcome`, or "crash"), the reason, and the kind."""

    seed: int
    status: str
    reason: str = ""
    kind: str = ""


def run(seeds: Sequence[int], seconds: float = 60) -> Iterator[Result]:
    """Yield the results of cases in order.

    Args:
        seeds: the cases.
        seconds: the longest time for one case.
    """
    pending = list(seeds)
    while pending:
        found = 0
        batch = pending[:BATCH]
        command = [sys.executable, str(Path(__file__).with_name("fuzz_worker.py")), str(seconds), *map(str, batch)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                found += 1
                yield Result(**json.loads(line))
        ending = process.wait()
        if found < len(batch):
            yield Result(batch[found], "found", f"the process ended with {ending}", "crash")
            found += 1
        pending = pending[found:]
