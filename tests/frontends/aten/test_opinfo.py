"""A spread-out sample of what run_opinfo.py compares: few samples of every tenth operator, interpreted and compiled."""

from types import SimpleNamespace

import pytest
from run_opinfo import op_db, tried

STEP = 10
OPERATORS = sorted(op_db, key=lambda o: (o.name, o.variant_test_name))[3::STEP]
OPTIONS = SimpleNamespace(dtypes="float32,int64", samples=2, compile=2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", OPERATORS, ids=lambda o: ".".join(filter(None, (o.name, o.variant_test_name))))
def test_operators_agree_with_pytorch(op):
    outcome = tried(op, OPTIONS)
    assert not outcome.counts["wrong"] and not outcome.counts["crash"], outcome.first
