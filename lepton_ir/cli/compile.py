"""``leptonc compile``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lepton_ir.cli.options import (
    ArchOption,
    DimOption,
    ExternalDataRootOption,
    InputOption,
    JsonOption,
    LoadOption,
    MaxMemoryOption,
    MaxNodesOption,
    McpuOption,
    OptLevelOption,
    SeedOption,
    TargetOption,
    TimeLimitOption,
    parse_dims,
    parse_limits,
)
from lepton_ir.limits import MOST_NODES, MOST_SECONDS
from lepton_ir.torch_model import NEXT

if TYPE_CHECKING:
    from lepton_ir.artifact import Artifact
    from lepton_ir.compiler import Compilation


def compile(
    model: Annotated[Path, typer.Argument(help="The model file.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The artifact; MODEL.lepton by default.")
    ] = None,
    target: TargetOption = "cpu",
    mcpu: McpuOption = None,
    arch: ArchOption = None,
    opt_level: OptLevelOption = 3,
    pipeline: Annotated[str | None, typer.Option("--pipeline", help="Passes as text instead of a -O level.")] = None,
    dim: DimOption = None,
    input: InputOption = None,
    sample_dim: Annotated[
        list[str] | None, typer.Option("--sample-dim", help="Size that a dimension has in the verification.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Compare with ONNX Runtime or interpreter.")
    ] = True,
    tolerance: Annotated[float | None, typer.Option("--tolerance", help="Largest relative error allowed.")] = None,
    seed: SeedOption = 0,
    dump_dir: Annotated[Path | None, typer.Option("--dump-dir", help="Folder for the IR after every pass.")] = None,
    external_data_root: ExternalDataRootOption = None,
    max_memory: MaxMemoryOption = None,
    max_nodes: MaxNodesOption = MOST_NODES,
    time_limit: TimeLimitOption = MOST_SECONDS,
    load: LoadOption = None,
    json: JsonOption = False,
) -> None:
    """Compile MODEL to an artifact that runs by itself, and check its numbers.

    Examples:

    `leptonc compile resnet50.onnx`

    `leptonc compile bert.onnx -o bert.lepton -mcpu=x86-64-v2 --dim S=128`

    `leptonc compile resnet50.onnx --target cuda --arch sm_90`

    `leptonc compile model.pt --input 'x:Nx3x224x224:f32'`
    """
    from rich.markup import escape

    from lepton_ir.cli.console import PhaseReporter, print_json, stderr
    from lepton_ir.compiler import CompileOptions, compile_with_report
    from lepton_ir.diagnostics import printable
    from lepton_ir.target import parse_target

    if load:
        from lepton_ir.passes import load_file

        for file in load:
            load_file(file)
    options = CompileOptions(
        parse_target(target, mcpu, arch),
        opt_level,
        pipeline,
        parse_dims(dim),
        parse_dims(sample_dim),
        verify,
        tolerance,
        seed,
        dump_dir,
        parse_limits(max_memory, max_nodes, time_limit),
        external_data_root,
        tuple(input or ()),
    )
    path = output or Path(model.name).with_suffix(".lepton")
    console = stderr()
    started = time.perf_counter()
    console.print(f"[bold]compiling[/] {escape(printable(str(model)))} for {options.target}", highlight=False)
    with PhaseReporter(console, quiet=json).running() as phases:
        compilation = compile_with_report(model, options, phases)
        phases("write")
        saved = compilation.artifact.save(path)
    summary = _summary(saved, compilation, path, time.perf_counter() - started, phases.seconds)
    if json:
        print_json(summary)
        return
    _print_table(summary)


def _summary(
    artifact: Artifact, compilation: Compilation, path: Path, seconds: float, phases: dict[str, float]
) -> dict[str, Any]:
    from lepton_ir.cli.measure import peak_memory_bytes

    return {
        "artifact": str(path),
        "artifact_bytes": path.stat().st_size,
        **artifact.manifest.statistics,
        "inputs": [str(s) for s in artifact.manifest.inputs],
        "outputs": [str(s) for s in artifact.manifest.outputs],
        "state": _state(artifact),
        "target": dict(artifact.manifest.target),
        "verification": compilation.report.to_json() if compilation.report is not None else None,
        "unverified": compilation.unverified,
        "seconds": round(seconds, 3),
        "phases": {name: round(s, 3) for name, s in phases.items()},
        "peak_memory_bytes": peak_memory_bytes(),
    }


def _state(artifact: Artifact) -> list[str]:
    """Return the inputs that are attributes of the model, each with the output that it is before the next call."""
    outputs = {s.name for s in artifact.manifest.outputs}
    return [f"{s} (next: {s.name}{NEXT})" for s in artifact.manifest.inputs if s.name + NEXT in outputs]


def _print_table(summary: dict[str, Any]) -> None:
    from lepton_ir.cli.console import human_bytes, human_flops, key_value_table, stderr

    flops, activations = summary["flops"], summary["activation_bytes"]
    verification = summary["verification"]
    checked = f"not verified: {summary['unverified']}"
    if verification is not None:
        worst = max((o["relative_error"] for o in verification["outputs"]), default=0.0)
        checked = f"agrees with {verification['reference']}, largest error {worst:.1e} of the largest value"
        checked += "".join(f"; {o['output']}: {o['arbitration']}" for o in verification["outputs"] if o["arbitration"])
    rows = {
        "artifact": f"{summary['artifact']} ({human_bytes(summary['artifact_bytes'])})",
        "inputs": ", ".join(summary["inputs"]),
        "outputs": ", ".join(summary["outputs"]),
        **({"state": ", ".join(summary["state"])} if summary["state"] else {}),
        "kernels": f"{summary['kernels']} functions, {summary['kernel_calls']} calls",
        "arithmetic": human_flops(flops) if isinstance(flops, int) else f"{flops} FLOP",
        "weights": human_bytes(summary["weight_bytes"]),
        "activations": human_bytes(activations) if isinstance(activations, int) else f"{activations} B",
        "machine code": human_bytes(summary["library_bytes"]),
        "numbers": checked,
        "time": f"{summary['seconds']:.1f} s, peak memory {human_bytes(summary['peak_memory_bytes'])}",
    }
    stderr().print(key_value_table("", rows))


def register(app: typer.Typer) -> None:
    app.command()(compile)
