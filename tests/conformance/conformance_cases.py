"""The onnx package's backend test suite: its cases, and what becomes of each when Lepton compiles it.

The suite's own function compares shapes, element types and numbers, at the tolerances that each case states.
"""

from __future__ import annotations

import traceback
import warnings
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from element_types import variants
from lepton_frontends.onnx.load import import_model
from lepton_frontends.onnx.tensors import TensorReader
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner
from onnx.reference import ReferenceEvaluator

import lepton_ir
from lepton_ir.diagnostics import LeptonError

PASS, REFUSED, WRONG, CRASH, UNKNOWN = "pass", "refused", "wrong", "crash", "unknown"
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "light")
_INTERNAL = ("bug in Lepton", "the model failed while it ran")


@dataclass(frozen=True)
class Case:
    """One case of the suite.

    Attributes:
        name: its name in the suite.
        kind: one of KINDS.
        model: the model, or None where it lies in ``folder``.
        data_sets: inputs and expected outputs, None where these lie in ``folder`` or are the reference evaluator's.
        folder: the folder, or for a light network the file, that it lies in.
        rtol: the suite's relative tolerance.
        atol: the suite's absolute tolerance.
    """

    name: str
    kind: str
    model: ModelProto | None
    data_sets: list | None
    folder: str
    rtol: float
    atol: float

    def load(self):
        """Return the model and its file."""
        if self.model is not None:
            return self.model, None
        file = Path(self.folder) if self.kind == "light" else Path(self.folder, "model.onnx")
        return onnx.load(file), file


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        name: the case.
        kind: what it belongs to.
        operator: the operator that it is about.
        status: PASS; REFUSED, a diagnostic; WRONG numbers, shapes or element types; CRASH, any other failure;
            UNKNOWN, nobody computes what is expected.
        reason: why it did not pass.
    """

    name: str
    kind: str
    operator: str
    status: str
    reason: str = ""


@cache
def all_cases():
    """Return all cases of the suite by name, those that appear in two kinds once with the kind in the name."""
    found = {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for kind in KINDS:
            for test in load_model_tests(kind="real" if kind == "light" else kind):
                folder = test.model_dir or ""
                if kind == "light":
                    folder = str(Path(onnx.__file__).parent / test.url.removeprefix("onnx/"))
                name = test.name if test.name not in found else f"{test.name}_{kind}"
                found[name] = Case(name, kind, test.model, test.data_sets, folder, test.rtol, test.atol)
    return found


def operator_of(case):
    """Return the operator that a case is about; the bodies of functions count as one."""
    if case.kind != "node":
        return f"({case.kind})"
    expanded = case.name.endswith("_expanded") or "_expanded_" in case.name
    nodes = case.model.graph.node
    return "(function bodies)" if expanded or not nodes else nodes[0].op_type


def judge(case, opt_level=3, initializers=False):
    """Return the outcome of compiling and running one case.

    Args:
        case: what to judge.
        opt_level: the optimization level.
        initializers: turn every input but the first into an initializer.
    """
    operator = operator_of(case)

    def outcome(status, reason=""):
        return Outcome(case.name, case.kind, operator, status, reason)

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            _run(case, opt_level, initializers)
    except LeptonError as error:
        return outcome(CRASH if any(i in str(error) for i in _INTERNAL) else REFUSED, str(error).strip())
    except AssertionError as error:
        own = traceback.extract_tb(error.__traceback__)[-1].filename
        if own == __file__ or "numpy" in own or "onnx" in Path(own).parts:
            return outcome(WRONG, " ".join(str(error).split()))
        return outcome(CRASH, traceback.format_exc())
    except Exception:
        return outcome(CRASH, traceback.format_exc())
    return outcome(PASS)


def judge_by_name(name, opt_level=3, initializers=False):
    """Return the outcome of a case, or of a variant of one with other element types."""
    case, _, choice = name.partition("@")
    if not choice:
        return judge(all_cases()[case], opt_level, initializers)
    known = all_cases()[case]
    outcome = Outcome(name, known.kind, operator_of(known), UNKNOWN, "no reference computes it")
    for made in variants(known, choice):
        outcome = replace(judge(made, opt_level, initializers), name=name)
        if outcome.status != WRONG:
            break
    return outcome


def node_cases():
    """Return the cases of single nodes by name."""
    return {name: case for name, case in all_cases().items() if case.kind == "node"}


def _run(case, opt_level, initializers):
    proto, file = case.load()
    compiled = None
    for inputs, wanted in _data(case, proto):
        names = _input_names(proto)
        feeds = dict(zip(names, inputs, strict=False))
        if compiled is None or initializers:
            compiled, order = _compile(proto, file, feeds, opt_level, initializers)
        given = [feeds[name] for name in order]
        got = list(compiled(*given))
        assert_similar(wanted, got, case)


def assert_similar(wanted, got, case):
    """Raise AssertionError where outputs differ; the suite cannot compare types that numpy does not know."""
    if any(isinstance(w, list) for w in wanted):
        # The suite takes the elements of a sequence for lists of outputs, and those of rank 0 have no length.
        assert [type(g) for g in got] == [type(w) for w in wanted], f"{list(map(type, got))} instead"
        for g, w in zip(got, wanted, strict=True):
            g, w = (g, w) if isinstance(w, list) else ([g], [w])
            assert len(g) == len(w), f"{len(g)} elements instead of {len(w)}"
            assert_similar(w, g, case)
        return
    short = {str(w.dtype) for w in wanted if isinstance(w, np.ndarray) and w.dtype.isbuiltin == 2} - {"bfloat16"}
    if not short:
        Runner.assert_similar_outputs(wanted, got, case.rtol, case.atol)
        return
    assert len(got) == len(wanted), f"{len(got)} outputs instead of {len(wanted)}"
    for g, w in zip(got, wanted, strict=True):
        assert (g.shape, g.dtype) == (w.shape, w.dtype), f"{g.dtype}{g.shape} instead of {w.dtype}{w.shape}"
        np.testing.assert_allclose(g.astype(np.float64), w.astype(np.float64), rtol=case.rtol, atol=case.atol)


def _compile(proto, file, feeds, opt_level, initializers):
    fixed = {}
    if initializers:
        fixed = {n: v for n, v in list(feeds.items())[1:] if isinstance(v, np.ndarray)}
    reader = TensorReader(file, str(file)) if file is not None else None
    module = import_model(proto, reader, constants=fixed)
    artifact = lepton_ir.compile(module, verify=False, opt_level=opt_level)
    return lepton_ir.runtime.load(artifact, threads=2), [a.name for a in module.main.arguments]


def _input_names(proto):
    weights = {t.name for t in proto.graph.initializer}
    return [i.name for i in proto.graph.input if i.name not in weights]


def _data(case, proto):
    """Yield inputs and expected outputs."""
    if case.data_sets is not None:
        for inputs, outputs in case.data_sets:
            yield [_plain(x) for x in inputs], [_plain(x) for x in outputs]
        return
    if case.kind == "light":
        yield _light_data(case, proto)
        return
    for folder in sorted(Path(case.folder).glob("test_data_set*")):
        yield tuple(
            [_read(folder / f"{what}_{i}.pb", infos[i].type) for i in range(len(list(folder.glob(f"{what}_*.pb"))))]
            for what, infos in (("input", proto.graph.input), ("output", proto.graph.output))
        )


def _light_data(case, proto):
    """Return the inputs that the suite makes for a light network, and the outputs that come along or are computed."""
    weights = {t.name for t in proto.graph.initializer}
    infos = [i for i in proto.graph.input if i.name not in weights]
    inputs = [Runner.generate_dummy_data(i, seed=0, name=case.name.removeprefix("test_"), random=False) for i in infos]
    stem = case.folder.removesuffix(".onnx")
    files = [Path(f"{stem}_output_{i}.pb") for i in range(len(proto.graph.output))]
    if all(f.exists() for f in files):
        return inputs, [_read(f, o.type) for f, o in zip(files, proto.graph.output, strict=True)]
    return inputs, ReferenceEvaluator(proto).run(None, dict(zip([i.name for i in infos], inputs, strict=True)))


def _read(path, kind):
    found = []
    Runner._load_proto(None, str(path), found, kind)
    return found[0]


def _plain(x):
    if isinstance(x, TensorProto):
        return numpy_helper.to_array(x)
    if isinstance(x, list):
        return [_plain(v) for v in x]
    return None if x is None else np.asarray(x)
