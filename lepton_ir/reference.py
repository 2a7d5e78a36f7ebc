"""The numbers that a compiled model is held against: ONNX Runtime's, or the interpreter's."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lepton_ir.ir import Module

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
        self._session = _open_session(path) if path is not None else None
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
        declared = [i.name for i in self._session.get_inputs()]  # type: ignore[union-attr]
        feeds = dict(zip(declared, inputs.values(), strict=False))
        return list(self._session.run(None, feeds))  # type: ignore[union-attr]


def _open_session(path: Path) -> object | None:
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
