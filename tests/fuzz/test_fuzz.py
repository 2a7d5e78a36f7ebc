"""A fixed sample of random graphs; run.py takes as many as one likes."""

import numpy as np
import pytest
from fuzz_batch import run
from fuzz_graph import TABLE, Grower
from fuzz_judge import first_difference, judge, make, matches
from fuzz_property import property_of
from fuzz_reduce import cut, reduce, show

CASES = range(1, 121)


def test_random_graphs_are_right_or_refused():
    results = list(run(CASES))
    assert [(r.seed, r.kind, r.reason) for r in results if r.status == "found"] == []
    assert sum(r.status == "agree" for r in results) >= len(CASES) // 2


def test_graphs_that_hypothesis_draws_are_right_or_refused():
    property_of(60, fixed=True)()


def test_a_seed_always_gives_the_same_graph():
    first, second = make(3), make(3)
    assert first.model.SerializeToString() == second.model.SerializeToString()
    assert all(np.array_equal(first.feeds[n], second.feeds[n]) for n in first.feeds)


def test_every_rule_of_the_table_adds_a_node():
    made = set()
    for seed in range(400):
        for name in set(TABLE) - made:
            grower = Grower(seed)
            try:
                TABLE[name](grower)
            except Exception:
                continue
            if grower.nodes:
                made.add(name)
    assert made == set(TABLE)


@pytest.mark.parametrize(
    ("got", "same"), [([1.0, np.nan], True), ([1.0, 2.0], False), ([1.00001, np.nan], True), ([1.01, np.nan], False)]
)
def test_what_counts_as_equal(got, same):
    wanted = np.array([1, np.nan], np.float32)
    assert matches(np.array(got, np.float32), wanted).all() == same


def test_differences_are_found_and_graphs_reduced():
    graph = next(g for g in map(make, range(1, 99)) if g is not None and len(g.model.graph.node) > 2)
    outputs = [graph.values[o.name] for o in graph.model.graph.output]
    wrong = [np.logical_not(outputs[0]) if outputs[0].dtype == bool else outputs[0] + 1, *outputs[1:]]
    assert first_difference(outputs, [outputs], graph.model, graph.feeds) == ""
    assert outputs[0].size == 0 or "instead of" in first_difference(wrong, [outputs], graph.model, graph.feeds)
    last = graph.model.graph.node[-1]
    reduced = reduce(graph, lambda smaller: any(n.name == last.name for n in smaller.model.graph.node))
    assert [n.name for n in reduced.model.graph.node] == [last.name]
    assert last.op_type in show(reduced)
    assert judge(cut(graph, [last]), 1).status in ("agree", "refused")
