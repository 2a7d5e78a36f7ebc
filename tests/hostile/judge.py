"""Giving hostile files to leptonc, each in a process of its own, and judging what comes of it.

The processes are forked from this one, in which everything is imported already, and have 8 GiB of address space and
30 seconds of a processor; a clock would count what else the machine does.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostile_case import ACCEPTED, ARTIFACT, EITHER, HARMLESS, Hostile

MEMORY = 8 << 30
SECONDS = 30
PATIENCE = 120.0
"""Seconds by the clock, for processes that wait."""
RUNNING = 2
_PLACED = re.compile(r"^(?P<place>.*?)(: )?error: ", re.MULTILINE)
_SECRETS = ("SECRET-CONTENT", "root:x:", "PATH=")


@dataclass(frozen=True)
class Verdict:
    """What became of a case: "refused", "accepted" or "wrong", why, and how long it took."""

    outcome: str
    why: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class _Run:
    """One finished process: its exit code (negative: a signal; None: out of time), what it printed, its time."""

    code: int | None
    output: str
    errors: str
    seconds: float


def warm() -> None:
    """Import and do once what every case needs, so that the forked processes have it."""
    import lepton_backends.tvm.backend  # noqa: F401
    import onnx  # noqa: F401
    import tvm  # noqa: F401
    from lepton_frontends.onnx.rules import all_rules

    from lepton_ir.cli.main import build_app
    from lepton_ir.frontend import frontends
    from lepton_ir.passes import discovery  # noqa: F401
    from lepton_ir.target import host_target

    all_rules(), build_app(), frontends(), host_target()


def judge(case: Hostile, run: _Run) -> Verdict:
    """Judge a case by the process that had it."""
    problem = _misbehaviour(run) or (_wrong_refusal(case, run) if run.code == 3 else "")
    if not problem and run.code not in (0, 3):
        problem = f"exit code {run.code}"
    if not problem and run.code == 0:
        problem = _wrong_acceptance(case, run)
    if not problem and run.code == 3 and case.expect == ACCEPTED:
        problem = "refused, though it is valid"
    if problem:
        return Verdict("wrong", f"{problem}: {run.errors.strip()[-600:] or run.output[-300:]}", run.seconds)
    return Verdict("accepted" if run.code == 0 else "refused", "", run.seconds)


def _misbehaviour(run: _Run) -> str:
    everything = run.output + run.errors
    if run.code is None or -run.code == signal.SIGXCPU:
        return f"not done after {SECONDS} seconds of a processor"
    if run.code < 0:
        return f"ended by {signal.Signals(-run.code).name}"
    if "Traceback" in everything or "internal error" in everything:
        return "a traceback or an internal error"
    if any(c < " " and c not in "\n\t" for c in run.errors + run.output):
        return "control characters on the terminal"
    if "does not agree with" in run.errors:
        return "wrong numbers"
    if any(secret in everything for secret in _SECRETS):
        return "shows another file's contents"
    return ""


def _wrong_refusal(case: Hostile, run: _Run) -> str:
    places = [m["place"].strip() for m in _PLACED.finditer(run.errors)]
    if not places or not all(places):
        return "no place is named"
    missing = [word for word in case.mentions if word not in run.errors]
    return f"the diagnostics do not name {', '.join(missing)}" if missing else ""


def _wrong_acceptance(case: Hostile, run: _Run) -> str:
    if case.expect in (EITHER, HARMLESS):
        return ""
    if case.expect != ACCEPTED:
        return "accepted, though it is not valid"
    report = json.loads(run.output)["verification"]
    if report is None or not report["ok"]:
        return "accepted, but not verified"
    if report["reference"] != case.reference:
        return f"verified by {report['reference']} only"
    return ""


def commands_of(case: Hostile, path: Path) -> list[list[str]]:
    """Return the arguments of leptonc, call after call, for a case; the last call decides."""
    if case.expect in (ARTIFACT, HARMLESS):
        return [["inspect", str(path)], ["run", str(path)]]
    options = [str(path.parents[1] / o) if not o.startswith("--") and path.parent.name == "inner" else o
               for o in case.options]  # fmt: skip
    return [["compile", str(path), "-o", str(path.parent / "out.lepton"), "--json", "-O1", *options]]


def leptonc(commands: list[list[str]], until: int | None = None) -> Callable[[], int]:
    """Return what a forked process does: leptonc, call after call, until one exits with ``until``."""

    def work() -> int:
        from lepton_ir.cli.main import main

        # Threads that wait for each other in a busy loop would use up the processor time that a case has.
        os.environ["LEPTON_NUM_THREADS"] = os.environ["TVM_NUM_THREADS"] = "1"
        codes: list[int] = []
        for arguments in commands:
            codes.append(main(arguments))
            if codes[-1] == until:
                break
        return next((code for code in codes if code not in (0, 3)), codes[-1])

    return work


def run_all(jobs: Iterable[tuple[Any, Callable[[Path], Callable[[], int]]]]) -> Iterator[tuple[Any, _Run]]:
    """Run jobs, several at a time, and yield each with how it ended, in the order in which they end.

    A job is a key and a function that gets an empty folder and returns what to do in the process.
    """
    waiting, running = iter(jobs), {}
    while True:
        while len(running) < RUNNING and (job := next(waiting, None)) is not None:
            child = _Child(job[1])
            running[child] = job[0]
        if not running:
            return
        for child in [c for c in running if c.finished()]:
            yield running.pop(child), child.result()
        time.sleep(0.005)


class _Child:
    def __init__(self, prepare: Callable[[Path], Callable[[], int]]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hostile-"))
        (self.folder / "case").mkdir()
        work = prepare(self.folder / "case")
        self.started = time.monotonic()
        self.code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self._become(work)

    def _become(self, work: Callable[[], int]) -> None:
        code = 70
        try:
            os.setsid()
            for number, name in ((1, "output"), (2, "errors")):
                os.dup2(os.open(self.folder / name, os.O_WRONLY | os.O_CREAT), number)
            sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            code = work()
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def finished(self) -> bool:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.code = os.waitstatus_to_exitcode(status)
        elif time.monotonic() - self.started > PATIENCE:
            self._end()
            os.waitpid(self.pid, 0)
        else:
            return False
        self._end()
        return True

    def _end(self) -> None:
        """End the process and what it started; they are a session of their own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def result(self) -> _Run:
        seconds = time.monotonic() - self.started
        output, errors = (_text(self.folder / name) for name in ("output", "errors"))
        shutil.rmtree(self.folder, ignore_errors=True)
        return _Run(self.code, output, errors, seconds)


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""
