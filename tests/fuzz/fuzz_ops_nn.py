"""The operators that random graphs are made of: layers of networks."""

from __future__ import annotations

import numpy as np
from fuzz_graph import FLOATS, NUMBERS, Grower, SkipError, operator

_REAL = ("float32", "float64")


@operator
def softmax(g: Grower) -> None:
    a = g.pick(FLOATS, rank=(1, 2, 3))
    axis = g.rng.randrange(g.of(a).ndim)
    g.add(g.rng.choice(["Softmax", "LogSoftmax", "Hardmax"]), a, axis=axis - g.rng.choice([0, g.of(a).ndim]))


@operator
def matmul(g: Grower) -> None:
    a = g.pick((*_REAL, "float16", "int32", "int64"), rank=(1, 2, 3, 4))
    shape = list(g.of(a).shape)
    k = shape[-1]
    n = g.shape(1)[0]
    batch = [g.rng.choice([1, d]) for d in shape[:-2]][g.rng.randint(0, max(0, len(shape) - 2)) :]
    b = g.input(g.of(a).dtype.name, g.rng.choice([[k, n], [k], [*batch, k, n], [*batch, k, n]]))
    g.add("MatMul", a, b)


@operator
def gemm(g: Grower) -> None:
    a = g.pick(_REAL, rank=(2,))
    ta, tb = g.rng.choice([0, 1]), g.rng.choice([0, 1])
    m, k = g.of(a).shape[::-1] if ta else g.of(a).shape
    n = g.shape(1)[0]
    dtype = g.of(a).dtype.name
    b = g.input(dtype, [n, k] if tb else [k, n])
    c = [g.input(dtype, g.rng.choice([[n], [1, n], [m, n], [m, 1], []]))] if g.opset >= 11 or g.chance(0.7) else []
    if not c and g.opset < 11:
        raise SkipError
    g.add("Gemm", a, b, *c, transA=ta, transB=tb, alpha=g.rng.choice([1.0, 0.5]), beta=g.rng.choice([1.0, 2.0]))


def _window(g: Grower, spatial: int, most: int = 3) -> dict[str, object]:
    found: dict[str, object] = {}
    if g.chance(0.5):
        found["strides"] = [g.rng.randint(1, 3) for _ in range(spatial)]
    if g.chance(0.3):
        found["dilations"] = [g.rng.randint(1, 2) for _ in range(spatial)]
    if g.chance(0.5):
        found["pads"] = [g.rng.randint(0, most - 1) for _ in range(2 * spatial)]
    elif g.chance(0.3):
        found["auto_pad"] = g.rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])
    return found


