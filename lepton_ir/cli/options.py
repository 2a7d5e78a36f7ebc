"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lepton_ir.diagnostics import LeptonError
from lepton_ir.limits import MOST_NODES, MOST_SECONDS, Limits, default_memory

TargetOption = Annotated[str, typer.Option("--target", help="cpu, cuda, rocm or opencl; see `leptonc targets`.")]
McpuOption = Annotated[
    str | None, typer.Option("--mcpu", help="Processor: native, x86-64-v2 (portable) ..., or an LLVM name (-mcpu=X).")
]
ArchOption = Annotated[str | None, typer.Option("--arch", help="GPU architecture, such as sm_90 or gfx90a.")]
OptLevelOption = Annotated[int, typer.Option("-O", min=0, max=3, help="Optimization level, -O0 to -O3.")]
DimOption = Annotated[
    list[str] | None, typer.Option("--dim", help="Size of a symbolic dimension, NAME=SIZE; may be repeated.")
]
InputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input", help="What an input of a TorchScript model is: NAME:1x3x224x224:f32, or NAME=VALUE; may be repeated."
    ),
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="Threads; all cores unless given.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document to standard output.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of the generated input data.")]
LoadOption = Annotated[
    list[str] | None, typer.Option("--load", help="Python file with passes, patterns or operators; may be repeated.")
]

ExternalDataRootOption = Annotated[
    Path | None,
    typer.Option("--external-data-root", help="Folder of the model's data files, instead of the model's own."),
]
MaxMemoryOption = Annotated[
    float | None, typer.Option("--max-memory", min=0, help="GiB that the model's tensors may take; half of memory.")
]
MaxNodesOption = Annotated[int, typer.Option("--max-nodes", min=1, help="Nodes, functions and loops expanded.")]
TimeLimitOption = Annotated[float, typer.Option("--time-limit", min=0, help="Seconds for the reference outputs.")]


def parse_limits(max_memory: float | None, max_nodes: int = MOST_NODES, time_limit: float = MOST_SECONDS) -> Limits:
    """Return the limits that the options give; memory is in GiB."""
    memory = default_memory() if max_memory is None else int(max_memory * (1 << 30))
    return Limits(memory, max_nodes, time_limit)


def parse_dims(texts: list[str] | None) -> dict[str, int]:
    """Return {name: size} from ``NAME=SIZE`` texts.

    Raises:
        LeptonError: a text is not of that form.
    """
    dims = {}
    for text in texts or []:
        name, _, size = text.partition("=")
        if not name or not size.isdigit():
            raise LeptonError(f"--dim {text} is not NAME=SIZE", help="for example --dim N=8")
        dims[name] = int(size)
    return dims
