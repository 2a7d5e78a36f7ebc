"""Reading TorchScript archives: from file to module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import lepton_ir.ops  # noqa: F401 - the builder finds operators among those that are registered
from lepton_frontends.aten.call import Tensor
from lepton_frontends.aten.rules import Scalar
from lepton_frontends.aten.types import tensor_of
from lepton_frontends.common.archive import Archive
from lepton_frontends.common.errors import TooLargeError, UnsupportedError, merged
from lepton_frontends.common.state import ImportState, erase_unused
from lepton_frontends.torchscript.expressions import Frame
from lepton_frontends.torchscript.inputs import FORM, Fixed, InputSpec, described, parse_inputs
from lepton_frontends.torchscript.interpreter import Interpreter
from lepton_frontends.torchscript.program import Code, Program
from lepton_frontends.torchscript.signals import ModelRaisesError
from lepton_frontends.torchscript.stateful import State, after, give, kinds, objects, results
from lepton_frontends.torchscript.syntax import Display, Index, Name, Node, Parameter
from lepton_frontends.torchscript.unpickle import StoredTensor
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.dim import Dim, Expr, sym
from lepton_ir.ir.location import Location
from lepton_ir.ir.module import Function, Module
from lepton_ir.ir.types import DType, TensorType
from lepton_ir.limits import MOST_NODES, default_memory

_MOST_RUNS = 6
_NUMBERS = {"int": DType.I64, "float": DType.F64, "bool": DType.BOOL}


def load_torchscript(
    path: str | PathLike[str],
    *,
    inputs: Sequence[str] | Mapping[str, str] | None = None,
    dims: Mapping[str, int | str] | None = None,
    method: str = "forward",
    expansion_budget: int = MOST_NODES,
    memory_budget: int | None = None,
) -> Module:
    """Read a TorchScript archive into Lepton IR; nothing in it is executed, and PyTorch is not needed.

    Args:
        path: the file.
        inputs: what the inputs are, which TorchScript does not say: ``["x:1x3x224x224:f32", "rate=16000"]``.
        dims: sizes for the names among the inputs' sizes.
        method: the method to compile.
        expansion_budget: how many statements may run, those of unrolled loops and inlined methods included.
        memory_budget: bytes that a tensor, and the whole archive, may have.

    Returns:
        A module whose function ``main`` is the method. Attributes that it changes are inputs and outputs besides.

    Raises:
        LeptonError: the file is no archive of TorchScript, or holds what is not supported.
    """
    memory = default_memory() if memory_budget is None else memory_budget
    archive = Archive(path, memory)
    if "archive_format" in archive:
        raise LeptonError(
            "the archive is one of torch.export", archive.name, "it says so in its record archive_format",
            "give the file a name that ends in .pt2",
        )  # fmt: skip
    if "constants.pkl" not in archive and not archive.names("code/"):
        raise LeptonError(
            "the archive holds no TorchScript", archive.name, "it has no code; a state dictionary holds weights only",
            "save the whole model with torch.jit.save(torch.jit.script(model), path), or torch.export.save",
        )  # fmt: skip
    try:
        program = Program(archive)
        importer = ImportState(archive.name, memory=memory, budget=expansion_budget)
        return _Import(program, importer, method, parse_inputs(inputs or (), archive.name), dims or {}).module()
    except RecursionError:
        raise LeptonError(
            "the archive's code is nested too deeply", archive.name, help="export the model again, or do not trust it"
        ) from None
    except MemoryError:
        raise LeptonError("there is not enough memory to read the model", archive.name) from None


class _Import:
    """One import of one method."""

    def __init__(
        self,
        program: Program,
        importer: ImportState,
        method: str,
        specs: dict[str, InputSpec],
        dims: Mapping[str, int | str],
    ) -> None:
        self.program = program
        self.importer = importer
        self.specs = specs
        self.dims = dims
        code = program.method(program.root.type, method)
        if code is None:
            raise LeptonError(
                f"the model has no method {method}",
                program.archive.name,
                help="name one that it has, or save a model whose forward was traced or scripted",
            )
        self.code: Code = code

    def module(self) -> Module:
        """Run the method until its state is settled, and return the module.

        Raises:
            LeptonError: it cannot be imported.
        """
        state: State = {}
        for _ in range(_MOST_RUNS):
            self.main = Function("main", location=Location(self.program.archive.name))
            self.interpreter = Interpreter(self.program, self.importer, self.main.body)
            result = self._run(state)
            found = after(self.interpreter)
            settled = kinds(found, state)
            if settled == state:
                return self._finished(result, found, state)
            state = settled
            self.program = self.program.again()
        raise LeptonError(
            "the model's state never settles", self.program.archive.name,
            f"each call leaves {', '.join(state)} in another shape", "save a model whose state keeps its shape",
        )  # fmt: skip

    def _run(self, state: State) -> Any:
        try:
            self.interpreter.restore(objects(self.program.root))
            arguments = self._arguments()
            give(self.interpreter, self.main.body, state)
            return self.interpreter.invoke(self.code, [self.program.root, *arguments], {})
        except ModelRaisesError as error:
            raise LeptonError(
                "the model raises an error for these inputs",
                error.where or self.program.archive.name,
                error.message,
                f"check the inputs: {FORM}",
            ) from None
        except UnsupportedError as error:
            raise LeptonError(
                "the model cannot be imported", self.program.archive.name, error.reason, error.help
            ) from None
        except TooLargeError:
            raise
        except LeptonError as error:
            # What follows from a finding says less than the findings.
            findings = self.importer.findings.errors
            raise LeptonError.of(merged(findings)) if findings else error from None

    def _finished(self, result: Any, found: dict[str, Any], state: State) -> Module:
        if self.importer.findings.errors:
            raise LeptonError.of(merged(self.importer.findings.errors))
        b = self.interpreter.b
        named = [
            (name, value.read(b) if isinstance(value, Tensor) else tensor_of(b, value))
            for name, value in self._flat("output", result)
        ]
        if not named:
            raise LeptonError("the method returns no tensor", self.program.archive.name)
        named += results(b, found, state)
        self.main.result_names = tuple(name for name, _ in named)
        b.return_([value for _, value in named])
        erase_unused(self.main.body)
        return Module([self.main])

    def _flat(self, name: str, value: Any) -> list[tuple[str, Any]]:
        """Return the tensors and numbers of a nested result with names that say where they stand."""
        if isinstance(value, (Tensor, Scalar, Expr, int, float)):
            return [(name, value)]
        if isinstance(value, dict):
            return [pair for k, v in value.items() for pair in self._flat(str(k), v)]
        if isinstance(value, (list, tuple)):
            return [pair for n, v in enumerate(value) for pair in self._flat(f"{name}_{n}", v)]
        return []

    # Inputs

    def _arguments(self) -> list[Any]:
        parameters = self.code.definition.parameters[1:]
        traced = self.program.traced_inputs(self.code.definition.name) or []
        known = {p.name for p in parameters}
        unknown = [n for n in self.specs if n.partition(".")[0] not in known]
        if unknown:
            raise LeptonError(
                f"the model has no input {', '.join(unknown)}", self.program.archive.name,
                help=f"it has: {', '.join(p.name for p in parameters) or 'none'}",
            )  # fmt: skip
        found = []
        for number, parameter in enumerate(parameters):
            example = traced[number] if number < len(traced) else None
            found.append(self._argument(parameter, parameter.name, parameter.annotation, example))
        return found

    def _argument(self, parameter: Parameter, name: str, kind: Node | None, example: Any) -> Any:
        spec = self.specs.get(name)
        if isinstance(spec, Fixed):
            return spec.value
        if spec is not None:
            return self._input(name, spec, kind)
        parts = _parts(kind)
        if parts is not None and any(n.startswith(f"{name}.") for n in self.specs):
            return self._nested(parameter, name, kind, parts)
        if isinstance(example, StoredTensor):
            return self._input(name, TensorType(example.shape, example.storage.dtype), kind)
        if isinstance(example, (tuple, list)) and parts is not None:
            items = [self._argument(parameter, f"{name}.{n}", _part(parts, n), e) for n, e in enumerate(example)]
            return tuple(items) if isinstance(example, tuple) else items
        if parameter.default is not None and name == parameter.name:
            return self.interpreter.evaluate(parameter.default) if self.interpreter.frames else self._default(parameter)
        raise LeptonError(
            f"the input {name} has no shape", self.program.archive.name,
            "TorchScript does not say what its inputs are", f"say it with {FORM.replace('NAME', name, 1)}",
        )  # fmt: skip

    def _default(self, parameter: Parameter) -> Any:
        assert parameter.default is not None
        self.interpreter.frames.append(Frame(self.code))
        try:
            return self.interpreter.evaluate(parameter.default)
        finally:
            self.interpreter.frames.pop()

    def _nested(self, parameter: Parameter, name: str, kind: Node | None, parts: list[Node]) -> Any:
        """Return the items of a tuple, a list or a dictionary, each an input of its own."""
        keys = list(dict.fromkeys(n[len(name) + 1 :].partition(".")[0] for n in self.specs if n.startswith(f"{name}.")))
        items = {k: self._argument(parameter, f"{name}.{k}", _part(parts, k), None) for k in keys}
        container = kind.value.id if isinstance(kind, Index) and isinstance(kind.value, Name) else ""
        if container == "Dict":
            return items
        if container == "Optional" and isinstance(kind, Index):
            return self._nested(parameter, name, kind.index, _parts(kind.index) or [])
        ordered = [items[str(n)] for n in range(len(items))]
        return tuple(ordered) if container == "Tuple" else ordered

    def _input(self, name: str, spec: TensorType, kind: Node | None) -> Any:
        shape: list[Dim] = []
        for d in spec.shape:
            given = self.dims.get(str(d), d) if not isinstance(d, int) else d
            shape.append(sym(given) if isinstance(given, str) else given)
        argument = self.main.body.add_argument(TensorType(tuple(shape), spec.dtype), name)
        self.importer.symbols |= {str(d) for d in shape if isinstance(d, Expr)}
        declared = kind.id if isinstance(kind, Name) else ""
        if declared not in _NUMBERS:
            return Tensor(argument)
        if spec.rank or spec.dtype is not _NUMBERS[declared]:
            raise LeptonError(
                f"the input {name} is {declared}, and is given as {described(spec)}", self.program.archive.name,
                help=f"write {name}:{_NUMBERS[declared]} for a number of the run, {name}=VALUE for a fixed one",
            )  # fmt: skip
        return Scalar(argument)


def _parts(kind: Node | None) -> list[Node] | None:
    """Return the types inside of a container's type; None for one of a tensor or a number."""
    if not isinstance(kind, Index):
        return None
    return kind.index.items if isinstance(kind.index, Display) else [kind.index]


def _part(parts: list[Node], key: int | str) -> Node:
    number = int(key) if str(key).isdigit() else len(parts) - 1
    return parts[number] if number < len(parts) else parts[-1]
