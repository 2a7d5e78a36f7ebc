"""Resampling of images to other sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import dims_of, int_of, number_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.types import DType
from lepton_ir.ops.resize import Resize

_AA_CUBIC = -0.5
"""The coefficient of the antialiased cubic filter; that of the plain one is -0.75."""


def _target(
    b: AtenBuilder, x: Value, output_size: Any, given: Sequence[Any]
) -> tuple[tuple[Dim, ...], tuple[float | None, ...]]:
    """Return the sizes of the result and the scales that were given for the coordinates.

    ``given`` is what follows the sizes: a list of factors, or one number for each axis; both may be absent.
    """
    listed = given[0] if len(given) == 1 and isinstance(given[0], (list, tuple)) else given
    numbers = [None if g is None else float(number_of(g, "scale")) for g in listed]
    factors = tuple(n if n is not None and n > 0 else None for n in numbers)
    rank = x.rank - 2
    if len(factors) != rank:
        factors = factors * rank if len(factors) == 1 else (None,) * rank
    if output_size is not None:
        sizes = dims_of(b, output_size)
        return sizes * rank if len(sizes) == 1 else sizes, factors
    return tuple(_scaled(size, factor) for size, factor in zip(x.shape[2:], factors, strict=True)), factors


def _scaled(size: Dim, factor: float | None) -> Dim:
    if factor is None:
        raise UnsupportedError("it has neither sizes nor scales")
    if isinstance(size, int):
        return int(size * factor)
    if factor == int(factor):
        return size * int(factor)
    if 1 / factor == int(1 / factor):
        return size // int(1 / factor)
    raise UnsupportedError(
        f"it scales a dynamic dimension by {factor}", 'give the dimension a size, with dims={"name": size}'
    )


def _resized(b: AtenBuilder, x: Value, sizes: Sequence[Dim], factors: Sequence[float | None], **options: Any) -> Value:
    scales: tuple[float, ...] = ()
    if any(f is not None for f in factors):
        scales = tuple(
            f if f is not None else _ratio(size, before)
            for f, size, before in zip(factors, sizes, x.shape[2:], strict=True)
        )
    options.update(sizes=tuple(sizes), scales=scales)
    smooth = options.get("mode", "nearest") != "nearest"
    return _resized_bytes(b, x, options) if x.tensor.dtype is DType.U8 and smooth else b.nn_resize(x, **options)


def _resized_bytes(b: AtenBuilder, x: Value, options: dict[str, Any]) -> Value:
    """Resample bytes as PyTorch does: along the last axis first, with weights in 16 bits, rounded after each axis."""
    if not all(isinstance(d, int) for d in (*options["sizes"], *x.shape[2:])):
        raise UnsupportedError("it resamples bytes of dynamic size", "give the dimensions sizes, or resample floats")
    plan = Resize.build(x, **options)
    assert isinstance(plan, Resize)
    for axis in reversed(range(2, x.rank)):
        before, after = int_of(x.shape[axis], "size"), int_of(options["sizes"][axis - 2], "size")
        if before != after:
            x = _along(b, x, plan.weights(axis - 2, before, after), axis)
    return x


def _along(b: AtenBuilder, x: Value, weights: np.ndarray, axis: int) -> Value:
    # As many bits behind the point as the largest weight leaves of 15.
    largest = weights.max(initial=0)
    bits = next((n for n in range(22) if int(0.5 + largest * 2 ** (n + 1)) >= 1 << 15), 22)
    # Up to 15 bits all sums are integers that f32 holds.
    wide = DType.F32 if bits <= 15 else DType.F64
    whole = np.trunc(weights * 2**bits + np.copysign(0.5, weights)).astype(wide.numpy)
    tail = x.shape[axis + 1 :]
    flat = b.reshaped(b.convert(x, wide), (*x.shape[: axis + 1], product(tail)))
    sums = b.add(b.linalg_matmul(b.const(whole), flat), b.const(2 ** (bits - 1), dtype=wide))
    rounded = b.floor(b.mul(sums, b.const(2.0**-bits, dtype=wide)))
    clamped = b.cast(b.clip(rounded, b.const(0, dtype=wide), b.const(255, dtype=wide)), to=DType.U8)
    return b.reshaped(clamped, (*x.shape[:axis], len(weights), *tail))


def _ratio(size: Dim, before: Dim) -> float:
    if not isinstance(size, int) or not isinstance(before, int):
        raise UnsupportedError("it has scales for some axes, and dynamic sizes for others")
    return size / before


@aten_op(
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d", "_upsample_nearest_exact3d",
)  # fmt: skip
def upsample_nearest(b: AtenBuilder, self: Value, output_size: Any, *scales: Any) -> Value:
    exact = "exact" in b.op
    sizes, factors = _target(b, self, output_size, scales)
    if all(isinstance(d, int) for d in (*sizes, *self.shape[2:])) and not _is_even(self.shape[2:], sizes, factors):
        return _gathered(b, self, sizes, factors, exact)
    if exact:
        return _resized(b, self, sizes, factors, coordinate_mode="half_pixel", nearest_mode="round_prefer_ceil")
    return _resized(b, self, sizes, factors, coordinate_mode="asymmetric", nearest_mode="floor")


def _is_even(before: Sequence[Any], sizes: Sequence[Any], factors: Sequence[float | None]) -> bool:
    """Return whether every element is repeated equally often, where no rounding matters."""
    return all(b and s and s % b == 0 and f in (None, s // b) for b, s, f in zip(before, sizes, factors, strict=True))


def _gathered(b: AtenBuilder, x: Value, sizes: Sequence[Any], factors: Sequence[float | None], exact: bool) -> Value:
    """Pick the elements by index: which is nearest depends on PyTorch's rounding of scales to f32."""
    for i, (size, factor) in enumerate(zip(sizes, factors, strict=True)):
        before = int_of(x.shape[2 + i], "size")
        step = np.float32(1 / factor) if factor is not None else np.float32(before) / np.float32(max(size, 1))
        place = (np.arange(size, dtype=np.float32) + np.float32(0.5 if exact else 0)) * step
        indices = np.minimum(np.floor(place).astype(np.int64), before - 1)
        if not np.array_equal(indices, np.arange(before)):
            x = b.tensor_gather(x, b.const(indices), axis=2 + i)
    return x


