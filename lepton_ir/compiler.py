"""From a model to an artifact: the main job, as a Python call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_ir.analysis.assumptions import Assumption, assumptions, insert_requirements
from lepton_ir.backend import Backend, BuildResult, find_backend
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import Constant, Module
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.opdef import runs_on_host
from lepton_ir.ir.types import is_numeric
from lepton_ir.limits import Limits
from lepton_ir.reference import Reference, ReferenceRunner, input_names, output_names, sample_reference
from lepton_ir.target import Target, parse_target
from lepton_ir.verification import VerifyReport, compare_outputs, settle

if TYPE_CHECKING:
    import os

    from lepton_ir.artifact import Artifact

Progress = Callable[[str], None]
INLINE_ELEMENTS = 64
"""Constants up to this size stand in the module's text; the backend keeps those inside of kernels below it."""


@dataclass(frozen=True)
class CompileOptions:
    """How to compile.

    Attributes:
        target: what to compile for.
        opt_level: 0 to 3, names a standard pipeline.
        pipeline: a pipeline as text, instead of the standard one.
        dims: fixed sizes for symbolic dimensions of the model.
        sample_dims: sizes of the remaining symbolic dimensions in the golden pair.
        verify: compare the result with the reference before returning it.
        tolerance: largest allowed relative error; by dtype where None.
        seed: seed of the golden inputs.
        dump_dir: folder for the IR after every pass.
        limits: how much memory and time the model may take.
        external_data_root: the folder of the files that the model keeps tensors in; the model's own where None.
        inputs: what the inputs are, where the model does not say: "x:1x3x224x224:f32", "rate=16000".
    """

    target: Target
    opt_level: int = 3
    pipeline: str | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
    sample_dims: Mapping[str, int] = field(default_factory=dict)
    verify: bool = True
    tolerance: float | None = None
    seed: int = 0
    dump_dir: Path | None = None
    limits: Limits = field(default_factory=Limits)
    external_data_root: Path | None = None
    inputs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "target": str(self.target),
            "opt_level": self.opt_level,
            "pipeline": self.pipeline,
            "dims": dict(self.dims),
            "seed": self.seed,
            **({"inputs": list(self.inputs)} if self.inputs else {}),
        }


def import_model(
    model: str | os.PathLike[str] | Module,
    dims: Mapping[str, int] | None = None,
    *,
    limits: Limits | None = None,
    external_data_root: str | os.PathLike[str] | None = None,
    inputs: Sequence[str] = (),
) -> Module:
    """Read a model file into Lepton IR, in import form.

    Args:
        model: a file in any format that a frontend reads; a module is returned as a copy.
        dims: sizes for symbolic dimensions, which become fixed.
        limits: how many nodes the model may have, and how many bytes a tensor.
        external_data_root: the folder of the files that the model keeps tensors in; the model's own by default.
        inputs: what the inputs are, where the model does not say: "x:1x3x224x224:f32", "rate=16000".

    Raises:
        LeptonError: the file cannot be read, or holds unsupported operators (all of them are listed).
    """
    import lepton_ir.ops  # noqa: F401 - defines the operators
    from lepton_ir.frontend import load_model

    settings: dict[str, Any] = {"dims": dict(dims)} if dims else {}
    if limits is not None:
        settings |= {"expansion_budget": limits.nodes, "memory_budget": limits.memory}
    if external_data_root is not None:
        settings["external_data_root"] = external_data_root
    if inputs:
        settings["inputs"] = list(inputs)
    module = model.clone() if isinstance(model, Module) else load_model(model, **settings)
    insert_requirements(module)
    return module


def optimize(module: Module, options: CompileOptions) -> None:
    """Run the pipeline of ``options`` over ``module``, in place."""
    from lepton_ir.passes import DumpPhases, Instrument, PassContext, PassManager

    text = options.pipeline if options.pipeline is not None else f"O{options.opt_level}"
    instruments: list[Instrument] = [DumpPhases(options.dump_dir)] if options.dump_dir is not None else []
    PassManager.from_text(text, instruments=instruments).run(module, PassContext(target=options.target))


