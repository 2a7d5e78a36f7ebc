"""A sample of the hostile corpus and of the mutations; ``run.py`` and ``mutate.py`` run all, and more."""

import mutate
import run_hostile as run
from hostile_case import all_cases
from judge import SECONDS

PER_CLASS = 3
MUTANTS = 40


def sample():
    """Return cases spread over every class, fast ones only."""
    by_kind = {}
    for case in all_cases():
        if case.kind not in ("loops", "counts"):
            by_kind.setdefault((case.kind, case.expect), []).append(case)
    return [c for cases in by_kind.values() for c in cases[:: max(1, len(cases) // PER_CLASS)][:PER_CLASS]]


def wrong(verdicts):
    return {f"{case.kind}: {case.name}": v.why for case, v in verdicts if v.outcome == "wrong"}


def test_the_corpus_has_its_size():
    cases = all_cases()
    assert len(cases) >= 200 and len({c.kind for c in cases}) >= 12 and SECONDS == 30


def test_hostile_files_are_refused_with_a_place_or_right():
    assert wrong(run.verdicts(sample())) == {}


def test_damaged_models_are_refused_with_a_place_or_right():
    assert wrong(mutate.verdicts(mutate.cases(MUTANTS, seed=1))) == {}
