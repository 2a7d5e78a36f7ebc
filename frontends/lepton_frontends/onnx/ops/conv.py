"""Convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, ceildiv, dmax, product
from lepton_ir.ir.types import DType

Ints = Sequence[int]


def _each(values: Ints | None, rank: int, default: int) -> tuple[int, ...]:
    return tuple(values) if values else (default,) * rank


def _same_pads(size: Dim, kernel: int, stride: int, dilation: int, lower: bool) -> tuple[Dim, Dim]:
    """Return the padding before and after an axis that makes the result ceil(size / stride) long."""
    reach = (kernel - 1) * dilation + 1
    # With stride 1 the size cancels out, dynamic or not.
    total = reach - 1 if stride == 1 else dmax((ceildiv(size, stride) - 1) * stride + reach - size, 0)
    half = total // 2
    return (total - half, half) if lower else (half, total - half)


def _pads(x: Value, kernel: Ints, strides: Ints, dilations: Ints, pads: Ints | None, auto_pad: str) -> tuple[Dim, ...]:
    rank = x.rank - 2
    if auto_pad == "VALID":
        return (0,) * (2 * rank)
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        return _each(pads, 2 * rank, 0)
    pairs = [
        _same_pads(x.shape[2 + i], kernel[i], strides[i], dilations[i], auto_pad == "SAME_LOWER") for i in range(rank)
    ]
    return tuple(p for p, _ in pairs) + tuple(p for _, p in pairs)


def _window_pads(
    x: Value, kernel: Ints, strides: Ints, dilations: Ints, pads: Ints | None, auto_pad: str
) -> tuple[int, ...]:
    """Return the pads of a pool, of which no window may hold nothing else."""
    amounts = _numbers(_pads(x, kernel, strides, dilations, pads, auto_pad), "pool")
    for i, amount in enumerate(amounts):
        axis = i % len(kernel)
        if amount > (kernel[axis] - 1) * dilations[axis]:
            raise UnsupportedError(
                f"its pads {list(amounts)} are as large as its kernel {list(kernel)}", "the model is not valid ONNX"
            )
    return amounts


def _numbers(pads: Sequence[Dim], what: str) -> tuple[int, ...]:
    numbers = tuple(p for p in pads if isinstance(p, int))
    if len(numbers) < len(pads):
        raise UnsupportedError(
            f"the padding of this {what} depends on a dynamic dimension (auto_pad with a stride)",
            'give the dimension a size, with dims={"name": size}',
        )
    return numbers


def _padded(b: OnnxBuilder, x: Value, pads: Sequence[Dim]) -> tuple[Value, tuple[int, ...]]:
    """Return x and constant pads; pads that are dynamic or negative become an operation of their own."""
    numbers = tuple(p for p in pads if isinstance(p, int) and p >= 0)
    if len(numbers) == len(pads):
        return x, numbers
    rank = len(pads) // 2
    full = (0, 0, *pads[:rank], 0, 0, *pads[rank:])
    return b.tensor_pad(x, None, pads=full), (0,) * len(pads)


def _static_kernel(w: Value, given: Ints | None) -> tuple[int, ...]:
    kernel = tuple(given or w.shape[2:])
    if given and (
        len(given) != w.rank - 2 or any(k != d for k, d in zip(given, w.shape[2:], strict=True) if isinstance(d, int))
    ):
        raise UnsupportedError(
            f"its kernel_shape {list(given)} is not that of its weight {w.type}", "the model is not valid ONNX"
        )
    if any(not isinstance(k, int) for k in kernel):
        raise UnsupportedError("the size of its kernel is dynamic", "the weight needs a fixed shape")
    return kernel


@onnx_op("Conv")
def conv(
    b: OnnxBuilder,
    x: Value,
    w: Value,
    bias: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Value:
    rank, kernel = x.rank - 2, _static_kernel(w, kernel_shape)
    step, spread = _each(strides, rank, 1), _each(dilations, rank, 1)
    data, amounts = _padded(b, x, _pads(x, kernel, step, spread, pads, auto_pad))
    return b.nn_conv(data, w, bias, strides=step, pads=amounts, dilations=spread, group=group)


@onnx_op("ConvTranspose")
def conv_transpose(
    b: OnnxBuilder,
    x: Value,
    w: Value,
    bias: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    output_padding: Ints | None = None,
    output_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Value:
    rank, kernel = x.rank - 2, _static_kernel(w, kernel_shape)
    step, spread, extra = _each(strides, rank, 1), _each(dilations, rank, 1), list(_each(output_padding, rank, 0))
    before, after = list(_each(pads, 2 * rank, 0)[:rank]), list(_each(pads, 2 * rank, 0)[rank:])
    same = auto_pad in ("SAME_UPPER", "SAME_LOWER")
    if output_shape or same or auto_pad == "VALID":
        before, after = [0] * rank, [0] * rank
    for i in range(rank if output_shape or same else 0):
        reach = (kernel[i] - 1) * spread[i] + 1 + extra[i]
        # The size cancels out for SAME, where the result is size * stride.
        total = reach - step[i] if same and not output_shape else (x.shape[2 + i] - 1) * step[i] + reach
        if output_shape:
            total = total - output_shape[-rank:][i]
        if not isinstance(total, int):
            raise UnsupportedError("its output_shape fixes the size of a dynamic dimension", "use pads instead")
        if total < 0:
            extra[i], total = extra[i] - total, 0
        half = total // 2
        before[i], after[i] = (half, total - half) if auto_pad == "SAME_UPPER" else (total - half, half)
    return b.nn_conv_transpose(
        x, w, bias, strides=step, pads=(*before, *after), dilations=spread, group=group, output_padding=tuple(extra)
    )


@onnx_op("MaxPool")
def max_pool(
    b: OnnxBuilder,
    x: Value,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    storage_order: int = 0,
    strides: Ints | None = None,
) -> Any:
    rank = x.rank - 2
    step, spread = _each(strides, rank, 1), _each(dilations, rank, 1)
    amounts = _window_pads(x, kernel_shape, step, spread, pads, auto_pad)
    # auto_pad fixes the size of the result, so there is nothing left to round up.
    common: dict[str, Any] = {
        "kernel_shape": tuple(kernel_shape), "strides": step, "pads": amounts, "dilations": spread,
        "ceil_mode": bool(ceil_mode) and auto_pad == "NOTSET",
    }  # fmt: skip
    if b.wants(1):
        return b.nn_max_pool_indices(x, storage_order=storage_order, **common)
    return b.nn_max_pool(x, **common)


@onnx_op("AveragePool")
def average_pool(
    b: OnnxBuilder,
    x: Value,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Value:
    rank = x.rank - 2
    step, spread = _each(strides, rank, 1), _each(dilations, rank, 1)
    return b.nn_avg_pool(
        x,
        kernel_shape=tuple(kernel_shape),
        strides=step,
        pads=_window_pads(x, kernel_shape, step, spread, pads, auto_pad),
        dilations=spread,
        ceil_mode=bool(ceil_mode) and auto_pad == "NOTSET",
        count_include_pad=bool(count_include_pad),
    )


@onnx_op("LpPool")
def lp_pool(
    b: OnnxBuilder,
    x: Value,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    p: int = 2,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Value:
    rank = x.rank - 2
    step, spread = _each(strides, rank, 1), _each(dilations, rank, 1)
    amounts = _window_pads(x, kernel_shape, step, spread, pads, auto_pad)
    rounds_up = bool(ceil_mode) and auto_pad == "NOTSET"
    kernel = tuple(kernel_shape)
    return b.nn_lp_pool(x, kernel_shape=kernel, strides=step, pads=amounts, dilations=spread, ceil_mode=rounds_up, p=p)


@onnx_op("GlobalAveragePool")
def global_average_pool(b: OnnxBuilder, x: Value) -> Value:
    return b.reduce_mean(x, axes=tuple(range(2, x.rank)), keepdims=True)


@onnx_op("GlobalMaxPool")
def global_max_pool(b: OnnxBuilder, x: Value) -> Value:
    return b.reduce_max(x, axes=tuple(range(2, x.rank)), keepdims=True)


@onnx_op("GlobalLpPool")
def global_lp_pool(b: OnnxBuilder, x: Value, *, p: int = 2) -> Value:
    axes = tuple(range(2, x.rank))
    if p in (1, 2):
        return (b.reduce_l1 if p == 1 else b.reduce_l2)(x, axes=axes, keepdims=True)
    powers = b.reduce_sum(b.pow(b.abs(x), b.like(x, p)), axes=axes, keepdims=True)
    return b.pow(powers, b.like(x, 1 / p))


@onnx_op("MaxUnpool", since=9)
def max_unpool(
    b: OnnxBuilder,
    x: Value,
    indices: Value,
    output_shape: Value | None = None,
    *,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Value:
    rank = x.rank - 2
    step, amounts = _each(strides, rank, 1), _each(pads, 2 * rank, 0)
    spatial = [(x.shape[2 + i] - 1) * step[i] + kernel_shape[i] - amounts[i] - amounts[i + rank] for i in range(rank)]
    # The indices count in the shape that the attributes give; a larger output_shape adds zeros at the ends.
    natural: tuple[Dim, ...] = (*x.shape[:2], *spatial)
    zeros = b.tensor_full(b.like(x, 0), shape=(product(natural),))
    flat = [b.reshaped(v, (product(v.shape),)) for v in (b.cast_to(indices, DType.I64), x)]
    y = b.reshaped(b.tensor_scatter_elements(zeros, *flat, axis=0), natural)
    if output_shape is None:
        return y
    wanted = b.dims(output_shape, "output shape")
    after = [w - n for w, n in zip(wanted, natural, strict=True)]
    return b.tensor_pad(y, None, pads=(*[0] * x.rank, *after)) if any(after) else y
