"""Einstein summation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ir.opdef import FusionKind, InferenceError, Operation, attribute, result, variadic_operand
from lepton_ir.ir.types import TensorType, Type
from lepton_ir.ops.support import Array, broadcast, narrow, require_same_dtype, widen

Labels = tuple[str, ...]


class Einsum(Operation):
    """The sum of products over all labels that the equation's right side leaves out, as in numpy."""

    name = "linalg.einsum"
    fusion = FusionKind.ANCHOR
    xs: tuple[Value, ...] = variadic_operand()
    equation = attribute(str, doc='for example "bij,bjk->bik"; "..." stands for further axes')
    y: OpResult = result()

    def infer(self) -> Type:
        if not self.xs:
            raise InferenceError("linalg.einsum needs at least one operand")
        tensors = [v.tensor for v in self.xs]
        require_same_dtype("the operands of linalg.einsum", *tensors)
        terms, out = parse_equation(self.equation, [t.rank for t in tensors])
        sizes = _sizes(terms, tensors)
        if len(set(out)) != len(out):
            raise InferenceError(f'"{self.equation}": the result names an axis twice')
        missing = [label for label in out if label not in sizes]
        if missing:
            raise InferenceError(f'"{self.equation}": {missing[0]} stands in no operand')
        return TensorType(tuple(sizes[label] for label in out), tensors[0].dtype)

    def evaluate(self, *xs: Array) -> Array:
        y = np.einsum(self.equation.replace(" ", ""), *map(widen, xs), optimize=True)
        return narrow(y, self.y.tensor.dtype)

    def decompose(self, b: Builder) -> Sequence[Value]:
        terms, out = parse_equation(self.equation, [v.rank for v in self.xs])
        operands = [_without_repeats(b, x, labels) for x, labels in zip(self.xs, terms, strict=True)]
        value, labels = operands[0]
        for i, (other, other_labels) in enumerate(operands[1:], start=1):
            kept = set(out).union(*(later for _, later in operands[i + 1 :]))
            value, labels = _contract(b, (value, labels), (other, other_labels), kept)
        value, labels = _sum_out(b, value, labels, set(out))
        return [_transposed(b, value, labels, out)]


def parse_equation(equation: str, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    """Return the labels of each operand and of the result; the axes of "..." get labels of their own.

    Raises:
        InferenceError: the equation does not fit the ranks.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(ranks):
        raise InferenceError(f'"{equation}" has {len(texts)} operands, but {len(ranks)} are given')
    terms = [_labels(text, rank, equation) for text, rank in zip(texts, ranks, strict=True)]
    widest = max((tuple(x for x in t if x.startswith(".")) for t in terms), key=len)
    if arrow:
        before, dots, after = right.partition("...")
        return terms, (*before, *(widest if dots else ()), *after)
    letters = sorted(set("".join(texts)) - {"."})
    once = tuple(x for x in letters if sum(t.count(x) for t in terms) == 1)
    return terms, (*widest, *once)


def _labels(text: str, rank: int, equation: str) -> Labels:
    before, dots, after = text.partition("...")
    if not (before + after).isalpha() and before + after:
        raise InferenceError(f'"{equation}" has a label that is no letter')
    extra = rank - len(before) - len(after)
    if extra < 0 or (extra and not dots):
        raise InferenceError(f'"{equation}": "{text}" does not name the {rank} axes of its operand')
    # Counted from the right, so that operands of different rank broadcast as numpy does.
    return (*before, *(f".{extra - i}" for i in range(extra)), *after)


def _sizes(terms: Sequence[Labels], tensors: Sequence[TensorType]) -> dict[str, Dim]:
    sizes: dict[str, Dim] = {}
    for labels, t in zip(terms, tensors, strict=True):
        for label, size in zip(labels, t.shape, strict=True):
            sizes[label] = broadcast((sizes.get(label, 1),), (size,))[0]
    return sizes


def _without_repeats(b: Builder, x: Value, labels: Labels) -> tuple[Value, Labels]:
    """Reduce axes that share a label to their diagonal."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            lines = [
                b.tensor_iota(shape=[d if axis == a else 1 for a, d in enumerate(x.shape)], axis=axis)
                for axis in (i, j)
            ]
            zero = b.const(0, dtype=x.tensor.dtype)
            x = b.reduce_sum(b.where(b.eq(*lines), x, zero), axes=(j,), keepdims=False)
            labels = (*labels[:j], *labels[j + 1 :])
    return x, labels


def _sum_out(b: Builder, x: Value, labels: Labels, kept: set[str]) -> tuple[Value, Labels]:
    axes = tuple(i for i, label in enumerate(labels) if label not in kept)
    if not axes:
        return x, labels
    summed: Value = b.reduce_sum(x, axes=axes, keepdims=False)
    return summed, tuple(label for label in labels if label in kept)


def _transposed(b: Builder, x: Value, labels: Labels, order: Labels) -> Value:
    if labels == order:
        return x
    moved: Value = b.tensor_transpose(x, perm=[labels.index(label) for label in order])
    return moved


def _contract(
    b: Builder, left: tuple[Value, Labels], right: tuple[Value, Labels], kept: set[str]
) -> tuple[Value, Labels]:
    """Multiply two operands and sum over the labels that nothing later needs."""
    x, xl = _sum_out(b, *left, kept | set(right[1]))
    y, yl = _sum_out(b, *right, kept | set(left[1]))
    shared = [label for label in xl if label in yl]
    x, y = _match(b, x, xl, y, yl), _match(b, y, yl, x, xl)
    batch = tuple(label for label in shared if label in kept)
    inner = tuple(label for label in shared if label not in kept)
    rows = tuple(label for label in xl if label not in yl)
    columns = tuple(label for label in yl if label not in xl)
    size = {**dict(zip(xl, x.shape, strict=True)), **dict(zip(yl, y.shape, strict=True))}
    x = _transposed(b, x, xl, (*batch, *rows, *inner))
    y = _transposed(b, y, yl, (*batch, *inner, *columns))
    lead: list[Dim] = [size[label] for label in batch]
    r, k, c = (product(size[label] for label in group) for group in (rows, inner, columns))
    flat_x, flat_y = b.tensor_reshape(x, shape=[*lead, r, k]), b.tensor_reshape(y, shape=[*lead, k, c])
    flat = b.linalg_matmul(flat_x, flat_y) if inner else b.mul(flat_x, flat_y)
    order = (*batch, *rows, *columns)
    done: Value = b.tensor_reshape(flat, shape=[size[label] for label in order])
    return done, order


def _match(b: Builder, x: Value, xl: Labels, y: Value, yl: Labels) -> Value:
    """Expand the axes of x that have size 1 where y's axis of the same label is longer."""
    theirs = dict(zip(yl, y.shape, strict=True))
    shape = [broadcast((d,), (theirs.get(label, 1),))[0] for label, d in zip(xl, x.shape, strict=True)]
    if tuple(shape) == tuple(x.shape):
        return x
    wide: Value = b.tensor_expand(x, shape=shape)
    return wide
