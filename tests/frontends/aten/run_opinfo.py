"""Compares every aten operator with PyTorch over the samples that PyTorch's own tests generate (OpInfo).

    pip install torch==2.13.0 expecttest
    python tests/frontends/aten/run_opinfo.py [--match REGEX] [--samples N] [--dtypes float32,int64] [--compile N]

Each sample is traced twice: as the operators that TorchScript and torch.export see, and as the smaller set that
PyTorch decomposes these into. Prints, per operator, how many samples were tried and passed, and the first failure.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice

import torch
from aten_lowering import difference, evaluated, is_random, lowered, open_index, traced
from lepton_frontends.aten.rules import find_rule
from lepton_frontends.common.errors import UnsupportedError
from torch.testing._internal.common_methods_invocations import op_db

import lepton_ir
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.opdef import InferenceError


@dataclass
class Outcome:
    """What became of one operator's samples."""

    counts: Counter = field(default_factory=Counter)
    first: dict = field(default_factory=dict)

    def add(self, kind, detail=""):
        self.counts[kind] += 1
        if detail:
            self.first.setdefault(kind, detail)


def leaves(value):
    return torch.utils._pytree.tree_leaves(value)


def as_function(op, sample):
    """Return a function of the sample's tensors, and these."""
    whole = (sample.input, sample.args, sample.kwargs)
    flat, spec = torch.utils._pytree.tree_flatten(whole)
    places = [i for i, x in enumerate(flat) if isinstance(x, torch.Tensor)]

    def function(*tensors):
        again = list(flat)
        for place, tensor in zip(places, tensors, strict=True):
            again[place] = tensor
        first, args, kwargs = torch.utils._pytree.tree_unflatten(again, spec)
        return [x for x in leaves(op(first, *args, **kwargs)) if isinstance(x, torch.Tensor)]

    return function, [flat[i] for i in places]


def judge(op, sample, pre_dispatch, compiled, outcome):
    """Lower one sample and compare."""
    function, tensors = as_function(op, sample)
    if any(t.layout is not torch.strided for t in tensors):
        return
    try:
        wanted = function(*(t.clone() for t in tensors))
        if any(t.layout is not torch.strided for t in wanted):
            return
    except Exception:
        return
    graph = traced(function, tensors, pre_dispatch)
    if graph is None:
        return
    try:
        module = lowered(graph, tensors)
    except (UnsupportedError, InferenceError, LeptonError) as error:
        outcome.add("refused", f"{getattr(error, 'reason', error)}")
        return
    except Exception as error:
        outcome.add("crash", f"{type(error).__name__}: {error}"[:300])
        return
    try:
        found = evaluated(module, tensors)
        if compiled:
            artifact = lepton_ir.compile(module, verify=False)
            found = lepton_ir.runtime.load(artifact, threads=1)(*(t.numpy() for t in tensors))
    except Exception as error:
        outcome.add("crash", f"{type(error).__name__}: {error}"[:300])
        return
    random, ties = is_random(graph), 0 if op.name == "argsort" else open_index(graph)
    pairs = enumerate(zip(found, wanted, strict=True))
    problems = (difference(f, w, random or i == ties) for i, (f, w) in pairs)
    problem = next(filter(None, problems), "")
    outcome.add("wrong" if problem else "passed", f"{problem}; {sample.summary()}"[:400] if problem else "")


def tried(op, options):
    """Return what became of an operator's samples, of all element types, in both kinds of traces."""
    outcome = Outcome()
    for name in options.dtypes.split(","):
        dtype = getattr(torch, name)
        if dtype not in op.supported_dtypes("cpu"):
            continue
        torch.manual_seed(0)
        samples = list(islice(op.sample_inputs("cpu", dtype), 4000))
        step = max(1, len(samples) // options.samples)
        for number, sample in enumerate(samples[::step]):
            for pre_dispatch in (True, False):
                judge(op, sample, pre_dispatch, options.compile and number % options.compile == 0, outcome)
    return outcome


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--match", default="", help="regular expression that operators' names must hold")
    parser.add_argument("--samples", type=int, default=12, help="samples per operator and element type, spread out")
    parser.add_argument("--dtypes", default="float32,int64,bool,float16,uint8", help="of the samples")
    parser.add_argument("--compile", type=int, default=0, help="compile every Nth sample, instead of interpreting it")
    parser.add_argument("--covered", action="store_true", help="only operators whose own name has a rule")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    total = Counter()
    for op in sorted(op_db, key=lambda o: o.name):
        base = (op.aten_name or op.name).rpartition(".")[2]
        if not re.search(options.match, op.name) or (options.covered and find_rule(base) is None):
            continue
        outcome = tried(op, options)
        total += outcome.counts
        counts = outcome.counts
        name = op.name + (f".{op.variant_test_name}" if op.variant_test_name else "")
        every = sum(counts.values())
        print(
            f"{name:48} {counts['passed']:5} of {every:5}", *(f"{k}: {d}" for k, d in outcome.first.items()), flush=True
        )
    print(dict(total))
    return 1 if total["wrong"] or total["crash"] else 0


if __name__ == "__main__":
    sys.exit(main())
