"""The same networks through ONNX, TorchScript (traced and scripted) and torch.export: numbers and speed.

    pip install -e '.[bench]'        # torchvision: pip install --no-deps torchvision pillow
    python benchmarks/formats.py [--networks resnet18 ...] [--rounds 20] [--threads 2] [--markdown FILE]

Each archive is compiled, held against PyTorch (the largest error, as a part of the largest output), and timed in turns
that alternate with the same network through ONNX; printed are medians, and their ratio to ONNX's (1: as fast).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import networks
import numpy as np

import lepton_ir
import lepton_ir.runtime

FORMATS = ("traced", "scripted", "exported")


def archives(name: str, folder: Path) -> tuple[dict[str, tuple[Path, list[str]]], list[np.ndarray], np.ndarray]:
    """Write a network in every format; return the files with their inputs, example inputs and PyTorch's output."""
    import torch

    torch.manual_seed(0)
    model, example, names, _ = networks._bert() if name == networks.BERT else networks._vision(name)
    files: dict[str, tuple[Path, list[str]]] = {"onnx": (folder / f"{name}.onnx", [])}
    with torch.no_grad():
        output = model(*example).numpy()
        torch.onnx.export(model, example, files["onnx"][0], input_names=names, opset_version=18, dynamo=True,
                          external_data=False, verbose=False)  # fmt: skip
        files["traced"] = (folder / f"{name}.traced.pt", [])
        torch.jit.trace(model, example, strict=False).save(files["traced"][0])
        if name != networks.BERT:
            files["scripted"] = (folder / f"{name}.scripted.pt", ["x:1x3x224x224:f32"])
            torch.jit.script(model).save(files["scripted"][0])
        files["exported"] = (folder / f"{name}.pt2", [])
        torch.export.save(torch.export.export(model, example), files["exported"][0])
    return files, [t.numpy() for t in example], output


def measure(name: str, rounds: int, threads: int) -> dict[str, Any]:
    """Compile a network from every format; return errors, medians and ratios to ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        files, feeds, wanted = archives(name, Path(folder))
        models, row = {}, {"network": name}
        for kind, (path, inputs) in files.items():
            artifact = lepton_ir.compile(path, inputs=inputs, verify=False)
            models[kind] = lepton_ir.runtime.load(artifact, threads=threads)
            error = np.abs(models[kind](*feeds)[0] - wanted).max() / np.abs(wanted).max()
            row[kind] = {"error": float(error)}
    times: dict[str, list[float]] = {kind: [] for kind in models}
    for model in models.values():
        model(*feeds)
    for turn in range(rounds):
        order = list(models)[:: 1 if turn % 2 else -1]
        for kind in order:
            models[kind](*feeds)
            for _ in range(3):
                started = time.perf_counter()
                models[kind](*feeds)
                times[kind].append((time.perf_counter() - started) * 1e3)
    for kind, found in times.items():
        row[kind]["ms"] = statistics.median(found)
        row[kind]["ratio"] = statistics.median(times["onnx"]) / row[kind]["ms"]
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = ["| network | ONNX ms | " + " | ".join(f"{f} ms, speed, error" for f in FORMATS) + " |",
             "|---|---|" + "---|" * len(FORMATS)]  # fmt: skip
    for row in rows:
        cells = [
            f"{row[f]['ms']:.2f}, {row[f]['ratio']:.3f}, {row[f]['error']:.1e}" if f in row else "-" for f in FORMATS
        ]
        lines.append(f"| {row['network']} | {row['onnx']['ms']:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=list(networks.LARGE))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    networks._declare_torchvision_operators()
    rows = []
    for name in options.networks:
        rows.append(measure(name, options.rounds, options.threads))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    if options.markdown:
        options.markdown.write_text(table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
