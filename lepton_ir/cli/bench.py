"""``leptonc bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lepton_ir.cli.options import DimOption, JsonOption, SeedOption, ThreadsOption, parse_dims


def bench(
    artifact: Annotated[Path, typer.Argument(help="The artifact.", show_default=False)],
    seconds: Annotated[float, typer.Option("--seconds", help="How long to measure.")] = 3.0,
    warmup: Annotated[int, typer.Option("--warmup", help="Runs before measuring.")] = 3,
    profile: Annotated[bool, typer.Option("--profile", help="Time every kernel.")] = False,
    top: Annotated[int, typer.Option("--top", help="Rows of the profile.")] = 25,
    dim: DimOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Measure how long one run of ARTIFACT takes.

    Prints minimum, median, 99th percentile and throughput; with --profile, a row for every kernel with its time,
    GFLOP/s, share, and the nodes of the model that it computes.

    Example: `leptonc bench resnet50.lepton --threads 2 --profile`
    """
    from lepton_ir.cli.console import print_json, stderr
    from lepton_ir.cli.measure import summarize, time_calls
    from lepton_ir.cli.run import random_inputs
    from lepton_ir.runtime import load

    model = load(artifact, threads=threads)
    feeds = random_inputs(model, seed, parse_dims(dim))
    arrays = list(feeds.values())
    result: dict[str, Any] = summarize(time_calls(lambda: model(*arrays), seconds, warmup))
    if profile:
        result["kernels"] = profile_rows(model, feeds)
    if json:
        print_json(result)
        return
    console = stderr()
    console.print(
        f"min {result['min_ms']:.3f} ms   median {result['median_ms']:.3f} ms   p99 {result['p99_ms']:.3f} ms   "
        f"{result['per_second']:.1f} runs/s   ({result['runs']:.0f} runs)",
        highlight=False,
    )
    if profile:
        _print_profile(result["kernels"][:top])


def profile_rows(model: Any, feeds: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row for every kernel, slowest first."""
    from lepton_ir.cli.cost_of import bind_sizes, number

    timed = model.profile(**feeds)
    total = sum(t.seconds for t in timed) or 1.0
    env = bind_sizes(model.inputs, feeds)
    rows = []
    for t in sorted(timed, key=lambda t: -t.seconds):
        facts = model.artifact.manifest.kernels.get(t.symbol, {})
        flops = number(facts.get("flops", 0), env)
        rows.append(
            {
                "kernel": t.symbol,
                "calls": t.calls,
                "ms": t.seconds * 1e3,
                "share": t.seconds / total,
                "gflops": flops * t.calls / t.seconds / 1e9 if t.seconds else 0.0,
                "gbytes_per_s": number(facts.get("bytes", 0), env) * t.calls / t.seconds / 1e9 if t.seconds else 0.0,
                "nodes": list(facts.get("nodes", [])),
            }
        )
    return rows


def _print_profile(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from lepton_ir.cli.console import stderr

    table = Table("kernel", "calls", "ms", "share", "GFLOP/s", "GB/s", "nodes")
    for row in rows:
        nodes = ", ".join(row["nodes"][:3]) + (" ..." if len(row["nodes"]) > 3 else "")
        numbers = [f"{row['ms']:.3f}", f"{row['share']:.1%}", f"{row['gflops']:.1f}", f"{row['gbytes_per_s']:.1f}"]
        table.add_row(row["kernel"], str(row["calls"]), *numbers, nodes)
    stderr().print(table)


def register(app: typer.Typer) -> None:
    app.command()(bench)
