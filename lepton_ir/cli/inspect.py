"""``leptonc inspect``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lepton_ir.cli.options import (
    DimOption,
    ExternalDataRootOption,
    InputOption,
    JsonOption,
    MaxMemoryOption,
    MaxNodesOption,
    parse_dims,
    parse_limits,
)
from lepton_ir.diagnostics import LeptonError, printable
from lepton_ir.limits import MOST_NODES, Limits


def inspect(
    model: Annotated[Path, typer.Argument(help="A model or an artifact.", show_default=False)],
    text: Annotated[str | None, typer.Option("--text", help="Print a text of an artifact, such as module.lir.")] = None,
    ir: Annotated[bool, typer.Option("--ir", help="Print the model as Lepton IR.")] = False,
    dim: DimOption = None,
    input: InputOption = None,
    external_data_root: ExternalDataRootOption = None,
    max_memory: MaxMemoryOption = None,
    max_nodes: MaxNodesOption = MOST_NODES,
    json: JsonOption = False,
) -> None:
    """Show inputs, outputs, operators, parameters, FLOPs and unsupported operators of MODEL.

    Examples:

    `leptonc inspect resnet50.onnx`

    `leptonc inspect resnet50.lepton --text module.lir`
    """
    from lepton_ir.cli.console import print_json

    if model.suffix == ".lepton":
        facts = _artifact_facts(model, text)
    else:
        limits = parse_limits(max_memory, max_nodes)
        facts = _model_facts(model, parse_dims(dim), ir, limits, external_data_root, input or ())
    if facts is None:
        return
    if json:
        print_json(facts)
    else:
        _print(facts)
    if facts.get("unsupported"):
        from lepton_ir.cli.main import EXIT_CHECK_FAILED

        raise typer.Exit(EXIT_CHECK_FAILED)


def _artifact_facts(path: Path, text: str | None) -> dict[str, Any] | None:
    from lepton_ir.artifact import Artifact

    artifact = Artifact.open(path)
    if text is not None:
        if text not in artifact.texts:
            raise LeptonError(f"the artifact has no text {text}", help=f"it has: {', '.join(artifact.texts)}")
        _print_text(artifact.texts[text])
        return None
    facts = artifact.manifest.to_json()
    facts["texts"] = list(artifact.texts)
    del facts["weights"], facts["kernels"]
    return {"artifact": str(path), **facts}


def _model_facts(
    path: Path, dims: dict[str, int], ir: bool, limits: Limits, external_data_root: Path | None, inputs: Sequence[str]
) -> dict[str, Any] | None:
    from lepton_ir.analysis.cost import flops
    from lepton_ir.compiler import host_operations, import_model
    from lepton_ir.reference import input_names, output_names

    try:
        module = import_model(path, dims, limits=limits, external_data_root=external_data_root, inputs=inputs)
    except LeptonError as error:
        if len(error.diagnostics) == 1 and not str(error.diagnostics[0].where):
            raise
        return {"model": str(path), "unsupported": [str(d) for d in error.diagnostics]}
    if ir:
        from lepton_ir.text import print_module

        _print_text(print_module(module))
        return None
    main = module.main
    total: Any = 0
    for op in main.body.ops:
        total = flops(op) + total
    constants = {id(op.attributes["value"]): op.attributes["value"] for op in module.walk() if op.name == "const"}
    return {
        "model": str(path),
        "inputs": [f"{n}: {a.type}" for n, a in zip(input_names(module), main.arguments, strict=True)],
        "outputs": [f"{n}: {v.type}" for n, v in zip(output_names(module), main.results, strict=True)],
        "operators": dict(Counter(op.name for op in module.walk() if op.name != "const").most_common()),
        "parameters": sum(int(c.array.size) for c in constants.values() if c.type.dtype.is_float),
        "parameter_bytes": sum(c.nbytes for c in constants.values()),
        "host": host_operations(module),
        "flops": total if isinstance(total, int) else str(total),
        "unsupported": [],
    }


def _print_text(text: str) -> None:
    # It has names out of a stranger's file, and the terminal obeys escapes.
    print("\n".join(map(printable, text.split("\n"))))


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console

    from lepton_ir.cli.console import human_bytes, human_flops, key_value_table

    rows: dict[str, object] = {}
    for key, value in facts.items():
        if key.endswith("bytes") and isinstance(value, int):
            rows[key.replace("_", " ")] = human_bytes(value)
        elif key == "flops" and isinstance(value, int):
            rows["arithmetic"] = human_flops(value)
        elif key in ("inputs", "outputs", "unsupported"):
            rows[key] = "\n".join(map(str, value)) or "none"
        elif key == "host":
            rows["on the host"] = "\n".join(f"{h['op']}: {', '.join(h['nodes'])}" for h in value) or "none"
        elif isinstance(value, dict):
            rows[key] = "\n".join(f"{k}: {v}" for k, v in value.items())
        else:
            rows[key.replace("_", " ")] = value
    Console().print(key_value_table("", rows))


def register(app: typer.Typer) -> None:
    app.command()(inspect)
