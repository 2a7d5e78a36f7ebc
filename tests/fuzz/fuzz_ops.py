"""The operators that random graphs are made of: arithmetic, shapes, indices, reductions."""

from __future__ import annotations

import numpy as np
from fuzz_graph import ANY, FLOATS, INTEGERS, NUMBERS, SIGNED, UNSIGNED, Grower, SkipError, operator

_FLOAT_UNARY = (  # noqa: SIM905
    "Exp Log Sqrt Reciprocal Tanh Sigmoid Erf Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Softplus Softsign "
    "Floor Ceil Round Elu Selu LeakyRelu HardSigmoid HardSwish Celu ThresholdedRelu Mish Gelu Relu"
).split()


@operator
def float_unary(g: Grower) -> None:
    op = g.rng.choice(_FLOAT_UNARY)
    # ONNX's reference evaluator computes Erf and Gelu of float64 in float32, and ONNX Runtime has neither.
    g.add(op, g.pick(tuple(d for d in FLOATS if d != "float64") if op in ("Erf", "Gelu") else FLOATS))


@operator
def signed_unary(g: Grower) -> None:
    g.add(g.rng.choice(["Neg", "Abs", "Sign"]), g.pick(FLOATS + SIGNED))


@operator
def any_unary(g: Grower) -> None:
    op = g.rng.choice(["Identity", "Not", "BitwiseNot", "IsNaN", "IsInf", "Relu"])
    kinds = {"Not": ("bool",), "BitwiseNot": INTEGERS, "IsNaN": FLOATS, "IsInf": ("float32", "float64")}
    g.add(op, g.pick(kinds.get(op, NUMBERS)))


@operator
def arithmetic(g: Grower) -> None:
    a = g.pick(NUMBERS)
    pair = [a, g.partner(a)]
    g.rng.shuffle(pair)
    g.add(g.rng.choice(["Add", "Sub", "Mul", "Add", "Mul"]), *pair)


@operator
def division(g: Grower) -> None:
    a = g.pick(NUMBERS)
    b = g.partner(a)
    if g.of(b).dtype.name in INTEGERS and not np.all(g.of(b)):
        raise SkipError
    op = g.rng.choice(["Div", "Div", "Mod"])
    floats = g.of(a).dtype.kind == "f"
    g.add(op, a, b, **({"fmod": 1 if floats else g.rng.choice([0, 1])} if op == "Mod" else {}))


@operator
def power(g: Grower) -> None:
    a = g.pick(("float32", "float64", "int32", "int64"))
    dtype = g.of(a).dtype.name
    b = g.constant(g.rng.choice([0, 1, 2, 3, 0.5, -1, 2.5]), dtype if dtype in INTEGERS else "float32")
    g.add("Pow", a, b if g.chance(0.8) else g.partner(a))


@operator
def extremes(g: Grower) -> None:
    a = g.pick(NUMBERS)
    op = g.rng.choice(["Min", "Max", "Sum", "Mean"])
    g.add(op, a, *[g.partner(a) for _ in range(g.rng.choice([0, 1, 1, 2]))])


@operator
def comparison(g: Grower) -> None:
    a = g.pick(NUMBERS)
    g.add(g.rng.choice(["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"]), a, g.partner(a))


@operator
def logic(g: Grower) -> None:
    a = g.pick(("bool",))
    g.add(g.rng.choice(["And", "Or", "Xor"]), a, g.partner(a))


@operator
def bitwise(g: Grower) -> None:
    a = g.pick(INTEGERS)
    g.add(g.rng.choice(["BitwiseAnd", "BitwiseOr", "BitwiseXor"]), a, g.partner(a))


@operator
def bit_shift(g: Grower) -> None:
    a = g.pick(UNSIGNED)
    b = g.partner(a)
    g.add("BitShift", a, b, direction=g.rng.choice(["LEFT", "RIGHT"]))


@operator
def where(g: Grower) -> None:
    a = g.pick(ANY)
    g.add("Where", g.partner(a, "bool"), a, g.partner(a))


@operator
def clip(g: Grower) -> None:
    a = g.pick(NUMBERS)
    low, high = sorted(g.rng.sample([-3, -1, 0, 1, 2, 6], 2))
    if g.opset < 11:
        g.add("Clip", a, min=float(low), max=float(high))
        return
    dtype = g.of(a).dtype.name
    ends = [g.parameter(max(v, 0) if dtype in UNSIGNED else v, dtype) if g.chance(0.8) else "" for v in (low, high)]
    g.add("Clip", a, *ends)


@operator
def cast(g: Grower) -> None:
    a = g.pick(ANY)
    from onnx import helper

    g.add("Cast", a, to=helper.np_dtype_to_tensor_dtype(np.dtype(g.dtype(ANY))))


# Shapes -------------------------------------------------------------------------------------------------------------


