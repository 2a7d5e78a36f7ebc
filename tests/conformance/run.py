"""Compile and run the onnx package's backend test suite, and count what became of its cases.

python tests/conformance/run.py                   all cases
python tests/conformance/run.py --initializers    with every input but the first turned into an initializer
python tests/conformance/run.py --types           the cases with other element types (element_types.py)
python tests/conformance/run.py --match conv      those whose name holds "conv"
python tests/conformance/run.py --list wrong      also print the cases of a class, with reasons

Cases run in processes apart; one that ends its process counts as a crash, and the others go on in a new one.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from conformance_cases import (
    CRASH,
    KINDS,
    PASS,
    REFUSED,
    UNKNOWN,
    WRONG,
    Outcome,
    all_cases,
    judge_by_name,
    node_cases,
    operator_of,
)
from element_types import variant_names
from known_failures import KNOWN_FAILURES, reason_of

BATCH = 100
"""Cases per process, which keeps the loaded libraries and a crash's damage small."""


def main():
    """Run the command line; the exit status is 1 where a case fails that is not among the known failures."""
    options = _parser().parse_args()
    if options.worker:
        return _work(Path(options.worker), options.opt_level, options.initializers)
    names = [n for n in (variant_names(node_cases) if options.types else all_cases()) if re.search(options.match, n)]
    names = names[options.start :: options.step]
    outcomes = run(names, options.opt_level, options.seconds, options.initializers, options.jobs)
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(o) for o in outcomes], indent=1), encoding="utf-8")
    _report(outcomes, options.list or [])
    return int(any(o.status != PASS and not reason_of(o.name) for o in outcomes))


def _parser():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--match", default="", help="regular expression that names must hold")
    parser.add_argument("--step", type=int, default=1, help="take every STEPth case")
    parser.add_argument("--start", type=int, default=0, help="and begin with this one")
    parser.add_argument("--opt-level", type=int, default=3)
    parser.add_argument("--initializers", action="store_true", help="turn every input but the first into one")
    parser.add_argument("--types", action="store_true", help="take cases with other element types")
    parser.add_argument("--seconds", type=float, default=120, help="longest time for one case")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument(
        "--list", action="append", choices=[REFUSED, WRONG, CRASH, UNKNOWN], help="print this class's cases"
    )
    parser.add_argument("--json", help="write all outcomes to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def run(names, opt_level=3, seconds=120, initializers=False, jobs=1):
    """Return the outcomes of the cases ``names``."""
    batches = [names[i : i + BATCH] for i in range(0, len(names), BATCH)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        work = [
            pool.submit(_all_of, batch, Path(folder, str(i)), opt_level, seconds, initializers)
            for i, batch in enumerate(batches)
        ]
        outcomes = []
        for job in work:
            outcomes += job.result()
            print(f"{len(outcomes)} of {len(names)}", file=sys.stderr, flush=True)
    return outcomes


def _all_of(batch, folder, opt_level, seconds, initializers):
    """Run one batch, in a new process again where a case ends it."""
    folder.mkdir()
    outcomes, pending = [], list(batch)
    while pending:
        found, ending = _batch(pending, folder, opt_level, seconds, initializers)
        if len(found) < len(pending):
            died = pending[len(found)]
            case = all_cases()[died.partition("@")[0]]
            found.append(Outcome(died, case.kind, operator_of(case), CRASH, ending))
        outcomes += found
        pending = pending[len(found) :]
    return outcomes


def _batch(names, folder, opt_level, seconds, initializers):
    """Run cases in one process; return the outcomes of those that it came through, and how it ended."""
    job, results = folder / "job.json", folder / "job.results"
    job.write_text(json.dumps(names), encoding="utf-8")
    results.write_text("", encoding="utf-8")
    command = [sys.executable, __file__, "--worker", str(job), "--opt-level", str(opt_level)]
    process = subprocess.Popen(command + ["--initializers"] * initializers, stdin=subprocess.DEVNULL)
    ending = _watch(process, results, seconds)
    lines = results.read_text(encoding="utf-8").splitlines()
    return [Outcome(**json.loads(line)) for line in lines], ending


def _watch(process, results, seconds):
    """Wait for a worker as long as it makes progress; return how it ended."""
    done = -1
    while True:
        try:
            return f"the process ended with {process.wait(seconds)}"
        except subprocess.TimeoutExpired:
            size = results.stat().st_size
            if size == done:
                process.kill()
                process.wait()
                return f"took more than {seconds} seconds"
            done = size


def _work(job, opt_level, initializers):
    names = json.loads(job.read_text(encoding="utf-8"))
    with job.with_suffix(".results").open("a", encoding="utf-8") as results:
        for name in names:
            outcome = judge_by_name(name, opt_level, initializers)
            results.write(json.dumps(asdict(outcome)) + "\n")
            results.flush()
    return 0


def _report(outcomes, listed):
    for status in listed:
        for o in outcomes:
            if o.status == status:
                print(f"{status}: {o.name}: {o.reason}")
    statuses = (PASS, REFUSED, WRONG, CRASH, UNKNOWN)
    print(f"{'':18}" + "".join(f"{s:>9}" for s in ("cases", *statuses)))
    for kind in (*KINDS, "total"):
        counts = Counter(o.status for o in outcomes if kind in ("total", o.kind))
        print(f"{kind:18}" + "".join(f"{n:9}" for n in (counts.total(), *(counts[s] for s in statuses))))
    failed = [o for o in outcomes if o.status != PASS]
    reasons = Counter(reason_of(o.name) or "" for o in failed)
    for reason in KNOWN_FAILURES.values():
        if reasons[reason]:
            print(f"{reasons[reason]:5} known: {reason}")
    for o in failed:
        if not reason_of(o.name):
            print(f"not known: {o.status}: {o.name}: {(o.reason.splitlines() or [''])[0]}")


if __name__ == "__main__":
    sys.exit(main())
