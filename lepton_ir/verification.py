"""Comparing a compiled model with its reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import DType, Module
from lepton_ir.limits import Limits
from lepton_ir.reference import ONNX_RUNTIME, Reference, ReferenceRunner, sample_reference

TOLERANCE = {DType.F64: 1e-9, DType.F32: 1e-4, DType.F16: 1e-2, DType.BF16: 5e-2}
"""Largest absolute error allowed, as a fraction of the largest absolute reference value, by output dtype."""


ROUNDING = 1e-6
"""Absolute errors up to this, 8 units in the last place of 1, may be the reference's own: ONNX Runtime's sigmoid is
1e-7 off where its value is 1e-4. The interpreter then decides."""


ULPS = 4
"""By how many units in the last place inputs are moved to see whether a model's outputs jump."""
_SHAKES = 12
_MARGIN = 200
"""An output's tolerance is at least so many times as wide as the inputs are moved: what still exceeds it, jumps."""


class VerificationError(LeptonError):
    """The compiled model's numbers are not the reference's."""


@dataclass(frozen=True)
class OutputError:
    """How far one output is from its reference.

    Attributes:
        name: the output.
        max_abs: the largest absolute difference.
        scale: the largest absolute reference value.
        tolerance: the largest allowed ``relative``.
        mismatch: what is wrong with shape, dtype or non-finite values, "" if nothing.
        arbitration: why an error above the tolerance is the reference's own, "" otherwise.
        jumps: it is so because the inputs are where the reference itself jumps.
    """

    name: str
    max_abs: float
    scale: float
    tolerance: float
    mismatch: str = ""
    arbitration: str = ""
    jumps: bool = False

    @property
    def relative(self) -> float:
        """``max_abs`` as a fraction of ``scale``."""
        return self.max_abs / self.scale if self.scale else self.max_abs

    @property
    def ok(self) -> bool:
        return not self.mismatch and (self.relative <= self.tolerance or bool(self.arbitration))

    def to_json(self) -> dict[str, Any]:
        return {
            "output": self.name,
            "max_abs_error": self.max_abs,
            "max_abs_reference": self.scale,
            "relative_error": self.relative,
            "tolerance": self.tolerance,
            "mismatch": self.mismatch,
            "arbitration": self.arbitration,
            "ok": self.ok,
        }


@dataclass(frozen=True)
class VerifyReport:
    """The result of a verification.

    Attributes:
        source: who computed the reference.
        outputs: the worst case over all samples, for each output.
        samples: how many inputs were tried.
        divergence: the first operation that goes astray, where that was looked for.
    """

    source: str
    outputs: tuple[OutputError, ...]
    samples: int
    divergence: str = ""

    @property
    def ok(self) -> bool:
        return all(o.ok for o in self.outputs)

    @property
    def jumps(self) -> bool:
        """Whether the inputs are where the reference itself jumps."""
        return any(o.jumps for o in self.outputs)

    @property
    def worst(self) -> float:
        """The largest relative error of all outputs."""
        return max((o.relative for o in self.outputs), default=0.0)

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "reference": self.source,
            "samples": self.samples,
            "outputs": [o.to_json() for o in self.outputs],
            "first_divergence": self.divergence,
        }

    def raise_if_wrong(self, where: str = "") -> None:
        """Raise :class:`VerificationError` unless every output is within its tolerance."""
        if self.ok:
            return
        notes = [
            f"output {o.name}: {o.mismatch or f'largest error {o.max_abs:.3g}, {o.relative:.3g} of the largest value'}"
            f" (allowed {o.tolerance:.0e})"
            for o in self.outputs
            if not o.ok
        ]
        if self.divergence:
            notes.append(f"first to diverge: {self.divergence}")
        raise VerificationError(
            f"the compiled model does not agree with {self.source}",
            where=where,
            notes=notes,
            help="try a lower -O level; `leptonc opt --rewrite-limit` bisects the rewrites",
        )


