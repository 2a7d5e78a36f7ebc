"""The slice operator and the arithmetic of its bounds."""

from __future__ import annotations

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim, ceildiv, dmax, dmin, is_nonnegative
from lepton_ir.ir.opdef import InferenceError, attribute, dims_attribute, operand, result
from lepton_ir.ir.types import Type
from lepton_ir.ops.folds import shape as shape_folds
from lepton_ir.ops.shape import Injective
from lepton_ir.ops.support import Array, ints, normalize_axes, require_count


def resolve_bounds(size: Dim, start: Dim, end: Dim, step: int) -> tuple[Dim, Dim, Dim]:
    """Return (first index, end, element count) of a slice along an axis of ``size`` elements.

    Bounds are meant as in numpy: negative ones count from the end, and all are clamped; for a negative step
    ``-size - 1`` or less as the end includes element 0. A symbolic bound is taken to lie within the axis, and
    a symbolic size to reach as far as a start and to be at least 1, for otherwise nearly every shape of a
    dynamic model would be a min or max.
    """
    if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
        # indices() ends a reversed slice that includes element 0 at -1, which is not read as "from the end" here.
        taken = range(*slice(start, end, step).indices(size))
        return taken.start, taken.stop, len(taken)
    if _is_nothing(start, end, step):
        return 0, 0, 0
    low: Dim = 0 if step > 0 else -1
    high: Dim = size if step > 0 else size - 1
    first, last = _clamp(start, size, low, high), _clamp(end, size, low, high)
    distance = last - first if step > 0 else first - last
    if is_nonnegative(-distance):
        return 0, 0, 0
    return first, last, ceildiv(distance, abs(step))


def _is_nothing(start: Dim, end: Dim, step: int) -> bool:
    """Return whether both bounds count from the same end, and the last comes before the first."""
    if not isinstance(start, int) or not isinstance(end, int) or (start < 0) != (end < 0):
        return False
    return end <= start if step > 0 else end >= start


def _clamp(bound: Dim, size: Dim, low: Dim, high: Dim) -> Dim:
    """Return a bound as an index from the start."""
    if isinstance(bound, int):
        if bound <= -(2**31):
            return low
        if bound >= 2**31 - 1:
            return high
    elif is_nonnegative(-bound):
        # -S - 1 is a bound from the end; S - 1 is one from the start.
        bound = size + bound
        return bound if not isinstance(bound, int) or bound >= 0 else low
    if isinstance(bound, int) and bound < 0:
        bound = size + bound
        return dmax(bound, low) if isinstance(bound, int) else bound
    if (isinstance(bound, int) and bound <= 1) or not isinstance(bound, int):
        return bound if not isinstance(bound, int) or not isinstance(high, int) else dmin(bound, high)
    return dmin(bound, high)


class Slice(Injective):
    """The elements of x between bounds along some axes, every ``step``-th one; negative steps go backwards.

    Bounds are numpy's: negative ones count from the end and all are clamped. An end below ``-size`` with a
    negative step means that element 0 is included.
    """

    name = "tensor.slice"
    canonicalizations = (shape_folds.same_shape,)
    x: Value = operand()
    starts = dims_attribute()
    ends = dims_attribute()
    axes = attribute(tuple[int, ...], doc="the axes that are cut; others are taken whole")
    steps = attribute(tuple[int, ...])
    y: OpResult = result()

    def infer(self) -> Type:
        axes = normalize_axes(self.axes, self.x.rank)
        for what, values in (("starts", self.starts), ("ends", self.ends), ("steps", self.steps)):
            require_count(f"{what} of tensor.slice", values, len(axes))
        if 0 in self.steps:
            raise InferenceError("the step of a slice must not be 0")
        shape = list(self.x.shape)
        for axis, start, end, step in zip(axes, self.starts, self.ends, self.steps, strict=True):
            shape[axis] = resolve_bounds(shape[axis], start, end, step)[2]
        return self.x.tensor.with_shape(shape)

    def first_indices(self) -> tuple[Dim, ...]:
        """Return the index of the first element taken, for every axis of x (0 where an axis is not cut)."""
        first: list[Dim] = [0] * self.x.rank
        for axis, start, end, step in zip(
            normalize_axes(self.axes, self.x.rank), self.starts, self.ends, self.steps, strict=True
        ):
            first[axis] = resolve_bounds(self.x.shape[axis], start, end, step)[0]
        return tuple(first)

    def all_steps(self) -> tuple[int, ...]:
        """Return the step for every axis of x (1 where an axis is not cut)."""
        steps = [1] * self.x.rank
        for axis, step in zip(normalize_axes(self.axes, self.x.rank), self.steps, strict=True):
            steps[axis] = step
        return tuple(steps)

    def evaluate(self, x: Array) -> Array:
        index = [slice(None)] * x.ndim
        for axis, start, end, step in zip(self.axes, ints(self.starts), ints(self.ends), self.steps, strict=True):
            index[axis] = slice(start, end, step)
        return np.asarray(x[tuple(index)])
