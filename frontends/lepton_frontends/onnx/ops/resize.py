"""Resampling of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.runtime_dims import partial_dims
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_frontends.onnx.runtime_resize import Options, resize_at_run_time
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim


def _scaled(size: Dim, scale: float) -> Dim:
    if isinstance(size, int):
        return int(size * scale)
    if scale == int(scale):
        return size * int(scale)
    if 1 / scale == int(1 / scale):
        return size // int(1 / scale)
    raise UnsupportedError(
        f"it scales a dynamic dimension by {scale}", 'give the dimension a size, with dims={"name": size}'
    )


def _resized(b: OnnxBuilder, x: Value, sizes: Sequence[Dim], scales: Sequence[float] | None, **options: Any) -> Value:
    """Resample all axes of x; those that change are made the spatial ones."""
    roi = options.pop("roi", ())
    if tuple(x.shape) == tuple(sizes) and not roi and all(s == 1 for s in scales or ()):
        return x
    first = 2 if x.rank > 2 and tuple(x.shape[:2]) == tuple(sizes[:2]) else 0
    data, rank = (x, x.rank) if first else (b.reshaped(x, (1, 1, *x.shape)), x.rank)
    y = b.nn_resize(
        data,
        sizes=tuple(sizes[first:]),
        scales=tuple(scales[first:]) if scales is not None else (),
        roi=(*roi[first:rank], *roi[rank + first :]),
        **options,
    )
    return b.reshaped(y, sizes)


@onnx_op("Upsample")
def upsample_by_attribute(b: OnnxBuilder, x: Value, *, scales: Sequence[float], mode: str = "nearest") -> Value:
    return _upsampled(b, x, scales, mode)


@onnx_op("Upsample", since=9)
def upsample(b: OnnxBuilder, x: Value, scales: Value, *, mode: str = "nearest") -> Value:
    return _upsampled_by(b, x, scales, mode)


@onnx_op("Resize", since=10)
def resize_10(b: OnnxBuilder, x: Value, scales: Value, *, mode: str = "nearest") -> Value:
    return _upsampled_by(b, x, scales, mode)


def _upsampled_by(b: OnnxBuilder, x: Value, scales: Value, mode: str) -> Value:
    numbers = _numbers(b, scales)
    if numbers is not None and _can_scale(x.shape, numbers):
        return _upsampled(b, x, numbers, mode)
    options = Options(_mode(mode), "asymmetric", "floor")
    return resize_at_run_time(b, x, range(x.rank), scales, None, None, "stretch", options)


def _numbers(b: OnnxBuilder, values: Value | None) -> tuple[float, ...] | None:
    """Return the numbers in a constant tensor, None for what only the running program knows."""
    return None if values is None or b.array(values) is None else b.floats(values, "list of numbers")


def _can_scale(shape: Sequence[Dim], scales: Sequence[float]) -> bool:
    """Return whether the sizes after scaling have names already: multiples and whole parts of those before."""
    whole = (s == int(s) or 1 / s == int(1 / s) for s in scales)
    return all(isinstance(d, int) or w for d, w in zip(shape, whole, strict=True))


def _upsampled(b: OnnxBuilder, x: Value, scales: Sequence[float], mode: str) -> Value:
    sizes = [_scaled(d, s) for d, s in zip(x.shape, scales, strict=True)]
    return _resized(b, x, sizes, scales, mode=_mode(mode), coordinate_mode="asymmetric", nearest_mode="floor")


def _mode(mode: str) -> str:
    return {"bilinear": "linear", "trilinear": "linear"}.get(mode, mode)


@onnx_op("Resize", since=11)
def resize(
    b: OnnxBuilder,
    x: Value,
    roi: Value | None = None,
    scales: Value | None = None,
    sizes: Value | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Value:
    along = range(x.rank) if axes is None else b.axes(axes, x.rank)
    if sizes is not None and scales is not None and sizes.shape != (0,) and scales.shape != (0,):
        raise UnsupportedError("it has both scales and sizes", "the model is not valid ONNX")
    sized = sizes is not None and sizes.shape != (0,)
    crops = coordinate_transformation_mode == "tf_crop_and_resize" and roi is not None
    partly = partial_dims(b, sizes) if sizes is not None and sized else []
    numbers = _numbers(b, scales)
    scalable = not sized and numbers is not None and _can_scale([x.shape[a] for a in along], numbers)
    if (crops and _numbers(b, roi) is None) or None in partly or not (sized or scales is None or scalable):
        options = Options(
            mode,
            coordinate_transformation_mode,
            nearest_mode,
            cubic_coeff_a,
            bool(exclude_outside),
            extrapolation_value,
            bool(antialias),
        )
        wanted_sizes = sizes if sized else None
        return resize_at_run_time(b, x, along, scales, wanted_sizes, roi, keep_aspect_ratio_policy, options)
    target, factors = _target(b, x, along, scales, sizes if sized else None, keep_aspect_ratio_policy)
    region: dict[str, Any] = {}
    if crops and roi is not None:
        region["roi"] = _region(x.rank, along, b.floats(roi, "region of interest"))
    return _resized(
        b,
        x,
        target,
        factors,
        mode=mode,
        coordinate_mode=coordinate_transformation_mode,
        nearest_mode=nearest_mode,
        cubic_coeff=cubic_coeff_a,
        exclude_outside=bool(exclude_outside),
        extrapolation_value=extrapolation_value,
        antialias=bool(antialias),
        **region,
    )


def _target(
    b: OnnxBuilder, x: Value, along: Sequence[int], scales: Value | None, sizes: Value | None, policy: str
) -> tuple[list[Dim], list[float] | None]:
    """Return the sizes of the result, and the scale of each axis where sizes alone do not say it."""
    target = list(x.shape)
    if sizes is not None:
        wanted = b.dims(sizes, "target size")
        if policy != "stretch":
            return _keeping_aspect(x, along, wanted, policy)
        for axis, size in zip(along, wanted, strict=True):
            target[axis] = size
        return target, None
    if scales is None:
        raise UnsupportedError("it has neither scales nor sizes", "the model is not valid ONNX")
    factors = [1.0] * x.rank
    for axis, scale in zip(along, b.floats(scales, "list of scales"), strict=True):
        factors[axis], target[axis] = scale, _scaled(x.shape[axis], scale)
    return target, factors


def _region(rank: int, axes: Sequence[int], given: Sequence[float]) -> tuple[float, ...]:
    """Return starts and ends for all axes."""
    starts, ends = [0.0] * rank, [1.0] * rank
    for i, axis in enumerate(axes):
        starts[axis], ends[axis] = given[i], given[i + len(axes)]
    return (*starts, *ends)


def _keeping_aspect(x: Value, axes: Sequence[int], wanted: Sequence[Dim], policy: str) -> tuple[list[Dim], list[float]]:
    """Return the sizes and scales with one scale for all the axes."""
    have = [x.shape[a] for a in axes]
    numbers = [(h, w) for h, w in zip(have, wanted, strict=True) if isinstance(h, int) and isinstance(w, int)]
    if len(numbers) < len(have):
        raise UnsupportedError(
            f'keep_aspect_ratio_policy "{policy}" needs fixed sizes', 'set them, with dims={"name": size}'
        )
    ratios = [w / h for h, w in numbers]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    sizes, scales = list(x.shape), [1.0] * x.rank
    for axis, (h, _) in zip(axes, numbers, strict=True):
        sizes[axis], scales[axis] = int(scale * h + 0.5), scale
    return sizes, scales
