"""What the types of a module take for granted about its dynamic dimensions.

A slice up to ``S`` of a table of 512 rows has the type of ``S`` rows, which holds only while ``S <= 512``; an addition
of ``N`` and 4 elements has 4, which holds only for ``N == 4``. The interpreter notices when such a thing does not
hold, compiled code would read beyond its operands; so these conditions are to be checked before it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lepton_ir.ops  # noqa: F401 - the rules are for its operators
from lepton_ir.ir.dim import Dim, evaluate, is_nonnegative, symbols
from lepton_ir.ir.location import Location
from lepton_ir.ir.module import Function
from lepton_ir.ir.opdef import Operation
from lepton_ir.ir.types import TensorType
from lepton_ir.ops.slicing import resolve_bounds
from lepton_ir.ops.support import normalize_axes, normalize_axis, undecided
from lepton_ir.rewrite import constant_array

Pair = tuple[Dim, str, Dim]
MOST_BYTES = 2**62
"""Of one tensor: sizes in bytes are computed in int64."""


@dataclass(frozen=True)
class Assumption:
    """A condition on dynamic dimensions.

    Attributes:
        left: a dimension.
        relation: "==" or "<=".
        right: the other dimension.
        location: the first operation that relies on it.
    """

    left: Dim
    relation: str
    right: Dim
    location: Location

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Return whether the condition holds for these sizes.

        Raises:
            KeyError: a dimension has no size.
        """
        left, right = evaluate(self.left, sizes), evaluate(self.right, sizes)
        return left == right if self.relation == "==" else left <= right

    def symbols(self) -> frozenset[str]:
        """Return the names of the dimensions in it."""
        return symbols(self.left) | symbols(self.right)

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"


def assumptions(function: Function) -> tuple[Assumption, ...]:
    """Return the conditions that all runs of the function rely on.

    Operations inside of regions are left out: whether they run is not known beforehand.
    """
    known = frozenset().union(*(a.type.symbols() for a in function.arguments if isinstance(a.type, TensorType)))
    found: dict[Pair, Assumption] = {}
    bytes_: list[tuple[Dim, Location]] = []
    for op in function.body.ops:
        if not isinstance(op, Operation):
            continue
        for pair in (*_RULES.get(op.name, _nothing)(op), *_checked(op), *_sizes(op)):
            left, relation, right = pair
            condition = Assumption(left, relation, right, op.location)
            if pair not in found and condition.symbols() <= known and not _is_certain(pair):
                found[pair] = condition
        bytes_ += [(n, op.location) for n in _large(op) if symbols(n) <= known]
    return (*found.values(), *(Assumption(n, "<=", MOST_BYTES, where) for n, where in _largest(bytes_)))


def _large(op: Operation) -> Iterator[Dim]:
    """Yield the bytes of results that more than one symbol has a part in: one alone is as large as an input."""
    for result in op.results:
        if isinstance(result.type, TensorType) and sum(not isinstance(d, int) for d in result.shape) > 1:
            yield result.tensor.size * max(1, result.tensor.dtype.bits // 8)


def _largest(sizes: Sequence[tuple[Dim, Location]]) -> list[tuple[Dim, Location]]:
    """Return the sizes that no other is certain to exceed."""
    kept: list[tuple[Dim, Location]] = []
    for size, where in sizes:
        if any(is_nonnegative(other - size) for other, _ in kept):
            continue
        kept = [(other, place) for other, place in kept if not is_nonnegative(size - other)]
        kept.append((size, where))
    return kept


def _is_certain(pair: Pair) -> bool:
    left, relation, right = pair
    return left == right if relation == "==" else is_nonnegative(right - left)


def _nothing(op: Any) -> Iterable[Pair]:
    return ()


def _sizes(op: Operation) -> Iterator[Pair]:
    for result in op.results:
        if isinstance(result.type, TensorType):
            yield from ((0, "<=", d) for d in result.shape if not isinstance(d, int))


def _checked(op: Operation) -> Iterable[Pair]:
    """Return what the operation's own checks could not decide."""
    with undecided() as found:
        op.infer()
        op.verify()
    return found


def _slice(op: Any) -> Iterator[Pair]:
    for axis, start, end, step in zip(normalize_axes(op.axes, op.x.rank), op.starts, op.ends, op.steps, strict=True):
        size = op.x.shape[axis]
        first, last, _ = resolve_bounds(size, start, end, step)
        if step > 0:
            yield from ((0, "<=", first), (last, "<=", size))
        else:
            yield from ((first + 1, "<=", size), (0, "<=", last + 1))


def _topk(op: Any) -> Iterator[Pair]:
    yield op.k, "<=", op.x.shape[normalize_axis(op.axis, op.x.rank)]


def _gather(op: Any) -> Iterator[Pair]:
    array = constant_array(op.indices)
    if array is not None and array.size:
        size = op.x.shape[normalize_axis(op.axis, op.x.rank)]
        yield max(int(array.max()) + 1, -int(array.min())), "<=", size


_RULES: dict[str, Callable[[Any], Iterable[Pair]]] = {
    "tensor.slice": _slice,
    "tensor.topk": _topk,
    "tensor.gather": _gather,
}
