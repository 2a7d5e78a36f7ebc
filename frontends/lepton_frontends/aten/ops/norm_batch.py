"""Batch normalization, with given and with measured statistics."""

from __future__ import annotations

from typing import Any, NamedTuple

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.norm import channel_affine, inverse_deviation, mixed, moments
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import number_of, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import product
from lepton_ir.ir.types import DType


class _Normalized(NamedTuple):
    """What a batch normalization computes.

    Attributes:
        mean: of the batch, empty where the statistics were given.
        deviation: 1 / sqrt(variance + eps) of the batch, likewise.
        running_mean: the running statistics after this batch, None where there are none.
    """

    y: Value
    mean: Value
    deviation: Value
    running_mean: Value | None
    running_var: Value | None


def _normalized(
    b: AtenBuilder,
    x: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    training: Any,
    momentum: Any,
    eps: Any,
) -> _Normalized:
    parameters = (weight, bias, running_mean, running_var)
    kept = mixed(b, x, *parameters)
    wide = DType.F64 if kept is DType.F64 else DType.F32
    scale, shift = channel_affine(b, x, wide, weight, bias)
    epsilon = float(number_of(eps, "epsilon"))
    if not training:
        if running_mean is None or running_var is None:
            raise UnsupportedError("it has neither running statistics nor those of the batch")
        mean, variance = b.convert(running_mean, wide), b.convert(running_var, wide)
        none = b.full((0,), 0, kept)
        y = b.nn_batch_norm(x, scale, shift, mean, variance, epsilon=epsilon)
        return _Normalized(y, none, none, running_mean, running_var)
    axes = (*range(min(1, x.rank - 1)), *range(2, x.rank))
    mean, variance = (b.reshaped(v, scale.shape) for v in moments(b, x, axes))
    y = b.nn_batch_norm(x, scale, shift, mean, variance, epsilon=epsilon)
    deviation = inverse_deviation(b, variance, epsilon)
    count = tensor_of(b, product(x.shape[a] for a in axes), wide)
    unbiased = b.mul(variance, b.div(count, b.sub(count, b.like(count, 1))))
    running = [
        old if old is None else _blended(b, old, new, momentum)
        for old, new in ((running_mean, mean), (running_var, unbiased))
    ]
    return _Normalized(y, b.convert(mean, kept), b.convert(deviation, kept), *running)


def _blended(b: AtenBuilder, old: Value, new: Value, momentum: Any) -> Value:
    """Return old * (1 - momentum) + new * momentum."""
    share = float(number_of(momentum, "momentum"))
    kept = b.mul(b.convert(old, new.tensor.dtype), b.like(new, 1 - share))
    return b.convert(b.add(kept, b.mul(new, b.like(new, share))), old.tensor.dtype)


@aten_op("batch_norm")
def batch_norm(
    b: AtenBuilder,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    training: Any,
    momentum: Any,
    eps: Any,
    cudnn_enabled: Any = True,
) -> Value:
    return _normalized(b, input, weight, bias, running_mean, running_var, training, momentum, eps).y


@aten_op("native_batch_norm", "_native_batch_norm_legit", "miopen_batch_norm")
def native_batch_norm(b: AtenBuilder, input: Value, weight: Value | None, bias: Value | None, *rest: Any) -> Any:
    """One overload has no running statistics; the others are (running_mean, running_var, training, momentum, eps)."""
    statistics = (None, None) if len(rest) == 3 else ()
    found = _normalized(b, input, weight, bias, *statistics, *rest)
    return found.y, found.mean, found.deviation


@aten_op("_native_batch_norm_legit_no_training")
def batch_norm_no_training(
    b: AtenBuilder,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value,
    running_var: Value,
    momentum: Any,
    eps: Any,
) -> Any:
    found = _normalized(b, input, weight, bias, running_mean, running_var, False, momentum, eps)
    return found.y, found.mean, found.deviation


@aten_op("_native_batch_norm_legit_functional")
def batch_norm_functional(b: AtenBuilder, input: Value, weight: Value | None, bias: Value | None, *rest: Any) -> Any:
    return tuple(_normalized(b, input, weight, bias, *rest))


@aten_op("cudnn_batch_norm", "_batch_norm_impl_index")
def cudnn_batch_norm(b: AtenBuilder, input: Value, weight: Value | None, bias: Value | None, *rest: Any) -> Any:
    """Like native_batch_norm, with an empty buffer (and the number of an implementation) behind the results."""
    found = _normalized(b, input, weight, bias, *rest[:5])
    results = (found.y, found.mean, found.deviation, b.full((0,), 0, DType.U8))
    return results if b.op == "cudnn_batch_norm" else (*results, 0)


@aten_op("_batch_norm_no_update", "_batch_norm_with_update", "_batch_norm_with_update_functional")
def batch_norm_with_buffer(
    b: AtenBuilder,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    momentum: Any,
    eps: Any,
) -> Any:
    training = b.op != "_batch_norm_no_update"
    found = _normalized(b, input, weight, bias, running_mean, running_var, training, momentum, eps)
    results = (found.y, found.mean, found.deviation, b.full((0,), 0, DType.U8))
    functional = b.op == "_batch_norm_with_update_functional"
    return (*results, found.running_mean, found.running_var) if functional else results