@aten_op("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d")
def upsample_smooth(b: AtenBuilder, self: Value, output_size: Any, align_corners: Any, *scales: Any) -> Value:
    sizes, factors = _target(b, self, output_size, scales)
    mode = "cubic" if "cubic" in b.op else "linear"
    if align_corners:
        return _resized(b, self, sizes, (None,) * len(sizes), mode=mode, coordinate_mode="align_corners")
    return _resized(b, self, sizes, factors, mode=mode, coordinate_mode="half_pixel")


@aten_op("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa")
def upsample_antialiased(b: AtenBuilder, self: Value, output_size: Any, align_corners: Any, *scales: Any) -> Value:
    """Filters that grow where the image shrinks.

    With aligned corners PyTorch changes the scale, but does not move the places.
    """
    sizes, factors = _target(b, self, output_size, scales)
    if align_corners:
        factors = tuple(_corner_ratio(s, d) for s, d in zip(sizes, self.shape[2:], strict=True))
    return _resized(
        b, self, sizes, factors, mode="cubic" if "cubic" in b.op else "linear", coordinate_mode="half_pixel",
        antialias=True, exclude_outside=True, cubic_coeff=_AA_CUBIC,
    )  # fmt: skip


def _corner_ratio(size: Dim, before: Dim) -> float:
    if not isinstance(size, int) or not isinstance(before, int):
        raise UnsupportedError("it aligns the corners of an image of dynamic size", "give the dimension a size")
    # One element, or one to read, stands at place 0 whatever the scale.
    return (size - 1) / (before - 1) if size > 1 and before > 1 else 2.0**60
