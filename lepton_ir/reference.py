"""The numbers that a compiled model is held against: ONNX Runtime's, or the interpreter's."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import Function, Module
from lepton_ir.sampling import BATCH, LENGTHS, default_sizes, sample_inputs

ONNX_RUNTIME = "ONNX Runtime"
INTERPRETER = "the interpreter"


@dataclass(frozen=True)
class Reference:
    """Outputs for some inputs, and who computed them."""

    source: str
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]


def has_onnxruntime() -> bool:
    """Return whether ONNX Runtime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def output_names(module: Module) -> list[str]:
    """Return the names of the outputs, numbered where the model gives none."""
    main = module.main
    names = list(main.result_names) + [""] * (len(main.results) - len(main.result_names))
    return [name or f"output{i}" for i, name in enumerate(names)]


def input_names(module: Module) -> list[str]:
    """Return the names of the inputs, numbered where the model gives none."""
    return [a.name or f"input{i}" for i, a in enumerate(module.main.arguments)]


class ReferenceRunner:
    """Runs a model by ONNX Runtime where that is installed and takes the model, else by the interpreter.

    Args:
        module: the model as imported, before any pass.
        path: the model's file, or None.
    """

    def __init__(self, module: Module, path: Path | None = None) -> None:
        self._module = module
        self._session: Any = _open_session(path) if path is not None else None
        self.source = ONNX_RUNTIME if self._session is not None else INTERPRETER

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> Reference:
        """Return the reference outputs for ``inputs``."""
        if self._session is not None:
            arrays = self._run_session(inputs)
        else:
            from lepton_ir.interp import run

            arrays = run(self._module, list(inputs.values()))
        return Reference(self.source, inputs, dict(zip(output_names(self._module), arrays, strict=True)))

    def _run_session(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        declared = [i.name for i in self._session.get_inputs()]
        feeds = dict(zip(declared, inputs.values(), strict=False))
        try:
            return list(self._session.run(None, feeds))
        except Exception as error:
            # ONNX Runtime's exceptions share no narrower base class.
            shapes = ", ".join(
                f"{name}: {list(np.shape(a))}" for name, a in inputs.items() if isinstance(a, np.ndarray)
            )
            raise LeptonError(
                "ONNX Runtime cannot run the model on generated inputs",
                where=shapes,
                why=str(error).strip().splitlines()[0],
                help="give the sizes of the model's dynamic dimensions: --sample-dim (compile) or --dim (verify)",
            ) from error


def sample_reference(
    runner: ReferenceRunner, function: Function, seed: int = 0, dims: Mapping[str, int] | None = None
) -> Reference:
    """Return reference outputs for random inputs.

    Dynamic dimensions whose size is not in ``dims`` get the first of :data:`~lepton_ir.sampling.LENGTHS` for which
    the model runs and gives finite numbers.

    Raises:
        LeptonError: the model runs for none of them.
    """
    given = dict(dims or {})
    failure: LeptonError | None = None
    fallback: Reference | None = None
    for sizes in candidate_sizes(function, given):
        try:
            reference = runner(sample_inputs(function, seed, sizes))
        except LeptonError as error:
            failure = failure or error
            continue
        if all(_is_finite(a) for a in reference.outputs.values()):
            return reference
        fallback = fallback or reference
    if fallback is None:
        assert failure is not None
        raise failure
    return fallback


def candidate_sizes(function: Function, given: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Yield sizes to try for all symbolic dimensions; those ``given`` stay.

    A model may need equal sizes where it names two dimensions (a state's batch and an input's), so each free
    dimension is tried as a length and as the batch.
    """
    defaults = default_sizes(function) | dict(given)
    free = [n for n, size in default_sizes(function).items() if n not in given and size != BATCH]
    yield defaults
    for length in LENGTHS if free else ():
        for choice in itertools.product((length, BATCH), repeat=min(len(free), 3)):
            yield defaults | dict(zip(free, choice, strict=False))


def _is_finite(array: Any) -> bool:
    if isinstance(array, list) or array is None:
        return all(map(_is_finite, array or ()))
    return array.size > 0 and (array.dtype.kind not in "fc" or bool(np.isfinite(array).all()))


def _open_session(path: Path) -> Any:
    if path.suffix.lower() != ".onnx" or not has_onnxruntime():
        return None
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception:
        # Whatever ONNX Runtime cannot load, the interpreter judges; ORT's exceptions share no narrower base class.
        return None
