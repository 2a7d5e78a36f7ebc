"""``leptonc verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lepton_ir.cli.options import (
    DimOption,
    ExternalDataRootOption,
    JsonOption,
    MaxMemoryOption,
    MaxNodesOption,
    SeedOption,
    TimeLimitOption,
    parse_dims,
    parse_limits,
)
from lepton_ir.limits import MOST_NODES, MOST_SECONDS


def verify(
    artifact: Annotated[Path, typer.Argument(help="The artifact.", show_default=False)],
    model: Annotated[
        Path | None, typer.Argument(help="The model it came from; without it, the golden pair inside.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Number of random inputs.")] = 5,
    dim: DimOption = None,
    tolerance: Annotated[float | None, typer.Option("--tolerance", help="Largest relative error allowed.")] = None,
    seed: SeedOption = 0,
    external_data_root: ExternalDataRootOption = None,
    max_memory: MaxMemoryOption = None,
    max_nodes: MaxNodesOption = MOST_NODES,
    time_limit: TimeLimitOption = MOST_SECONDS,
    json: JsonOption = False,
) -> None:
    """Compare ARTIFACT with ONNX Runtime where it is installed, else with the interpreter.

    Prints the errors for every output; where they are too large, names the first operation that diverges and
    exits with 1.

    Example: `leptonc verify resnet50.lepton resnet50.onnx --samples 5`
    """
    from lepton_ir.cli.console import plain, print_json, stderr
    from lepton_ir.cli.main import EXIT_CHECK_FAILED
    from lepton_ir.verification import verify as verify_model

    report = verify_model(
        artifact,
        model,
        samples=samples,
        seed=seed,
        dims=parse_dims(dim),
        tolerance=tolerance,
        limits=parse_limits(max_memory, max_nodes, time_limit),
        external_data_root=external_data_root,
    )
    if json:
        print_json(report.to_json())
    else:
        from rich.table import Table

        table = Table("output", "largest error", "largest value", "relative", "allowed", "verdict")
        for o in report.outputs:
            verdict = o.arbitration or "ok" if o.ok else o.mismatch or "too large"
            numbers = (f"{o.max_abs:.3g}", f"{o.scale:.3g}", f"{o.relative:.2e}", f"{o.tolerance:.0e}")
            table.add_row(plain(o.name), *numbers, plain(verdict))
        console = stderr()
        console.print(table)
        console.print(f"reference: {report.source}, {report.samples} inputs", highlight=False)
        if report.divergence:
            console.print(plain(f"first to diverge: {report.divergence}"), highlight=False)
    if not report.ok:
        raise typer.Exit(EXIT_CHECK_FAILED)


def register(app: typer.Typer) -> None:
    app.command()(verify)
