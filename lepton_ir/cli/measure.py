"""Measuring time and memory for the command line."""

from __future__ import annotations

import contextlib
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def peak_memory_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    # Linux's ru_maxrss begins with what the parent had when it started this process; VmHWM does not.
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def time_calls(call: Callable[[], Any], seconds: float, warmup: int) -> list[float]:
    """Return the time of each call in milliseconds, for about ``seconds`` and at least 5 calls."""
    for _ in range(warmup):
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1e3)
    return times


def summarize(times: list[float]) -> dict[str, float]:
    """Return minimum, median, 99th percentile in milliseconds, and calls per second at the median."""
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    median = statistics.median(ordered)
    return {
        "min_ms": ordered[0],
        "median_ms": median,
        "p99_ms": p99,
        "per_second": 1e3 / median,
        "runs": float(len(times)),
    }
