"""The generated page of supported operators is fresh."""

from pathlib import Path

from lepton_frontends.onnx.reference import reference
from lepton_frontends.onnx.rules import all_rules

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "onnx-ops.md"


def test_page_is_fresh():
    """Write it anew with: python -m lepton_frontends.onnx.reference docs/reference/onnx-ops.md"""
    assert PAGE.read_text(encoding="utf-8") == reference()


def test_at_least_150_operators():
    assert sum(domain == "" for domain, _ in all_rules()) >= 150
