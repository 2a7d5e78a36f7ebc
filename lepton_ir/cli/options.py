"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from lepton_ir.diagnostics import LeptonError

TargetOption = Annotated[str, typer.Option("--target", help="cpu, cuda, rocm or opencl; see `leptonc targets`.")]
McpuOption = Annotated[
    str | None, typer.Option("--mcpu", help="Processor: native, x86-64-v2 (portable) ..., or an LLVM name (-mcpu=X).")
]
ArchOption = Annotated[str | None, typer.Option("--arch", help="GPU architecture, such as sm_90 or gfx90a.")]
OptLevelOption = Annotated[int, typer.Option("-O", min=0, max=3, help="Optimization level, -O0 to -O3.")]
DimOption = Annotated[
    list[str] | None, typer.Option("--dim", help="Size of a symbolic dimension, NAME=SIZE; may be repeated.")
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="Threads; all cores unless given.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document to standard output.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of the generated input data.")]
LoadOption = Annotated[
    list[str] | None, typer.Option("--load", help="Python file with passes, patterns or operators; may be repeated.")
]


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
