"""Sampling at places that a tensor names: each element of the result from the few elements of x around its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.elements import clamp, inside
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.emit.rules import element
from lepton_backends.tvm.tir import Expr, Index, bind, select
from lepton_ir.ir.core import Operation
from lepton_ir.ops.grid_sample import CUBIC


@element("nn.grid_sample")
def grid_sample(view: KernelView, op: Operation, indices: Sequence[Expr]) -> Expr:
    return _GridSample(view, op).element(indices)


class _GridSample:
    def __init__(self, view: KernelView, op: Any) -> None:
        self.view, self.op = view, op
        self.extents = view.shape(op.x)[2:]
        self.place_dtype = view.dtype(op.grid)
        dtype = view.dtype(op.x)
        self.work = dtype if dtype.startswith("float") else "float32"

    def _number(self, value: float, dtype: str = "") -> Expr:
        return tir.const(float(value), dtype or self.place_dtype)

    def _real(self, value: Index) -> Expr:
        return self._number(value) if isinstance(value, int) else tir.real_of_index(value, self.place_dtype)

    def element(self, indices: Sequence[Expr]) -> Expr:
        """Return the element of the result at these indices."""
        n, c, *where = indices
        rank = len(self.extents)
        partial: list[tuple[list[Expr], Expr | None]] = [([], None)]
        for axis, extent in enumerate(self.extents):
            coordinate = self.view.load(self.op.grid, [n, *where, tir.index(rank - 1 - axis)])
            taps = self._taps(coordinate, extent)
            partial = [
                ([*at, tap], share if weight is None else bind(weight * share, "weight"))
                for at, weight in partial
                for tap, share in taps
            ]
        total: Expr = None
        zero = self._number(0, self.work)
        for at, weight in partial:
            read = tir.cast(self.view.load(self.op.x, [n, c, *at]), self.work)
            # What lies outside counts for nothing, even where the element read in its place is no number.
            term = read * weight
            if self.op.padding == "zeros":
                term = select(tir.equal(weight, zero), zero, term)
            total = term if total is None else total + term
        return tir.cast(total, self.view.dtype(self.op.result))

    def _taps(self, coordinate: Expr, extent: Index) -> list[tuple[Expr, Expr]]:
        """Return the indices along an axis that are read, and their weights."""
        place = bind(self._inside(self._place(bind(coordinate), extent), extent), "place")
        base = bind(tirx.floor(place), "base")
        offset = bind(tir.cast(place - base, self.work), "offset")
        # Places far outside must not leave the range of integers on their way.
        low, high = self._number(-4), self._real(extent) + self._number(4)
        near = select(base > high, high, select(base > low, base, low))
        first = bind(tir.cast(near, tir.INDEX), "first")
        one = self._number(1, self.work)
        if self.op.mode == "nearest":
            shares = {0: tir.broadcast(one, tir.lanes_of(offset))}
        elif self.op.mode == "linear":
            shares = {0: one - offset, 1: offset}
        else:
            shares = {k: self._cubic(offset, k) for k in (-1, 0, 1, 2)}
        return [self._tap(first + k, share, extent) for k, share in shares.items()]

    def _place(self, coordinate: Expr, extent: Index) -> Expr:
        one, two = self._number(1), self._number(2)
        if not self.op.normalized:
            place = coordinate
        elif self.op.align_corners:
            place = (coordinate + one) / two * self._real(extent - 1)
        else:
            place = ((coordinate + one) * self._real(extent) - one) / two
        return bind(tirx.nearbyint(place) if self.op.mode == "nearest" else place, "place")

    def _inside(self, place: Expr, extent: Index) -> Expr:
        if self.op.padding == "zeros" or (self.op.padding == "border" and self.op.mode == "cubic"):
            return place
        if self.op.padding == "border":
            last, zero = self._real(extent - 1), self._number(0)
            return select(place < zero, zero, select(place > last, last, place))
        return self._reflected(place, extent)

    def _reflected(self, place: Expr, extent: Index) -> Expr:
        low = self._number(0 if self.op.align_corners else -0.5)
        high = self._real(extent - 1) if self.op.align_corners else self._real(extent) - self._number(0.5)
        span = bind(tirx.max(high - low, self._number(1e-6)), "span")
        before, after = place < low, place > high
        beyond = bind(select(before, low - place, select(after, place - high, self._number(0))), "beyond")
        turns = bind(tirx.trunc(beyond / span), "turns")
        rest = bind(beyond - turns * span, "rest")
        odd = (turns - self._number(2) * tirx.floor(turns / self._number(2))) > self._number(0.5)
        rises, falls = low + rest, high - rest
        moved = select(before, select(odd, falls, rises), select(odd, rises, falls))
        return select(tir.either(before, after), moved, place)

    def _tap(self, index: Expr, share: Expr, extent: Index) -> tuple[Expr, Expr]:
        share = bind(share, "share")
        if self.op.padding == "zeros":
            kept = bind(select(inside(index, extent), share, self._number(0, self.work)), "kept")
            return bind(clamp(index, extent), "tap"), kept
        if self.op.padding == "reflection" and self.op.mode != "nearest":
            place = bind(tir.cast(bind(index), self.place_dtype))
            index = tir.cast(tirx.trunc(self._reflected(place, extent)), tir.INDEX)
        return bind(clamp(index, extent), "tap"), share

    def _cubic(self, offset: Expr, k: int) -> Expr:
        def number(value: float) -> Expr:
            return self._number(value, self.work)

        a, d = CUBIC, bind(tirx.abs(offset - number(k)))
        if k in (0, 1):
            return (number(a + 2) * d - number(a + 3)) * d * d + number(1)
        return ((number(a) * d - number(5 * a)) * d + number(8 * a)) * d - number(4 * a)