def compare(name: str, got: Any, want: Any, tolerance: float | None = None) -> OutputError:
    """Return how far ``got`` is from ``want``; integers, booleans and strings must be equal.

    NaN and infinity must stand at the same places. Of lists the worst element counts.
    """
    if isinstance(want, dict) and isinstance(got, dict) and want.keys() == got.keys():
        got, want = (np.array([held[key] for key in got]) for held in (got, want))
        if got.dtype.kind == want.dtype.kind == "f":
            # Maps hold Python's numbers, of which compiled code has computed half the digits.
            got, want = got.astype(np.float32), want.astype(np.float32)
    if isinstance(want, (list, dict)) or want is None or isinstance(got, (list, dict)) or got is None:
        return _compare_held(name, got, want, tolerance)
    got, want = np.asarray(got), np.asarray(want)
    dtype = DType.of(want)
    allowed = tolerance if tolerance is not None and dtype.is_float else TOLERANCE.get(dtype, 0.0)
    if got.shape != want.shape or got.dtype != want.dtype:
        found = f"{got.dtype}{list(got.shape)} instead of {want.dtype}{list(want.shape)}"
        return OutputError(name, np.inf, 0.0, allowed, found)
    if want.size == 0:
        return OutputError(name, 0.0, 0.0, allowed)
    if not dtype.is_float:
        wrong = int(np.count_nonzero(got != want))
        return OutputError(name, float(wrong), 0.0, 0.0, f"{wrong} of {want.size} elements differ" if wrong else "")
    a, b = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(a[finite]).all():
        return OutputError(name, np.inf, 0.0, allowed, "NaN or infinity where the reference has none, or the reverse")
    if not finite.any():
        return OutputError(name, 0.0, 0.0, allowed)
    return OutputError(name, float(np.abs(a - b)[finite].max()), float(np.abs(b[finite]).max()), allowed)


def _compare_held(name: str, got: Any, want: Any, tolerance: float | None) -> OutputError:
    """Compare sequences, optionals, and maps with different keys."""
    if type(got) is not type(want) or isinstance(got, dict) or len(got or ()) != len(want or ()):
        counts = [f"{type(v).__name__}" + (f" of {len(v)}" if v is not None else "") for v in (got, want)]
        return OutputError(name, np.inf, 0.0, 0.0, f"a {counts[0]} instead of a {counts[1]}")
    errors = [compare(name, g, w, tolerance) for g, w in zip(got or (), want or (), strict=True)]
    return max(errors, key=lambda o: (not o.ok, o.relative), default=OutputError(name, 0.0, 0.0, 0.0))


def compare_outputs(
    got: Sequence[np.ndarray], reference: Reference, tolerance: float | None = None
) -> tuple[OutputError, ...]:
    """Compare the outputs of one run."""
    pairs = zip(reference.outputs.items(), got, strict=True)
    return tuple(compare(name, array, want, tolerance) for (name, want), array in pairs)


def settle(
    errors: Sequence[OutputError],
    got: Sequence[np.ndarray],
    reference: Reference,
    imported: Callable[[], Module],
    runner: Callable[[bool], ReferenceRunner] | None,
) -> tuple[OutputError, ...]:
    """Decide about errors above the tolerance that may not be the compiled model's.

    The interpreter decides where ONNX Runtime and the compiled model differ by no more than :data:`ROUNDING`, and about
    integers that are one apart: a quantized number halfway between them is rounded either way.

    The reference itself decides about models whose outputs jump: which of two boxes with almost the same score comes
    first depends on the last digits. An output is excused where the reference does not reproduce its own within the
    tolerance while the inputs move by :data:`ULPS`, and ONNX Runtime leaves its own optimizations out, which
    round in other places, and differs from that by no more than twice as much, the largest
    error as well as the sum of all. It is excused for another size only where the reference's own size changes, and
    never for another type, NaN or infinity.

    Args:
        errors: the comparison with the reference.
        got: the compiled model's outputs.
        reference: the reference's outputs.
        imported: makes the model in import form; called only if there is something to decide.
        runner: makes what runs the reference, given whether that may optimize the model; called only if there is
            something to decide. None where the tolerance is the user's own, who means it.
    """
    settled = _settle_rounding(errors, got, reference, imported)
    if runner is None or all(o.ok for o in settled):
        return settled
    moved, runs = _shaken_runs(reference, [runner(True), runner(False)])
    return tuple(
        _settle_jump(error, array, want, [run[name] for run in runs], moved, reference.source)
        for error, array, (name, want) in zip(settled, got, reference.outputs.items(), strict=True)
    )


