"""ONNX Runtime, or PyTorch, in a process of its own.

A strange model may crash either, or keep it busy for ever, and neither must happen to the compiler. So models
are run in a child process, which is ended when its time is over. Messages are a length, a JSON object and the bytes
of arrays; the child's answers are read as data only.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from lepton_ir.ir.types import DType
from lepton_ir.torch_model import TorchModel

_START = "from lepton_ir.reference_process import serve; serve()"
_idle: list[_Process] = []


class CrashedError(RuntimeError):
    """The process ended."""


class RefusedError(RuntimeError):
    """ONNX Runtime or PyTorch raised an error: its message."""


class Session:
    """A model in ONNX Runtime or, where it is no ONNX model, in PyTorch.

    Args:
        path: the model's file.
        seconds: how long loading it may take.
        optimized: whether ONNX Runtime may rewrite the graph; its numbers are rounded otherwise where it may not.
        torch: for PyTorch, the compiled model's "inputs" and "outputs" and the "fixed" arguments.

    Raises:
        RefusedError: ONNX Runtime or PyTorch does not take the model.
        CrashedError: it did not survive it.
        TimeoutError: the time is over.
    """

    def __init__(
        self, path: Path, seconds: float, optimized: bool = True, torch: Mapping[str, Any] | None = None
    ) -> None:
        self._process = _take()
        weakref.finalize(self, _give_back, self._process)
        question = {"open": os.fspath(path), "optimized": optimized, "torch": torch}
        answer, _ = self._process.ask(question, (), seconds)
        self.inputs: list[str] = [str(name) for name in answer["inputs"]]
        self.outputs: list[str] = [str(name) for name in answer["outputs"]]

    def run(self, feeds: Mapping[str, np.ndarray], seconds: float) -> dict[str, np.ndarray]:
        """Return the outputs by name; raises as the constructor does."""
        _, arrays = self._process.ask({"run": list(feeds)}, list(feeds.values()), seconds)
        return dict(zip(self.outputs, arrays, strict=True))


class _Process:
    def __init__(self) -> None:
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
        self._child = subprocess.Popen(
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def end(self) -> None:
        """End the process."""
        self._child.kill()
        self._child.communicate()

    def ask(
        self, question: Mapping[str, Any], arrays: Sequence[np.ndarray], seconds: float
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        stdin, stdout = self._child.stdin, self._child.stdout
        assert stdin is not None and stdout is not None
        with self._ended_after(seconds) as ended:
            try:
                _send(stdin, question, arrays)
                answer, found = _receive(stdout)
            except (OSError, EOFError, ValueError) as error:
                self.end()
                code = self._child.returncode
                if ended:
                    raise TimeoutError(f"not done after {seconds:.0f} seconds") from None
                raise CrashedError(f"its process ended with {code}") from error
        if "error" in answer:
            raise RefusedError(str(answer["error"]))
        return answer, found

    @contextmanager
    def _ended_after(self, seconds: float) -> Iterator[list[bool]]:
        ended: list[bool] = []

        def end() -> None:
            ended.append(True)
            self._child.kill()

        timer = threading.Timer(max(0.0, seconds), end)
        timer.daemon = True
        timer.start()
        try:
            yield ended
        finally:
            timer.cancel()


def _take() -> _Process:
    while _idle:
        process = _idle.pop()
        if process.alive:
            return process
    return _Process()


def _give_back(process: _Process) -> None:
    with contextlib.suppress(RuntimeError, TimeoutError):
        process.ask({"close": True}, (), 5.0)
        _idle.append(process)


@atexit.register
def _end_all() -> None:
    while _idle:
        _idle.pop().end()


# ---- messages


def _send(stream: IO[bytes], message: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> None:
    described = [{"dtype": DType.of(a).value, "shape": list(a.shape)} for a in arrays]
    for entry, array in zip(described, arrays, strict=True):
        if array.dtype.kind in "OSU":
            entry["strings"] = [str(s) for s in array.reshape(-1).tolist()]
    head = json.dumps({**message, "arrays": described}).encode()
    stream.write(struct.pack("<Q", len(head)) + head)
    for entry, array in zip(described, arrays, strict=True):
        if "strings" not in entry and array.size:
            stream.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    stream.flush()


def _receive(stream: IO[bytes]) -> tuple[dict[str, Any], list[np.ndarray]]:
    (size,) = struct.unpack("<Q", _read(stream, 8))
    message = json.loads(_read(stream, size))
    return message, [_array(stream, entry) for entry in message.pop("arrays")]


def _array(stream: IO[bytes], entry: Mapping[str, Any]) -> np.ndarray:
    shape = tuple(int(d) for d in entry["shape"])
    if "strings" in entry:
        strings = np.empty(len(entry["strings"]), object)
        strings[:] = entry["strings"]
        return strings.reshape(shape)
    dtype = DType(entry["dtype"]).numpy
    return np.frombuffer(_read(stream, prod(shape) * dtype.itemsize), dtype).reshape(shape)


def _read(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


# ---- the child


def serve() -> None:
    """Answer questions on standard input until it ends."""
    # Libraries print to standard output; answers get a descriptor of their own.
    answers, questions = os.fdopen(os.dup(1), "wb"), sys.stdin.buffer
    os.dup2(2, 1)
    session: Any = None
    while True:
        try:
            question, arrays = _receive(questions)
        except EOFError:
            return
        outputs: list[np.ndarray] = []
        answer: dict[str, Any] = {}
        try:
            if "open" in question:
                torch = question["torch"]
                session = _opened(question["open"], question["optimized"]) if torch is None else _in_torch(question)
                names = (
                    [[v.name for v in values] for values in (session.get_inputs(), session.get_outputs())]
                    if (torch is None)
                    else [torch["inputs"], torch["outputs"]]
                )
                answer = {"inputs": names[0], "outputs": names[1]}
            elif "run" in question and isinstance(session, TorchModel):
                outputs = session.run(arrays)
            elif "run" in question:
                outputs = session.run(None, dict(zip(question["run"], arrays, strict=True)))
                unusual = next((o for o in outputs if not isinstance(o, np.ndarray)), None)
                if unusual is not None:
                    raise TypeError(f"an output is a {type(unusual).__name__}")
            else:
                session = None
        except Exception as error:
            # ONNX Runtime's exceptions share no narrower base class.
            outputs, answer = [], {"error": (str(error).strip().splitlines() or [type(error).__name__])[0]}
        _send(answers, answer, outputs)


def _in_torch(question: Mapping[str, Any]) -> TorchModel:
    return TorchModel(question["open"], **question["torch"])


def _opened(path: str, optimized: bool) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