@operator
def transpose(g: Grower) -> None:
    a = g.pick()
    g.add("Transpose", a, perm=g.rng.sample(range(g.of(a).ndim), g.of(a).ndim) if g.chance(0.8) else None)


def _factors(g: Grower, size: int) -> list[int]:
    shape = []
    for divisor in (2, 3, 2, 5):
        if size and size % divisor == 0 and g.chance(0.5):
            shape.append(divisor)
            size //= divisor
    shape.insert(g.rng.randint(0, len(shape)), size)
    return shape


@operator
def reshape(g: Grower) -> None:
    a = g.pick()
    shape = _factors(g, g.of(a).size)
    if g.chance(0.4) and g.of(a).size:
        shape[g.rng.randrange(len(shape))] = -1
    if g.chance(0.3) and g.of(a).ndim and shape and shape[0] == g.of(a).shape[0]:
        shape[0] = 0
    if g.chance(0.2):
        shape.insert(g.rng.randint(0, len(shape)), 1)
    g.add("Reshape", a, g.constant(shape, "int64"))


@operator
def flatten(g: Grower) -> None:
    a = g.pick()
    g.add("Flatten", a, axis=g.rng.randint(0, g.of(a).ndim))


@operator
def squeeze(g: Grower) -> None:
    a = g.pick()
    ones = [i for i, d in enumerate(g.of(a).shape) if d == 1]
    if not ones:
        raise SkipError
    axes = g.rng.sample(ones, g.rng.randint(1, len(ones)))
    _with_axes(g, "Squeeze", a, axes, 13)


@operator
def unsqueeze(g: Grower) -> None:
    a = g.pick(where=lambda x: x.ndim < 4)
    count = g.rng.choice([1, 1, 2])
    _with_axes(g, "Unsqueeze", a, sorted(g.rng.sample(range(g.of(a).ndim + count), count)), 13)


def _with_axes(g: Grower, op: str, a: str, axes: list[int] | None, as_input: int, **attributes: object) -> None:
    if g.opset < as_input:
        g.add(op, a, axes=axes, **attributes)
    elif axes is None:
        g.add(op, a, **attributes)
    else:
        g.add(op, a, g.constant(axes, "int64"), **attributes)


@operator
def concat(g: Grower) -> None:
    a = g.pick(rank=(1, 2, 3, 4))
    axis = g.rng.randrange(g.of(a).ndim)
    parts = [a]
    for _ in range(g.rng.choice([0, 1, 1, 2])):
        shape = list(g.of(a).shape)
        shape[axis] = g.shape(1)[0]
        parts.append(g.rng.choice([a, g.input(g.of(a).dtype.name, shape)]))
    g.rng.shuffle(parts)
    g.add("Concat", *parts, axis=axis - g.rng.choice([0, g.of(a).ndim]))


@operator
def split(g: Grower) -> None:
    a = g.pick(rank=(1, 2, 3, 4))
    axis = g.rng.randrange(g.of(a).ndim)
    size = g.of(a).shape[axis]
    first = g.rng.randint(0, size)
    if g.opset < 13:
        g.add("Split", a, outputs=2, axis=axis, split=[first, size - first])
    else:
        g.add("Split", a, g.constant([first, size - first], "int64"), outputs=2, axis=axis)


@operator
def slice_(g: Grower) -> None:
    a = g.pick(rank=(1, 2, 3, 4))
    axes = g.rng.sample(range(g.of(a).ndim), g.rng.randint(1, g.of(a).ndim))
    starts, ends, steps = [], [], []
    for axis in axes:
        n = g.of(a).shape[axis]
        starts.append(g.rng.randint(-n - 1, n + 1))
        ends.append(g.rng.choice([g.rng.randint(-n - 1, n + 1), 2**31 - 1, 2**63 - 1, -(2**63)]))
        steps.append(g.rng.choice([1, 1, 1, 2, -1, -2, 3]))
    if g.opset < 10:
        g.add("Slice", a, axes=axes, starts=starts, ends=ends)
    else:
        g.add("Slice", a, *(g.constant(v, "int64") for v in (starts, ends, axes, steps)))


@operator
def expand(g: Grower) -> None:
    a = g.pick(where=lambda x: x.size < 100)
    shape = [g.rng.choice([1, d]) if d != 1 else g.shape(1)[0] for d in g.of(a).shape]
    if g.chance(0.3):
        shape.insert(0, g.rng.choice([1, 2, 3]))
    g.add("Expand", a, g.constant(shape, "int64"))


@operator
def tile(g: Grower) -> None:
    a = g.pick(rank=(1, 2, 3))
    g.add("Tile", a, g.constant([g.rng.choice([0, 1, 1, 2, 3]) for _ in g.of(a).shape], "int64"))


