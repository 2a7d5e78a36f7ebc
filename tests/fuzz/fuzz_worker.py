"""Judges the seeds on the command line, one line of JSON each."""

from __future__ import annotations

import faulthandler
import json
import sys


def main() -> None:
    from fuzz_judge import judge, make

    seconds, *seeds = sys.argv[1:]
    for text in seeds:
        seed = int(text)
        faulthandler.dump_traceback_later(float(seconds), exit=True)
        graph = make(seed)
        if graph is None:
            found = {"seed": seed, "status": "none"}
        else:
            outcome = judge(graph, seed)
            kind = outcome.finding.kind if outcome.finding is not None else ""
            found = {"seed": seed, "status": outcome.status, "reason": outcome.reason, "kind": kind}
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
