"""Finding the first operation whose compiled numbers are wrong.

The artifact's module is compiled again with the result of every kernel as a further output; the interpreter runs
the same module; the first kernel in order whose result is off, while its inputs are right, is the culprit. Where
every kernel agrees, the passes changed the meaning, and the outputs of the model as imported differ from those of
the module as optimized.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lepton_ir.backend import find_backend
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import Module, Value
from lepton_ir.ir.core import Operation
from lepton_ir.target import Target

if TYPE_CHECKING:
    from lepton_ir.artifact import Artifact

MODULE_TEXT = "module.lir"
_DEFAULT_TOLERANCE = 1e-4


def first_divergence(
    artifact: Artifact, imported: Module, inputs: Mapping[str, np.ndarray], tolerance: float | None = None
) -> str:
    """Return a line that names the first operation to diverge, or says that no kernel does.

    Args:
        artifact: the compiled model.
        imported: the model in import form.
        inputs: the inputs to run.
        tolerance: largest allowed relative error of a kernel's result; 1e-4 where None.
    """
    from lepton_ir.interp import run
    from lepton_ir.text import parse_module

    allowed = _DEFAULT_TOLERANCE if tolerance is None else tolerance
    module = parse_module(artifact.texts[MODULE_TEXT], weights=artifact.weights)
    kernels = [op for op in module.main.body.ops if op.name == "kernel"]
    original_count = len(module.main.results)
    expose([r for op in kernels for r in op.results], module)
    wanted = run(module, list(inputs.values()))
    got = _run_compiled(module, artifact, inputs)
    position = original_count
    for op in kernels:
        for _ in op.results:
            if _differs(got[position], wanted[position], allowed):
                return f"{describe(op)} (a compiled kernel differs from the interpreter)"
            position += 1
    plain = run(imported, list(inputs.values()))
    for name, a, b in zip(_names(imported), wanted, plain, strict=False):
        if _differs(a, b, allowed):
            return f"output {name} (every kernel is right; a pass changed the meaning of the model)"
    return "no kernel alone exceeds the tolerance; the errors add up"


def expose(values: list[Value], module: Module) -> None:
    """Return ``values`` from ``main`` in addition to its own results."""
    ret = module.main.return_op
    ret.set_operands([*ret.operands, *values])


def describe(op: Operation) -> str:
    """Return an operation by kernel symbol, operators and the user's nodes."""
    inner = [o.name for region in op.regions for o in region.block.ops if o.name not in ("yield", "const")]
    nodes = ", ".join(op.location.names()) or "unknown nodes"
    return f"{op.attributes.get('symbol', op.name)} [{' + '.join(inner)}] from {nodes}"


def _run_compiled(module: Module, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    from lepton_ir.artifact import Artifact, Manifest, TensorSpec
    from lepton_ir.runtime import load

    recorded = artifact.manifest.target
    target = Target(str(recorded["kind"]), str(recorded["mcpu"]), features=frozenset(recorded["features"]))
    built = find_backend(target).build(module, target, lambda phase: None)
    outputs = [TensorSpec(f"value{i}", v.tensor) for i, v in enumerate(module.main.results)]
    weights = [TensorSpec(n, c.type) for n, c in built.weights.items()]
    manifest = Manifest.of("divergence", artifact.manifest.inputs, outputs, weights, target)
    probe = Artifact(manifest, built.library, {n: c.array for n, c in built.weights.items()})
    return [np.array(a) for a in load(probe)(*inputs.values())]


def _differs(got: np.ndarray, want: np.ndarray, tolerance: float) -> bool:
    from lepton_ir.verification import compare

    try:
        return not compare("", got, want, max(tolerance, 1e-2 if want.dtype.itemsize == 2 else tolerance)).ok
    except (KeyError, LeptonError):
        return True


def _names(module: Module) -> list[str]:
    from lepton_ir.reference import output_names

    return output_names(module)
