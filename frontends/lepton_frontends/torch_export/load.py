"""Reading torch.export archives: from file to module."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np

import lepton_ir.ops  # noqa: F401 - the builder finds operators among those that are registered
from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.call import Tensor
from lepton_frontends.aten.rules import Scalar
from lepton_frontends.aten.types import tensor_of
from lepton_frontends.common.archive import Archive
from lepton_frontends.common.errors import UnsupportedError, merged
from lepton_frontends.common.state import ImportState, erase_unused
from lepton_frontends.torch_export.graph import FAILED, Graph
from lepton_frontends.torch_export.schema import dtype_of, size_of, type_of
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.constant import Constant
from lepton_ir.ir.dim import Dim, Expr, substitute, sym, symbols
from lepton_ir.ir.location import Location
from lepton_ir.ir.module import Function, Module
from lepton_ir.ir.types import DType, TensorType
from lepton_ir.limits import MOST_NODES, default_memory
from lepton_ir.ops.runtime_dims import Require

_SCHEMA = 8
_UNBOUNDED = 1 << 31
_NUMBERS = {"as_sym_int": DType.I64, "as_sym_float": DType.F64, "as_sym_bool": DType.BOOL}


def load_torch_export(
    path: str | PathLike[str],
    *,
    dims: Mapping[str, int | str] | None = None,
    expansion_budget: int = MOST_NODES,
    memory_budget: int | None = None,
) -> Module:
    """Read a torch.export archive into Lepton IR; PyTorch is not needed.

    Args:
        path: the file.
        dims: sizes for dynamic dimensions, ``{"s77": 1}``; ``leptonc inspect`` prints the names.
        expansion_budget: how many nodes there may be.
        memory_budget: bytes that a tensor, and the whole archive, may have.

    Returns:
        A module whose function ``main`` is the exported program. Buffers that it changes are inputs and outputs
        besides.

    Raises:
        LeptonError: the file is no archive of torch.export, or holds what is not supported; all findings at once.
    """
    memory = default_memory() if memory_budget is None else memory_budget
    archive = Archive(path, memory)
    record = next((n for n in archive.names("models/", ".json")), None)
    if record is None:
        raise LeptonError(
            "the archive holds no exported program", archive.name, "it has no models/*.json",
            "write it with torch.export.save of PyTorch 2.13",
        )  # fmt: skip
    try:
        program = json.loads(archive.text(record))
        importer = ImportState(archive.name, memory=memory, budget=expansion_budget)
        return _Import(archive, program, importer, dims or {}).module()
    except (json.JSONDecodeError, RecursionError) as error:
        raise _damaged(archive, f"{record}: {type(error).__name__}: {error}"[:200]) from None
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, StopIteration) as error:
        raise _damaged(archive, f"{type(error).__name__}: {error}"[:200]) from None
    except UnsupportedError as error:
        raise LeptonError("the model cannot be imported", archive.name, error.reason, error.help) from None
    except MemoryError:
        raise LeptonError("there is not enough memory to read the model", archive.name) from None


def _damaged(archive: Archive, why: str) -> LeptonError:
    return LeptonError("the archive's program cannot be read", archive.name, why, "export the model again")


class _Import:
    """One import of one program."""

    def __init__(
        self, archive: Archive, program: Mapping[str, Any], importer: ImportState, dims: Mapping[str, int | str]
    ) -> None:
        version = program["schema_version"]["major"]
        if version != _SCHEMA:
            raise LeptonError(
                f"the archive has schema version {version}", archive.name, f"Lepton reads version {_SCHEMA}",
                "export the model with PyTorch 2.13",
            )  # fmt: skip
        self.archive = archive
        self.program = program
        self.importer = importer
        self.dims = {k: v if isinstance(v, int) else str(v) for k, v in dims.items()}
        self.main = Function("main", location=Location(archive.name))
        self.b = AtenBuilder(self.main.body, importer)
        self.signature = program["graph_module"]["signature"]
        self.graph = program["graph_module"]["graph"]
        folder = "data/weights/"
        self.weights = self._config(f"{folder}model_weights_config.json")
        self.constants = self._config("data/constants/model_constants_config.json")
        self.values: dict[str, Any] = {}
        self.buffers: dict[str, tuple[str, Tensor, Any]] = {}

    def _config(self, record: str) -> Mapping[str, Any]:
        return dict(json.loads(self.archive.text(record))["config"]) if record in self.archive else {}

    def module(self) -> Module:
        """Lower the program.

        Raises:
            LeptonError: something is not supported; all findings at once.
        """
        for spec in self.signature["input_specs"]:
            self._input(spec)
        self._ranges()
        graph = Graph(self.b, self.values, self.archive.name)
        outputs = graph.run(self.graph)
        if self.importer.findings.errors:
            raise LeptonError.of(merged(self.importer.findings.errors))
        self._results(outputs)
        erase_unused(self.main.body)
        return Module([self.main])

    # Inputs

    def _input(self, spec: Mapping[str, Any]) -> None:
        ((kind, content),) = spec.items()
        if kind == "constant_input":
            return
        if kind in ("token", "custom_obj"):
            raise UnsupportedError(f"the program takes a {kind}", "export the model without custom classes")
        if kind == "user_input":
            self._user_input(content["arg"])
            return
        name = content["arg"]["name"]
        key = content.get("parameter_name") or content.get("buffer_name") or content.get("tensor_constant_name")
        value = Tensor(self.b.const(Constant(self._array(key, name), str(key))))
        self.values[name] = value
        if kind == "buffer":
            self.buffers[name] = (str(key), value, value.state())

    def _user_input(self, argument: Mapping[str, Any]) -> None:
        ((kind, value),) = argument.items()
        if kind == "as_tensor":
            declared = type_of(self.graph["tensor_values"][value["name"]])
            self.values[value["name"]] = Tensor(self._argument(value["name"], declared))
        elif kind in _NUMBERS and "as_name" in value:
            self.values[value["as_name"]] = Scalar(self._argument(value["as_name"], TensorType((), _NUMBERS[kind])))

    def _argument(self, name: str, declared: TensorType) -> Any:
        shape = tuple(self._fixed(d) for d in declared.shape)
        self.importer.symbols |= {s for d in shape for s in symbols(d)}
        return self.main.body.add_argument(TensorType(shape, declared.dtype), name)

    def _fixed(self, dim: Dim) -> Dim:
        return substitute(dim, {k: v if isinstance(v, int) else sym(v) for k, v in self.dims.items()})

    def _array(self, key: Any, name: str) -> np.ndarray:
        entry = self.weights.get(key) or self.constants.get(key)
        if entry is None:
            raise _damaged(self.archive, f"the weights of {key} ({name}) are missing")
        folder = "data/weights" if key in self.weights else "data/constants"
        if entry.get("use_pickle"):
            raise UnsupportedError(f"the tensor {key} is pickled", "export plain tensors, not subclasses of them")
        meta = entry["tensor_meta"]
        shape, strides = ([size_of(s) for s in meta[k]] for k in ("sizes", "strides"))
        if not all(isinstance(n, int) for n in (*shape, *strides)):
            raise _damaged(self.archive, f"the tensor {key} has a symbolic size")
        return self._strided(f"{folder}/{entry['path_name']}", dtype_of(meta["dtype"]), shape, strides, meta)

    def _strided(
        self, record: str, dtype: DType, shape: list[Any], strides: list[Any], meta: Mapping[str, Any]
    ) -> np.ndarray:
        data = self.archive.array(record)
        item = dtype.numpy.itemsize
        memory = data[: len(data) // item * item].view(dtype.numpy)
        offset = size_of(meta["storage_offset"])
        if 0 in shape:
            return np.zeros(shape, dtype.numpy)
        reach = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if min((*shape, *strides, offset), default=0) < 0 or not isinstance(reach, int) or reach >= len(memory):
            raise _damaged(self.archive, f"the tensor in {record} reaches beyond its {len(memory)} numbers")
        found = np.lib.stride_tricks.as_strided(memory[offset:], shape, [s * item for s in strides], writeable=False)
        return np.array(found, order="C") if not found.flags.c_contiguous else found

    def _ranges(self) -> None:
        """Have the program check the ranges that the model was exported for."""
        for name, limits in self.program["range_constraints"].items():
            dim = self._fixed(sym(name))
            if not isinstance(dim, Expr) or not symbols(dim) <= self.importer.symbols:
                continue
            low, high = limits.get("min_val"), limits.get("max_val")
            if low is not None and low > 1:
                self.b.insert(Require.build(left=low, relation="<=", right=dim, location=self.main.location))
            if high is not None and high < _UNBOUNDED:
                self.b.insert(Require.build(left=dim, relation="<=", right=high, location=self.main.location))

    # Results

    def _results(self, outputs: list[Any]) -> None:
        names, values = [], []
        for spec, value in zip(self.signature["output_specs"], outputs, strict=True):
            ((kind, content),) = spec.items()
            if kind not in ("user_output", "buffer_mutation", "user_input_mutation") or value is FAILED:
                raise UnsupportedError(f"the program has a result of the kind {kind}", "export it for inference")
            if value is None:
                continue
            names.append(self._result_name(kind, content))
            values.append(value.read(self.b) if isinstance(value, Tensor) else tensor_of(self.b, value))
        for name, (key, cell, before) in self.buffers.items():
            if cell.state() != before:
                names.append(f"{key}.next")
                values.append(cell.read(self.b))
                self._make_input(name, key, before[0])
        self.main.result_names = tuple(names)
        self.b.return_(values)

    def _result_name(self, kind: str, content: Mapping[str, Any]) -> str:
        if kind == "buffer_mutation":
            return f"{content['buffer_name']}.next"
        argument = content["arg"]
        found = next(iter(argument.values()))
        return str(found.get("name") or found.get("as_name")) if isinstance(found, dict) else "output"

    def _make_input(self, name: str, key: str, initial: Any) -> None:
        """Turn the constant that a buffer was into an input."""
        argument = self.main.body.add_argument(initial.type, key)
        initial.replace_all_uses_with(argument)
