"""``leptonc opt``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lepton_ir.cli.options import ArchOption, JsonOption, LoadOption, McpuOption, TargetOption


def opt(
    file: Annotated[str, typer.Argument(help="IR text (.lir); - for standard input.", show_default=False)] = "-",
    pipeline: Annotated[
        str, typer.Option("--pipeline", "-p", help="Passes and pipelines: 'canonicalize,fuse{max-depth=4},O2'.")
    ] = "",
    output: Annotated[str, typer.Option("-o", "--output", help="Where to write; - for standard output.")] = "-",
    target: TargetOption = "cpu",
    mcpu: McpuOption = None,
    arch: ArchOption = None,
    verify_each: Annotated[bool, typer.Option(help="Verify before the first pass and after each.")] = True,
    print_ir_after_change: Annotated[
        bool, typer.Option("--print-ir-after-change", help="Print the IR to stderr after each pass that changed it.")
    ] = False,
    print_locations: Annotated[bool, typer.Option("--print-locations", help="Print loc(...) per operation.")] = False,
    timing: Annotated[bool, typer.Option("--timing", help="Print the time of each pass to stderr.")] = False,
    statistics: Annotated[bool, typer.Option("--statistics", help="Print what passes counted to stderr.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Print why patterns did not apply to stderr.")] = False,
    dump_dir: Annotated[Path | None, typer.Option("--dump-dir", help="Folder for the IR after each pass.")] = None,
    rewrite_limit: Annotated[
        int | None, typer.Option("--rewrite-limit", min=0, help="Stop rewriting after so many rewrites (bisecting).")
    ] = None,
    reproducer: Annotated[
        Path | None, typer.Option("--reproducer", help="Where to write the IR and the pipeline if a pass fails.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Data of named constants; FILE's .safetensors by default.")
    ] = None,
    load: LoadOption = None,
    split_input_file: Annotated[
        bool, typer.Option("--split-input-file", help="The file holds several modules between lines '// -----'.")
    ] = False,
    verify_diagnostics: Annotated[
        bool, typer.Option("--verify-diagnostics", help="Check errors against '// expected-error {{text}}' comments.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run passes over IR text and print the result.

    Examples:

    `leptonc opt model.lir --pipeline=canonicalize,cse,dce`

    `leptonc opt model.lir -p O3 --timing -o optimized.lir`

    `leptonc opt tests.lir --split-input-file --verify-diagnostics`
    """
    from lepton_ir.opt import OptOptions, run_opt
    from lepton_ir.passes import load_file, load_passes
    from lepton_ir.target import parse_target
    from lepton_ir.text.parser import weights_beside

    load_passes()
    for path in load or []:
        load_file(path)
    beside_output = Path(output).with_suffix(".safetensors") if output != "-" and not split_input_file else None
    options = OptOptions(
        pipeline=pipeline,
        target=parse_target(target, mcpu, arch),
        verify_each=verify_each,
        print_after_change=print_ir_after_change,
        timing=timing,
        statistics=statistics,
        explain=explain,
        dump_dir=dump_dir,
        rewrite_limit=rewrite_limit,
        reproducer=reproducer,
        locations=print_locations,
        weights=weights or (weights_beside(Path(file)) if file != "-" else None),
        save_weights=beside_output,
        split_input=split_input_file,
        verify_diagnostics=verify_diagnostics,
    )
    result = run_opt(_read(file), "<stdin>" if file == "-" else file, options)
    if output != "-":
        _write(Path(output), result)
    if json:
        from lepton_ir.cli.console import print_json

        print_json({"text": result, "runs": options.records})
    elif output == "-":
        sys.stdout.write(result)


def _read(file: str) -> str:
    from lepton_ir.diagnostics import LeptonError

    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise LeptonError(f"cannot read {file}", why=str(e)) from e


def _write(path: Path, text: str) -> None:
    from lepton_ir.diagnostics import LeptonError
    from lepton_ir.files import written_aside

    try:
        with written_aside(path) as file:
            file.write(text.encode())
    except OSError as e:
        raise LeptonError(f"cannot write {path}", why=str(e)) from e


def register(app: typer.Typer) -> None:
    app.command()(opt)
