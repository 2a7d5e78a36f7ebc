"""``leptonc run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lepton_ir.cli.options import DimOption, JsonOption, SeedOption, ThreadsOption, parse_dims
from lepton_ir.diagnostics import LeptonError, printable

if TYPE_CHECKING:
    import numpy as np


def run(
    artifact: Annotated[Path, typer.Argument(help="The artifact.", show_default=False)],
    inputs: Annotated[Path | None, typer.Option("--inputs", help="Inputs by name, .npz; random ones without.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the outputs to this .npz file.")] = None,
    expect: Annotated[
        Path | None, typer.Option("--expect", help=".npz of expected outputs, or of class labels for an output.")
    ] = None,
    dim: DimOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Run ARTIFACT once and print a summary of its outputs.

    Examples:

    `leptonc run model.lepton --inputs inputs.npz -o outputs.npz`

    `leptonc run digits.lepton --inputs test.npz --expect labels.npz`
    """
    from lepton_ir.cli.console import print_json
    from lepton_ir.cli.main import EXIT_CHECK_FAILED
    from lepton_ir.runtime import load

    model = load(artifact, threads=threads)
    feeds = load_arrays(inputs) if inputs is not None else random_inputs(model, seed, parse_dims(dim))
    names = [spec.name for spec in model.outputs]
    outputs = dict(zip(names, model(**feeds), strict=True))
    if output is not None:
        _save(output, outputs)
    checks = [] if expect is None else [_check(n, outputs, a) for n, a in load_arrays(expect).items()]
    summary = {n: _describe(a) for n, a in outputs.items()}
    if json:
        print_json({"outputs": summary, "checks": checks})
    else:
        for name, facts in summary.items():
            if "elements" in facts:
                print(f"{printable(name)}: a sequence of {len(facts['elements'])} elements")
                continue
            numbers = f"min {facts['min']} max {facts['max']} mean {facts['mean']}"
            print(f"{printable(name)}: {facts['dtype']}{facts['shape']} {numbers}")
        for check in checks:
            print(f"{printable(check['output'])}: {check['text']}")
    if not all(check["ok"] for check in checks):
        raise typer.Exit(EXIT_CHECK_FAILED)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file.

    Raises:
        LeptonError: it cannot be read.
    """
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, EOFError) as error:
        raise LeptonError(
            "this is not a readable .npz file", where=str(path), why=str(error), help="numpy.savez writes one"
        ) from error


def random_inputs(model: Any, seed: int, dims: dict[str, int]) -> dict[str, np.ndarray]:
    """Return the golden inputs where they fit, else random ones."""
    golden = model.artifact.golden
    if golden is not None and not dims and seed == 0:
        return dict(golden.inputs)
    from lepton_ir.ir import Function
    from lepton_ir.sampling import sample_inputs

    specs = model.inputs
    return sample_inputs(Function("main", [s.type for s in specs], [s.name for s in specs]), seed, dims)


def _describe(array: Any) -> dict[str, Any]:
    if isinstance(array, dict):
        return {"entries": {str(key): value for key, value in array.items()}}
    if isinstance(array, list):
        return {"elements": [_describe(a) for a in array]}
    if array is None:
        return {"dtype": "none", "shape": [], "min": None, "max": None, "mean": None}
    numeric = array.size and array.dtype.kind in "fiub"
    facts: dict[str, Any] = {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "min": None,
        "max": None,
        "mean": None,
    }
    if numeric:
        wide = array.astype("float64")
        facts |= {"min": float(wide.min()), "max": float(wide.max()), "mean": float(wide.mean())}
    return facts


def _check(name: str, outputs: dict[str, np.ndarray], want: np.ndarray) -> dict[str, Any]:
    if name not in outputs:
        raise LeptonError(f"--expect names the output {name}", why=f"the model's outputs are {', '.join(outputs)}")
    got = outputs[name]
    if want.dtype.kind in "iu" and got.dtype.kind == "f" and want.shape == got.shape[:-1]:
        right = int((got.argmax(-1) == want).sum())
        text = f"top-1: {right} of {want.size} right ({100 * right / want.size:.1f}%)"
        return {"output": name, "ok": True, "right": right, "total": int(want.size), "text": text}
    from lepton_ir.verification import compare

    error = compare(name, got, want)
    text = error.mismatch or f"largest error {error.max_abs:.3g}, {error.relative:.1e} of the largest value"
    return {"output": name, "ok": error.ok, "text": text}


def _save(path: Path, outputs: dict[str, np.ndarray]) -> None:
    import numpy as np

    from lepton_ir.files import written_aside

    for name, array in outputs.items():
        if not isinstance(array, np.ndarray):
            raise LeptonError(
                f"the output {name} cannot be written",
                where=str(path),
                why="it is a sequence, an optional or a map, and an .npz file holds arrays",
                help="call the model from Python, with lepton_ir.runtime.load",
            )
    try:
        with written_aside(path) as file:
            # Arrays of Python's strings would be pickled, and pickles are not read.
            plain = {name: a.astype(str) if a.dtype == object else a for name, a in outputs.items()}
            np.savez(file, **plain)  # type: ignore[arg-type]
    except OSError as error:
        raise LeptonError("the outputs cannot be written", where=str(path), why=error.strerror or "") from error


def register(app: typer.Typer) -> None:
    app.command()(run)
