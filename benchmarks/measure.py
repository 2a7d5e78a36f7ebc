"""The measurements: accuracy, speed beside ONNX Runtime, cost of compiling and loading, dynamic dimensions."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

WORKER = Path(__file__).with_name("worker.py")
LEPTONC = [sys.executable, "-m", "lepton_ir.cli.main"]
LOAD = """
import time, sys
from lepton_ir import runtime
started = time.perf_counter()
runtime.load(sys.argv[1])
print(time.perf_counter() - started)
"""


def compile_model(model: Path, artifact: Path, *flags: str) -> dict[str, Any]:
    """Compile in a fresh process; return its wall time, peak memory, and what it says of itself."""
    started = time.perf_counter()
    command = [*LEPTONC, "compile", str(model), "-o", str(artifact), "--json", *flags]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        return {"ok": False, "seconds": seconds}
    report = json.loads(done.stdout)
    size = model.stat().st_size
    return {
        "ok": True,
        "seconds": round(seconds, 2),
        "peak_mb": round(report["peak_memory_bytes"] / 2**20),
        "peak_allowed_mb": round((3 * size + 2**30) / 2**20),
        "model_mb": round(size / 2**20),
        "kernels": report["kernels"],
        "phases": report["phases"],
    }


def load_seconds(artifact: Path) -> float:
    """Return the time that ``runtime.load`` takes in a fresh process, the median of three."""
    command = [sys.executable, "-c", LOAD, str(artifact)]
    runs = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    return round(statistics.median(runs), 3)


def accuracy(artifact: Path, model: Path, *flags: str) -> dict[str, Any]:
    """Compare with ONNX Runtime on five random inputs."""
    command = [*LEPTONC, "verify", str(artifact), str(model), "--samples", "5", "--json", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        return {"ok": False, "worst": float("nan"), "error": done.stderr[-500:]}
    report = json.loads(done.stdout)
    worst = max((o["relative_error"] for o in report["outputs"]), default=0.0)
    return {"ok": report["ok"], "worst": worst, "reference": report["reference"]}


class Peer:
    """A worker process."""

    def __init__(self, name: str, path: Path, inputs: Path, threads: int) -> None:
        command = [sys.executable, str(WORKER), name, str(path), str(inputs), str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line.strip() != "ready":
            raise RuntimeError(f"{name} does not run {path}")

    def run(self, count: int) -> list[float]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"run {count}\n")
        self._process.stdin.flush()
        times: list[float] = json.loads(self._process.stdout.readline())
        return times

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def speed(artifact: Path, model: Path, feeds: dict[str, np.ndarray], threads: int, rounds: int) -> dict[str, Any]:
    """Time Lepton and ONNX Runtime in short alternating turns; return medians and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, **feeds)  # type: ignore[arg-type]
        peers = {"lepton": Peer("lepton", artifact, inputs, threads), "ort": Peer("ort", model, inputs, threads)}
        times: dict[str, list[float]] = {name: [] for name in peers}
        counts = {}
        for name, peer in peers.items():
            peer.run(3)
            counts[name] = max(1, min(20, int(250 / min(peer.run(3)))))
        for _ in range(rounds):
            for name, peer in peers.items():
                times[name] += peer.run(counts[name])
        for peer in peers.values():
            peer.close()
    medians = {name: statistics.median(t) for name, t in times.items()}
    return {
        "lepton_ms": round(medians["lepton"], 3),
        "ort_ms": round(medians["ort"], 3),
        "lepton_min_ms": round(min(times["lepton"]), 3),
        "ort_min_ms": round(min(times["ort"]), 3),
        "ratio": round(medians["ort"] / medians["lepton"], 3),
    }


def model_feeds(model: Path, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random inputs for a model, by name."""
    from lepton_ir.compiler import import_model
    from lepton_ir.sampling import sample_inputs

    return sample_inputs(import_model(model).main, seed)
