"""Hypothesis strategies for modules: structurally sound, with every operator, not necessarily valid."""

from __future__ import annotations

from typing import Any, get_args, get_origin

import numpy as np
from hypothesis import strategies as st

import lepton_ir.ops  # noqa: F401
from lepton_ir.ir import (
    REGISTRY,
    UNKNOWN,
    Block,
    Constant,
    DType,
    Expr,
    Function,
    Location,
    Module,
    OptionalType,
    Region,
    SequenceType,
    TensorType,
    Type,
    Value,
    sym,
)
from lepton_ir.ir.dim import ceildiv, dmax, dmin, floordiv, mod
from lepton_ir.ir.opdef import normalize_attributes

SYMBOLS = ["N", "S", "x", "max_len", "f32", "inf", "none", "_x", "é", "min", "batch_1"]
names = st.one_of(
    st.sampled_from(
        ["", "", "a", "a_1", "conv1.weight", "7", "onnx::Conv_3", 'q"uote', "a b", "none", "-", "loc", "x\ny"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def _combine(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    functions = [floordiv, ceildiv, mod, dmin, dmax, lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b]
    return st.tuples(st.sampled_from(functions), children, children).map(_apply)


def _apply(call: tuple[Any, Any, Any]) -> Any:
    function, a, b = call
    try:
        return function(a, b)
    except ZeroDivisionError:
        return a


numbers = st.integers(0, 300)
dims = st.recursive(st.one_of(numbers, st.sampled_from(SYMBOLS).map(sym)), _combine, max_leaves=4)
dtypes = st.sampled_from(list(DType))
sizes = dims.map(lambda d: abs(d) if isinstance(d, int) else d)
shapes = st.lists(sizes, max_size=4).map(tuple)
tensor_types = st.builds(TensorType, shapes, dtypes)
types = st.one_of(tensor_types, tensor_types.map(SequenceType), tensor_types.map(SequenceType).map(OptionalType))


@st.composite
def constants(draw: st.DrawFn) -> Constant:
    """Return constants of every element type, some of them larger than what is written inline."""
    dtype = draw(dtypes)
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    if dtype is DType.STR:
        array = np.empty(shape, object)
        array[...] = draw(texts)
        return Constant(array, draw(names))
    # Every bit pattern that fits, the unusual NaNs included.
    size = int(np.prod(shape, dtype=int)) * dtype.numpy.itemsize
    raw = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.uint8)
    if dtype is DType.BOOL:
        raw = raw & 1
    if dtype.bits < 8 and dtype.is_integer:
        # An array of small integers has one spelling of each number in memory.
        low = 1 << (dtype.bits - 1) if dtype.is_signed else 0
        array = ((raw % (1 << dtype.bits)).astype(np.int8) - low).astype(dtype.numpy)
        return Constant(array.reshape(shape), draw(names))
    if dtype.bits < 8:
        raw = raw & ((1 << dtype.bits) - 1)
    return Constant(np.array(raw).view(dtype.numpy).reshape(shape), draw(names))


def attribute_values(kind: Any) -> st.SearchStrategy[Any]:
    """Return values of an attribute's kind."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return st.lists(attribute_values(arguments[0]), max_size=3).map(tuple)
    return {
        int: st.integers(-(2**70), 2**70),
        float: st.floats(),
        bool: st.booleans(),
        str: texts,
        Expr: dims,
        DType: dtypes,
        Constant: constants(),
        Type: types,
    }[kind]


free_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, dtypes, types, constants(), dims),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=3,
)
free_attributes = st.dictionaries(
    names, st.one_of(free_values, st.dictionaries(names, free_values, max_size=2)), max_size=2
)
places = st.builds(Location, texts, texts, st.integers(1, 999), st.integers(0, 99))
fused = st.lists(places, min_size=2, max_size=3).map(lambda parts: Location(fused=tuple(parts)))
locations = st.one_of(st.just(UNKNOWN), places, fused)


@st.composite
def modules(draw: st.DrawFn) -> Module:
    """Return modules of one or two functions."""
    module = Module(attributes=draw(free_attributes))
    for name in draw(st.lists(names, min_size=1, max_size=2, unique=True)):
        argument_types = draw(st.lists(types, max_size=3))
        function = Function(name, argument_types, [draw(names) for _ in argument_types], location=draw(locations))
        function.attributes = draw(free_attributes)
        _fill(draw, function.body, list(function.arguments), "return", depth=0)
        if draw(st.booleans()):
            function.result_names = tuple(draw(names) for _ in function.results)
        module.add(function)
    return module


def _fill(draw: st.DrawFn, block: Block, visible: list[Value], ending: str, depth: int) -> None:
    operators = [cls for cls in REGISTRY.values() if not cls.is_terminator and (depth < 2 or not cls.spec.regions)]
    for _ in range(draw(st.integers(0, 4))):
        op = _operation(draw, draw(st.sampled_from(operators)), visible, depth)
        block.append(op)
        visible.extend(op.results)
    returned = draw(st.lists(st.sampled_from(visible), max_size=3)) if visible else []
    block.append(REGISTRY[ending](returned, location=draw(locations)))


def _operation(draw: st.DrawFn, cls: Any, visible: list[Value], depth: int) -> Any:
    operand = st.sampled_from([*visible, None])
    operands = draw(st.lists(operand, max_size=3)) if cls.name != "const" else []
    given = {
        n: draw(attribute_values(f.kind)) for n, f in cls.spec.attributes.items() if f.required or draw(st.booleans())
    }
    regions = [_region(draw, cls, visible, depth) for _ in cls.spec.regions]
    count = max(1, len(cls.spec.results))
    result_types = [draw(types) for _ in range(count)]
    if cls.name == "const":
        given["value"] = draw(constants())
        result_types = [given["value"].type]
    op = cls(operands, normalize_attributes(cls.spec, given), result_types, regions, draw(locations))
    for result in op.results:
        result.name = draw(names)
    return op


def _region(draw: st.DrawFn, cls: Any, visible: list[Value], depth: int) -> Region:
    block = Block()
    for t in draw(st.lists(types, max_size=2)):
        block.add_argument(t, draw(names))
    inherited = [] if cls.is_isolated else list(visible)
    _fill(draw, block, [*inherited, *block.arguments], "yield", depth + 1)
    return Region(block)
