"""The table of aten operators: as large as promised, with PyTorch's parameters, and written down as it is."""

from pathlib import Path

import torch
from lepton_frontends.aten.call import VIEWS
from lepton_frontends.aten.reference import core_aten, is_known, reference
from lepton_frontends.aten.rules import IRRELEVANT, all_rules, find_rule
from write_schemas import PATH, contents, is_exported, overloads

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "aten-ops.md"


def core_operators():
    names = {s.name.removeprefix("aten::") for s in torch._C._jit_get_all_schemas() if s.name.startswith("aten::")}
    for name in names:
        packet = getattr(torch.ops.aten, name)
        for operator in (getattr(packet, o) for o in packet.overloads()):
            if torch.Tag.core in operator.tags:
                yield str(operator).removeprefix("aten.")


def test_core_aten_is_what_pytorch_says():
    assert core_aten() == sorted(core_operators())


def test_core_aten_is_covered():
    missing = [name for name in core_aten() if not is_known(name)]
    assert len(missing) <= 0.05 * len(core_aten()), missing


def test_the_reference_is_fresh():
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "run python -m lepton_frontends.aten.reference docs/reference/aten-ops.md"
    )


def test_views_have_rules():
    assert [name for name in VIEWS if find_rule(name) is None] == []


def test_schemas_are_fresh():
    assert PATH.read_text(encoding="utf-8") == contents(), "run python tests/frontends/torch/write_schemas.py"


def test_keywords_are_called_as_in_pytorch():
    wrong = {}
    for name, rule in all_rules().items():
        known = rule.signature.parameters
        if any(p.kind is p.VAR_KEYWORD for p in known.values()):
            continue
        for operator in filter(is_exported, overloads(name)):
            names = [a.name for a in operator._schema.arguments if a.kwarg_only]
            unknown = [n for n in names if n not in known and n not in IRRELEVANT]
            if unknown:
                wrong[str(operator)] = unknown
    assert wrong == {}
