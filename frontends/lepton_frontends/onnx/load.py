"""Reading ONNX models: from file to module."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import IR_VERSION, GraphProto, ModelProto, OperatorSetIdProto, defs

import lepton_ir.ops  # noqa: F401 - the builder finds operators among those that are registered
from lepton_frontends.common.errors import merged
from lepton_frontends.common.state import erase_unused
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.graph import GraphImporter, PartlyImportedError, normalized
from lepton_frontends.onnx.inputs import InputTypes
from lepton_frontends.onnx.names import check_model
from lepton_frontends.onnx.scope import FAILED, Imported, Scope
from lepton_frontends.onnx.sequences import as_value
from lepton_frontends.onnx.tensors import DTYPES, TensorReader
from lepton_frontends.onnx.wire import WireError, strip_weights
from lepton_ir.diagnostics import LeptonError
from lepton_ir.files import open_regular
from lepton_ir.ir.constant import Constant
from lepton_ir.ir.core import Value
from lepton_ir.ir.location import Location
from lepton_ir.ir.module import Function, Module
from lepton_ir.ir.types import TensorType, UnrankedType, symbols_in
from lepton_ir.limits import MOST_NODES, default_memory

OLDEST_OPSET = 1
_INT32_MAX = (1 << 31) - 1
_INVALID = "the model is not valid ONNX; export it again"


def load_onnx(
    path: str | PathLike[str],
    *,
    dims: Mapping[str, int | str] | None = None,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    constants: Mapping[str, Any] | None = None,
    expansion_budget: int = MOST_NODES,
    memory_budget: int | None = None,
    external_data_root: str | PathLike[str] | None = None,
) -> Module:
    """Read an ONNX file into Lepton IR.

    Args:
        path: the file. Its weights are not copied where they lie aligned in it; it must not change while the
            module lives.
        dims: sizes for dynamic dimensions, ``{"batch": 1}``; a name instead of a size renames the dimension, which
            makes two of them one.
        shapes: shapes for inputs, ``{"x": [1, "S"]}``; None keeps what the model says of that dimension.
        constants: values for inputs, ``{"sr": 16000}``; these are inputs no longer.
        expansion_budget: how many nodes there may be, those that functions and loops expand into included.
        memory_budget: bytes that a tensor may have; half of the memory that the process may use by default.
        external_data_root: the folder of the files with external data, instead of the model's own.

    Returns:
        A module whose function ``main`` is the model's graph.

    Raises:
        LeptonError: the file is no model or holds what is not supported; all findings at once.
    """
    file = Path(path)
    root = Path(external_data_root) if external_data_root is not None else None
    memory = default_memory() if memory_budget is None else memory_budget
    try:
        return import_model(
            _parse(file),
            TensorReader(file, fspath(path), root, memory),
            dims=dims,
            shapes=shapes,
            constants=constants,
            expansion_budget=expansion_budget,
        )
    except MemoryError:
        raise LeptonError(
            "there is not enough memory to read the model", fspath(path), help="read it on a larger machine"
        ) from None


def import_model(
    model: ModelProto,
    reader: TensorReader | None = None,
    *,
    dims: Mapping[str, int | str] | None = None,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    constants: Mapping[str, Any] | None = None,
    expansion_budget: int = MOST_NODES,
) -> Module:
    """Lower a ModelProto into Lepton IR; see :func:`load_onnx`."""
    reader = reader or TensorReader()
    found = check_model(model, reader)
    if found:
        raise LeptonError.of(merged(found))
    opsets = _opsets(model, reader.file)
    functions = {(normalized(f.domain), f.name, f.overload): f for f in model.functions}
    importer = GraphImporter(reader.file, reader, functions, memory=reader.memory, budget=expansion_budget)
    if len(functions) < len(model.functions):
        importer.report(Location(reader.file), "two functions have the same domain, name and overload", "", _INVALID)
    main = Function("main", result_names=[o.name for o in model.graph.output], location=Location(reader.file))
    scope = Scope(opsets)
    b = OnnxBuilder(main.body, importer)
    try:
        importer.constants(model.graph, scope, b)
        _bind_inputs(model.graph, main, scope, b, InputTypes(reader.file, dims or {}, shapes or {}), constants or {})
        results = importer.run(model.graph.node, main.result_names, scope, b)
        _check_outputs(model.graph, results, importer)
        if not importer.findings.errors:
            b.return_([_output(b, n, v) for n, v in zip(main.result_names, results, strict=True)])
    except PartlyImportedError:
        pass
    except LeptonError as error:
        importer.findings.diagnostics.extend(error.diagnostics)
    if importer.findings.errors:
        raise LeptonError.of(merged(importer.findings.errors))
    erase_unused(main.body)
    return Module([main])


def _parse(path: Path) -> ModelProto:
    where = fspath(path)
    try:
        with open_regular(path) as f:
            if os.fstat(f.fileno()).st_size == 0:
                raise LeptonError("the file is empty", where, help="export or download the model again")
            data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise LeptonError("no such file", where, help="check the path") from None
    except (OSError, ValueError) as error:
        why = str(getattr(error, "strerror", None) or error)
        raise LeptonError("the file cannot be read", where, why, "name a regular file") from None
    model = ModelProto()
    try:
        with data, memoryview(data) as view:
            stripped = strip_weights(view)
        model.ParseFromString(stripped)
    except WireError as error:
        if error.truncated:
            raise LeptonError(
                "the model file is truncated, or is no ONNX model", where, str(error), "download or export it again"
            ) from None
        raise _no_model(where, str(error)) from None
    except DecodeError as error:
        raise _no_model(where, f"it is no protobuf message of ONNX, or nested too deeply ({error})") from None
    if not model.HasField("graph") or not model.ir_version:
        raise _no_model(where, "it has no graph" if model.ir_version else "it has no IR version")
    return model


def _no_model(where: str, why: str) -> LeptonError:
    return LeptonError(
        "the file is not an ONNX model", where, why, "ONNX models are binary protobuf files; see onnx.ai"
    )


def _opsets(model: ModelProto, file: str) -> dict[str, int]:
    if not 1 <= model.ir_version <= IR_VERSION:
        raise LeptonError(
            f"the model has ONNX IR version {model.ir_version}",
            file,
            f"the installed onnx package knows versions up to {IR_VERSION}",
            "install a newer onnx, or export the model for an older version",
        )
    if not model.opset_import:
        raise LeptonError("the model imports no opset", file, help=_INVALID)
    for function in model.functions:
        imported_opsets(function.opset_import, f"the function {function.name}", file)
    return imported_opsets(model.opset_import, "the model", file)


def imported_opsets(imports: Iterable[OperatorSetIdProto], what: str, file: str) -> dict[str, int]:
    """Return the version of each imported domain.

    Raises:
        LeptonError: one is imported in two versions, or there is no such version.
    """
    opsets: dict[str, int] = {}
    for entry in imports:
        domain, version = normalized(entry.domain), int(entry.version)
        before = opsets.setdefault(domain, version)
        if before != version:
            # The same version twice, as skl2onnx writes, says nothing new.
            versions = f"opsets {before} and {version} of the domain {domain or 'ai.onnx'}"
            raise LeptonError(f"{what} imports {versions}", file, help=_INVALID)
        if domain and not 1 <= version <= _INT32_MAX:
            raise LeptonError(f"{what} imports opset {version} of the domain {domain}", file, help=_INVALID)
    own, newest = opsets.get("", OLDEST_OPSET), defs.onnx_opset_version()
    if own < OLDEST_OPSET:
        raise LeptonError(
            f"{what} has opset {own}",
            file,
            f"Lepton reads opset {OLDEST_OPSET} and newer",
            "convert it with onnx.version_converter, or export it for a newer opset",
        )
    if own > newest:
        raise LeptonError(
            f"{what} has opset {own}",
            file,
            f"the installed onnx package knows opsets up to {newest}",
            "install a newer onnx, or export the model for an older opset",
        )
    return opsets


def _bind_inputs(
    graph: GraphProto,
    main: Function,
    scope: Scope,
    b: OnnxBuilder,
    types: InputTypes,
    constants: Mapping[str, Any],
) -> None:
    # Inputs that have initializers are weights: before IR version 4 every weight had to be an input too.
    inputs = [i for i in graph.input if i.name not in scope.values]
    for info in graph.input:
        weight = scope.values.get(info.name)
        declared = info.type.tensor_type.elem_type
        if isinstance(weight, Value) and DTYPES.get(declared) is not weight.tensor.dtype:
            where = Location(types.file, info.name)
            b.importer.report(where, f"the input {info.name} and its initializer have two element types", "", _INVALID)
    names = [i.name for i in inputs]
    unknown = [name for name in constants if name not in names]
    if unknown:
        raise LeptonError(
            f"the model has no input {', '.join(unknown)}", types.file, help=f"it has: {', '.join(names) or 'none'}"
        )
    for info in inputs:
        if info.name in scope.values or not info.name:
            what = f"two inputs are called {info.name}" if info.name else "an input has no name"
            b.importer.report(Location(types.file, info.name), what, "", _INVALID)
            continue
        try:
            kind = types.type_of(info, b.importer.reader.memory)
        except LeptonError as error:
            b.importer.findings.diagnostics.extend(error.diagnostics)
            scope.values[info.name] = FAILED
            continue
        if info.name in constants:
            if not isinstance(kind, TensorType):
                raise LeptonError(f"the input {info.name} cannot be a constant", types.file, f"it is {kind}")
            array = np.asarray(constants[info.name]).astype(kind.dtype.numpy)
            scope.values[info.name] = b.const(Constant(array, info.name))
        else:
            scope.values[info.name] = main.body.add_argument(kind, info.name)
    symbols = frozenset().union(*(symbols_in(a.type) for a in main.arguments))
    b.importer.symbols |= symbols
    types.check_all_used(names, symbols)


def _output(b: OnnxBuilder, name: str, value: Imported) -> Value:
    found = as_value(b, value)
    if isinstance(found.type, UnrankedType):
        raise LeptonError(
            f"the rank of the output {name} is unknown",
            b.importer.file,
            "it is an element of a sequence to whose elements the model gives no shape",
            'give the elements of the input that is a sequence a shape, with shapes={"name": [1, "N"]}',
        )
    return found


def _check_outputs(graph: GraphProto, results: Sequence[Imported], importer: GraphImporter) -> None:
    if not results:
        importer.report(Location(importer.file), "the model has no outputs", "", _INVALID)
    for info, value in zip(graph.output, results, strict=True):
        where, declared = Location(importer.file, info.name), info.type.tensor_type.elem_type
        if not isinstance(value, Value) or not isinstance(value.type, TensorType):
            continue
        if declared and DTYPES.get(declared) is not value.tensor.dtype:
            why = f"the model says that it is {DTYPES.get(declared, declared)}, and computes {value.tensor.dtype}"
            importer.report(where, f"the output {info.name} has another element type than it should", why, _INVALID)