@operator
def pad(g: Grower) -> None:
    a = g.pick(FLOATS if g.opset < 11 else NUMBERS, rank=(1, 2, 3, 4))
    mode = g.rng.choice(["constant", "constant", "reflect", "edge", "wrap"])
    low = -1 if mode == "constant" and g.chance(0.2) else 0
    pads = [g.rng.randint(low, 2) for _ in range(2 * g.of(a).ndim)]
    if g.opset < 11:
        g.add("Pad", a, pads=pads, mode=mode, value=1.5)
    else:
        value = [g.parameter(3, g.of(a).dtype.name)] if mode == "constant" and g.chance(0.6) else []
        g.add("Pad", a, g.constant(pads, "int64"), *value, mode=mode)


@operator
def shape_arithmetic(g: Grower) -> None:
    """A shape that is computed in the graph."""
    a = g.pick(rank=(1, 2, 3))
    (shape,) = g.add("Shape", a)
    if g.chance(0.5):
        (last,) = g.add("Gather", shape, g.constant(g.of(a).ndim - 1, "int64"))
        g.add("Mul", last, g.constant(2, "int64"))
    elif g.opset >= 9 and g.of(a).size < 200:
        (zeros,) = g.add("ConstantOfShape", shape)
        g.add("Add", zeros, g.constant(1.5, "float32"))


@operator
def range_(g: Grower) -> None:
    start, step = g.rng.choice([0, 1, -2]), g.rng.choice([1, 2, -1, 3])
    dtype = g.rng.choice(["int64", "float32", "int32"])
    g.add("Range", *(g.constant(v, dtype) for v in (start, start + step * g.rng.randint(0, 6), step)))


@operator
def depth_space(g: Grower) -> None:
    a = g.pick(FLOATS, rank=(4,))
    if g.chance(0.5):
        g.add("DepthToSpace", a, blocksize=2, mode=g.rng.choice(["DCR", "CRD"]) if g.opset >= 11 else None)
    else:
        g.add("SpaceToDepth", a, blocksize=2)


@operator
def trilu(g: Grower) -> None:
    a = g.pick(rank=(2, 3))
    k = [g.parameter(g.rng.randint(-2, 3), "int64")] if g.chance(0.5) else []
    g.add("Trilu", a, *k, upper=g.rng.choice([0, 1]))


# Indices ------------------------------------------------------------------------------------------------------------


def _indices(g: Grower, size: int, shape: list[int], dtype: str | None = None) -> str:
    if not size and 0 not in shape:
        raise SkipError
    array = g.data.integers(-size, max(size, 1), shape) if g.chance(0.5) else g.data.integers(0, max(size, 1), shape)
    array = array.astype(dtype or g.rng.choice(["int64", "int32"]))
    if len(g.inputs) < 4 and g.chance(0.6):
        name = g.name("i")
        g.inputs.append(name)
        g.values[name] = array
        return name
    return g.constant(array)


@operator
def gather(g: Grower) -> None:
    a = g.pick(rank=(1, 2, 3))
    axis = g.rng.randrange(g.of(a).ndim)
    indices = _indices(g, g.of(a).shape[axis], g.shape(g.rng.choice([0, 1, 1, 2])))
    g.add("Gather", a, indices, axis=axis - g.rng.choice([0, g.of(a).ndim]))


@operator
def gather_computed(g: Grower) -> None:
    """Indices that the graph computes."""
    a = g.pick(rank=(1, 2, 3), where=lambda x: x.shape[0] > 0)
    size = g.of(a).shape[0]
    i = g.pick(("int64", "int32"), rank=(0, 1, 2))
    (bounded,) = g.add("Mod", i, g.constant(size, g.of(i).dtype.name))
    g.add("Gather", a, bounded)


@operator
def gather_elements(g: Grower) -> None:
    a = g.pick(rank=(1, 2, 3))
    axis = g.rng.randrange(g.of(a).ndim)
    shape = [g.rng.randint(min(d, 1), d) for d in g.of(a).shape]
    shape[axis] = g.rng.choice([1, 2, 3])
    g.add("GatherElements", a, _indices(g, g.of(a).shape[axis], shape), axis=axis)


@operator
def gather_nd(g: Grower) -> None:
    a = g.pick(rank=(1, 2, 3), where=lambda x: x.size > 0)
    depth = g.rng.randint(1, g.of(a).ndim)
    shape = [*g.shape(g.rng.choice([0, 1, 2])), depth]
    size = min(g.of(a).shape[:depth])
    g.add("GatherND", a, _indices(g, size, shape, "int64"))


