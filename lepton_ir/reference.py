"""The numbers that a compiled model is held against: ONNX Runtime's, or the interpreter's."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lepton_ir.analysis.cost import flops
from lepton_ir.analysis.memory import peak
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import DType, Function, Module, Operation, TensorType
from lepton_ir.ir.dim import Dim, substitute, symbols
from lepton_ir.ir.types import is_numeric
from lepton_ir.limits import RAISE_MEMORY, Limits, human_size
from lepton_ir.reference_process import CrashedError, RefusedError, Session
from lepton_ir.sampling import BATCH, LENGTHS, Reach, default_sizes, sample_inputs

ONNX_RUNTIME = "ONNX Runtime"
PYTORCH = "PyTorch"
INTERPRETER = "the interpreter"
_INTERPRETED_FLOPS = 5e10
"""What numpy does in a second at best."""
_WEIGHT_BYTES_PER_SECOND = 1e8
_DRAWS = 64
"""How often inputs are drawn again for a model that refuses what it is given."""
_REACHES = ((1, 4), (0, 8), (1, 9), (1, 64))
"""The ranges that integers are drawn from then, ends excluded."""
_MORE_TIME = "give it more time with --time-limit SECONDS (in Python: Limits(seconds=...)), or compile with --no-verify"


@dataclass(frozen=True)
class Reference:
    """Outputs for some inputs, and who computed them."""

    source: str
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]


def has_onnxruntime() -> bool:
    """Return whether ONNX Runtime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def has_torch() -> bool:
    """Return whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def output_names(module: Module) -> list[str]:
    """Return distinct names of the outputs, numbered where the model gives none or one several times."""
    main = module.main
    names = list(main.result_names) + [""] * (len(main.results) - len(main.result_names))
    found: dict[str, None] = {}
    for i, name in enumerate(names):
        found[name if name and name not in found else f"{name or 'output'}{i}"] = None
    return list(found)


def input_names(module: Module) -> list[str]:
    """Return the names of the inputs, numbered where the model gives none."""
    return [a.name or f"input{i}" for i, a in enumerate(module.main.arguments)]


class ReferenceRunner:
    """Runs a model by ONNX Runtime or PyTorch where that is installed and takes the model, else by the interpreter.

    A model that draws random numbers is run by the interpreter, too.

    Args:
        module: the model as imported, before any pass.
        path: the model's file, or None.
        limits: how much memory and time running it may take.
        optimized: whether ONNX Runtime may rewrite the model.
        fixed: the arguments of a TorchScript method that have one value; with them the file is trusted, and PyTorch,
            which runs what it says, may open it.
    """

    def __init__(
        self,
        module: Module,
        path: Path | None = None,
        limits: Limits | None = None,
        optimized: bool = True,
        fixed: Mapping[str, Any] | None = None,
    ) -> None:
        self._module = module
        self._limits = limits or Limits()
        constants = {id(c): c for c in (op.attributes["value"] for op in module.walk() if op.name == "const")}
        weight_bytes = sum(c.nbytes for c in constants.values())
        self._seconds = self._limits.seconds + weight_bytes / _WEIGHT_BYTES_PER_SECOND
        self._deadline = time.monotonic() + self._seconds
        # ONNX Runtime draws other random numbers.
        drawn = any(isinstance(op, Operation) and op.is_random for op in module.walk())
        self._session: Session | None = None
        self.source = INTERPRETER
        if path is not None and not drawn and _is_exchanged(module):
            self._session, self.source = self._opened(path, optimized, fixed)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> Reference:
        """Return the reference outputs for ``inputs``.

        Raises:
            LeptonError: the model cannot be run on them, or not within the limits.
        """
        arrays = self._run_session(inputs) if self._session is not None else None
        if arrays is None:
            arrays = self._interpret(inputs)
        return Reference(self.source, inputs, dict(zip(output_names(self._module), arrays, strict=True)))

    def _opened(self, path: Path, optimized: bool, fixed: Mapping[str, Any] | None) -> tuple[Session | None, str]:
        """Return a session of another implementation that takes the model, and its name."""
        is_onnx = path.suffix.lower() == ".onnx"
        installed = has_onnxruntime() if is_onnx else fixed is not None and has_torch()
        if not sys.executable or not installed:
            return None, INTERPRETER
        names = {"inputs": input_names(self._module), "outputs": output_names(self._module), "fixed": fixed}
        try:
            session = Session(path, self._left(), optimized, None if is_onnx else names)
        except (RefusedError, CrashedError, TimeoutError):
            # Whatever ONNX Runtime or PyTorch cannot load, the interpreter judges.
            return None, INTERPRETER
        return session, ONNX_RUNTIME if is_onnx else PYTORCH

    def check_cost(self, sizes: Mapping[str, int]) -> None:
        """Check that running the model takes no more than the limits allow.

        Raises:
            LeptonError: it takes more memory, or more arithmetic than the interpreter can do in the time.
        """
        main = self._module.main
        needed, where = peak(main.body, sizes)
        if needed > self._limits.memory:
            raise LeptonError(
                f"the model needs {human_size(needed)} to run" + _with_sizes(sizes),
                where.location if where is not None else main.location,
                f"the memory budget is {human_size(self._limits.memory)}",
                f"give smaller sizes with --sample-dim or --dim, or {RAISE_MEMORY}",
            )
        heaviest = max(main.body.ops, key=lambda op: _number(flops(op), sizes))
        work = sum(_number(flops(op), sizes) for op in main.body.ops)
        if self._session is None and work > self._seconds * _INTERPRETED_FLOPS:
            raise LeptonError(
                f"computing reference outputs takes {work:.3g} operations" + _with_sizes(sizes),
                heaviest.location,
                f"the interpreter would not be done after {self._seconds:.0f} seconds",
                _MORE_TIME,
            )

    @property
    def is_late(self) -> bool:
        """Whether the time is over."""
        return self._left() <= 0

    def restart_clock(self) -> None:
        """Let what follows take the whole time again."""
        self._deadline = time.monotonic() + self._seconds

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _interpret(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        from lepton_ir.interp import run

        try:
            return run(self._module, list(inputs.values()), deadline=self._deadline)
        except TimeoutError:
            raise self._too_slow(INTERPRETER) from None

    def _run_session(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray] | None:
        """Return ONNX Runtime's outputs, None where it crashes: then the interpreter takes its place."""
        assert self._session is not None
        feeds = dict(zip(self._session.inputs, inputs.values(), strict=False))
        source = self.source
        try:
            found = self._session.run(feeds, self._left())
            # A model may name an output several times, which ONNX Runtime gives once.
            names = self._module.main.result_names
            return [found[name] for name in names] if set(names) <= found.keys() else list(found.values())
        except TimeoutError:
            raise self._too_slow(source) from None
        except CrashedError:
            self._session, self.source = None, INTERPRETER
            return None
        except RefusedError as error:
            arrays = {name: a for name, a in inputs.items() if isinstance(a, np.ndarray)}
            shapes = ", ".join(f"{name}: {list(a.shape)}" for name, a in arrays.items())
            raise LeptonError(
                f"{source} cannot run the model on generated inputs",
                where=self._module.main.location,
                why=str(error),
                help="give the sizes of the model's dynamic dimensions, --sample-dim (compile) or --dim (verify), or "
                "compile with --no-verify where inputs must hold what no generated numbers do",
                notes=[f"the inputs: {shapes}"],
            ) from error

    def _too_slow(self, who: str) -> LeptonError:
        return LeptonError(
            f"{who} was not done with the reference outputs after {self._seconds:.0f} seconds",
            self._module.main.location,
            "the model computes much, or holds a loop that does not end",
            _MORE_TIME,
        )


