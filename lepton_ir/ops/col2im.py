"""Images put together from overlapping blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim, dmax, product
from lepton_ir.ir.opdef import FusionKind, InferenceError, Operation, dims_attribute, operand, result
from lepton_ir.ir.types import DType, Type
from lepton_ir.ops.support import (
    Array,
    dims_differ,
    ints,
    narrow,
    require_count,
    require_positive,
    require_rank,
    require_sizes,
    widen,
)
from lepton_ir.ops.window import per_axis_attribute, taps, window_count


class Col2Im(Operation):
    """The sum of blocks, each at the place that a sliding window had: what a convolution reads, written back.

    As ONNX's Col2Im and torch.nn.Fold define it, for any number of spatial axes.
    """

    name = "nn.col2im"
    fusion = FusionKind.ANCHOR
    x: Value = operand("[N, C * product(kernel_shape), blocks], the blocks in row-major order")
    sizes = dims_attribute(doc="the sizes of the image's spatial axes")
    kernel_shape = dims_attribute(doc="the shape of a block")
    strides = per_axis_attribute(1, doc="steps of the window, one per spatial axis")
    pads = per_axis_attribute(0, 2, doc="padding before each spatial axis, then after each; it is cut off")
    dilations = per_axis_attribute(1, doc="distance of a block's elements, one per spatial axis")
    y: OpResult = result("[N, C, sizes...]")

    @property
    def spatial_rank(self) -> int:
        """The number of axes that the window slides along."""
        return len(self.sizes)

    @property
    def blocks(self) -> tuple[Dim, ...]:
        """The number of blocks along each spatial axis."""
        rank = self.spatial_rank
        return tuple(
            window_count(self.sizes[i], k, self.strides[i], self.dilations[i], self.pads[i], self.pads[i + rank])
            for i, k in enumerate(self.kernel_shape)
        )

    def infer(self) -> Type:
        x, rank = self.x.tensor, self.spatial_rank
        require_rank("the blocks of nn.col2im", x, 3)
        require_sizes(self.name, self.sizes)
        for what, values, count in (
            ("kernel_shape", self.kernel_shape, rank),
            ("strides", self.strides, rank),
            ("dilations", self.dilations, rank),
            ("pads", self.pads, 2 * rank),
        ):
            require_count(f"{what} of nn.col2im", values, count)
        fixed = [k for k in self.kernel_shape if isinstance(k, int)]
        require_positive("kernel_shape, strides and dilations", (*fixed, *self.strides, *self.dilations))
        channels, each = x.shape[1], product(self.kernel_shape)
        if isinstance(channels, int) and isinstance(each, int) and channels % each:
            raise InferenceError(f"{channels} rows are no whole number of blocks of {each} elements")
        if dims_differ(x.shape[2], product(self.blocks)):
            raise InferenceError(f"{x} holds {x.shape[2]} blocks where {product(self.blocks)} fit into the image")
        # Where data decides the blocks' shape, it is checked only after the shape of the result is known.
        return x.with_shape((x.shape[0], channels // dmax(each, 1), *self.sizes))

    def verify(self) -> None:
        if any(p < 0 for p in self.pads):
            raise InferenceError(f"pads of nn.col2im must not be negative, got {list(self.pads)}")
        if self.x.tensor.dtype in (DType.BOOL, DType.STR):
            raise InferenceError(f"nn.col2im adds numbers, got {self.x.type}")

    def evaluate(self, x: Array) -> Array:
        rank, blocks, sizes = self.spatial_rank, ints(self.blocks), ints(self.sizes)
        before, after, kernel = self.pads[:rank], self.pads[rank:], ints(self.kernel_shape)
        wide = widen(x).reshape(x.shape[0], -1, *kernel, *blocks)
        padded = [s + p + q for s, p, q in zip(sizes, before, after, strict=True)]
        y = np.zeros((x.shape[0], *padded, wide.shape[1]), wide.dtype)
        for position, seen in taps(y, kernel, self.strides, self.dilations, blocks):
            taken: tuple[Any, ...] = (slice(None), slice(None), *position)
            seen += np.moveaxis(wide[taken], 1, -1)
        kept: tuple[Any, ...] = (slice(None), *(slice(p, p + s) for p, s in zip(before, sizes, strict=True)))
        return narrow(np.moveaxis(y[kept], -1, 1), self.x.tensor.dtype)
