"""``leptonc ops``."""

from __future__ import annotations

from typing import Annotated

import typer

from lepton_ir.cli.options import JsonOption, LoadOption


def ops(
    pattern: Annotated[str, typer.Argument(help="Only operators whose name contains this.")] = "",
    json: JsonOption = False,
    load: LoadOption = None,
) -> None:
    """List the operators of Lepton IR with operands, attributes and meaning.

    Example: `leptonc ops conv`
    """
    from rich.console import Console

    import lepton_ir.ops  # noqa: F401 - defines the operators
    from lepton_ir.cli.console import print_json
    from lepton_ir.ir.opdef import REGISTRY
    from lepton_ir.passes import load_file

    for path in load or []:
        load_file(path)
    rows = [_describe(REGISTRY[name]) for name in sorted(REGISTRY) if pattern in name]
    if json:
        print_json(rows)
        return
    console = Console()
    for row in rows:
        attributes = f" {{{', '.join(row['attributes'])}}}" if row["attributes"] else ""
        console.print(f"[bold]{row['name']}[/]({', '.join(row['operands'])}){attributes}", highlight=False)
        console.print(f"    {row['doc']}", highlight=False, markup=False)


def _describe(cls: type) -> dict:
    spec = cls.spec  # type: ignore[attr-defined]
    marks = [("..." if f.variadic else "?" if f.optional else "") for f in spec.operands]
    return {
        "name": spec.name,
        "operands": [f.name + mark for f, mark in zip(spec.operands, marks, strict=True)],
        "attributes": list(spec.attributes),
        "results": [f.name for f in spec.results],
        "doc": ((cls.__doc__ or "").strip().splitlines() or [""])[0],
    }


def register(app: typer.Typer) -> None:
    app.command()(ops)
