"""Symbolic dimensions: integer polynomials over named symbols.

A dimension is an ``int`` or an :class:`Expr`. Expressions are kept in a normal form, a polynomial whose
atoms are symbols and the opaque functions ``floordiv``, ``ceildiv``, ``mod``, ``min`` and ``max``, so that
equality is structural: ``N*(S+1)`` and ``N*S + N`` are the same object by ``==`` and by hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import gcd, prod
from typing import TypeAlias, Union

Dim: TypeAlias = Union[int, "Expr"]
Monomial: TypeAlias = "tuple[tuple[Atom, int], ...]"

MOST_TERMS = 1024
"""Products of sums grow exponentially; the shapes of real networks have a handful of terms."""
HIGHEST_POWER = 64
LARGEST_COEFFICIENT = 1 << 128
MOST_NESTED = 32
MOST_ATOMS = 4096
"""Names in the whole expression, written out."""


class DimError(ValueError):
    """A dimension is an expression too large to calculate with."""


@dataclass(frozen=True)
class Sym:
    """A named dimension such as ``N`` (at least 0 at run time)."""

    name: str

    def __str__(self) -> str:
        return self.name

    @cached_property
    def key(self) -> str:
        return self.name

    @property
    def extent(self) -> tuple[int, int]:
        """How many names it has, and how deeply functions are nested in it."""
        return 1, 0


@dataclass(frozen=True)
class Func:
    """An opaque function of two dimensions: floordiv, ceildiv, mod, min or max."""

    fn: str
    lhs: Dim
    rhs: Dim

    def __str__(self) -> str:
        return f"{self.fn}({self.lhs}, {self.rhs})"

    @cached_property
    def key(self) -> str:
        return str(self)

    @cached_property
    def extent(self) -> tuple[int, int]:
        """How many names it has, and how deeply functions are nested in it."""
        sides = [d.extent for d in (self.lhs, self.rhs) if isinstance(d, Expr)]
        return 1 + sum(names for names, _ in sides), 1 + max((depth for _, depth in sides), default=0)


Atom: TypeAlias = Sym | Func


@dataclass(frozen=True)
class Expr:
    """A polynomial: sorted ``(monomial, coefficient)`` terms, never constant (those are ``int``)."""

    terms: tuple[tuple[Monomial, int], ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.terms)

    @cached_property
    def extent(self) -> tuple[int, int]:
        """How many names it has, and how deeply functions are nested in it."""
        atoms = [(atom.extent, power) for mono, _ in self.terms for atom, power in mono]
        return sum(names * power for (names, _), power in atoms), max(depth for (_, depth), _ in atoms)

    def __add__(self, other: Dim) -> Dim:
        acc = dict(self.terms)
        for mono, coef in _terms(other):
            acc[mono] = acc.get(mono, 0) + coef
        return _make(acc)

    def __mul__(self, other: Dim) -> Dim:
        if isinstance(other, Expr) and len(self.terms) * len(other.terms) > MOST_TERMS:
            raise DimError(f"a dimension is a sum of more than {MOST_TERMS} terms")
        acc: dict[Monomial, int] = {}
        for ma, ca in self.terms:
            for mb, cb in _terms(other):
                mono = _mul_monomials(ma, mb)
                acc[mono] = acc.get(mono, 0) + ca * cb
        return _make(acc)

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + -other

    def __rsub__(self, other: Dim) -> Dim:
        return -self + other

    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return mod(self, other)

    def __rmod__(self, other: Dim) -> Dim:
        return mod(other, self)

    def __str__(self) -> str:
        out = ""
        for mono, coef in self.terms:
            factors = [f"{a}" for a, power in mono for _ in range(power)]
            body = "*".join(([str(abs(coef))] if abs(coef) != 1 or not factors else []) + factors)
            sign = ("-" if coef < 0 else "") if not out else (" - " if coef < 0 else " + ")
            out += sign + body
        return out

    __repr__ = __str__


def sym(name: str) -> Dim:
    """Return the dimension named ``name``."""
    return Expr(((((Sym(name), 1),), 1),))


def _terms(dim: Dim) -> Iterable[tuple[Monomial, int]]:
    if isinstance(dim, Expr):
        return dim.terms
    return (((), int(dim)),) if dim else ()


def _mul_monomials(a: Monomial, b: Monomial) -> Monomial:
    if not a or not b:
        return a or b
    powers: dict[Atom, int] = dict(a)
    for atom, power in b:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda item: item[0].key))


def _term_order(item: tuple[Monomial, int]) -> tuple[int, str]:
    return -sum(p for _, p in item[0]), " ".join(f"{a.key}^{p}" for a, p in item[0])


def _make(acc: Mapping[Monomial, int]) -> Dim:
    kept = {m: c for m, c in acc.items() if c}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    _check_terms(kept)
    return _checked(Expr(tuple(sorted(kept.items(), key=_term_order))))


def _check_terms(terms: Mapping[Monomial, int]) -> None:
    # Before anything is sorted or spelled: that writes powers out.
    if len(terms) > MOST_TERMS or any(abs(c) > LARGEST_COEFFICIENT for c in terms.values()):
        raise DimError("a dimension is an expression of too many terms, or of too large numbers")
    if any(power > HIGHEST_POWER for mono in terms for _, power in mono):
        raise DimError(f"a dimension is a power of more than {HIGHEST_POWER}")


def _checked(expr: Expr) -> Expr:
    names, depth = expr.extent
    if names > MOST_ATOMS or depth > MOST_NESTED:
        raise DimError("a dimension is an expression of too many names, or of too many divisions inside of each other")
    return expr


def _divide_exactly(a: Dim, b: Dim) -> Dim | None:
    """Return a / b where b is one monomial that divides every term of a, else None."""
    divisor = tuple(_terms(b))
    if len(divisor) != 1:
        return 1 if a == b else None
    (mono_b, coef_b), acc = divisor[0], {}
    for mono, coef in _terms(a):
        powers = dict(mono)
        for atom, power in mono_b:
            powers[atom] = powers.get(atom, 0) - power
        if coef % coef_b or any(p < 0 for p in powers.values()):
            return None
        acc[tuple(sorted(((k, p) for k, p in powers.items() if p), key=lambda i: i[0].key))] = coef // coef_b
    return _make(acc)


def _func(fn: str, a: Dim, b: Dim) -> Dim:
    return _checked(Expr(((((Func(fn, a, b), 1),), 1),)))


def floordiv(a: Dim, b: Dim) -> Dim:
    """Return floor(a / b).

    Raises:
        ZeroDivisionError: ``b`` is the constant 0.
    """
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    exact = _divide_exactly(a, b)
    if exact is not None:
        return exact
    return (
        _floordiv_by_number(a, b) if isinstance(a, Expr) and isinstance(b, int) and b > 0 else _func("floordiv", a, b)
    )


def _floordiv_by_number(a: Expr, b: int) -> Dim:
    """Return floor(a / b) in normal form: what ``b`` divides stands outside, and nested divisions are one."""
    whole = {mono: coef // b for mono, coef in a.terms if not mono or coef % b == 0}
    rest = {mono: coef % b if not mono else coef for mono, coef in a.terms if not mono or coef % b}
    common = gcd(b, *(coef for mono, coef in rest.items() if mono))
    # floor((g*x + c) / (g*b)) is floor((x + floor(c / g)) / b).
    quotient, inner, b = _make(whole), _make({mono: coef // common for mono, coef in rest.items()}), b // common
    if isinstance(inner, int) or b == 1:
        return quotient + floordiv(inner, b)
    nested, offset = inner.terms[0], sum(coef for mono, coef in inner.terms if not mono)
    atom, divisor = nested[0][0][0], 0
    if isinstance(atom, Func) and atom.fn == "floordiv" and isinstance(atom.rhs, int):
        divisor = atom.rhs
    if divisor > 0 and isinstance(atom, Func) and nested == (((atom, 1),), 1) and len(inner.terms) == 1 + bool(offset):
        # floor((floor(x / d) + c) / b) is floor((x + c*d) / (b*d)).
        return quotient + floordiv(atom.lhs + offset * divisor, b * divisor)
    return quotient + _func("floordiv", inner, b)


def ceildiv(a: Dim, b: Dim) -> Dim:
    """Return ceil(a / b)."""
    if isinstance(b, int) and b > 0:
        return floordiv(a + (b - 1), b)
    if isinstance(a, int) and isinstance(b, int):
        return -(-a // b)
    exact = _divide_exactly(a, b)
    return exact if exact is not None else _func("ceildiv", a, b)


def mod(a: Dim, b: Dim) -> Dim:
    """Return a - b * floor(a / b)."""
    if isinstance(a, Expr) and isinstance(b, int) and b > 0:
        a = _make({mono: coef % b for mono, coef in a.terms})
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    return 0 if _divide_exactly(a, b) is not None else _func("mod", a, b)


def _extreme(fn: str, pick: Callable[[int, int], int], a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return pick(a, b)
    low, high = bounds(a - b)
    if low is not None and low >= 0:
        return a if fn == "max" else b
    if high is not None and high <= 0:
        return b if fn == "max" else a
    a, b = sorted((a, b), key=str)
    return _func(fn, a, b)


def dmin(a: Dim, b: Dim) -> Dim:
    """Return the smaller of two dimensions."""
    return _extreme("min", min, a, b)


def dmax(a: Dim, b: Dim) -> Dim:
    """Return the larger of two dimensions."""
    return _extreme("max", max, a, b)


FUNCTIONS: dict[str, Callable[[Dim, Dim], Dim]] = {
    "floordiv": floordiv,
    "ceildiv": ceildiv,
    "mod": mod,
    "min": dmin,
    "max": dmax,
}


def is_static(dims: Iterable[Dim]) -> bool:
    """Return whether every dimension is a number."""
    return all(isinstance(d, int) for d in dims)


def product(dims: Iterable[Dim]) -> Dim:
    """Return the product of the dimensions (1 of none)."""
    dims = list(dims)
    out: Dim = prod(d for d in dims if isinstance(d, int))
    for d in dims:
        if not isinstance(d, int):
            out = d * out
    return out


def symbols(dim: Dim) -> frozenset[str]:
    """Return the names that ``dim`` depends on."""
    names: set[str] = set()
    for mono, _ in _terms(dim):
        for atom, _ in mono:
            names |= {atom.name} if isinstance(atom, Sym) else symbols(atom.lhs) | symbols(atom.rhs)
    return frozenset(names)


def substitute(dim: Dim, env: Mapping[str, Dim]) -> Dim:
    """Replace the named symbols in ``dim``; symbols that ``env`` lacks stay."""
    if isinstance(dim, int):
        return dim
    total: Dim = 0
    for mono, coef in dim.terms:
        term: Dim = coef
        for atom, power in mono:
            value = (
                env.get(atom.name, sym(atom.name))
                if isinstance(atom, Sym)
                else FUNCTIONS[atom.fn](substitute(atom.lhs, env), substitute(atom.rhs, env))
            )
            for _ in range(power):
                term = value * term
        total = total + term
    return total


def evaluate(dim: Dim, env: Mapping[str, int]) -> int:
    """Return the number that ``dim`` is under ``env``.

    Raises:
        KeyError: a symbol has no value.
    """
    value = substitute(dim, env)
    if isinstance(value, int):
        return value
    raise KeyError(", ".join(sorted(symbols(value))))


def divisor_of(dim: Dim) -> int:
    """Return the largest number known to divide ``dim`` (the gcd of its coefficients)."""
    return gcd(*(c for _, c in _terms(dim))) if dim else 0


def is_nonnegative(dim: Dim) -> bool:
    """Return whether ``dim`` is known to be >= 0, symbols being >= 0."""
    low = bounds(dim)[0]
    return low is not None and low >= 0


def bounds(dim: Dim) -> tuple[int | None, int | None]:
    """Return numbers that ``dim`` is known not to fall below and not to exceed, None where there are none."""
    if isinstance(dim, int):
        return dim, dim
    low: int | None = 0
    high: int | None = 0
    for mono, coef in dim.terms:
        least, most = _monomial_bounds(mono)
        if coef < 0:
            least, most = most, least
        low = None if low is None or least is None else low + coef * least
        high = None if high is None or most is None else high + coef * most
    return low, high


def _monomial_bounds(mono: Monomial) -> tuple[int | None, int | None]:
    low: int = 1
    high: int | None = 1
    for atom, power in mono:
        least, most = (0, None) if isinstance(atom, Sym) else _function_bounds(atom)
        if least is None or (least < 0 and (power > 1 or len(mono) > 1)):
            # A factor that may be negative turns the bounds of the others around; that is not followed here.
            return (None, most) if power == len(mono) == 1 else (None, None)
        low *= least**power
        high = None if high is None or most is None else high * most**power
    return low, high


def _function_bounds(atom: Func) -> tuple[int | None, int | None]:
    (a_low, a_high), (b_low, b_high) = bounds(atom.lhs), bounds(atom.rhs)
    if atom.fn == "min":
        known = [h for h in (a_high, b_high) if h is not None]
        return (None if a_low is None or b_low is None else min(a_low, b_low)), min(known, default=None)
    if atom.fn == "max":
        known = [x for x in (a_low, b_low) if x is not None]
        return max(known, default=None), (None if a_high is None or b_high is None else max(a_high, b_high))
    if not isinstance(atom.rhs, int) or atom.rhs < 1:
        return (0, None) if a_low is not None and a_low >= 0 and b_low is not None and b_low >= 0 else (None, None)
    if atom.fn == "mod":
        return 0, atom.rhs - 1
    divide = floordiv if atom.fn == "floordiv" else ceildiv
    low, high = (None if x is None else evaluate(divide(x, atom.rhs), {}) for x in (a_low, a_high))
    return low, high
