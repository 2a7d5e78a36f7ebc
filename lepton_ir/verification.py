"""Comparing a compiled model with its reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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


SHAKE = 1e-5
"""By how much of themselves inputs are moved to see how sensitive a model is: a tenth of what is allowed for f32."""
_SHAKES = 6


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
    """

    name: str
    max_abs: float
    scale: float
    tolerance: float
    mismatch: str = ""
    arbitration: str = ""

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
    runner: Callable[[], ReferenceRunner] | None,
) -> tuple[OutputError, ...]:
    """Decide about errors above the tolerance that may not be the compiled model's.

    The interpreter decides where ONNX Runtime and the compiled model differ by no more than :data:`ROUNDING`, and about
    integers that are one apart: a quantized number halfway between them is rounded either way.

    The reference itself decides about models whose outputs jump: which of two boxes with almost the same score comes
    first depends on the last digits. An output that is off by no more than twice what the reference's own moves while
    the inputs move by :data:`SHAKE` is what a backward stable computation may give (Higham, Accuracy and Stability of
    Numerical Algorithms, section 1.5).

    Args:
        errors: the comparison with the reference.
        got: the compiled model's outputs.
        reference: the reference's outputs.
        imported: makes the model in import form; called only if there is something to decide.
        runner: makes what runs the reference; called only if there is something to decide. None where the tolerance is
            the user's own, who means it.
    """
    settled = _settle_rounding(errors, got, reference, imported)
    return settled if runner is None or all(o.ok for o in settled) else _settle_jumps(settled, reference, runner())


def _settle_jumps(
    errors: Sequence[OutputError], reference: Reference, runner: ReferenceRunner
) -> tuple[OutputError, ...]:
    rng = np.random.default_rng(0)
    moved = [0.0] * len(errors)
    for _ in range(_SHAKES):
        shaken = {name: _shaken(value, rng) for name, value in reference.inputs.items()}
        if all(shaken[name] is value for name, value in reference.inputs.items()):
            break
        try:
            other = runner(shaken).outputs
        except LeptonError:
            continue
        distances = [compare(name, other[name], value) for name, value in reference.outputs.items()]
        moved = [max(m, d.max_abs) for m, d in zip(moved, distances, strict=True)]
    return tuple(
        error if error.ok or not m or error.max_abs > 2 * m else _excused(error, m, reference.source)
        for error, m in zip(errors, moved, strict=True)
    )


def _shaken(value: Any, rng: np.random.Generator) -> Any:
    """Return floats that are off by :data:`SHAKE` of themselves; anything else as it is."""
    if not isinstance(value, np.ndarray) or not DType.of(value).is_float:
        return value
    noise = 1 + SHAKE * rng.uniform(-1, 1, value.shape)
    return (value.astype(np.float64) * noise).astype(value.dtype)


def _excused(error: OutputError, moved: float, source: str) -> OutputError:
    how = "changes its size" if np.isinf(moved) else f"moves by {moved:.3g}"
    return replace(error, arbitration=f"{source}'s own {how} as the inputs move by {SHAKE:.0e}", mismatch="")


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


def _is_rounding(error: OutputError, got: np.ndarray, want: np.ndarray) -> bool:
    if not error.mismatch:
        return error.max_abs <= ROUNDING
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

    module = import_model(model, limits=limits, external_data_root=external_data_root)
    runner = ReferenceRunner(module, None if isinstance(model, Module) else Path(model), limits)
    runs = []
    for i in range(samples):
        reference = sample_reference(runner, module.main, seed + i, dims)
        got = compiled(*reference.inputs.values())
        errors = compare_outputs(got, reference, tolerance)
        runs.append(settle(errors, got, reference, lambda: module, None if tolerance else lambda: runner))
    report = VerifyReport(runner.source, worst_of(runs), samples)
    if report.ok:
        return report
    from lepton_ir.divergence import first_divergence

    found = first_divergence(opened, module, reference.inputs, tolerance)
    return VerifyReport(report.source, report.outputs, samples, found)
