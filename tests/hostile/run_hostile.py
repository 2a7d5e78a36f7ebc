"""Gives the corpus of hostile files to leptonc and prints what became of each class.

python tests/hostile/run_hostile.py [--match REGEX] [--slow SECONDS]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from hostile_case import Hostile, all_cases
from judge import Verdict, commands_of, judge, leptonc, run_all, warm


def verdicts(cases: Iterable[Hostile]) -> Iterator[tuple[Hostile, Verdict]]:
    """Judge cases, in the order in which their processes end."""
    warm()
    jobs = ((case, lambda folder, c=case: leptonc(commands_of(c, c.write(folder)))) for case in cases)
    for case, run in run_all(jobs):
        yield case, judge(case, run)


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--match", default="", help="only cases whose 'class: name' matches this expression")
    parser.add_argument("--slow", type=float, default=10.0, help="list cases that take longer than this many seconds")
    options = parser.parse_args()
    chosen = [c for c in all_cases() if re.search(options.match, f"{c.kind}: {c.name}")]
    counts: dict[str, dict[str, int]] = defaultdict(lambda: {"refused": 0, "accepted": 0, "wrong": 0})
    longest: dict[str, float] = defaultdict(float)
    for case, verdict in verdicts(chosen):
        counts[case.kind][verdict.outcome] += 1
        longest[case.kind] = max(longest[case.kind], verdict.seconds)
        if verdict.outcome == "wrong" or verdict.seconds > options.slow:
            print(f"{verdict.outcome}: {case.kind}: {case.name} ({verdict.seconds:.1f} s) {verdict.why}", flush=True)
    print(f"\n{'class':16} {'refused with a place':>20} {'accepted and right':>20} {'wrong':>8} {'longest':>10}")
    for kind, found in counts.items():
        row = f"{kind:16} {found['refused']:20} {found['accepted']:20} {found['wrong']:8} {longest[kind]:8.1f} s"
        print(row)
    wrong = sum(found["wrong"] for found in counts.values())
    print(f"{len(chosen)} cases, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
