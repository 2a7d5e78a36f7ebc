"""How near the kernels come to what the processor can do: GFLOP/s of layers of real networks, against pure FMA code.

    python benchmarks/kernels.py [--threads 1] [--mcpu native] [--family conv] [--rounds 15] [--json FILE]

The peak is a kernel that does nothing but multiply-add in registers. It is measured in turns with every layer, so
that what other programs and the clock do concerns both. Depthwise layers and products with a single row are bound by
memory: read their GB/s.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[], Any]


@dataclass(frozen=True)
class Conv:
    """A convolution of a square image with a square kernel."""

    network: str
    size: int
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    depthwise: bool = False

    @property
    def name(self) -> str:
        kind = "depthwise " if self.depthwise else ""
        return f"{kind}{self.kernel}x{self.kernel}/{self.stride} {self.size}x{self.size}x{self.inputs}->{self.outputs}"


@dataclass(frozen=True)
class Gemm:
    """A product with a constant weight."""

    network: str
    rows: int
    k: int
    columns: int

    @property
    def name(self) -> str:
        return f"{self.rows}x{self.k} by {self.k}x{self.columns}"


@dataclass(frozen=True)
class Batched:
    """A product of two operands that are not known before the run."""

    network: str
    batch: int
    rows: int
    k: int
    columns: int
    transposed: bool = False

    @property
    def name(self) -> str:
        return f"{self.batch} of {self.rows}x{self.k} by {self.k}x{self.columns}{' (transposed)' * self.transposed}"


SHAPES: dict[str, list[Conv | Gemm | Batched]] = {
    "conv": [
        Conv("ResNet", 224, 3, 64, 7, 2), Conv("ResNet", 56, 64, 64), Conv("ResNet", 28, 128, 128),
        Conv("ResNet", 14, 256, 256), Conv("ResNet", 7, 512, 512), Conv("ResNet", 56, 128, 128, 3, 2),
        Conv("ResNet", 28, 256, 256, 3, 2), Conv("ResNet", 14, 512, 512, 3, 2), Conv("ResNet", 56, 256, 512, 1, 2),
        Conv("VGG", 224, 3, 64), Conv("VGG", 224, 64, 64), Conv("VGG", 112, 128, 128), Conv("VGG", 56, 256, 256),
        Conv("VGG", 28, 512, 512), Conv("VGG", 14, 512, 512), Conv("MobileNet", 224, 3, 32, 3, 2),
        Conv("SqueezeNet", 55, 16, 64), Conv("ViT", 224, 3, 768, 16, 16),
    ],
    "pointwise": [
        Conv("ResNet", 56, 64, 256, 1), Conv("ResNet", 56, 256, 64, 1), Conv("ResNet", 28, 512, 128, 1),
        Conv("ResNet", 28, 128, 512, 1), Conv("ResNet", 14, 1024, 256, 1), Conv("ResNet", 14, 256, 1024, 1),
        Conv("ResNet", 7, 2048, 512, 1), Conv("ResNet", 7, 512, 2048, 1), Conv("MobileNet", 56, 24, 72, 1),
        Conv("MobileNet", 28, 40, 120, 1), Conv("MobileNet", 14, 112, 672, 1), Conv("MobileNet", 7, 160, 960, 1),
    ],
    "depthwise": [
        Conv("MobileNet", 112, 32, 32, 3, 1, True), Conv("MobileNet", 112, 96, 96, 3, 2, True),
        Conv("MobileNet", 56, 144, 144, 3, 1, True), Conv("MobileNet", 14, 384, 384, 3, 1, True),
        Conv("MobileNet", 7, 960, 960, 5, 1, True), Conv("EfficientNet", 28, 240, 240, 5, 1, True),
    ],
    "gemm": [
        Gemm("BERT", 128, 768, 768), Gemm("BERT", 128, 768, 3072), Gemm("BERT", 128, 3072, 768),
        Gemm("ViT", 197, 768, 768), Gemm("ViT", 197, 768, 3072), Gemm("ViT", 197, 3072, 768),
        Gemm("ResNet", 1, 2048, 1000), Gemm("VGG", 1, 25088, 4096),
    ],
    "matmul": [
        Batched("BERT", 12, 128, 64, 128, True), Batched("BERT", 12, 128, 128, 64),
        Batched("ViT", 12, 197, 64, 197, True), Batched("ViT", 12, 197, 197, 64), Batched("square", 1, 512, 512, 512),
    ],
}  # fmt: skip


@dataclass
class Result:
    """One line of the table.

    Attributes:
        network: where the layer comes from.
        name: its shape.
        ms: the best time of a call.
        gflops: billions of floating-point operations per second.
        peak: what pure FMA code reached between its calls.
        gbytes: operands and result, in billions of bytes per second.
        compile_ms: the time from the kernel's function to machine code.
    """

    network: str
    name: str
    ms: float
    gflops: float
    peak: float
    gbytes: float
    compile_ms: float

    @property
    def share(self) -> float:
        """The part of the peak, in percent."""
        return 100 * self.gflops / self.peak


def make_kernel(shape: Conv | Gemm | Batched, target: Any) -> tuple[Any, list[tuple[int, ...]], tuple[int, ...], float]:
    """Return the kernel's operation, the shapes of its operands and of its result, and its operations."""
    if isinstance(shape, Conv):
        return _conv(shape, target)
    if isinstance(shape, Gemm):
        panel = target.panel_width(shape.rows, shape.columns, shape.k)
        operands: list[tuple[int, ...]] = [
            (shape.rows, shape.k),
            (-(-shape.columns // panel), shape.k, panel),
            (shape.columns,),
        ]
        build = lambda b, *v: b.linalg_matmul_packed(*v, n=shape.columns, panel=panel)  # noqa: E731
        flops = 2.0 * shape.rows * shape.k * shape.columns
        return _kernel(operands, build), operands, (shape.rows, shape.columns), flops
    b_shape = (shape.batch, shape.columns, shape.k) if shape.transposed else (shape.batch, shape.k, shape.columns)
    operands = [(shape.batch, shape.rows, shape.k), b_shape]
    build = lambda b, *v: b.linalg_matmul(*v, transpose_b=shape.transposed)  # noqa: E731
    flops = 2.0 * shape.batch * shape.rows * shape.k * shape.columns
    return _kernel(operands, build), operands, (shape.batch, shape.rows, shape.columns), flops


def _conv(shape: Conv, target: Any) -> tuple[Any, list[tuple[int, ...]], tuple[int, ...], float]:
    k, o = shape.kernel, shape.outputs
    pad = k // 2 if k < 16 else 0
    out = (shape.size + 2 * pad - k) // shape.stride + 1
    inputs = 1 if shape.depthwise else shape.inputs
    panel = 0 if shape.depthwise else target.panel_width(out * out, o, k * k * inputs)
    weight: tuple[int, ...] = (k, k, o) if shape.depthwise else (-(-o // panel), k, k, inputs, panel)
    attributes = {
        "strides": (shape.stride,) * 2, "pads": (pad,) * 4, "kernel_shape": (k, k), "channels": o, "panel": panel,
        "group": o if shape.depthwise else 1,
    }  # fmt: skip
    operands: list[tuple[int, ...]] = [(1, shape.size, shape.size, shape.inputs), weight, (o,)]
    build = lambda b, *v: b.relu(b.nn_conv_packed(*v, **attributes))  # noqa: E731
    return _kernel(operands, build), operands, (1, out, out, o), 2.0 * out * out * o * k * k * inputs


def _kernel(operands: list[tuple[int, ...]], build: Callable[..., Any]) -> Any:
    from lepton_ir.ir import Block, Builder, Region, tensor
    from lepton_ir.ir.opdef import REGISTRY

    block, outer = Block(), Block()
    b = Builder(block)
    y = build(b, *(block.add_argument(tensor(shape)) for shape in operands))
    b.create(REGISTRY["yield"], [y])
    outside = [outer.add_argument(tensor(shape)) for shape in operands]
    return REGISTRY["kernel"].build(outside, symbol="main", regions=[Region(block)])


def compiled(function: Any, target: Any) -> tuple[Any, float]:
    """Return the machine code of a TensorIR function, and the milliseconds that it took."""
    import tvm
    from lepton_backends.tvm.build import tvm_target
    from lepton_backends.tvm.pipeline import register_cpu_pipeline

    start = time.perf_counter()
    module = tvm.IRModule({"main": function})
    library = tvm.tirx.build(module, target=tvm_target(target), pipeline=register_cpu_pipeline())
    took = (time.perf_counter() - start) * 1e3
    return library["main"], took


def peak_run(target: Any) -> tuple[Run, float]:
    """Return a run of pure FMA code on all threads, and its operations."""
    import tvm
    from lepton_backends.tvm import tir
    from lepton_backends.tvm.schedules.cpu.microkernel import RegisterTile
    from tvm import tirx

    from lepton_ir.ir import DType

    lanes, steps, rows = target.lanes(DType.F32), 20_000, 12
    source = tirx.decl_buffer([tir.index(lanes)], "float32", "source")
    sink = tirx.decl_buffer([tir.index(target.num_threads), tir.index(rows * lanes)], "float32", "sink")
    vector = source[tir.ramp(0, lanes)]

    def task(p: Any) -> Any:
        return RegisterTile(rows, [(0, lanes)], "float32").emit(
            lambda r, o, n: tir.const(0.0, "float32", n),
            lambda t: tir.serial(
                steps, lambda _: t.multiply_add(lambda r, o, n: t.value(r, o, n), lambda o, n: vector)
            ),
            lambda r, o, n, value: tir.store(sink, [p, tir.ramp(r * lanes, n)], value),
        )

    body = tir.parallel(tir.index(target.num_threads), task)
    function = tirx.PrimFunc([source, sink], body).with_attr("global_symbol", "main").with_attr("tirx.noalias", True)
    run, _ = compiled(function, target)
    arrays = [tvm.runtime.tensor(np.zeros(s, np.float32)) for s in ((lanes,), (target.num_threads, rows * lanes))]
    return lambda: run(*arrays), 2.0 * steps * rows * lanes * target.num_threads


def measure(shape: Conv | Gemm | Batched, target: Any, peak: tuple[Run, float], rounds: int) -> Result:
    """Time a layer in turns with the peak."""
    import tvm
    from lepton_backends.tvm.emit.lower import lower_kernel

    kernel, operands, result, flops = make_kernel(shape, target)
    run, compile_ms = compiled(lower_kernel(kernel, target), target)
    rng = np.random.default_rng(0)
    arrays = [tvm.runtime.tensor(rng.standard_normal(s).astype(np.float32)) for s in (*operands, result)]
    repeat = max(1, int(2e-3 / best(lambda: run(*arrays), 3)))
    layer_s, peak_s = [], []
    for _ in range(rounds):
        layer_s.append(best(lambda: run(*arrays), repeat))
        peak_s.append(best(peak[0], 2))
    took = min(layer_s)
    moved = 4.0 * sum(prod(s) for s in (*operands, result))
    gflops, peak_gflops = flops / took / 1e9, peak[1] / min(peak_s) / 1e9
    return Result(shape.network, shape.name, took * 1e3, gflops, peak_gflops, moved / took / 1e9, compile_ms)


def best(run: Run, repeat: int) -> float:
    """Return the seconds of the fastest of so many calls."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def table(results: dict[str, list[Result]], title: str) -> str:
    """Return the results as Markdown."""
    lines = [f"## Kernels, {title}", "", "| family | network | layer | ms | GFLOP/s | % of peak | GB/s | compile ms |",
             "|---|---|---|--:|--:|--:|--:|--:|"]  # fmt: skip
    for family, rows in results.items():
        for r in rows:
            numbers = f"{r.ms:.3f} | {r.gflops:.1f} | {r.share:.0f} | {r.gbytes:.1f} | {r.compile_ms:.0f}"
            lines.append(f"| {family} | {r.network} | {r.name} | {numbers} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mcpu", default="native", help="LLVM processor or psABI level, such as x86-64-v3")
    parser.add_argument("--family", choices=sorted(SHAPES), action="append", help="measure only this family")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["TVM_NUM_THREADS"] = str(args.threads)  # read when TVM is imported

    import lepton_ir.ops  # noqa: F401 - registers the operators
    from lepton_ir.target import parse_target

    target = parse_target("cpu", args.mcpu).with_threads(args.threads)
    peak = peak_run(target)
    families = args.family or list(SHAPES)
    results = {f: [measure(s, target, peak, args.rounds) for s in SHAPES[f]] for f in families}
    text = table(results, f"{target}, {args.threads} thread{'s' * (args.threads > 1)}")
    print(text)
    if args.markdown:
        args.markdown.write_text(text, encoding="utf-8")
    if args.json:
        args.json.write_text(json.dumps({f: [asdict(r) for r in rows] for f, rows in results.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
