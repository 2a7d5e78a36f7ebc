"""Compile and run the onnx package's node test cases, and count what became of them.

python tests/conformance/run.py                   all cases
python tests/conformance/run.py --match conv      those whose name holds "conv"
python tests/conformance/run.py --list wrong      also print the cases of a class, with reasons
python tests/conformance/run.py --types           the cases with other element types (element_types.py)

Cases run in a process apart; one that ends the process counts as a crash, and the others go on in a new one.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from conformance_cases import (
    CRASH,
    PASS,
    REFUSED,
    UNKNOWN,
    WRONG,
    Outcome,
    judge_by_name,
    node_cases,
    operator_of,
)  # fmt: skip
from element_types import variant_names

BATCH = 200
"""Cases per process, which keeps the loaded libraries and a crash's damage small."""


def main():
    """Run the command line; the exit status is 1 where a case is wrong or crashes."""
    options = _parser().parse_args()
    if options.worker:
        return _work(Path(options.worker), options.opt_level)
    names = [n for n in (variant_names(node_cases) if options.types else node_cases()) if re.search(options.match, n)]
    names = names[options.start :: options.step]
    outcomes = run(names, options.opt_level, options.seconds)
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(o) for o in outcomes], indent=1), encoding="utf-8")
    _report(outcomes, options.list or [])
    return int(any(o.status in (WRONG, CRASH) for o in outcomes))


def _parser():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--match", default="", help="regular expression that names must hold")
    parser.add_argument("--step", type=int, default=1, help="take every STEPth case")
    parser.add_argument("--start", type=int, default=0, help="and begin with this one")
    parser.add_argument("--opt-level", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=120, help="longest time for one case")
    parser.add_argument(
        "--list", action="append", choices=[REFUSED, WRONG, CRASH, UNKNOWN], help="print this class's cases"
    )
    parser.add_argument("--types", action="store_true", help="take cases with other element types")
    parser.add_argument("--json", help="write all outcomes to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def run(names, opt_level=3, seconds=120):
    """Return the outcomes of the cases ``names``."""
    outcomes = []
    pending = list(names)
    with tempfile.TemporaryDirectory() as folder:
        while pending:
            batch = pending[:BATCH]
            found, ending = _batch(batch, Path(folder), opt_level, seconds)
            if len(found) < len(batch):
                died = batch[len(found)]
                found.append(Outcome(died, operator_of(node_cases()[died.partition("@")[0]]), CRASH, ending))
            outcomes += found
            pending = pending[len(found) :]
            print(f"{len(outcomes)} of {len(names)}", file=sys.stderr, flush=True)
    return outcomes


def _batch(names, folder, opt_level, seconds):
    """Run cases in one process; return the outcomes of those that it came through, and how it ended."""
    job, results = folder / "job.json", folder / "job.results"
    job.write_text(json.dumps(names), encoding="utf-8")
    results.write_text("", encoding="utf-8")
    command = [sys.executable, __file__, "--worker", str(job), "--opt-level", str(opt_level)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
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


def _work(job, opt_level):
    names = json.loads(job.read_text(encoding="utf-8"))
    with job.with_suffix(".results").open("a", encoding="utf-8") as results:
        for name in names:
            outcome = judge_by_name(name, opt_level)
            results.write(json.dumps(asdict(outcome)) + "\n")
            results.flush()
            if outcome.status in (WRONG, CRASH):
                print(f"{outcome.status}: {name}", file=sys.stderr, flush=True)
    return 0


def _report(outcomes, listed):
    for status in listed:
        for o in outcomes:
            if o.status == status:
                print(f"{status}: {o.name}: {o.reason}")
    counts = Counter(o.status for o in outcomes)
    print(f"{len(outcomes)} cases: " + ", ".join(f"{counts[s]} {s}" for s in (PASS, REFUSED, WRONG, CRASH, UNKNOWN)))
    reasons = Counter(o.reason.splitlines()[0] for o in outcomes if o.status == REFUSED)
    for reason, count in reasons.most_common():
        print(f"{count:5} refused: {reason}")


if __name__ == "__main__":
    sys.exit(main())
