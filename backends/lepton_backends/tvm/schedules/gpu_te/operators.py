"""The operators of the IR as stages: each rule reads the attributes and calls the tensor expression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lepton_backends.tvm.schedules.gpu_te import conv, linalg, pool, reduce
from lepton_backends.tvm.schedules.gpu_te.core import Expr, Index, Tensor, at, cast, compute, shape_of
from lepton_backends.tvm.schedules.gpu_te.table import Operands, tensor_rule


@tensor_rule("linalg.matmul")
def matmul(view: Operands, op: Any) -> Sequence[Tensor]:
    a, b = view.tensor(op.a), view.tensor(op.b)
    return [linalg.matmul(a, b, transpose_a=op.transpose_a, transpose_b=op.transpose_b)]


@tensor_rule("linalg.matmul_packed")
def matmul_packed(view: Operands, op: Any) -> Sequence[Tensor]:
    product = linalg.packed_matmul(view.tensor(op.a), view.tensor(op.w), op.n)
    return [_add_bias(product, view, op.bias, len(product.shape) - 1)]


@tensor_rule("nn.conv")
def convolution(view: Operands, op: Any) -> Sequence[Tensor]:
    w = view.tensor(op.w)
    window = _window(op, tuple(int(e) for e in shape_of(w)[2:]))
    y = conv.conv(
        view.tensor(op.x),
        lambda o, offsets, i: at(w, [o, i, *offsets]),
        int(op.w.shape[0]),
        window,
        group=op.group,
        channels_last=op.channels_last,
    )
    return [_add_bias(y, view, op.bias, op.channel_axis)]


@tensor_rule("nn.conv_packed")
def packed_convolution(view: Operands, op: Any) -> Sequence[Tensor]:
    w, panel = view.tensor(op.w), op.panel

    def weight(o: Index, offsets: Sequence[Index], i: Index) -> Expr:
        if op.is_depthwise:
            return at(w, [*offsets, o])
        return at(w, [o // panel, *offsets, i, o % panel])

    window = _window(op, tuple(op.kernel_shape))
    y = conv.conv(view.tensor(op.x), weight, op.channels, window, group=op.group, channels_last=True)
    return [_add_bias(y, view, op.bias, len(y.shape) - 1)]


@tensor_rule("nn.conv_transpose")
def transposed_convolution(view: Operands, op: Any) -> Sequence[Tensor]:
    y = conv.conv_transpose(
        view.tensor(op.x),
        view.tensor(op.w),
        _window(op, tuple(int(e) for e in op.w.shape[2:])),
        [view.shape(op.y)[axis] for axis in op.spatial_axes],
        group=op.group,
        channels_last=op.channels_last,
    )
    return [_add_bias(y, view, op.bias, op.channel_axis)]


@tensor_rule("nn.max_pool")
def max_pool(view: Operands, op: Any) -> Sequence[Tensor]:
    outputs = [view.shape(op.y)[axis] for axis in op.spatial_axes]
    window = _window(op, tuple(op.kernel_shape))
    return [pool.max_pool(view.tensor(op.x), window, outputs, channels_last=op.channels_last)]


@tensor_rule("nn.avg_pool")
def avg_pool(view: Operands, op: Any) -> Sequence[Tensor]:
    outputs = [view.shape(op.y)[axis] for axis in op.spatial_axes]
    window = _window(op, tuple(op.kernel_shape))
    y = pool.avg_pool(
        view.tensor(op.x),
        window,
        outputs,
        count_include_pad=op.count_include_pad,
        channels_last=op.channels_last,
    )
    return [y]


@tensor_rule("nn.softmax")
def softmax(view: Operands, op: Any) -> Sequence[Tensor]:
    return [reduce.softmax(view.tensor(op.x), op.axis % op.x.rank)]


@tensor_rule("nn.log_softmax")
def log_softmax(view: Operands, op: Any) -> Sequence[Tensor]:
    return [reduce.softmax(view.tensor(op.x), op.axis % op.x.rank, log=True)]


@tensor_rule("nn.layer_norm")
def layer_norm(view: Operands, op: Any) -> Sequence[Tensor]:
    axes = range(op.axis % op.x.rank, op.x.rank)
    scale, shift = (_broadcast(view, value) for value in (op.scale, op.bias))
    return [reduce.layer_norm(view.tensor(op.x), axes, op.epsilon, scale, shift)]


@tensor_rule("nn.rms_norm")
def rms_norm(view: Operands, op: Any) -> Sequence[Tensor]:
    axes = range(op.axis % op.x.rank, op.x.rank)
    return [reduce.rms_norm(view.tensor(op.x), axes, op.epsilon, _broadcast(view, op.scale))]


@tensor_rule("reduce.sum", "reduce.max", "reduce.min", "reduce.prod")
def plain_reduction(view: Operands, op: Any) -> Sequence[Tensor]:
    x = view.tensor(op.x)
    y = reduce.reduce(x, _axes(op), op.name.partition(".")[2], keepdims=op.keepdims)
    return [_as(y, str(x.dtype))]


@tensor_rule("reduce.mean")
def mean(view: Operands, op: Any) -> Sequence[Tensor]:
    x = view.tensor(op.x)
    return [_as(reduce.mean(x, _axes(op), keepdims=op.keepdims), str(x.dtype))]


@tensor_rule("reduce.any", "reduce.all")
def truth_reduction(view: Operands, op: Any) -> Sequence[Tensor]:
    x = view.tensor(op.x)
    number = compute(shape_of(x), lambda *i: at(x, i).astype("int32"), "number")
    combine = "max" if op.name == "reduce.any" else "min"
    return [_as(reduce.reduce(number, _axes(op), combine, keepdims=op.keepdims), "bool")]


@tensor_rule("reduce.argmax", "reduce.argmin")
def arg_reduction(view: Operands, op: Any) -> Sequence[Tensor]:
    largest = op.name == "reduce.argmax"
    axis = op.axis % op.x.rank
    x = view.tensor(op.x)
    return [reduce.arg_reduce(x, axis, largest=largest, last=op.select_last_index, keepdims=op.keepdims)]


def _window(op: Any, kernel: tuple[int, ...]) -> conv.Window:
    return conv.Window(kernel, tuple(op.strides), tuple(op.dilations), tuple(op.pads))


def _axes(op: Any) -> list[int]:
    return sorted({axis % op.x.rank for axis in op.axes})


def _add_bias(y: Tensor, view: Operands, bias: Any, axis: int) -> Tensor:
    if bias is None:
        return y
    b = view.tensor(bias)
    return compute(shape_of(y), lambda *i: at(y, i) + at(b, [i[axis]]), "biased")


def _broadcast(view: Operands, value: Any) -> Callable[[Sequence[Index]], Expr] | None:
    return None if value is None else reduce.over_last(view.tensor(value))


def _as(y: Tensor, dtype: str) -> Tensor:
    if str(y.dtype) == dtype:
        return y
    return compute(shape_of(y), lambda *i: cast(at(y, i), dtype), "converted")