@operator
def conv(g: Grower) -> None:
    x = g.pick(_REAL, rank=(3, 4))
    _, c, *spatial = g.of(x).shape
    kernel = [g.rng.choice([1, 1, 2, 3]) for _ in spatial]
    group = g.rng.choice([1, 1, c]) if c else 1
    m = group * g.rng.choice([1, 2, 3])
    w = g.input(g.of(x).dtype.name, [m, c // group, *kernel])
    bias = [g.input(g.of(x).dtype.name, [m])] if g.chance(0.5) else []
    g.add("Conv", x, w, *bias, group=group, kernel_shape=kernel, **_window(g, len(spatial)))


@operator
def conv_transpose(g: Grower) -> None:
    x = g.pick(("float32",), rank=(3, 4))
    _, c, *spatial = g.of(x).shape
    kernel = [g.rng.choice([1, 2, 3]) for _ in spatial]
    w = g.input("float32", [c, g.rng.choice([1, 2]), *kernel])
    strides = [g.rng.randint(1, 2) for _ in spatial]
    pads = [g.rng.choice([0, 0, 1]) for _ in range(2 * len(spatial))] if g.chance(0.4) else None
    g.add("ConvTranspose", x, w, kernel_shape=kernel, strides=strides, pads=pads)


@operator
def pool(g: Grower) -> None:
    x = g.pick(("float32", "float64"), rank=(3, 4))
    spatial = g.of(x).ndim - 2
    op = g.rng.choice(["MaxPool", "AveragePool"])
    window = _window(g, spatial, 2)
    if op == "AveragePool":
        if g.opset < 19:
            window.pop("dilations", None)
        window["count_include_pad"] = g.rng.choice([0, 1])
    elif g.opset < 10:
        window.pop("dilations", None)
    if g.opset >= 10 and "auto_pad" not in window:
        window["ceil_mode"] = g.rng.choice([0, 0, 1])
    # A window that lies in the padding alone has no elements, and evaluators differ.
    least = 2 if "pads" in window else 1
    g.add(op, x, kernel_shape=[g.rng.choice([least, 2, 3]) for _ in range(spatial)], **window)


@operator
def global_pool(g: Grower) -> None:
    x = g.pick(("float32",), rank=(3, 4), where=lambda a: a.size > 0)
    g.add(g.rng.choice(["GlobalAveragePool", "GlobalMaxPool"]), x)


@operator
def norm(g: Grower) -> None:
    x = g.pick(("float32",), rank=(2, 3, 4), where=lambda a: a.size > 0)
    c = g.of(x).shape[1]
    op = g.rng.choice(["BatchNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization"])
    if op == "BatchNormalization":
        positive = g.constant(np.abs(g.array("float32", [c])) + 0.5)
        g.add(op, x, *(g.input("float32", [c]) for _ in range(3)), positive)
    elif op == "InstanceNormalization":
        g.add(op, x, g.input("float32", [c]), g.input("float32", [c]))
    elif op == "LayerNormalization":
        last = g.of(x).shape[-1]
        g.add(op, x, g.input("float32", [last]), g.input("float32", [last]))
    else:
        g.add(op, x, axis=g.rng.randrange(g.of(x).ndim), p=g.rng.choice([1, 2]))


@operator
def prelu(g: Grower) -> None:
    x = g.pick(("float32",), rank=(2, 3, 4))
    g.add("PRelu", x, g.input("float32", [g.of(x).shape[1], *[1] * (g.of(x).ndim - 2)]))


@operator
def einsum(g: Grower) -> None:
    x = g.pick(_REAL, rank=(2,))
    i, j = g.of(x).shape
    equation, shape = g.rng.choice(
        [("ij,jk->ik", [j, 3]), ("ij,ij->i", [i, j]), ("ij,k->kji", [2]), ("ij,jk->ki", [j, 2]), ("ij,i->", [i])]
    )
    g.add("Einsum", x, g.input(g.of(x).dtype.name, shape), equation=equation)


@operator
def quantize(g: Grower) -> None:
    x = g.pick(("float32",))
    scale, kind = g.constant(g.rng.choice([0.1, 0.5]), "float32"), g.rng.choice(["uint8", "int8"])
    zero = g.constant(3, kind)
    (q,) = g.add("QuantizeLinear", x, scale, zero)
    if g.chance(0.7):
        g.add("DequantizeLinear", q, scale, zero)


@operator
def resize(g: Grower) -> None:
    if g.opset < 11:
        raise SkipError
    x = g.pick(("float32",), rank=(3, 4), where=lambda a: a.size > 0)
    sizes = [*g.of(x).shape[:2], *(g.rng.choice([1, 2, 4, 5]) for _ in g.of(x).shape[2:])]
    empty = g.constant([], "float32")
    mode = g.rng.choice(["nearest", "linear"])
    g.add(
        "Resize", x, empty, empty, g.constant(sizes, "int64"), mode=mode,
        coordinate_transformation_mode=g.rng.choice(["half_pixel", "asymmetric", "align_corners"]),
    )  # fmt: skip


@operator
def shrink(g: Grower) -> None:
    g.add("Shrink", g.pick(NUMBERS), lambd=1.5, bias=g.rng.choice([0.0, 1.5]))


@operator
def mean_variance(g: Grower) -> None:
    g.add("MeanVarianceNormalization", g.pick(("float32",), rank=(4,), where=lambda a: a.size > 0))
