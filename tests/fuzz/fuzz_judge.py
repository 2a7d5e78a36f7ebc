"""What becomes of a random graph: the interpreter, compiled code, ONNX's reference evaluator and ONNX Runtime agree.

Where ours differ from the reference, ONNX Runtime is asked too: what one of them says is right. A run may also end in a
:class:`LeptonError` that says what is wrong with the input, where the reference fails as well or the input is one that
ONNX leaves open.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import fuzz_ops
import fuzz_ops_nn
import numpy as np
import onnx
from fuzz_graph import (
    INTEGERS,
    Evaluator,
    Graph,
    Grower,
    SkipError,
    evaluate_node,
    run_onnxruntime,
    run_reference,
)
from lepton_frontends.onnx.load import import_model
from onnx import numpy_helper

import lepton_ir
import lepton_ir.runtime
from lepton_ir.diagnostics import LeptonError
from lepton_ir.interp import run

assert fuzz_ops, fuzz_ops_nn

Arrays = list[np.ndarray]
FEW_STEPS, MANY_STEPS = 1, 6
_RTOL = {"float16": 4e-3, "float32": 2e-4, "float64": 1e-9}
_NOISE = {"float16": 1e-3, "float32": 4e-7, "float64": 1e-15}
_UNCLEAR = ("failed while it ran", "bug in Lepton", "failed in the interpreter")
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "AveragePool", "Resize"})
"""Operators that may multiply what does not count by zero, or leave it out; NaN and infinity tell the two apart."""
_CONDITIONS = ("must hold", "does not fit into", "BindingError")
"""What is said where a dimension has a size that its use in the model had been taken to exclude."""
_SPECIAL_FLOATS = (np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-42, 1e30, -1e30, 6e4, 0.5, 2.5, -1.5)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        kind: "import", "interpreter", "compile", "run", "wrong" or "crash".
        reason: what was found.
        feeds: the input.
        level: the optimization level.
    """

    kind: str
    reason: str
    feeds: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    level: int = 3


@dataclass(frozen=True)
class Outcome:
    """What became of one case: "agree", "refused" (a diagnostic at compile time), "none" (no graph) or "found"."""

    status: str
    reason: str = ""
    finding: Finding | None = None


def make(seed: int | random.Random) -> Graph | None:
    """Return the graph of a seed, or of the choices of a generator."""
    steps = (random.Random(seed) if isinstance(seed, int) else seed).randint(FEW_STEPS, MANY_STEPS)
    return Grower(seed).grow(steps)


def judge(graph: Graph, seed: int) -> Outcome:
    """Return what becomes of a graph, whose inputs are varied by the seed."""
    level = seed % 4
    try:
        module = import_model(graph.model)
    except LeptonError as error:
        return _refused("import", error, level)
    except Exception as error:
        return _found("import", _describe(error), {}, level)
    try:
        compiled = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False, opt_level=level), threads=1)
    except LeptonError as error:
        return _refused("compile", error, level)
    except Exception as error:
        return _found("compile", _describe(error), {}, level)
    for feeds, special in input_sets(graph, seed):
        finding = compare_runs(graph.model, module, compiled, feeds, special, level)
        if finding is not None:
            return Outcome("found", finding.reason, finding)
    return Outcome("agree")


def _refused(kind: str, error: LeptonError, level: int) -> Outcome:
    text = str(error)
    if any(u in text for u in _UNCLEAR):
        return _found(kind, text, {}, level)
    return Outcome("refused", text)


def _found(kind: str, reason: str, feeds: Mapping[str, np.ndarray], level: int) -> Outcome:
    return Outcome("found", reason, Finding(kind, reason, feeds, level))


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


# Inputs -------------------------------------------------------------------------------------------------------------


def input_sets(graph: Graph, seed: int) -> list[tuple[dict[str, np.ndarray], bool]]:
    """Return inputs, and of each whether it holds special values or other sizes than the graph was made with."""
    rng = np.random.default_rng(seed)
    weighted = bool({n.op_type for n in graph.model.graph.node} & _WEIGHTED)
    sets = [(dict(graph.feeds), False)]
    if graph.feeds:
        kept = "f" if weighted else ""
        sets.append(({n: a if a.dtype.kind == kept else _special(a, rng) for n, a in graph.feeds.items()}, True))
    names = sorted({d.dim_param for i in graph.model.graph.input for d in i.type.tensor_type.shape.dim if d.dim_param})
    for _ in range(2 if names else 0):
        sizes = {n: int(rng.choice([0, 1, 1, 2, 3, 5, 8, 33])) for n in names}
        sets.append(({i.name: _resized(i, graph.feeds[i.name], sizes, rng) for i in graph.model.graph.input}, True))
    return sets


