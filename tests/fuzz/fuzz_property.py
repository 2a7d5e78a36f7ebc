"""The property that all graphs have, for hypothesis, which shrinks what breaks it."""

from __future__ import annotations

from collections.abc import Callable

from fuzz_judge import judge, make
from fuzz_reduce import show
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

_SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.large_base_example]


def property_of(cases: int, fixed: bool) -> Callable[[], None]:
    """Return a function that checks so many graphs, always the same ones if ``fixed``."""

    @settings(max_examples=cases, deadline=None, derandomize=fixed, database=None, suppress_health_check=_SLOW)
    @given(st.randoms(use_true_random=False), st.integers(0, 3))
    def check(source, level):
        graph = make(source)
        assume(graph is not None)
        note(show(graph))
        outcome = judge(graph, level)
        assert outcome.status in ("agree", "refused"), outcome.reason

    return check
