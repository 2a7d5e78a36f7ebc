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
from lepton_ir.ir.core import Block
from lepton_ir.ir.core import Operation as CoreOperation
from lepton_ir.ir.dim import Dim, evaluate, is_nonnegative, product, symbols
from lepton_ir.ir.location import Location
from lepton_ir.ir.module import Function, Module
from lepton_ir.ir.opdef import Operation
from lepton_ir.ir.types import TensorType
from lepton_ir.ops.runtime_dims import Require, holds
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
        relation: "==", "<=" or "broadcasts" (equal, or 1 on the left).
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
        return holds(evaluate(self.left, sizes), self.relation, evaluate(self.right, sizes))

    def symbols(self) -> frozenset[str]:
        """Return the names of the dimensions in it."""
        return symbols(self.left) | symbols(self.right)

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"


def assumptions(function: Function) -> tuple[Assumption, ...]:
    """Return the conditions that all runs of the function rely on.

    Operations inside of regions are left out: whether they run is not known beforehand.
    """
    known = argument_symbols(function)
    found: dict[Pair, Assumption] = {}
    bytes_: list[tuple[Dim, Location]] = []
    for op in function.body.ops:
        for pair in pairs(op):
            condition = Assumption(*pair, op.location)
            if pair not in found and condition.symbols() <= known:
                found[pair] = condition
        bytes_ += [(n, op.location) for n in _large(op) if symbols(n) <= known]
    return (*found.values(), *(Assumption(n, "<=", MOST_BYTES, where) for n, where in _largest(bytes_)))


def _large(op: CoreOperation) -> Iterator[Dim]:
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


def insert_requirements(module: Module) -> None:
    """Have the program check, right before they matter, the conditions that no look at the inputs' shapes decides.

    These are the conditions on dimensions that data decides, and those of operations inside of regions.
    """
    for function in module.functions.values():
        known = argument_symbols(function) if function.name == "main" else frozenset()
        _require_in(function.body, known, set(), nested=False)


def _require_in(block: Block, known: frozenset[str], checked: set[Pair], nested: bool) -> None:
    for op in list(block.ops):
        if isinstance(op, Require):
            checked.add((op.left, op.relation, op.right))
        for pair in pairs(op):
            left, relation, right = pair
            decided = not nested and symbols(left) | symbols(right) <= known
            if decided or pair in checked:
                continue
            checked.add(pair)
            require = Require.build(left=left, relation=relation, right=right, location=op.location)
            block.insert_before(op, require)
        if op.name != "kernel":
            for region in op.regions:
                _require_in(region.block, known, set(checked), nested=True)


def argument_symbols(function: Function) -> frozenset[str]:
    """Return the names of dimensions in the types of a function's arguments."""
    return frozenset().union(*(a.type.symbols() for a in function.arguments if isinstance(a.type, TensorType)))


def pairs(op: CoreOperation) -> Iterator[Pair]:
    """Yield the conditions that an operation relies on and that are not certain to hold."""
    if not isinstance(op, Operation):
        return
    for pair in (*_RULES.get(op.name, _nothing)(op), *_checked(op), *_sizes(op)):
        if not _is_certain(pair):
            yield pair


def _is_certain(pair: Pair) -> bool:
    left, relation, right = pair
    if relation == "<=":
        return is_nonnegative(right - left)
    return left == right or (relation == "broadcasts" and left == 1)


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


def _grid_sample(op: Any) -> Iterator[Pair]:
    yield op.grid.shape[-1], "==", op.x.rank - 2
    yield op.grid.shape[0], "==", op.x.shape[0]
    yield from ((1, "<=", d) for d in op.x.shape[2:])


def _roi_align(op: Any) -> Iterator[Pair]:
    yield op.rois.shape[1], "==", 4
    yield op.rois.shape[0], "==", op.batch_indices.shape[0]
    yield from ((1, "<=", op.x.shape[axis]) for axis in (0, 2, 3))


def _col2im(op: Any) -> Iterator[Pair]:
    yield from ((1, "<=", n) for n in (*op.kernel_shape, *op.blocks))
    yield op.x.shape[1], "==", op.y.shape[1] * product(op.kernel_shape)
    yield op.x.shape[2], "==", product(op.blocks)


def _gather(op: Any) -> Iterator[Pair]:
    array = constant_array(op.indices)
    if array is not None and array.size:
        size = op.x.shape[normalize_axis(op.axis, op.x.rank)]
        yield max(int(array.max()) + 1, -int(array.min())), "<=", size


_RULES: dict[str, Callable[[Any], Iterable[Pair]]] = {
    "tensor.slice": _slice,
    "tensor.topk": _topk,
    "nn.col2im": _col2im,
    "nn.grid_sample": _grid_sample,
    "nn.roi_align": _roi_align,
    "tensor.gather": _gather,
}
