"""Random bits: a few integer operations on the place of an element."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.elements import attribute
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.emit.rules import element
from lepton_backends.tvm.emit.vector_math import like
from lepton_backends.tvm.tir import Expr, bind
from lepton_ir.ir.core import Operation
from lepton_ir.ops.random import MULTIPLIERS, round_keys


@element("random.bits")
def random_bits(view: KernelView, op: Operation, indices: Sequence[Expr]) -> Expr:
    place = bind(tir.flat_index(indices, view.shape(op.result)), "place")
    low, high = tir.cast(place, "uint32"), tir.cast(place >> like(32, place), "uint32")
    zero = like(0, low)
    words = [bind(low), bind(high), zero, zero]
    for keys in round_keys(attribute(op, "key")):
        first, second = (_product(word, m) for word, m in zip(words[::2], MULTIPLIERS, strict=True))
        words = [
            bind(_xor(first=_high(second), second=words[1], key=keys[0])),
            bind(tir.cast(second, "uint32")),
            bind(_xor(first=_high(first), second=words[3], key=keys[1])),
            bind(tir.cast(first, "uint32")),
        ]
    return words[attribute(op, "word")]


def _product(word: Expr, multiplier: int) -> Expr:
    wide = tir.cast(word, "uint64")
    return bind(wide * like(multiplier, wide), "product")


def _high(product: Expr) -> Expr:
    return tir.cast(product >> like(32, product), "uint32")


def _xor(first: Expr, second: Expr, key: int) -> Expr:
    return tirx.bitwise_xor(tirx.bitwise_xor(first, second), like(key, first))