def _shaken_runs(reference: Reference, runners: Sequence[ReferenceRunner]) -> tuple[float, list[Mapping[str, Any]]]:
    """Return by how much of themselves the inputs were moved, at most, and the reference's outputs for each time."""
    rng, runs = np.random.default_rng(0), []
    steps = {name: _step(value) for name, value in reference.inputs.items()}
    for turn in range(_SHAKES if any(steps.values()) else 1):
        moved = {n: _shaken(v, steps[n], rng) if steps[n] and turn else v for n, v in reference.inputs.items()}
        for runner in runners:
            try:
                runs.append(runner(moved).outputs)
            except LeptonError:
                # Inputs beside those that fit need not fit.
                continue
    return max(steps.values(), default=0.0), runs


def _step(value: Any) -> float:
    """Return how far to move an input, as a fraction of itself; 0 for what is no array of floats."""
    if not isinstance(value, np.ndarray) or not DType.of(value).is_float:
        return 0.0
    return ULPS * float(ml_dtypes.finfo(value.dtype).eps)


def _shaken(value: np.ndarray, step: float, rng: np.random.Generator) -> np.ndarray:
    return (value.astype(np.float64) * (1 + step * rng.uniform(-1, 1, value.shape))).astype(value.dtype)


def _settle_jump(
    error: OutputError, got: Any, want: Any, others: Sequence[Any], moved: float, source: str
) -> OutputError:
    """Return the error, excused where the reference's ``others`` beside ``want`` are as far from it."""
    arrays = all(isinstance(a, np.ndarray) for a in (got, want))
    if error.ok or not arrays or got.dtype != want.dtype or _MARGIN * moved > (error.tolerance or TOLERANCE[DType.F32]):
        return error
    if got.shape != want.shape:
        resized = any(other.shape != want.shape for other in others)
        return _excused(error, f"{source}'s own changes its size") if resized else error
    own = _distance(got, want)
    known = [d for d in (_distance(other, want) for other in others if other.shape == want.shape) if d]
    if own is None or not known:
        return error
    largest, total = (max(column) for column in zip(*known, strict=True))
    jumps = largest > error.tolerance * error.scale and own[0] <= 2 * largest and own[1] <= 2 * total
    return _excused(error, f"{source}'s own moves by {largest:.3g}") if jumps else error


def _distance(a: np.ndarray, b: np.ndarray) -> tuple[float, float] | None:
    """Return the largest and the sum of all differences (how many differ, of integers); None for NaN and infinity."""
    if not DType.of(b).is_float:
        different = float(np.count_nonzero(a != b))
        return different, different
    a, b = a.astype(np.float64), b.astype(np.float64)
    if not np.isfinite(a).all() or not np.isfinite(b).all():
        return None
    return float(np.abs(a - b).max(initial=0)), float(np.abs(a - b).sum())


def _excused(error: OutputError, how: str) -> OutputError:
    why = f"{how} as the inputs move by {ULPS} units in the last place"
    return replace(error, arbitration=why, mismatch="", jumps=True)