def _number(dim: Dim, sizes: Mapping[str, int]) -> int:
    known = substitute(dim, {name: sizes.get(name, 1) for name in symbols(dim)})
    return known if isinstance(known, int) else 0


def _with_sizes(sizes: Mapping[str, int]) -> str:
    return f" with {', '.join(f'{n} = {size}' for n, size in sizes.items())}" if sizes else ""


def sample_reference(
    runner: ReferenceRunner, function: Function, seed: int = 0, dims: Mapping[str, int] | None = None
) -> Reference:
    """Return reference outputs for random inputs.

    Dynamic dimensions whose size is not in ``dims`` get the first of :data:`~lepton_ir.sampling.LENGTHS` for which
    the model runs and gives finite numbers. Where it runs for none, its integers and strings are drawn
    again, integers from wider ranges: they may be sizes or bounds, of which few fit.

    Raises:
        LeptonError: the model runs for none of them.
    """
    runner.restart_clock()
    given = dict(dims or {})
    failure: LeptonError | None = None
    fallback: Reference | None = None
    for attempt, sizes, reach in _attempts(function, given):
        if fallback is not None and reach is not None:
            break
        try:
            runner.check_cost(sizes)
            reference = runner(sample_inputs(function, seed + attempt, sizes, reach))
        except LeptonError as error:
            failure = failure or error
            if runner.is_late:
                break
            continue
        if all(_is_finite(a) for a in reference.outputs.values()):
            return reference
        fallback = fallback or reference
    if fallback is None:
        assert failure is not None
        raise failure
    return fallback


def _attempts(function: Function, given: Mapping[str, int]) -> Iterator[tuple[int, dict[str, int], Reach | None]]:
    """Yield what to add to the seed, sizes, and the range of integers that nothing bounds; None for the usual one."""
    for sizes in candidate_sizes(function, given):
        yield 0, sizes, None
    tensors = [a.type for a in function.arguments if isinstance(a.type, TensorType)]
    if any(t.dtype.is_integer or t.dtype is DType.STR for t in tensors):
        sizes = default_sizes(function) | dict(given)
        for attempt in range(_DRAWS):
            yield attempt, sizes, _REACHES[attempt % len(_REACHES)]


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


def _is_exchanged(module: Module) -> bool:
    """Return whether ONNX Runtime, in its process, is given and gives all values: arrays of numpy's own types."""
    types = [v.type for v in (*module.main.arguments, *module.main.results)]
    return all(isinstance(t, TensorType) and is_numeric(t) and t.dtype.numpy.isbuiltin == 1 for t in types)


def _is_finite(array: object) -> bool:
    if isinstance(array, dict):
        array = [np.array(list(array.values()))]
    if isinstance(array, list) or array is None:
        return all(map(_is_finite, array or ()))
    assert isinstance(array, np.ndarray)
    return array.size > 0 and (array.dtype.kind not in "fc" or bool(np.isfinite(array).all()))
