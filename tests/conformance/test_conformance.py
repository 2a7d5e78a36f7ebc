"""A spread-out sample of the onnx package's backend test suite, compiled and run; run.py takes all of it."""

from conformance_cases import PASS, REFUSED, WRONG, all_cases, judge, operator_of
from known_failures import reason_of
from run import run

EVERY = 60


def test_sample():
    outcomes = run(list(all_cases())[::EVERY])
    assert len(outcomes) == len(range(0, len(all_cases()), EVERY))
    assert unexpected(outcomes) == []


def unexpected(outcomes):
    return [(o.name, o.status, o.reason) for o in outcomes if o.status != PASS and not reason_of(o.name)]


def test_sample_with_initializers_for_inputs():
    outcomes = run(list(all_cases())[EVERY // 2 :: EVERY], initializers=True)
    assert unexpected(outcomes) == []


def test_wrong_numbers_are_found():
    case = all_cases()["test_relu"]
    (inputs, outputs), *_ = case.data_sets
    broken = case.__class__(**{**vars(case), "data_sets": [(inputs, [outputs[0] + 1])]})
    assert judge(case).status == PASS
    assert judge(broken).status == WRONG


def test_refusals_have_a_reason():
    case = all_cases()["test_relu"]
    model = case.model.__class__()
    model.CopyFrom(case.model)
    model.graph.node[0].op_type = "Unheard"
    outcome = judge(case.__class__(**{**vars(case), "model": model}))
    assert (outcome.status, outcome.operator) == (REFUSED, "Unheard")
    assert "Unheard" in outcome.reason and operator_of(all_cases()["test_relu_expanded_ver18"]) == "(function bodies)"
