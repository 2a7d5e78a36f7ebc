"""Sliding windows: the attributes, shape arithmetic and numpy access that convolutions and pools share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from lepton_ir.ir.dim import Dim, ceildiv, dmin, floordiv
from lepton_ir.ir.opdef import AttributeField, FusionKind, InferenceError, Operation, attribute
from lepton_ir.ir.types import TensorType
from lepton_ir.ops.support import Array, require_count, require_positive


@dataclass
class PerAxisField(AttributeField[tuple[int, ...]]):
    """Numbers per spatial axis; left out, all are ``unit``, and reading fills them in."""

    unit: int = 1
    per_axis: int = 1

    def __get__(self, op: Any, owner: type | None = None) -> Any:
        if op is None:
            return self
        return op.attributes.get(self.name) or (self.unit,) * (op.spatial_rank * self.per_axis)


def per_axis_attribute(unit: int, per_axis: int = 1, doc: str = "") -> AttributeField[tuple[int, ...]]:
    """Declare an attribute that holds ``per_axis`` numbers per spatial axis, each ``unit`` by default."""
    return PerAxisField(doc=doc, kind=tuple[int, ...], default=(), unit=unit, per_axis=per_axis)


class Windowed(Operation):
    """Base class of operators that slide a window over the spatial axes of an activation."""

    fusion = FusionKind.ANCHOR
    strides = per_axis_attribute(1, doc="steps of the window, one per spatial axis")
    pads = per_axis_attribute(0, 2, doc="padding before each spatial axis, then after each")
    dilations = per_axis_attribute(1, doc="distance of the window's taps, one per spatial axis")

    @property
    def activation(self) -> TensorType:
        """The type of the tensor that the window slides over."""
        value = self.operands[0]
        if value is None:
            raise InferenceError(f"{self.name} needs its first operand")
        return value.tensor

    @property
    def spatial_rank(self) -> int:
        """The number of axes that the window slides along."""
        return max(0, self.activation.rank - 2)

    @property
    def channels_last(self) -> bool:
        """Whether the channel axis is the last one."""
        return self.attributes.get("layout", "NCHW") == "NHWC"

    @property
    def spatial_axes(self) -> range:
        """The axes that the window slides along."""
        first = 1 if self.channels_last else 2
        return range(first, first + self.spatial_rank)

    @property
    def channel_axis(self) -> int:
        """The axis of the channels."""
        return self.activation.rank - 1 if self.channels_last else 1

    def spatial_sizes(self, kernel: Sequence[Dim], *, ceil: bool = False) -> tuple[Dim, ...]:
        """Return the sizes of the result's spatial axes."""
        rank = self.spatial_rank
        if rank < 1:
            raise InferenceError(f"{self.name} needs a batch, a channel and a spatial axis, got {self.activation}")
        require_count(f"the kernel of {self.name}", kernel, rank)
        for what, values, per_axis in (("strides", self.strides, 1), ("pads", self.pads, 2)):
            require_count(f"{what} of {self.name}", values, rank * per_axis)
        require_count(f"dilations of {self.name}", self.dilations, rank)
        require_positive(f"strides of {self.name}", self.strides)
        require_positive(f"dilations of {self.name}", self.dilations)
        return tuple(
            window_count(self.activation.shape[axis], kernel[i], self.strides[i], self.dilations[i],
                         self.pads[i], self.pads[i + rank], ceil=ceil)
            for i, axis in enumerate(self.spatial_axes)
        )  # fmt: skip

    def result_shape(self, channels: Dim, spatial: Sequence[Dim]) -> tuple[Dim, ...]:
        """Return the result's shape in the operation's layout."""
        batch = self.activation.shape[0]
        return (batch, *spatial, channels) if self.channels_last else (batch, channels, *spatial)

    def verify(self) -> None:
        if any(p < 0 for p in self.pads):
            raise InferenceError(f"pads of {self.name} must not be negative, got {list(self.pads)}")
        if self.attributes.get("layout", "NCHW") not in ("NCHW", "NHWC"):
            raise InferenceError(f'layout of {self.name} must be "NCHW" or "NHWC", got "{self.attributes["layout"]}"')

    def to_channels_last(self, x: Array) -> Array:
        """Return the activation (or a result) with its channels last."""
        return x if self.channels_last else np.moveaxis(x, 1, -1)

    def from_channels_last(self, y: Array) -> Array:
        """Return an array whose channels are last in the operation's layout."""
        return y if self.channels_last else np.ascontiguousarray(np.moveaxis(y, -1, 1))


def layout_attribute() -> AttributeField[str]:
    """Declare the layout of an activation."""
    return attribute(str, default="NCHW", doc='"NCHW": the channels are axis 1; "NHWC": they are the last axis')


def window_count(
    size: Dim, kernel: Dim, stride: int, dilation: int, before: int, after: int, *, ceil: bool = False
) -> Dim:
    """Return how many windows fit along an axis.

    With ``ceil`` a last window may reach beyond the end, as long as it starts before the end of the data.

    Raises:
        InferenceError: not even one fits.
    """
    room = size + before + after - ((kernel - 1) * dilation + 1)
    count = floordiv(room, stride) + 1
    if ceil:
        count = dmin(ceildiv(room, stride) + 1, ceildiv(size + before, stride))
    if isinstance(count, int) and count < 1:
        raise InferenceError(f"a window of {kernel} (dilation {dilation}) does not fit into {size}+{before}+{after}")
    return count


def pad_spatial(x: Array, pads: Sequence[int], fill: Any, extra: Sequence[int] = ()) -> Array:
    """Return a channels-last array padded along its spatial axes; ``extra`` is added at the ends."""
    rank = x.ndim - 2
    more = list(extra) or [0] * rank
    widths = [(0, 0), *((pads[i], pads[i + rank] + more[i]) for i in range(rank)), (0, 0)]
    if not any(a or c for a, c in widths):
        return x
    return np.pad(x, widths, constant_values=fill)


def taps(
    x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], out: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Yield each position in the kernel with the view of the padded, channels-last x that it sees."""
    for position in product(*map(range, kernel)):
        index = [slice(None)]
        for p, d, s, n in zip(position, dilations, strides, out, strict=True):
            index.append(slice(p * d, p * d + s * (n - 1) + 1, s))
        yield position, x[tuple(index)]


def overhang(x: Array, kernel: Sequence[int], op: Windowed, out: Sequence[int]) -> list[int]:
    """Return how far the last windows reach beyond the padded end of each spatial axis (ceil mode)."""
    rank = op.spatial_rank
    return [
        max(0, (out[i] - 1) * op.strides[i] + (kernel[i] - 1) * op.dilations[i] + 1
            - (x.shape[1 + i] + op.pads[i] + op.pads[i + rank]))
        for i in range(rank)
    ]  # fmt: skip
