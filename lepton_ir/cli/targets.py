"""``leptonc targets``."""

from __future__ import annotations

import typer

from lepton_ir.cli.options import JsonOption


def targets(json: JsonOption = False) -> None:
    """List the targets and what was detected on this machine.

    Example: `leptonc targets --json`
    """
    from rich.console import Console
    from rich.table import Table

    from lepton_ir.cli.console import print_json
    from lepton_ir.target import GPU_ARCHS, X86_LEVELS, host_target

    host = host_target()
    rows = [
        ("cpu", "native", f"this machine: {host.mcpu}, {host.vector_bytes * 8}-bit vectors, L2 {host.l2 >> 10} KiB")
    ]
    rows += [("cpu", level, "psABI level" + (" (portable)" if level == "x86-64-v2" else "")) for level in X86_LEVELS]
    rows += [(kind, arch or "any", "GPU") for kind, arch in GPU_ARCHS.items()]
    if json:
        print_json(
            {"host": host.to_json(), "targets": [dict(zip(("kind", "cpu", "what"), r, strict=True)) for r in rows]}
        )
        return
    table = Table("target", "mcpu / arch", "what")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def register(app: typer.Typer) -> None:
    app.command()(targets)
