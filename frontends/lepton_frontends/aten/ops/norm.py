"""Normalizations of groups of elements by their own mean and variance, and of weights by their norm."""

from __future__ import annotations

from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import floats, int_of, number_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, floordiv
from lepton_ir.ir.types import DType


def mixed(b: AtenBuilder, x: Value, *parameters: Value | None) -> DType:
    """Return the type of means and deviations: that of x, or f32 where narrow floats meet parameters in f32."""
    dtype = x.tensor.dtype
    return DType.F32 if any(p is not None and p.tensor.dtype is not dtype for p in parameters) else dtype


def moments(b: AtenBuilder, x: Value, axes: tuple[int, ...]) -> tuple[Value, Value]:
    """Return the mean and the variance along some axes, which stay, in f32 at least."""
    wide = x if x.tensor.dtype is DType.F64 else b.convert(x, DType.F32)
    mean = b.reduce_mean(wide, axes=axes)
    centered = b.sub(wide, mean)
    return mean, b.reduce_mean(b.mul(centered, centered), axes=axes)


def inverse_deviation(b: AtenBuilder, variance: Value, eps: Any) -> Value:
    """Return 1 / sqrt(variance + eps)."""
    return b.rsqrt(b.add(variance, b.like(variance, float(number_of(eps, "epsilon")))))


@aten_op("layer_norm")
def layer_norm(
    b: AtenBuilder,
    input: Value,
    normalized_shape: Any,
    weight: Value | None = None,
    bias: Value | None = None,
    eps: Any = 1e-5,
    cudnn_enable: Any = True,
) -> Value:
    dtype, wide = input.tensor.dtype, mixed(b, input, weight, bias)
    affine = [None if p is None else b.convert(p, wide) for p in (weight, bias)]
    y = b.nn_layer_norm(
        b.convert(input, wide), *affine, axis=-len(normalized_shape), epsilon=float(number_of(eps, "epsilon"))
    )
    return b.convert(y, dtype)


@aten_op("native_layer_norm")
def native_layer_norm(
    b: AtenBuilder, input: Value, normalized_shape: Any, weight: Value | None, bias: Value | None, eps: Any
) -> tuple[Value, Value, Value]:
    y = layer_norm(b, input, normalized_shape, weight, bias, eps)
    mean, variance = moments(b, input, tuple(range(input.rank - len(normalized_shape), input.rank)))
    dtype = mixed(b, input, weight, bias)
    return y, b.convert(mean, dtype), b.convert(inverse_deviation(b, variance, eps), dtype)


@aten_op("rms_norm")
def rms_norm(
    b: AtenBuilder, input: Value, normalized_shape: Any, weight: Value | None = None, eps: Any = None
) -> Value:
    dtype, wide = input.tensor.dtype, mixed(b, input, weight)
    scale = None if weight is None else b.convert(weight, wide)
    y = b.nn_rms_norm(b.convert(input, wide), scale, axis=-len(normalized_shape), epsilon=_smallest(dtype, eps))
    return b.convert(y, dtype)


def _smallest(dtype: DType, eps: Any) -> float:
    """Return epsilon, by default the distance from 1 to the next number in the type that is computed in."""
    if eps is not None:
        return float(number_of(eps, "epsilon"))
    return 2.0**-52 if dtype is DType.F64 else 2.0**-23


@aten_op("_fused_rms_norm")
def fused_rms_norm(
    b: AtenBuilder, input: Value, normalized_shape: Any, weight: Value | None, eps: Any
) -> tuple[Value, Value]:
    wide = input if input.tensor.dtype is DType.F64 else b.convert(input, DType.F32)
    axes = tuple(range(input.rank - len(normalized_shape), input.rank))
    mean = b.reduce_mean(b.mul(wide, wide), axes=axes)
    deviation = inverse_deviation(b, mean, _smallest(input.tensor.dtype, eps))
    return rms_norm(b, input, normalized_shape, weight, eps), deviation


@aten_op("group_norm")
def group_norm(
    b: AtenBuilder,
    input: Value,
    num_groups: Any,
    weight: Value | None = None,
    bias: Value | None = None,
    eps: Any = 1e-5,
    cudnn_enabled: Any = True,
) -> Value:
    dtype, wide = input.tensor.dtype, mixed(b, input, weight, bias)
    scale, shift = channel_affine(b, input, wide, weight, bias)
    y = b.nn_group_norm(
        b.convert(input, wide), scale, shift, groups=int_of(num_groups, "number of groups"),
        epsilon=float(number_of(eps, "epsilon")),
    )  # fmt: skip
    return b.convert(y, dtype)