def compile(
    model: str | os.PathLike[str] | Module,
    *,
    target: str | Target = "cpu",
    mcpu: str | None = None,
    arch: str | None = None,
    opt_level: int = 3,
    pipeline: str | None = None,
    dims: Mapping[str, int] | None = None,
    sample_dims: Mapping[str, int] | None = None,
    verify: bool = True,
    tolerance: float | None = None,
    seed: int = 0,
    dump_dir: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
    external_data_root: str | os.PathLike[str] | None = None,
    inputs: Sequence[str] = (),
    progress: Progress | None = None,
) -> Artifact:
    """Compile a model.

    Args:
        model: a model file, or a module in import form.
        target: "cpu", "cuda", "rocm" or "opencl", or a :class:`Target`.
        mcpu: the processor to generate code for; this machine's by default.
        arch: the GPU architecture, such as "sm_90".
        opt_level: 0 to 3.
        pipeline: a pass pipeline as text, instead of the standard one.
        dims: sizes for symbolic dimensions, which become fixed.
        sample_dims: sizes of the dimensions that stay symbolic, in the golden pair.
        verify: compare the compiled model with ONNX Runtime or the interpreter before returning it.
        tolerance: the largest allowed error, relative to the largest reference value.
        seed: seed of the golden inputs.
        dump_dir: a folder to write the IR after every pass to.
        limits: how much memory and time the model may take; see :class:`~lepton_ir.limits.Limits`.
        external_data_root: the folder of the files that the model keeps tensors in; the model's own by default.
        inputs: what the inputs are, where the model does not say: "x:1x3x224x224:f32", "rate=16000".
        progress: called with the name of each phase as it begins.

    Returns:
        The artifact; ``save(path)`` writes it.

    Raises:
        LeptonError: the model cannot be read or compiled; every unsupported operator is listed.
        VerificationError: the compiled model's numbers differ from the reference.
    """
    options = CompileOptions(
        target if isinstance(target, Target) else parse_target(target, mcpu, arch),
        opt_level,
        pipeline,
        dims or {},
        sample_dims or {},
        verify,
        tolerance,
        seed,
        Path(dump_dir) if dump_dir is not None else None,
        limits or Limits(),
        Path(external_data_root) if external_data_root is not None else None,
        tuple(inputs),
    )
    return compile_with_report(model, options, progress or (lambda phase: None)).artifact


@dataclass(frozen=True)
class Compilation:
    """What came of a compilation.

    Attributes:
        artifact: the artifact.
        report: the verification's report, None where there was none.
        unverified: why there was none, "" otherwise.
    """

    artifact: Artifact
    report: VerifyReport | None = None
    unverified: str = ""


def compile_with_report(
    model: str | os.PathLike[str] | Module, options: CompileOptions, progress: Progress
) -> Compilation:
    """Compile as :func:`compile` does, and say what came of the verification."""
    backend = find_backend(options.target)
    backend.prepare(options.target)
    progress("import")
    module = _imported(model, options)
    conditions = assumptions(module.main)
    reference = None
    if options.verify:
        progress("reference outputs")
        reference = _reference(module, model, options)
    progress(f"optimize -O{options.opt_level}" if options.pipeline is None else "optimize")
    optimize(module, options)
    progress("generate code")
    problems = backend.unsupported(module, options.target)
    if problems:
        raise LeptonError.of(problems)
    built = _built(backend, module, options.target, progress)
    name = module.attributes.get("name") or (Path(model).stem if not isinstance(model, Module) else "model")
    artifact = _assemble(str(name), module, built, reference, options, conditions)
    obstacle = _unverifiable(artifact, options)
    if reference is None or obstacle:
        return Compilation(artifact, None, obstacle)
    progress("verify")
    report = _check(artifact, model, reference, options)
    # Where the model jumps, another machine may rightly give other numbers.
    return Compilation(replace(artifact, golden=None) if report.jumps else artifact, report)


def _built(backend: Backend, module: Module, target: Target, progress: Progress) -> BuildResult:
    try:
        return backend.build(module, target, progress)
    except (LeptonError, OSError):
        raise
    except Exception as error:
        # Compilers raise what they like; the user shall know at least which model it was.
        raise LeptonError(
            "no code can be generated for the model",
            module.main.location,
            f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1]}",
            "this is a bug in Lepton's backend; please report it with the model",
        ) from error


def _imported(model: str | os.PathLike[str] | Module, options: CompileOptions) -> Module:
    return import_model(
        model,
        options.dims,
        limits=options.limits,
        external_data_root=options.external_data_root,
        inputs=options.inputs,
    )


