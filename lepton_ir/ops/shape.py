"""Operators that rearrange elements: reshape, transpose, expand, concat, split, slice and the like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.opdef import (
    FusionKind,
    InferenceError,
    Operation,
    attribute,
    dims_attribute,
    operand,
    optional_operand,
    result,
    variadic_operand,
    variadic_result,
)
from lepton_ir.ir.types import Type
from lepton_ir.ops.checks import EMPTY_BORDER, DataError
from lepton_ir.ops.folds import shape as shape_folds
from lepton_ir.ops.support import (
    Array,
    dims_differ,
    ints,
    normalize_axes,
    normalize_axis,
    require_count,
    require_same_dtype,
    require_sizes,
    show,
)


class Injective(Operation):
    """Base class: each element of the result is an element of an operand."""

    fusion = FusionKind.INJECTIVE
    is_shape_computation = True


class Reshape(Injective):
    """The elements of x, in row-major order, in another shape."""

    name = "tensor.reshape"
    canonicalizations = (shape_folds.same_shape, shape_folds.reshape_of_reshape)
    x: Value = operand()
    shape = dims_attribute(doc="the shape of the result; every entry is a size, there is no -1")
    y: OpResult = result()

    def infer(self) -> Type:
        require_sizes(self.name, self.shape)
        if dims_differ(self.x.tensor.size, product(self.shape)):
            raise InferenceError(f"cannot reshape {self.x.type} into {show(self.shape)}: the element counts differ")
        return self.x.tensor.with_shape(self.shape)

    def evaluate(self, x: Array) -> Array:
        return np.reshape(x, ints(self.shape))


class Transpose(Injective):
    """x with its axes in another order: axis i of the result is axis ``perm[i]`` of x."""

    name = "tensor.transpose"
    canonicalizations = (shape_folds.transpose_in_order, shape_folds.transpose_of_transpose)
    x: Value = operand()
    perm = attribute(tuple[int, ...])
    y: OpResult = result()

    def infer(self) -> Type:
        shape = self.x.shape
        if sorted(self.perm) != list(range(len(shape))):
            raise InferenceError(f"perm {list(self.perm)} is no order of the {len(shape)} axes of {self.x.type}")
        return self.x.tensor.with_shape([shape[p] for p in self.perm])

    def evaluate(self, x: Array) -> Array:
        return np.transpose(x, self.perm)


class Expand(Injective):
    """x broadcast to a shape; axes of size 1 and new leading axes are repeated."""

    name = "tensor.expand"
    canonicalizations = (shape_folds.same_shape, shape_folds.expand_of_expand)
    fusion = FusionKind.INJECTIVE
    x: Value = operand()
    shape = dims_attribute(doc="the shape of the result")
    y: OpResult = result()

    def infer(self) -> Type:
        require_sizes(self.name, self.shape)
        if len(self.shape) < self.x.rank:
            raise InferenceError(f"cannot expand {self.x.type} to the lower rank of {show(self.shape)}")
        for have, want in zip(reversed(self.x.shape), reversed(self.shape), strict=False):
            if have != 1 and dims_differ(have, want, "broadcasts"):
                raise InferenceError(f"cannot expand {self.x.type} to {show(self.shape)}: {have} against {want}")
        return self.x.tensor.with_shape(self.shape)

    def evaluate(self, x: Array) -> Array:
        return np.broadcast_to(x, ints(self.shape))


class Concat(Injective):
    """The operands one after the other along an axis."""

    name = "tensor.concat"
    canonicalizations = (shape_folds.concat_of_few, shape_folds.concat_of_concat, shape_folds.concat_of_split)
    xs: tuple[Value, ...] = variadic_operand("at least one; equal in all other axes")
    axis = attribute(int)
    y: OpResult = result()

    def infer(self) -> Type:
        if not self.xs:
            raise InferenceError("tensor.concat needs at least one operand")
        tensors = [v.tensor for v in self.xs]
        first = tensors[0]
        require_same_dtype("the operands of tensor.concat", *tensors)
        axis = normalize_axis(self.axis, first.rank)
        shape = list(first.shape)
        for t in tensors[1:]:
            if t.rank != first.rank or any(
                dims_differ(d, e) for i, (d, e) in enumerate(zip(t.shape, first.shape, strict=True)) if i != axis
            ):
                raise InferenceError(f"cannot concatenate {first} and {t} along axis {axis}")
            shape = [e if isinstance(e, int) else d for d, e in zip(t.shape, shape, strict=True)]
        total: Dim = 0
        for t in tensors:
            total = t.shape[axis] + total
        shape[axis] = total
        return first.with_shape(shape)

    def evaluate(self, *xs: Array) -> Array:
        return np.concatenate(xs, axis=self.axis)


class Split(Injective):
    """x cut along an axis into pieces of the given sizes."""

    name = "tensor.split"
    canonicalizations = (shape_folds.split_into_one,)
    x: Value = operand()
    axis = attribute(int, default=0)
    sizes = dims_attribute(doc="the size of each piece; their sum is the size of the axis")
    ys: tuple[OpResult, ...] = variadic_result()

    def infer(self) -> Sequence[Type]:
        axis = normalize_axis(self.axis, self.x.rank)
        require_sizes(self.name, self.sizes)
        total: Dim = 0
        for size in self.sizes:
            total = size + total
        if dims_differ(total, self.x.shape[axis]):
            raise InferenceError(f"the sizes {show(self.sizes)} do not add up to axis {axis} of {self.x.type}")
        shape = self.x.shape
        return [self.x.tensor.with_shape((*shape[:axis], size, *shape[axis + 1 :])) for size in self.sizes]

    def evaluate(self, x: Array) -> tuple[Array, ...]:
        cuts = np.cumsum(ints(self.sizes))[:-1]
        return tuple(np.split(x, cuts, axis=self.axis))

    def decompose(self, b: Builder) -> Sequence[Value]:
        axis = normalize_axis(self.axis, self.x.rank)
        pieces: list[Value] = []
        start: Dim = 0
        for size in self.sizes:
            end = size + start
            pieces.append(b.tensor_slice(self.x, starts=(start,), ends=(end,), axes=(axis,), steps=(1,)))
            start = end
        return pieces


class Pad(Injective):
    """x with elements added before and after each axis (or cut off, where a pad is negative)."""

    name = "tensor.pad"
    canonicalizations = (shape_folds.pad_by_nothing,)
    x: Value = operand()
    value: Value | None = optional_operand("rank 0, what to pad with; 0 where absent")
    pads = dims_attribute(doc="how many before each axis, then how many after each")
    mode = attribute(str, default="constant", doc='"constant", "edge", "reflect" or "wrap"')
    y: OpResult = result()

    def infer(self) -> Type:
        require_count("pads of tensor.pad", self.pads, 2 * self.x.rank)
        shape = [
            d + before + after
            for d, before, after in zip(self.x.shape, self.pads[: self.x.rank], self.pads[self.x.rank :], strict=True)
        ]
        if any(isinstance(d, int) and d < 0 for d in shape):
            raise InferenceError(f"pads {show(self.pads)} cut more off {self.x.type} than it has")
        return self.x.tensor.with_shape(shape)

    def verify(self) -> None:
        if self.mode not in ("constant", "edge", "reflect", "wrap"):
            raise InferenceError(f'mode of tensor.pad must be constant, edge, reflect or wrap, got "{self.mode}"')
        for axis in self.repeated_axes():
            if self.x.shape[axis] == 0:
                raise InferenceError(EMPTY_BORDER.format(axis))
        if self.value is None:
            return
        require_same_dtype("x and value of tensor.pad", self.x.tensor, self.value.tensor)
        if self.value.rank:
            raise InferenceError(f"the value of tensor.pad must have rank 0, got {self.value.type}")

    def may_fail(self) -> bool:
        return any(not isinstance(self.x.shape[axis], int) for axis in self.repeated_axes())

    def repeated_axes(self) -> list[int]:
        """Return the axes along which elements of x are repeated."""
        rank = self.x.rank
        if self.mode == "constant":
            return []
        return [i for i in range(rank) if self.pads[i] != 0 or self.pads[i + rank] != 0]

    def evaluate(self, x: Array, value: Array | None = None) -> Array:
        for axis in self.repeated_axes():
            if not x.shape[axis]:
                raise DataError(EMPTY_BORDER.format(axis))
        pads, rank = ints(self.pads), x.ndim
        crop = tuple(slice(max(0, -pads[i]), x.shape[i] - max(0, -pads[i + rank])) for i in range(rank))
        widths = [(max(0, pads[i]), max(0, pads[i + rank])) for i in range(rank)]
        if self.mode != "constant":
            return np.pad(x[crop], widths, mode=self.mode)  # type: ignore[call-overload]
        kept = x[crop]
        shape = [a + n + c for n, (a, c) in zip(kept.shape, widths, strict=True)]
        out = np.full(shape, np.zeros((), x.dtype) if value is None else value, dtype=x.dtype)
        out[tuple(slice(a, a + n) for n, (a, _) in zip(kept.shape, widths, strict=True))] = kept
        return out


class Tile(Injective):
    """x repeated along every axis."""

    name = "tensor.tile"
    canonicalizations = (shape_folds.pad_by_nothing,)
    x: Value = operand()
    repeats = dims_attribute(doc="how often, one number per axis")
    y: OpResult = result()

    def infer(self) -> Type:
        require_count("repeats of tensor.tile", self.repeats, self.x.rank)
        require_sizes(self.name, self.repeats)
        return self.x.tensor.with_shape([r * d for d, r in zip(self.x.shape, self.repeats, strict=True)])

    def evaluate(self, x: Array) -> Array:
        return np.tile(x, ints(self.repeats))

    def decompose(self, b: Builder) -> Sequence[Value]:
        apart: list[Dim] = []
        repeated: list[Dim] = []
        for d, r in zip(self.x.shape, self.repeats, strict=True):
            apart += [d] if r == 1 else [1, d]
            repeated += [d] if r == 1 else [r, d]
        spread = b.tensor_expand(b.tensor_reshape(self.x, shape=apart), shape=repeated)
        return [b.tensor_reshape(spread, shape=self.y.shape)]


class Reverse(Injective):
    """x with the order of elements reversed along the given axes."""

    name = "tensor.reverse"
    x: Value = operand()
    axes = attribute(tuple[int, ...])
    y: OpResult = result()

    def infer(self) -> Type:
        normalize_axes(self.axes, self.x.rank)
        return self.x.type

    def evaluate(self, x: Array) -> Array:
        return np.flip(x, self.axes)


class Trilu(Injective):
    """The upper or lower triangle of the last two axes; zero elsewhere."""

    name = "tensor.trilu"
    is_shape_computation = False
    x: Value = operand()
    upper = attribute(bool, default=True)
    k = attribute(int, default=0, doc="the diagonal where the triangle begins; 0 is the main one")
    y: OpResult = result()

    def infer(self) -> Type:
        if self.x.rank < 2:
            raise InferenceError(f"tensor.trilu needs at least two axes, got {self.x.type}")
        return self.x.type

    def evaluate(self, x: Array) -> Array:
        mask = np.tri(x.shape[-2], x.shape[-1], self.k - 1 if self.upper else self.k, dtype=np.bool_)
        return np.where(~mask if self.upper else mask, x, np.zeros((), x.dtype))
