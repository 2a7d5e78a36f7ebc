"""How fast the IR is: a module of 10,000 operations is printed, parsed, verified and canonicalized on one core.

    python benchmarks/ir_speed.py [--operations 10000] [--repeat 3] [--json FILE]

Prints one row per step with the best of the repeats, and fails if the total is over the budget of 5 s.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import lepton_ir.ops  # noqa: F401 - registers the operators
from lepton_ir.ir import Builder, DType, Function, Location, Module, Value, sym, tensor
from lepton_ir.passes import PassManager, load_passes
from lepton_ir.text import parse_module, print_module
from lepton_ir.verifier import verify

BUDGET_S = 5.0


def make_module(operations: int) -> Module:
    """Return residual blocks with a dynamic batch dimension, and things to canonicalize between them."""
    channels = 16
    x_type = tensor([sym("N"), channels, 32, 32], DType.F32)
    function = Function("main", [x_type], ["input"], ["output"])
    b = Builder(function.body)
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((channels, channels, 3, 3)).astype(np.float32)
    x: Value = function.arguments[0]
    count = index = 0
    while count < operations:
        with b.at(Location("model.onnx", f"/layer{index}/block")):
            x = _block(b, x, weight, index)
        index += 1
        count = index * OPS_PER_BLOCK
    b.return_([x])
    return Module([function])


OPS_PER_BLOCK = 14


def _block(b: Builder, x: Value, weight: np.ndarray, index: int) -> Value:
    n = sym("N")
    w = b.const(weight, name=f"layer{index}.weight")
    bias = b.const(weight[:, 0, 0, 0], name=f"layer{index}.bias")
    y = b.nn_conv(x, w, bias, strides=(1, 1), pads=(1, 1, 1, 1), dilations=(1, 1))
    y.name = f"conv{index}"
    y = b.relu(y)
    y = b.add(y, x)
    y = b.mul(y, b.const(np.float32(0.5 + index)))
    flat = b.tensor_reshape(y, shape=(n, 16, 1024))
    flat = b.tensor_transpose(flat, perm=(0, 2, 1))
    flat = b.tensor_transpose(flat, perm=(0, 2, 1))
    y = b.tensor_reshape(flat, shape=(n, 16, 32, 32))
    y = b.add(y, b.const(np.zeros((1, 1, 1, 1), np.float32)))
    return b.sigmoid(y)


def measure(operations: int, repeat: int) -> dict[str, float]:
    """Return the best seconds of each step."""
    load_passes()
    module = make_module(operations)
    weights = {op.attributes["value"].name: op.attributes["value"].array for op in module.walk() if op.name == "const"}
    text = print_module(module)
    parse_module("module {}")  # The grammar's tables are built once per process.
    best: dict[str, float] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - begin
        best[name] = min(best.get(name, seconds), seconds)
        return result

    for _ in range(repeat):
        parsed = step("parse", lambda: parse_module(text, weights))
        step("verify", lambda m=parsed: verify(m))
        manager = PassManager.from_text("canonicalize", verify_each=False)
        step("canonicalize", lambda m=parsed, p=manager: p.run(m))
        step("print", lambda m=parsed: print_module(m))
    if print_module(parse_module(text, weights)) != text:
        raise SystemExit("the text does not round-trip")
    return best


def main() -> int:
    """Measure, print, and return 1 if the budget is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    best = measure(options.operations, options.repeat)
    total = sum(best.values())
    print(f"| step | seconds for {options.operations:,} operations |\n|---|---|")
    for name, seconds in [*best.items(), ("total", total)]:
        print(f"| {name} | {seconds:.2f} |")
    if options.json:
        document = {"operations": options.operations, "seconds": best, "total_s": total, "budget_s": BUDGET_S}
        options.json.write_text(json.dumps(document, indent=2), encoding="utf-8")
    return 0 if total <= BUDGET_S else 1


if __name__ == "__main__":
    sys.exit(main())