def _unverifiable(artifact: Artifact, options: CompileOptions) -> str:
    """Return why the artifact's numbers cannot be checked here, "" where they can."""
    from lepton_ir.runtime.host import misfits

    if not options.verify:
        return "not asked for"
    if options.target.is_gpu:
        return f"it takes a {options.target.kind} device"
    return "; ".join(misfits(artifact.manifest))


def _reference(module: Module, model: str | os.PathLike[str] | Module, options: CompileOptions) -> Reference:
    # Before the passes run, so that the model's own weights need not stay in memory beside the packed ones.
    return sample_reference(_runner(model, options, True, module), module.main, options.seed, options.sample_dims)


def _runner(
    model: str | os.PathLike[str] | Module, options: CompileOptions, optimized: bool, module: Module | None = None
) -> ReferenceRunner:
    path = None if isinstance(model, Module) or options.dims else Path(model)
    return ReferenceRunner(_imported(model, options) if module is None else module, path, options.limits, optimized)


def _check(
    artifact: Artifact, model: str | os.PathLike[str] | Module, reference: Reference, options: CompileOptions
) -> VerifyReport:
    from lepton_ir.runtime import load

    outputs = load(artifact)(*reference.inputs.values())
    errors = compare_outputs(outputs, reference, options.tolerance)
    runner = None if options.tolerance is not None else partial(_runner, model, options)
    errors = settle(errors, outputs, reference, lambda: _imported(model, options), runner)
    report = VerifyReport(reference.source, errors, 1)
    report.raise_if_wrong(artifact.manifest.name)
    return report


def _assemble(
    name: str,
    module: Module,
    built: BuildResult,
    reference: Reference | None,
    options: CompileOptions,
    conditions: Sequence[Assumption],
) -> Artifact:
    from lepton_ir.artifact import Artifact, Condition, Golden, Manifest, TensorSpec, spec_of
    from lepton_ir.text import print_module

    main = module.main
    names_in, names_out = input_names(module), output_names(module)
    inputs = [spec_of(n, a.type) for n, a in zip(names_in, main.arguments, strict=True)]
    outputs = [spec_of(n, v.type) for n, v in zip(names_out, main.results, strict=True)]
    weights = [TensorSpec(n, c.type) for n, c in built.weights.items()]
    manifest = Manifest.of(
        name,
        inputs,
        outputs,
        weights,
        options.target,
        options=options.to_json(),
        conditions=tuple(Condition(c.left, c.relation, c.right, str(c.location)) for c in conditions),
        statistics=statistics(built),
        kernels={k.symbol: k.to_json() for k in built.kernels},
        host=tuple(host_operations(module)),
    )
    numeric = all(is_numeric(spec.type) for spec in (*inputs, *outputs))
    # A golden pair is a file of tensors of numbers.
    golden = Golden(reference.inputs, reference.outputs) if reference is not None and numeric else None
    name_weights(module, built.weights)
    texts = {"module.lir": print_module(module, elide_above=INLINE_ELEMENTS, locations=True), **built.texts}
    return Artifact(manifest, built.library, {n: c.array for n, c in built.weights.items()}, texts, golden)


def host_operations(module: Module) -> list[dict[str, Any]]:
    """Return the operations that the runtime evaluates on the host, with the nodes of the user's model."""
    found = (op for op in module.walk() if runs_on_host(op))
    return [{"op": op.name, "nodes": list(op.location.names())} for op in found]


def name_weights(module: Module, weights: Mapping[str, Constant]) -> None:
    """Give the module's constants the names that the artifact has them under, so that its text can be read back."""
    names = {constant: name for name, constant in weights.items()}
    for op in module.walk():
        if op.name == "const" and op.attributes["value"] in names:
            constant = op.attributes["value"]
            op.attributes["value"] = Constant(constant.array, names[constant])


def statistics(built: BuildResult) -> dict[str, Any]:
    """Return what the closing table of ``leptonc compile`` shows."""
    return {
        "kernel_calls": len(built.kernels),
        "kernels": len({k.symbol for k in built.kernels}),
        "flops": _total([k.flops for k in built.kernels]),
        "weight_bytes": sum(c.nbytes for c in built.weights.values()),
        "library_bytes": len(built.library),
        "activation_bytes": built.activation_bytes,
    }


def _total(dims: Sequence[Dim]) -> int | str:
    total: Dim = 0
    for dim in dims:
        total = total + dim
    return total if isinstance(total, int) else str(total)
