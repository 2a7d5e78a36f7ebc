"""``leptonc passes``."""

from __future__ import annotations

from typing import Annotated

import typer

from lepton_ir.cli.options import JsonOption, LoadOption


def passes(
    pattern: Annotated[str, typer.Argument(help="Only passes and pipelines whose name contains this.")] = "",
    json: JsonOption = False,
    load: LoadOption = None,
) -> None:
    """List passes with their options, and named pipelines.

    Example: `leptonc passes recognize`
    """
    from dataclasses import fields

    from rich.console import Console

    from lepton_ir.cli.console import print_json
    from lepton_ir.passes import PASSES, PIPELINES, load_file, load_passes

    load_passes()
    for path in load or []:
        load_file(path)
    rows = [
        {
            "name": name,
            "options": {f.name.replace("_", "-"): str(f.default) for f in fields(PASSES[name])},
            "doc": ((PASSES[name].__doc__ or "").strip().splitlines() or [""])[0],
        }
        for name in sorted(PASSES)
        if pattern in name
    ]
    pipelines = {name: text for name, text in sorted(PIPELINES.items()) if pattern in name}
    if json:
        print_json({"passes": rows, "pipelines": pipelines})
        return
    console = Console()
    for row in rows:
        options = f" {{{', '.join(row['options'])}}}" if row["options"] else ""
        console.print(f"[bold]{row['name']}[/]{options}", highlight=False)
        console.print(f"    {row['doc']}", highlight=False, markup=False)
    for name, text in pipelines.items():
        console.print(f"[bold]{name}[/] = {text}", highlight=False)


def register(app: typer.Typer) -> None:
    app.command()(passes)