def _settle_rounding(
    errors: Sequence[OutputError],
    got: Sequence[np.ndarray],
    reference: Reference,
    imported: Callable[[], Module],
) -> tuple[OutputError, ...]:
    wanted = reference.outputs.values()
    doubtful = [not o.ok and _is_rounding(o, g, w) for o, g, w in zip(errors, got, wanted, strict=True)]
    if reference.source != ONNX_RUNTIME or not any(doubtful):
        return tuple(errors)
    from lepton_ir.interp import run

    exact = run(imported(), list(reference.inputs.values()))
    settled = []
    for error, is_doubtful, array, value in zip(errors, doubtful, got, exact, strict=True):
        second = compare(error.name, array, value, error.tolerance)
        if is_doubtful and second.ok:
            why = f"{ONNX_RUNTIME} rounds; the interpreter and the compiled model agree to {second.relative:.1e}"
            error = replace(error, arbitration=why, mismatch="")
        settled.append(error)
    return tuple(settled)


def _is_rounding(error: OutputError, got: Any, want: Any) -> bool:
    if not error.mismatch:
        return error.max_abs <= ROUNDING
    if not isinstance(got, np.ndarray) or not isinstance(want, np.ndarray):
        return False
    if got.shape != want.shape or got.dtype != want.dtype or not DType.of(want).is_integer:
        return False
    nearer = np.where(got > want, got - 1, np.where(got < want, got + 1, got))
    return bool((nearer == want).all())


def worst_of(runs: Sequence[Sequence[OutputError]]) -> tuple[OutputError, ...]:
    """Return the worst case of each output over several runs."""
    return tuple(max(column, key=lambda o: (not o.ok, o.relative)) for column in zip(*runs, strict=True))


def verify(
    artifact: Any,
    model: str | Path | Module | None = None,
    *,
    samples: int = 5,
    seed: int = 0,
    dims: Mapping[str, int] | None = None,
    tolerance: float | None = None,
    limits: Limits | None = None,
    external_data_root: str | Path | None = None,
) -> VerifyReport:
    """Compare a compiled model with the model that it was made from.

    Args:
        artifact: an :class:`~lepton_ir.artifact.Artifact` or the path of one.
        model: the model's file or module; without it, the golden pair inside the artifact is the reference.
        samples: how many random inputs.
        seed: seed of the first; the next ones count up.
        dims: sizes of symbolic dimensions.
        tolerance: largest allowed error relative to the largest reference value; :data:`TOLERANCE` by default.
        limits: how much memory and time the model may take.
        external_data_root: the folder of the files that the model keeps tensors in; the model's own by default.

    Raises:
        LeptonError: a file cannot be read, or there is nothing to compare with.
    """
    from lepton_ir.artifact import Artifact
    from lepton_ir.runtime import load

    opened = artifact if isinstance(artifact, Artifact) else Artifact.open(artifact)
    compiled = load(opened)
    if model is None:
        if opened.golden is None:
            raise LeptonError(
                "nothing to compare with", why="the artifact has no golden pair", help="name the model file"
            )
        reference = Reference("the golden pair", opened.golden.inputs, opened.golden.outputs)
        return VerifyReport(reference.source, compare_outputs(compiled(**reference.inputs), reference, tolerance), 1)
    from lepton_ir.compiler import import_model
    from lepton_ir.frontend import input_value

    inputs = opened.manifest.options.get("inputs", ())
    module = import_model(model, limits=limits, external_data_root=external_data_root, inputs=inputs)
    fixed = dict(text.split("=", 1) for text in inputs if "=" in text)

    def runs_it(optimized: bool = True) -> ReferenceRunner:
        path = None if isinstance(model, Module) else Path(model)
        return ReferenceRunner(module, path, limits, optimized, {n: input_value(v) for n, v in fixed.items()})

    runner, runs = runs_it(), []

    for i in range(samples):
        reference = sample_reference(runner, module.main, seed + i, dims)
        got = compiled(*reference.inputs.values())
        errors = compare_outputs(got, reference, tolerance)
        runs.append(settle(errors, got, reference, lambda: module, None if tolerance is not None else runs_it))
    report = VerifyReport(runner.source, worst_of(runs), samples)
    if report.ok:
        return report
    from lepton_ir.divergence import first_divergence

    found = first_divergence(opened, module, reference.inputs, tolerance)
    return VerifyReport(report.source, report.outputs, samples, found)
