"""Properties of dimension expressions: their algebra agrees with that of integers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_ir.ir.dim import (
    Dim,
    Expr,
    bounds,
    ceildiv,
    divisor_of,
    dmax,
    dmin,
    evaluate,
    floordiv,
    is_nonnegative,
    mod,
    product,
    substitute,
    sym,
    symbols,
)

NAMES = ("N", "S", "H")
FUNCTIONS = {"floordiv": floordiv, "ceildiv": ceildiv, "mod": mod, "min": dmin, "max": dmax}
ENVIRONMENTS = st.fixed_dictionaries({name: st.integers(0, 40) for name in NAMES})
LEAVES: st.SearchStrategy[Any] = st.integers(-6, 6) | st.sampled_from(NAMES)


def grow(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return expression trees, as tuples, over smaller ones."""
    free = st.tuples(st.sampled_from(["+", "-", "*", "min", "max"]), children, children)
    divided = st.tuples(st.sampled_from(["floordiv", "ceildiv", "mod"]), children, st.integers(1, 7))
    return free | divided


TREES = st.recursive(LEAVES, grow, max_leaves=7)


def as_dim(tree: Any) -> Dim:
    """Build a tree with the algebra of dimensions."""
    if isinstance(tree, int):
        return tree
    if isinstance(tree, str):
        return sym(tree)
    fn, a, b = tree[0], as_dim(tree[1]), as_dim(tree[2])
    if fn in FUNCTIONS:
        return FUNCTIONS[fn](a, b)
    return a + b if fn == "+" else a - b if fn == "-" else a * b


def as_number(tree: Any, env: dict[str, int]) -> int:
    """Compute a tree with integers."""
    if isinstance(tree, int):
        return tree
    if isinstance(tree, str):
        return env[tree]
    fn, a, b = tree[0], as_number(tree[1], env), as_number(tree[2], env)
    by_integers = {
        "+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "min": lambda: min(a, b), "max": lambda: max(a, b),
        "floordiv": lambda: a // b, "ceildiv": lambda: -(-a // b), "mod": lambda: a % b,
    }  # fmt: skip
    return by_integers[fn]()


@given(TREES, ENVIRONMENTS)
@settings(max_examples=200, deadline=None)
def test_evaluation_agrees_with_integers(tree: Any, env: dict[str, int]) -> None:
    assert evaluate(as_dim(tree), env) == as_number(tree, env)


@given(TREES, ENVIRONMENTS, st.sampled_from(NAMES))
@settings(max_examples=100, deadline=None)
def test_substitution_in_steps_is_substitution_at_once(tree: Any, env: dict[str, int], first: str) -> None:
    dim = as_dim(tree)
    assert substitute(substitute(dim, {first: env[first]}), env) == evaluate(dim, env)


@given(TREES, TREES, TREES)
@settings(max_examples=100, deadline=None)
def test_ring_laws_hold_structurally(a: Any, b: Any, c: Any) -> None:
    x, y, z = as_dim(a), as_dim(b), as_dim(c)
    assert x + y == y + x
    assert x * y == y * x
    assert (x + y) + z == x + (y + z)
    assert (x * y) * z == x * (y * z)
    assert x * (y + z) == x * y + x * z
    assert x - x == 0
    assert hash(x + y) == hash(y + x)


@given(TREES, st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_exact_division_cancels(tree: Any, k: int) -> None:
    x = as_dim(tree)
    assert floordiv(x * k, k) == x
    assert ceildiv(x * k, k) == x
    assert mod(x * k, k) == 0
    assert divisor_of(x * k) % k == 0


@given(TREES, ENVIRONMENTS)
@settings(max_examples=300, deadline=None)
def test_bounds_hold(tree: Any, env: dict[str, int]) -> None:
    dim = as_dim(tree)
    low, high = bounds(dim)
    value = evaluate(dim, env)
    assert low is None or low <= value
    assert high is None or value <= high
    assert not is_nonnegative(dim) or value >= 0


@given(TREES)
@settings(max_examples=100, deadline=None)
def test_symbols_are_all_that_evaluation_needs(tree: Any) -> None:
    dim = as_dim(tree)
    evaluate(dim, dict.fromkeys(symbols(dim), 3))


@given(st.lists(st.integers(0, 5) | st.sampled_from(NAMES), max_size=5), ENVIRONMENTS)
@settings(max_examples=100, deadline=None)
def test_product(factors: list[Any], env: dict[str, int]) -> None:
    expected = 1
    for f in factors:
        expected *= as_number(f, env)
    assert evaluate(product(as_dim(f) for f in factors), env) == expected


def test_normal_form() -> None:
    n, s = sym("N"), sym("S")
    assert str(n * (s + 1)) == "N*S + N"
    assert n * (s + 1) == s * n + n
    assert (n + 1) - n == 1
    assert isinstance(n + 1, Expr)
    assert n * 0 == 0
    assert str(2 * n - s) == "2*N - S"
    assert str(floordiv(n + 1, 2)) == "floordiv(N + 1, 2)"
    assert ceildiv(s, 2) == floordiv(s - 1, 2) + 1 == floordiv(s + 1, 2)
    assert floordiv(floordiv(n - 192, 128), 2) == floordiv(n - 192, 256)
    assert floordiv(6 * n + 3, 4) == floordiv(3 * n + 1, 2)
    assert mod(5 * n + 7, 4) == mod(n + 3, 4)
    assert dmin(n, n + 3) == n
    assert dmax(n, n + 3) == n + 3
    assert bounds(floordiv(n - 1, 2) + 1) == (0, None)
    assert bounds(mod(n, 4) - 3) == (-3, 0)
    assert floordiv(4 * n * s + 2 * n, 2 * n) == 2 * s + 1


def test_a_missing_symbol_is_named() -> None:
    with pytest.raises(KeyError, match="S"):
        evaluate(sym("N") + sym("S"), {"N": 1})
