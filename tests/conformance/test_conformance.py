"""A sample of the onnx package's node test cases, compiled and run; run.py takes them all."""

from conformance_cases import CRASH, PASS, REFUSED, WRONG, judge, node_cases, operator_of
from run import run

EVERY = 60


def test_sample_of_node_cases():
    outcomes = run(list(node_cases())[::EVERY])
    assert len(outcomes) == len(range(0, len(node_cases()), EVERY))
    assert [(o.name, o.status, o.reason) for o in outcomes if o.status in (WRONG, CRASH)] == []
    assert sum(o.status == PASS for o in outcomes) >= 0.8 * len(outcomes)


def test_wrong_numbers_are_found():
    case = node_cases()["test_relu"]
    (inputs, outputs), *_ = case.data_sets
    broken = case.__class__(**{**vars(case), "data_sets": [(inputs, [outputs[0] + 1])]})
    assert judge(case).status == PASS
    assert judge(broken).status == WRONG


def test_refusals_have_a_reason():
    outcome = judge(node_cases()["test_image_decoder_decode_bmp_rgb"])
    assert (outcome.status, outcome.operator) == (REFUSED, "ImageDecoder")
    assert "ImageDecoder" in outcome.reason
    assert operator_of(node_cases()["test_relu_expanded_ver18"]) == "(function bodies)"
