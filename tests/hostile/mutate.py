"""Damages valid models at random and gives them to leptonc.

    python tests/hostile/mutate.py [--cases 1000] [--seed 0] [--networks] [--keep FOLDER]

A damaged model must be refused with a place, or compile, agree with ONNX Runtime where that takes it, and run. What
does neither is listed, and kept.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto

sys.path.insert(0, str(Path(__file__).parent))

from hostile_case import BOOL, HARMLESS, I64, Hostile, info, ints, model, node, subgraph
from judge import Verdict, judge, leptonc, run_all, warm
from mutations import damaged

ROOT = Path(__file__).parents[2]
NETWORKS = ("polygraphy_residual_block", "silero_vad", "ultraface_rfb320", "SqueezeNet_fp16")


def small_models() -> dict[str, ModelProto]:
    """Return models of a few nodes, each of another family of operators."""
    rng = np.random.default_rng(1)

    def weight(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    image = [info("x", [1, 3, 9, 9])]
    branch = node("If", ["b"], ["y"], name="if", then_branch=subgraph([node("Relu", ["x"], ["r"])]),
                  else_branch=subgraph([node("Neg", ["x"], ["q"])], outputs=["q"]))  # fmt: skip
    trip = subgraph(
        [node("Identity", ["c"], ["d"]), node("Add", ["v", "v"], ["w"])],
        [info("i", [], I64), info("c", [], BOOL), info("v", [2, 4])], ["d", "w"],
    )  # fmt: skip
    return {
        "convolution": model(
            [node("Conv", ["x", "w", "k"], ["a"], name="conv", pads=[1, 1, 1, 1], strides=[2, 2]),
             node("Relu", ["a"], ["c"]), node("MaxPool", ["c"], ["d"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
             node("GlobalAveragePool", ["d"], ["e"]), node("Flatten", ["e"], ["y"])],
            image, weights={"w": weight(4, 3, 3, 3), "k": weight(4)},
        ),
        "attention": model(
            [node("MatMul", ["x", "w"], ["q"]), node("Transpose", ["q"], ["t"], perm=[0, 2, 1]),
             node("MatMul", ["q", "t"], ["s"]), node("Softmax", ["s"], ["p"], axis=-1), node("MatMul", ["p", "q"], ["y"])],
            [info("x", ["N", "S", 8])], weights={"w": weight(8, 8)},
        ),
        "shapes": model(
            [node("Shape", ["x"], ["s"]), node("Gather", ["s", "i"], ["n"], axis=0), node("Concat", ["n", "m"], ["t"], axis=0),
             node("Reshape", ["x", "t"], ["r"]), node("Slice", ["r", "z", "e"], ["l"]), node("Pad", ["l", "p"], ["y"])],
            [info("x", ["N", 4, 6])],
            weights={"i": ints(0), "m": ints(-1), "z": ints(0, 0), "e": ints(2, 20), "p": ints(0, 1, 0, 1)},
        ),
        "elements": model(
            [node("Add", ["x", "w"], ["a"]), node("Sigmoid", ["a"], ["c"]), node("Mul", ["a", "c"], ["d"]),
             node("Clip", ["d", "lo", "hi"], ["e"]), node("ReduceMean", ["e", "ax"], ["y"], keepdims=0)],
            [info("x", [2, 3, 5])],
            weights={"w": weight(5), "lo": np.float32(-1), "hi": np.float32(1), "ax": ints(1)},
        ),
        "selection": model(
            [node("TopK", ["x", "k"], ["v", "i"]), node("GatherElements", ["x", "i"], ["g"], axis=1),
             node("Where", ["c", "g", "v"], ["w"]), node("Split", ["w"], ["a", "y"], axis=1, num_outputs=2)],
            weights={"k": ints(2), "c": np.array([[True, False]])},
        ),
        "resize": model(
            [node("Resize", ["x", "", "s"], ["a"], mode="linear"), node("AveragePool", ["a"], ["y"], kernel_shape=[3, 3])],
            image, weights={"s": np.array([1, 1, 2, 2], np.float32)},
        ),
        "recurrent": model(
            [node("LSTM", ["x", "w", "r"], ["h", "last"], hidden_size=3, direction="forward"), node("Squeeze", ["h", "a"], ["y"])],
            [info("x", [4, 2, 5])], weights={"w": weight(1, 12, 5), "r": weight(1, 12, 3), "a": ints(1)},
        ),
        "quantized": model(
            [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["d"]),
             node("Gemm", ["d", "w"], ["y"], transB=1)],
            weights={"s": np.float32(0.1), "z": np.uint8(7), "w": weight(3, 4)},
        ),
        "branch": model([branch], [info("x", [2, 4]), info("b", [], BOOL)]),
        "loop": model([node("Loop", ["t", "b", "x"], ["y"], name="loop", body=trip)], weights={"t": np.int64(3), "b": np.array(True)}),
    }  # fmt: skip


def seeds(networks: bool) -> dict[str, ModelProto]:
    """Return the models to damage by name."""
    files = {"digits": ROOT / "examples" / "digits" / "digits.onnx"}
    files |= {name: ROOT / "benchmarks" / "models" / f"{name}.onnx" for name in (NETWORKS if networks else ())}
    return small_models() | {name: ModelProto.FromString(path.read_bytes()) for name, path in files.items()}


def cases(count: int, seed: int, networks: bool = False) -> Iterator[Hostile]:
    """Yield damaged models; the number of one and the seed make it again."""
    models = list(seeds(networks).items())
    for number in range(count):
        name, valid = models[number % len(models)]
        yield Hostile(name, str(number), damaged(valid, np.random.default_rng([seed, number])), HARMLESS)


def commands(path: Path) -> list[list[str]]:
    """Return the calls of leptonc for a damaged model; what is refused is not run."""
    artifact = path.parent / "out.lepton"
    return [["compile", str(path), "-o", str(artifact), "--json", "-O1", "--time-limit", "8"], ["run", str(artifact)]]


def verdicts(chosen: Sequence[Hostile] | Iterator[Hostile]) -> Iterator[tuple[Hostile, Verdict]]:
    """Judge damaged models, in the order in which their processes end."""
    warm()
    jobs = ((case, lambda folder, c=case: leptonc(commands(c.write(folder)), until=3)) for case in chosen)
    for case, run in run_all(jobs):
        yield case, judge(case, run)


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", action="store_true", help="damage the networks of benchmarks/models too")
    parser.add_argument("--keep", type=Path, default=Path("mutants"), help="folder for the models that went wrong")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    for case, verdict in verdicts(cases(options.cases, options.seed, options.networks)):
        counts[verdict.outcome] += 1
        if verdict.outcome == "wrong":
            options.keep.mkdir(parents=True, exist_ok=True)
            kept = options.keep / f"{case.kind}-{options.seed}-{case.name}.onnx"
            kept.write_bytes(case.content)
            print(f"wrong: {kept} ({verdict.seconds:.1f} s) {verdict.why}", flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())))
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