def _special(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if array.dtype.kind == "b" or rng.random() < 0.2:
        return array
    if array.dtype.kind in "iu":
        info = np.iinfo(array.dtype)
        values = np.array([info.min, info.max, 0, 1, info.max // 2, max(-1, info.min)], array.dtype)
    else:
        with np.errstate(all="ignore"):
            values = np.array(_SPECIAL_FLOATS).astype(array.dtype)
    return np.where(rng.random(array.shape) < 0.3, rng.choice(values, array.shape), array).astype(array.dtype)


def _resized(info: onnx.ValueInfoProto, array: np.ndarray, sizes: Mapping[str, int], rng: Any) -> np.ndarray:
    dims = info.type.tensor_type.shape.dim
    shape = [sizes[d.dim_param] if d.dim_param else d.dim_value for d in dims]
    if not array.size:
        return np.zeros(shape, array.dtype)
    return rng.choice(array.reshape(-1), shape).astype(array.dtype)


# Comparison ---------------------------------------------------------------------------------------------------------


def compare_runs(
    model: onnx.ModelProto, module: Any, compiled: Any, feeds: dict[str, np.ndarray], special: bool, level: int
) -> Finding | None:
    """Return what is wrong with the results for one input."""
    given = [feeds[a.name] for a in module.main.arguments]
    results: list[Arrays | None] = []
    errors: list[tuple[str, str]] = []
    for kind, call in (("interpreter", lambda: run(module, given)), ("run", lambda: compiled(*given))):
        try:
            results.append([np.array(a) for a in call()])
        except LeptonError as error:
            results.append(None)
            errors.append((kind, str(error)))
        except Exception as error:
            return Finding(kind, _describe(error), feeds, level)
    interpreted, got = results
    unclear = [(kind, text) for kind, text in errors if kind == "run" and any(u in text for u in _UNCLEAR)]
    refused = [(kind, text) for kind, text in errors if not any(c in text for c in _CONDITIONS)]
    # A clear error is an answer to an odd input. (The reference takes hours for some indices out of range.)
    if got is None and special and not unclear:
        return None
    voices = _references(model, feeds, special)
    for kind, text in unclear or (refused if voices and not special else []):
        return Finding(kind, text, feeds, level)
    if got is None or not voices:
        return None
    problem = first_difference(got, voices, model, feeds)
    if not problem:
        return None
    own = "" if interpreted is None else first_difference(got, [interpreted], model, feeds)
    who = "compiled code differs from the interpreter and the reference" if own else "ours differ from the reference"
    return Finding("wrong", f"{who}: {problem}", feeds, level)


def _references(model: onnx.ModelProto, feeds: dict[str, np.ndarray], special: bool) -> list[Arrays]:
    found: list[Arrays] = []
    integers = {n.op_type for n in model.graph.node} & {"Div", "Mod"} and any(
        a.dtype.name in INTEGERS for a in feeds.values()
    )
    evaluators = [run_reference]
    if not (special and integers):  # ONNX Runtime divides by zero with a signal.
        evaluators += [run_onnxruntime, _node_by_node]
    for evaluate in evaluators:
        if len(found) == 2:
            break
        try:
            found.append([np.asarray(a) for a in evaluate(model, feeds)])
        except Exception:  # Evaluators raise whatever they meet.
            continue
    return found


def _node_by_node(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> Arrays:
    """Return what ONNX Runtime computes of the nodes that it knows, the reference evaluator of the others."""
    return _chain(model, feeds, lambda array: array, (run_onnxruntime, run_reference))


def _chain(
    model: onnx.ModelProto,
    feeds: Mapping[str, np.ndarray],
    change: Callable[[np.ndarray], np.ndarray],
    evaluators: Sequence[Evaluator] = (run_reference, run_onnxruntime),
) -> Arrays:
    """Compute the nodes one by one, with a change to every input and result."""
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    values.update({n: change(a) for n, a in feeds.items()})
    for node in model.graph.node:
        given = {n: values[n] for n in node.input if n}
        arrays = evaluate_node(node, model.opset_import[0].version, given, evaluators)
        values.update(zip(node.output, map(change, arrays), strict=True))
    return [values[o.name] for o in model.graph.output]


def first_difference(
    got: Sequence[np.ndarray], voices: Sequence[Arrays], model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]
) -> str:
    """Return the first element that no voice has, and that rounding does not explain, "" where there is none."""
    for position, (g, *ws) in enumerate(zip(got, *voices, strict=True)):
        alike = [w for w in ws if g.shape == w.shape and g.dtype == w.dtype]
        if not alike:
            return f"output {position} is {g.dtype}{list(g.shape)} instead of {ws[0].dtype}{list(ws[0].shape)}"
        good = np.any([matches(g, w) for w in alike], axis=0)
        if good.all():
            continue
        noisy = [n[position] for n in _noisy(model, feeds)]
        bad = ~(good | np.any([matches(g, w, noisy) for w in alike], axis=0))
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            said = " or ".join(repr(w[at]) for w in alike)
            return f"output {position} at {list(at)} is {g[at]!r} instead of {said} ({int(bad.sum())} of {bad.size})"
    return ""


def matches(got: np.ndarray, wanted: np.ndarray, noisy: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Return where elements are equal up to rounding; ``noisy`` results say what rounding can do."""
    if wanted.dtype.kind != "f":
        same = got == wanted
        for n in noisy:
            same |= n != wanted
        return np.asarray(same)
    g, w = got.astype(np.float64), wanted.astype(np.float64)
    finite = w[np.isfinite(w)]
    scale = float(np.abs(finite).max()) if finite.size else 0.0
    rtol = _RTOL[wanted.dtype.name]
    with np.errstate(all="ignore"):
        slack = rtol * (np.abs(w) + min(scale, 1.0)) + np.finfo(wanted.dtype).tiny * 1e3
        unstable = np.zeros(w.shape, bool)
        for n in noisy:
            delta = np.abs(n.astype(np.float64) - w)
            unstable |= ~np.isfinite(delta) & ~((n == wanted) | (np.isnan(n) & np.isnan(wanted)))
            slack = slack + 16 * np.where(np.isfinite(delta), delta, 0)
        return np.asarray((np.abs(g - w) <= slack) | (g == w) | (np.isnan(g) & np.isnan(w)) | unstable)


def _noisy(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[Arrays]:
    """Return results of the graph computed with some noise on every float in it."""
    found = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        with suppress(SkipError):
            found.append(_chain(model, feeds, lambda array, rng=rng: _shaken(array, rng)))
    return found


def _shaken(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if array.dtype.kind != "f":
        return array
    with np.errstate(all="ignore"):
        noise = rng.uniform(-1, 1, array.shape) * _NOISE[array.dtype.name]
        return np.asarray(array * (1 + noise).astype(array.dtype), array.dtype)