def channel_affine(
    b: AtenBuilder, x: Value, dtype: DType, weight: Value | None, bias: Value | None
) -> tuple[Value, Value]:
    """Return a factor and a summand for each channel, 1 and 0 where they are absent."""
    channels = (x.shape[min(1, x.rank - 1)],)
    scale = b.full(channels, 1, dtype) if weight is None else b.convert(weight, dtype)
    return scale, b.full(channels, 0, dtype) if bias is None else b.convert(bias, dtype)


@aten_op("native_group_norm")
def native_group_norm(
    b: AtenBuilder,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    N: Any,
    C: Any,
    HxW: Any,
    group: Any,
    eps: Any,
) -> tuple[Value, Value, Value]:
    groups = int_of(group, "number of groups")
    batch, channels = input.shape[:2]
    y = group_norm(b, input, groups, weight, bias, eps)
    apart = b.reshaped(input, (batch, groups, floordiv(channels, groups), *input.shape[2:]))
    mean, variance = moments(b, apart, tuple(range(2, apart.rank)))
    dtype = mixed(b, input, weight, bias)
    found = (mean, inverse_deviation(b, variance, eps))
    first, second = (b.convert(b.reshaped(v, (batch, groups)), dtype) for v in found)
    return y, first, second


@aten_op("instance_norm")
def instance_norm(
    b: AtenBuilder,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    use_input_stats: Any,
    momentum: Any,
    eps: Any,
    cudnn_enabled: Any = True,
) -> Value:
    dtype = input.tensor.dtype
    epsilon = float(number_of(eps, "epsilon"))
    if not use_input_stats and running_mean is not None and running_var is not None:
        scale, shift = channel_affine(b, input, running_mean.tensor.dtype, weight, bias)
        return b.nn_batch_norm(input, scale, shift, running_mean, running_var, epsilon=epsilon)
    wide = mixed(b, input, weight, bias)
    scale, shift = channel_affine(b, input, wide, weight, bias)
    return b.convert(b.nn_instance_norm(b.convert(input, wide), scale, shift, epsilon=epsilon), dtype)


@aten_op("norm_except_dim")
def norm_except_dim(b: AtenBuilder, v: Value, pow: Any = 2, dim: Any = 0) -> Value:
    """The norm along all axes but one, which stay."""
    kept = int_of(dim, "axis")
    # -1 means that no axis is left out, not the last one.
    axes = tuple(i for i in range(v.rank) if kept < 0 or i != kept)
    power = float(number_of(pow, "power"))
    if power == 2:
        y = b.reduce_l2(v, axes=axes)
    else:
        y = b.pow(b.reduce_sum(b.pow(b.abs(v), b.like(v, power)), axes=axes), b.like(v, 1 / power))
    return b.reshaped(y, ()) if kept < 0 else y


@aten_op("_weight_norm")
def weight_norm(b: AtenBuilder, v: Value, g: Value, dim: Any = 0) -> Value:
    return weight_norm_interface(b, v, g, dim)[0]


@aten_op("_weight_norm_interface")
def weight_norm_interface(b: AtenBuilder, v: Value, g: Value, dim: Any = 0) -> tuple[Value, Value]:
    norms = norm_except_dim(b, v, 2, dim)
    return b.mul(v, b.div(g, norms)), norms


@aten_op("local_response_norm")
def local_response_norm(
    b: AtenBuilder, input: Value, size: Any, alpha: Any = 1e-4, beta: Any = 0.75, k: Any = 1.0
) -> Value:
    x = floats(b, input)
    count = int_of(size, "size")
    pads: list[Dim] = [0] * (2 * x.rank)
    pads[1], pads[x.rank + 1] = count // 2, (count - 1) // 2
    squares = b.tensor_pad(b.mul(x, x), None, pads=tuple(pads))
    total = b.full(x.shape, 0, x.tensor.dtype)
    for i in range(count):
        part = b.tensor_slice(squares, starts=(i,), ends=(i + x.shape[1],), axes=(1,), steps=(1,))
        total = b.add(total, part)
    base = b.add(b.mul(total, b.like(x, float(alpha) / count)), b.like(x, float(k)))
    return b.div(x, b.pow(base, b.like(x, float(beta))))