@operator
def scatter_elements(g: Grower) -> None:
    a = g.pick(("float32", "int64", "int32", "float64"), rank=(1, 2, 3), where=lambda x: x.size > 0)
    axis = g.rng.randrange(g.of(a).ndim)
    shape = [g.rng.randint(1, d) for d in g.of(a).shape]
    size = g.of(a).shape[axis]
    reduction = g.rng.choice(["add", "mul", "max", "min"]) if g.opset >= 18 and g.chance(0.5) else None
    indices = _indices(g, size, shape)
    if reduction is None:
        # Of several updates of one place, ONNX does not say which one stays.
        line = np.stack([g.data.permutation(size)[: shape[axis]] for _ in range(int(np.prod(shape)) // shape[axis])])
        outer = [d for i, d in enumerate(shape) if i != axis]
        indices = g.constant(np.moveaxis(line.reshape([*outer, shape[axis]]), -1, axis), "int64")
    updates = g.input(g.of(a).dtype.name, shape)
    g.add("ScatterElements", a, indices, updates, axis=axis, reduction=reduction)


@operator
def scatter_nd(g: Grower) -> None:
    a = g.pick(("float32", "int64", "float64"), rank=(1, 2, 3), where=lambda x: x.size > 0)
    depth = g.rng.randint(1, g.of(a).ndim)
    sizes = g.of(a).shape[:depth]
    count = g.rng.randint(0, min(3, int(np.prod(sizes))))
    places = g.data.permutation(int(np.prod(sizes)))[:count]
    indices = g.parameter(np.stack(np.unravel_index(places, sizes), -1).reshape([count, depth]), "int64")
    updates = g.input(g.of(a).dtype.name, [count, *g.of(a).shape[depth:]])
    reduction = g.rng.choice(["add", "mul", "max", "min"]) if g.opset >= 18 and g.chance(0.5) else None
    g.add("ScatterND", a, indices, updates, reduction=reduction)


@operator
def one_hot(g: Grower) -> None:
    i = g.pick(("int64", "int32"), rank=(0, 1, 2))
    depth = g.constant(g.rng.choice([1, 3, 5]), "int64")
    values = g.constant([2, 7], g.rng.choice(["float32", "int64"]))
    g.add("OneHot", i, depth, values, axis=g.rng.choice([-1, 0]))


@operator
def top_k(g: Grower) -> None:
    a = g.pick(("float32", "float64", "int64", "int32"), rank=(1, 2, 3))
    axis = g.rng.randrange(g.of(a).ndim)
    k = g.rng.randint(0, g.of(a).shape[axis])
    if g.opset < 10:
        g.add("TopK", a, outputs=2, axis=axis, k=k)
        return
    largest = g.rng.choice([0, 1]) if g.opset >= 11 else None
    g.add("TopK", a, g.constant([k], "int64"), outputs=2, axis=axis, largest=largest)


@operator
def non_zero_count(g: Grower) -> None:
    a = g.pick(("float32", "int64", "bool"), rank=(1, 2))
    g.add("NonZero", a)


@operator
def reverse_sequence(g: Grower) -> None:
    a = g.pick(rank=(2, 3), where=lambda x: x.size > 0)
    lengths = g.data.integers(1, g.of(a).shape[0] + 1, [g.of(a).shape[1]])
    g.add("ReverseSequence", a, g.parameter(lengths, "int64"))


# Reductions ---------------------------------------------------------------------------------------------------------

_REDUCTIONS = "Sum Mean Max Min Prod L1 L2 LogSum LogSumExp SumSquare".split()  # noqa: SIM905


@operator
def reduce(g: Grower) -> None:
    op = g.rng.choice(_REDUCTIONS)
    # Evaluators differ in where roots and logarithms of integers overflow.
    whole = () if op in ("L2", "LogSum", "LogSumExp") else ("int32", "int64")
    a = g.pick(("float32", "float64", "float16", *whole))
    ndim = g.of(a).ndim
    axes = sorted(g.rng.sample(range(ndim), g.rng.randint(0, ndim))) if g.chance(0.8) else None
    if axes == [] and g.opset < 18:
        axes = None
    if axes and g.chance(0.3):
        axes = [i - ndim for i in axes]
    _with_axes(g, f"Reduce{op}", a, axes, 13 if op == "Sum" else 18, keepdims=g.rng.choice([0, 1]))


@operator
def arg(g: Grower) -> None:
    a = g.pick(("float32", "float64", "int32", "int64"), rank=(1, 2, 3))
    axis = g.rng.randrange(g.of(a).ndim)
    last = g.rng.choice([0, 1]) if g.opset >= 12 else None
    g.add(g.rng.choice(["ArgMax", "ArgMin"]), a, axis=axis, keepdims=g.rng.choice([0, 1]), select_last_index=last)


@operator
def cumulative(g: Grower) -> None:
    a = g.pick(("float32", "float64", "int32", "int64"), rank=(1, 2, 3))
    axis = g.constant(g.rng.randrange(g.of(a).ndim), "int64")
    g.add("CumSum", a, axis, exclusive=g.rng.choice([0, 1]), reverse=g.rng.choice([0, 1]))
