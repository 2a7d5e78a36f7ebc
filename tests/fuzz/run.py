"""Compare random graphs: interpreter, compiled code, ONNX's reference evaluator, ONNX Runtime.

python tests/fuzz/run.py --cases 2000 --seed 1    cases 1 to 2000
python tests/fuzz/run.py --show 17                one case: the graph, what is wrong, a smaller graph
python tests/fuzz/run.py --hypothesis --cases 500  as many that hypothesis draws, and the smallest that is wrong

The exit status is 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from fuzz_batch import Result, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--seconds", type=float, default=60, help="longest time for one case")
    parser.add_argument("--no-reduce", action="store_true", help="do not look for smaller graphs")
    parser.add_argument("--show", type=int, help="show this case only")
    parser.add_argument("--hypothesis", action="store_true", help="let hypothesis draw, other graphs each time")
    options = parser.parse_args()
    if options.hypothesis:
        from fuzz_property import property_of

        property_of(options.cases, fixed=False)()
        return 0
    if options.show is not None:
        return show(options.show)
    counts: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    for result in run(range(options.seed, options.seed + options.cases), options.seconds):
        counts[result.status] += 1
        if result.status == "refused":
            refusals[_gist(result)] += 1
        if result.status == "found":
            print(f"seed {result.seed}: {result.kind}: {result.reason[:600]}", flush=True)
            if not options.no_reduce:
                subprocess.run([sys.executable, __file__, "--show", str(result.seed)], check=False)
    print(f"{sum(counts.values())} cases: " + ", ".join(f"{n} {status}" for status, n in counts.most_common()))
    for reason, count in refusals.most_common(25):
        print(f"{count:5} refused: {reason}")
    return int(counts["found"] > 0)


def _gist(result: Result) -> str:
    return re.sub(r"\d+", "#", " / ".join(result.reason.splitlines()[:2]))[:150]


def show(seed: int) -> int:
    """Print a case and the smallest graph with the same kind of finding."""
    import fuzz_judge
    import fuzz_reduce

    graph = fuzz_judge.make(seed)
    if graph is None:
        print("no graph")
        return 0
    print(fuzz_reduce.show(graph), flush=True)
    outcome = fuzz_judge.judge(graph, seed)
    print(outcome.status, outcome.reason[:1500], flush=True)
    if outcome.finding is None:
        return 0

    def fails(smaller: fuzz_judge.Graph) -> bool:
        try:
            again = fuzz_judge.judge(smaller, seed)
        except Exception:  # Cutting may leave no valid graph.
            return False
        return again.finding is not None and again.finding.kind == outcome.finding.kind

    reduced = fuzz_reduce.reduce(graph, fails)
    again = fuzz_judge.judge(reduced, seed)
    print(f"reduced, at -O{seed % 4}:")
    print(fuzz_reduce.show(reduced, dict(again.finding.feeds) if again.finding else None))
    print(again.reason[:1500])
    return 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
