"""Pooling over sliding windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.opdef import InferenceError, attribute, operand, result
from lepton_ir.ir.types import DType, TensorType, Type
from lepton_ir.ops.support import Array, narrow, require_positive, widen
from lepton_ir.ops.window import Windowed, layout_attribute, overhang, pad_spatial, taps, window_count


class Pool(Windowed):
    """Base class: reduces each window of every channel to one element."""

    x: Value = operand("[N, C, spatial...] or [N, spatial..., C]")
    kernel_shape = attribute(tuple[int, ...], doc="the window's sizes, one per spatial axis")
    ceil_mode = attribute(bool, default=False, doc="allow a last window that reaches beyond the padding")
    layout = layout_attribute()

    def infer(self) -> Type | Sequence[Type]:
        sizes = self.spatial_sizes(self.kernel_shape, ceil=self.ceil_mode)
        channels = self.activation.shape[self.channel_axis]
        return TensorType(self.result_shape(channels, sizes), self.activation.dtype)

    def verify(self) -> None:
        super().verify()
        require_positive(f"kernel_shape of {self.name}", self.kernel_shape)

    def windows(self, x: Array, fill: object) -> Iterator[tuple[tuple[int, ...], Array]]:
        """Yield each position in the window with what it sees of the channels-last x, padded with ``fill``."""
        rank = self.spatial_rank
        out = [
            window_count(x.shape[1 + i], self.kernel_shape[i], self.strides[i], self.dilations[i], self.pads[i],
                         self.pads[i + rank], ceil=self.ceil_mode)
            for i in range(rank)
        ]  # fmt: skip
        sizes = [int(n) for n in out]  # type: ignore[arg-type]
        padded = pad_spatial(x, self.pads, fill, overhang(x, self.kernel_shape, self, sizes))
        return taps(padded, self.kernel_shape, self.strides, self.dilations, sizes)


def lowest(dtype: np.dtype) -> Any:
    """Return the smallest value of a number type, -inf for floats."""
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


class MaxPool(Pool):
    """The largest element of each window; padding does not count, nor does NaN."""

    name = "nn.max_pool"
    y: OpResult = result()

    def evaluate(self, x: Array) -> Array:
        data = widen(self.to_channels_last(x))
        y: Array | None = None
        for _, view in self.windows(data, lowest(data.dtype)):
            y = np.fmax(view, lowest(data.dtype) if y is None else y)
        return narrow(self.from_channels_last(np.asarray(y)), self.x.tensor.dtype)


class MaxPoolIndices(Pool):
    """The largest element of each window, and where it stands in the flattened x."""

    name = "nn.max_pool_indices"
    storage_order = attribute(int, default=0, doc="1: indices count the spatial axes in column-major order")
    y: OpResult = result()
    indices: OpResult = result("i64")

    def infer(self) -> Sequence[Type]:
        y = super().infer()
        assert isinstance(y, TensorType)
        return [y, y.with_dtype(DType.I64)]

    def verify(self) -> None:
        super().verify()
        if self.channels_last:
            raise InferenceError("nn.max_pool_indices counts in the NCHW layout only")

    def evaluate(self, x: Array) -> tuple[Array, Array]:
        data = widen(self.to_channels_last(x))
        order = (1, *range(x.ndim - 1, 1, -1)) if self.storage_order else tuple(range(1, x.ndim))
        places = np.arange(x.size, dtype=np.int64).reshape(x.shape[0], *(x.shape[i] for i in order))
        places = np.transpose(places, (0, *np.argsort(order) + 1))
        values = self.windows(data, lowest(data.dtype))
        where = self.windows(np.moveaxis(places, 1, -1), -1)
        y = index = None
        for (_, view), (_, place) in zip(values, where, strict=True):
            if y is None or index is None:
                y, index = view.copy(), place.copy()
                continue
            better = (view > y) | ((index < 0) & (place >= 0)) | (np.isnan(y) & ~np.isnan(view) & (place >= 0))
            y, index = np.where(better, view, y), np.where(better, place, index)
        y, index = np.asarray(y), np.asarray(index)
        return narrow(self.from_channels_last(y), self.x.tensor.dtype), self.from_channels_last(index)


class AvgPool(Pool):
    """The mean of each window; padding counts as zeros only where ``count_include_pad`` is set."""

    name = "nn.avg_pool"
    count_include_pad = attribute(bool, default=False)
    y: OpResult = result()

    def evaluate(self, x: Array) -> Array:
        data = widen(self.to_channels_last(x))
        total = sum(view for _, view in self.windows(data, 0))
        return narrow(self.from_channels_last(np.asarray(total / self._counts(data))), self.x.tensor.dtype)

    def _counts(self, x: Array) -> Array:
        """Return how many elements each window counts."""
        ones = np.ones((1, *x.shape[1:-1], 1), dtype=x.dtype)
        if self.count_include_pad:
            # Padding that was asked for counts; what ceil_mode adds at the end does not.
            ones = pad_spatial(ones, self.pads, 1)
            rank = self.spatial_rank
            out = [
                int(window_count(n, k, s, d, a, c, ceil=self.ceil_mode))  # type: ignore[arg-type]
                for n, k, s, d, a, c in zip(x.shape[1:-1], self.kernel_shape, self.strides, self.dilations,
                                            self.pads[:rank], self.pads[rank:], strict=True)
            ]  # fmt: skip
            extra = overhang(x, self.kernel_shape, self, out)
            padded = pad_spatial(ones, (0,) * 2 * rank, 0, extra)
            return np.asarray(sum(v for _, v in taps(padded, self.kernel_shape, self.strides, self.dilations, out)))
        return np.asarray(sum(view for _, view in self.windows(ones, 0)))


class LpPool(Pool):
    """The p-norm of each window."""

    name = "nn.lp_pool"
    p = attribute(int, default=2)
    y: OpResult = result()

    def evaluate(self, x: Array) -> Array:
        data = np.abs(widen(self.to_channels_last(x))) ** self.p
        total = sum(view for _, view in self.windows(data, 0))
        return narrow(self.from_channels_last(np.asarray(total ** (1 / self.p))), self.x.tensor.dtype)

    def decompose(self, b: Builder) -> Sequence[Value]:
        dtype = self.x.tensor.dtype
        size = float(np.prod(self.kernel_shape))
        powers = b.pow(b.abs(self.x), b.const(float(self.p), dtype=dtype))
        # Zeros change no sum, so the windows that reach into padding or beyond see them explicitly.
        before, after = [0] * self.x.rank, list[Dim]([0] * self.x.rank)
        for i, axis in enumerate(self.spatial_axes):
            reach = (self.y.shape[axis] - 1) * self.strides[i] + (self.kernel_shape[i] - 1) * self.dilations[i] + 1
            before[axis], after[axis] = self.pads[i], reach - self.x.shape[axis] - self.pads[i]
        padded = b.tensor_pad(powers, None, pads=(*before, *after))
        mean = b.nn_avg_pool(
            padded,
            kernel_shape=self.kernel_shape,
            strides=self.strides,
            dilations=self.dilations,
            layout=self.layout,
        )
        return [b.pow(b.mul(mean, b.const(size, dtype=dtype)), b.const(1 / self.p, dtype=dtype))]
