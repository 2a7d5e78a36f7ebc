"""Reproduce every number that the README and the documentation quote.

    pip install -e '.[bench]'        # torchvision: pip install --no-deps torchvision pillow
    python benchmarks/run.py

Writes results/benchmarks.md and results/benchmarks.json beside this file. --part and --only narrow it down.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import measure
import networks

PARTS = ("accuracy", "speed", "compile", "dynamic")
HERE = Path(__file__).parent
DYNAMIC_SIZES: dict[str, list[dict[str, int]]] = {
    networks.BERT: [{"N": 1, "S": s} for s in (7, 128, 200)],
}
BATCHES = [{"N": n} for n in (1, 3, 8)]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be repeated")
    parser.add_argument("--only", action="append", help="only networks whose name contains this; may be repeated")
    parser.add_argument("--cache", type=Path, default=HERE / "cache", help="folder of exported networks and artifacts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10, help="turns of each peer in the speed part")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the tables")
    return parser.parse_args()


def wanted(path: Path, only: list[str] | None) -> bool:
    return not only or any(text in path.name for text in only)


def main() -> None:
    arguments = parse()
    parts = arguments.part or list(PARTS)
    names = tuple(n for n in networks.LARGE if wanted(Path(n), arguments.only))
    large = networks.large(arguments.cache, names)
    others = [p for p in networks.light() + networks.trained() if wanted(p, arguments.only)]
    rows: dict[str, dict[str, Any]] = {}
    for model in large + (others if "accuracy" in parts else []):
        rows[model.stem] = one_network(model, model in large, parts, arguments)
        print(json.dumps({model.stem: rows[model.stem]}), flush=True)
    dynamic = dynamic_rows(arguments) if "dynamic" in parts else {}
    write({"machine": machine(arguments.threads), "networks": rows, "dynamic": dynamic}, arguments.output)


def one_network(model: Path, is_large: bool, parts: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    artifact = arguments.cache / f"{model.stem}.lepton"
    row: dict[str, Any] = {"compile": measure.compile_model(model, artifact)}
    if not row["compile"]["ok"]:
        return row
    if "accuracy" in parts:
        row["accuracy"] = measure.accuracy(artifact, model)
    if "compile" in parts:
        row["compile"]["load_s"] = measure.load_seconds(artifact)
    if "speed" in parts and is_large:
        feeds = measure.model_feeds(model)
        row["speed"] = measure.speed(artifact, model, feeds, arguments.threads, arguments.rounds)
    artifact.unlink()
    return row


def dynamic_rows(arguments: argparse.Namespace) -> dict[str, Any]:
    names = tuple(n for n in networks.DYNAMIC if wanted(Path(n), arguments.only))
    rows: dict[str, Any] = {}
    for model in networks.large(arguments.cache, names, dynamic=True):
        artifact = arguments.cache / f"{model.stem}.lepton"
        compiled = measure.compile_model(model, artifact)
        sizes = DYNAMIC_SIZES.get(model.name.split(".")[0], BATCHES)
        rows[model.stem] = {"compile": compiled}
        for dims in sizes:
            flags = [part for name, size in dims.items() for part in ("--dim", f"{name}={size}")]
            label = ",".join(f"{k}={v}" for k, v in dims.items())
            rows[model.stem][label] = measure.accuracy(artifact, model, *flags)
        artifact.unlink(missing_ok=True)
        print(json.dumps({model.stem: rows[model.stem]}), flush=True)
    return rows


def machine(threads: int) -> dict[str, Any]:
    """Return what the numbers were measured on."""
    from importlib.metadata import version

    from lepton_ir.target import host_target

    host = host_target()
    return {
        "processor": host.mcpu,
        "vector_bits": host.vector_bytes * 8,
        "cores": host.num_threads,
        "threads": threads,
        "python": platform.python_version(),
        **{name: version(name) for name in ("lepton-ir", "apache-tvm", "onnx", "onnxruntime")},
    }


def write(results: dict[str, Any], folder: Path) -> None:
    """Write the tables as JSON and Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.json").write_text(json.dumps(results, indent=1) + "\n")
    lines = ["# Benchmarks", "", ", ".join(f"{k} {v}" for k, v in results["machine"].items()), ""]
    lines += ["| network | largest error / largest value | Lepton ms | ONNX Runtime ms | speed ratio |"]
    lines[-1] += " compile s | peak MB (allowed) | load s |"
    lines += ["| --- " * 8 + "|"]
    for name, row in results["networks"].items():
        a, s, c = row.get("accuracy", {}), row.get("speed", {}), row["compile"]
        cells = [
            name,
            f"{a['worst']:.1e}" if a else "",
            s.get("lepton_ms", ""),
            s.get("ort_ms", ""),
            s.get("ratio", ""),
        ]
        cells += [c.get("seconds", "failed"), f"{c.get('peak_mb', '')} ({c.get('peak_allowed_mb', '')})"]
        lines.append("| " + " | ".join(map(str, [*cells, c.get("load_s", "")])) + " |")
    lines += ["", "| dynamic network | sizes | largest error / largest value |", "| --- | --- | --- |"]
    for name, row in results["dynamic"].items():
        lines += [f"| {name} | {label} | {a['worst']:.1e} |" for label, a in row.items() if label != "compile"]
    (folder / "benchmarks.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
