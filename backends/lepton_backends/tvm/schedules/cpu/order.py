"""How elements compare: with NaN above everything, and equal ones by their index."""

from __future__ import annotations

from lepton_backends.tvm import tir
from lepton_backends.tvm.tir import Expr


def before(value: Expr, at: Expr, other: Expr, other_at: Expr, *, largest: bool, last: bool = False) -> Expr:
    """Return whether (value, index) comes before (other, other index).

    Args:
        value: an element.
        at: its index.
        other: another element.
        other_at: its index.
        largest: larger elements come first, else smaller ones; NaN comes before both.
        last: of equal elements the later one comes first.
    """
    wins = value > other if largest else value < other
    ties = tir.equal(value, other)
    earlier = at > other_at if last else at < other_at
    if tir.dtype_of(value).startswith("float"):
        nan, other_nan = tir.is_nan(value), tir.is_nan(other)
        wins = tir.either(wins, tir.both(nan, tir.negated(other_nan)))
        ties = tir.either(ties, tir.both(nan, other_nan))
    return tir.either(wins, tir.both(ties, earlier))
