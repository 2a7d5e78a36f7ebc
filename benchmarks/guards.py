"""What the checks before the loops of kernels cost: networks compiled with and without them, in alternating turns.

    python benchmarks/guards.py [--cache FOLDER] [--networks resnet18 ...] [--rounds 30] [--markdown FILE]

Prints the medians and their ratio. The lookup alone, of as many rows as elements fit a page, shows the checks at their
worst: nothing else is computed there.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import model_feeds
from networks import BERT, large

import lepton_ir
import lepton_ir.runtime
from lepton_ir.ir import Builder, DType, Function, Module, tensor

NETWORKS = (BERT, "resnet18", "mobilenet_v2")
ROWS, LENGTH = 30522, 512


def lookup(width: int) -> tuple[Module, dict[str, np.ndarray]]:
    """Return an embedding table with nothing around it, and indices."""
    rng = np.random.default_rng(0)
    function = Function("main", [tensor((LENGTH,), DType.I64)], ["i"])
    b = Builder(function.body)
    table = b.const(rng.standard_normal((ROWS, width), np.float32))
    b.return_([b.tensor_gather(table, function.arguments[0])])
    return Module([function]), {"i": rng.integers(0, ROWS, LENGTH)}


def compare(model: Path | Module, feeds: dict[str, np.ndarray], rounds: int) -> tuple[float, float, float]:
    """Return the medians in milliseconds with and without checks, and the median of the ratios of the turns."""
    from lepton_backends.tvm.emit.guards import without_guards

    fresh: Callable[[], Any] = model.clone if isinstance(model, Module) else lambda: model
    checked = lepton_ir.runtime.load(lepton_ir.compile(fresh(), verify=False), threads=1)
    with without_guards():
        plain = lepton_ir.runtime.load(lepton_ir.compile(fresh(), verify=False), threads=1)
    _turn(plain, feeds, 3)
    count = max(1, min(2000, int(0.1 / _turn(checked, feeds, 3))))
    turns: list[tuple[float, float]] = []
    for turn in range(rounds):
        # Who comes first changes, so that neither always finds the other's caches.
        models = (checked, plain) if turn % 2 else (plain, checked)
        times = [_turn(m, feeds, count) for m in models]
        turns.append((times[0], times[1]) if turn % 2 else (times[1], times[0]))
    ratio = statistics.median(a / b for a, b in turns)
    with_checks, without = (statistics.median(t) * 1e3 for t in zip(*turns, strict=True))
    return with_checks, without, ratio


def _turn(model: Any, feeds: dict[str, np.ndarray], count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        model(**feeds)
    return (time.perf_counter() - begin) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path("models"), help="folder of exported networks")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    options = parser.parse_args()
    jobs: list[tuple[str, Path | Module, dict[str, np.ndarray]]] = [
        (path.stem, path, model_feeds(path)) for path in large(options.cache, tuple(options.networks))
    ]
    jobs += [(f"lookup of {LENGTH} rows of {width}", *lookup(width)) for width in (768, 64, 8)]
    lines = ["| network | with checks, ms | without, ms | ratio |", "| --- | ---: | ---: | ---: |"]
    for name, model, feeds in jobs:
        with_checks, without, ratio = compare(model, feeds, options.rounds)
        lines.append(f"| {name} | {with_checks:.4g} | {without:.4g} | {ratio:.3f} |")
        print(lines[-1], flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
