"""The onnx package's own test cases of every supported operator, through the interpreter."""

import pytest
from lepton_frontends.onnx.load import import_model
from lepton_frontends.onnx.rules import all_rules
from onnx_cases import check_case, node_cases, run_onnxruntime

from lepton_ir.diagnostics import LeptonError
from lepton_ir.interp import run

# ONNX's reference resamples with the scale before it is rounded to a size; Lepton and ONNX Runtime with the sizes.
LIKE_ONNX_RUNTIME = {
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
}
OPERATORS = sorted({op for domain, op in all_rules() if domain == ""} & {*node_cases()})


@pytest.mark.parametrize("operator", OPERATORS)
def test_operator(operator):
    failed = []
    for case in node_cases()[operator]:
        if case.name in LIKE_ONNX_RUNTIME:
            continue
        try:
            check_case(case)
        except (AssertionError, LeptonError) as error:
            failed.append(f"{case.name}: {error}")
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("name", sorted(LIKE_ONNX_RUNTIME))
def test_resize_with_a_scale_that_gives_no_whole_size(name):
    case = next(c for c in node_cases()["Resize"] if c.name == name)
    feeds = dict(zip((i.name for i in case.model.graph.input), case.data_sets[0][0], strict=True))
    wanted = run_onnxruntime(case.model, feeds)[0]
    scales = {n: a for n, a in feeds.items() if n != "X"}
    got = run(import_model(case.model, constants=scales), [feeds["X"]])[0]
    assert abs(got - wanted).max() < 1e-5


def test_cases_that_pass_in_total(capsys):
    passed, total = 0, 0
    for cases in node_cases().values():
        for case in cases:
            total += 1
            try:
                check_case(case)
                passed += 1
            except (AssertionError, LeptonError):
                continue
    with capsys.disabled():
        print(f"\n{passed} of {total} ONNX node test cases pass")
    assert passed >= 1700
