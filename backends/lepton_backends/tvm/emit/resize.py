"""Resampling: each element of the result from the few elements of x around its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.elements import clamp, inside
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.emit.rules import element
from lepton_backends.tvm.tir import Expr, Index, bind, select
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.core import Operation

_COORDINATE = "float64"


def _number(value: float) -> Expr:
    return tir.const(float(value), _COORDINATE)


def _real(i: Index) -> Expr:
    return _number(i) if isinstance(i, int) else tir.real_of_index(i, _COORDINATE)


@element("nn.resize")
def resize(view: KernelView, op: Operation, indices: Sequence[Expr]) -> Expr:
    return _Resize(view, op).element(indices)


class _Resize:
    def __init__(self, view: KernelView, op: Any) -> None:
        if op.antialias:
            raise LeptonError(
                "nn.resize with antialias has no direct rule",
                where=op.location,
                why="its filter has as many taps as the image shrinks",
                help="run the pass decompose{ops=nn.resize} before the kernels are formed",
            )
        self.view, self.op = view, op
        self.before, self.after = view.shape(op.x), view.shape(op.result)
        self.dtype = view.dtype(op.x)
        self.axes = list(op.spatial_axes)

    def element(self, indices: Sequence[Expr]) -> Expr:
        """Return the element of the result at these indices."""
        op: Any = self.op
        places = {a: bind(self._coordinate(n, a, indices[a]), "place") for n, a in enumerate(self.axes)}
        if op.mode == "nearest":
            at = [self._nearest(a, places[a]) if a in places else i for a, i in enumerate(indices)]
            value = self.view.load(op.x, at)
        else:
            value = self._interpolate(indices, places)
        if op.coordinate_mode != "tf_crop_and_resize":
            return value
        outside = None
        for a, place in places.items():
            beyond = tirx.Or(place < _number(0), place > _real(self.before[a] - 1))
            outside = beyond if outside is None else tirx.Or(*tir.match(outside, beyond))
        return select(outside, tir.const(op.extrapolation_value, self.dtype), value)

    def _scale(self, n: int, axis: int) -> Expr:
        """Return how many elements of the result stand for one of x."""
        if self.op.scales:
            return _number(self.op.scales[n])
        return _real(self.after[axis]) / _real(self.before[axis])

    def _coordinate(self, n: int, axis: int, i: Expr) -> Expr:
        """Return the place in x of an index of the result."""
        mode, before, after = self.op.coordinate_mode, self.before[axis], self.after[axis]
        at = tir.real_of_index(i, _COORDINATE)
        if mode == "asymmetric":
            return at / self._scale(n, axis)
        if mode == "align_corners":
            return at * _real(before - 1) / _real(tir.maximum(after - 1, 1))
        if mode == "tf_crop_and_resize":
            start, end = self.op.roi[n], self.op.roi[n + len(self.axes)]
            step = _number(end - start) * _real(before - 1) / _real(tir.maximum(after - 1, 1))
            many = _number(start) * _real(before - 1) + at * step
            return select(tir.index(after) > 1, many, _number(0.5 * (start + end)) * _real(before - 1))
        center = (at + _number(0.5)) / self._scale(n, axis) - _number(0.5)
        if mode == "pytorch_half_pixel":
            return select(tir.index(after) > 1, center, _number(0))
        if mode == "half_pixel_symmetric":
            whole = _real(before) * self._scale(n, axis)
            return center + _real(before) * _number(0.5) * (_number(1) - _real(after) / whole)
        return center

    def _nearest(self, axis: int, place: Expr) -> Expr:
        mode = self.op.nearest_mode
        rounded = {
            "round_prefer_floor": lambda: tirx.ceil(place - _number(0.5)),
            "round_prefer_ceil": lambda: tirx.floor(place + _number(0.5)),
            "floor": lambda: tirx.floor(place),
            "ceil": lambda: tirx.ceil(place),
        }[mode]()
        return bind(clamp(tir.cast(rounded, tir.INDEX), self.before[axis]), "at")

    def _interpolate(self, indices: Sequence[Expr], places: dict[int, Expr]) -> Expr:
        """Return the weighted sum over the neighbours along all axes."""
        wide = self.dtype if self.dtype.startswith("float") else "float32"
        partial: list[tuple[list[Expr], Expr | None]] = [(list(indices), None)]
        for axis, place in places.items():
            grown: list[tuple[list[Expr], Expr | None]] = []
            for tap, share in self._taps(axis, place, wide):
                for at, weight in partial:
                    own = [*at]
                    own[axis] = tap
                    grown.append((own, share if weight is None else weight * share))
            partial = grown
        value: Expr = None
        for at, weight in partial:
            term = tir.cast(self.view.load(self.op.x, at), wide) * weight
            value = term if value is None else value + term
        if wide == self.dtype:
            return value
        return tir.cast(tir.cast(tirx.nearbyint(value), "int32"), self.dtype)

    def _taps(self, axis: int, place: Expr, wide: str) -> list[tuple[Expr, Expr]]:
        """Return the neighbours along an axis and their weights."""
        base = bind(tirx.floor(place), "base")
        offset = bind(place - base, "offset")
        first = bind(tir.cast(base, tir.INDEX), "first")
        if self.op.mode == "linear":
            shares = {0: _number(1) - offset, 1: offset}
        else:
            shares = {k: self._cubic(offset, k) for k in (-1, 0, 1, 2)}
        kept = {k: bind(share, "share") for k, share in shares.items()}
        if self.op.exclude_outside:
            extent = self.before[axis]
            kept = {k: bind(select(inside(first + k, extent), s, _number(0))) for k, s in kept.items()}
            total = bind(sum(kept.values(), _number(0)))
            kept = {k: bind(s / total) for k, s in kept.items()}
        extent = self.before[axis]
        return [(bind(clamp(first + k, extent), "tap"), bind(tir.cast(s, wide), "weight")) for k, s in kept.items()]

    def _cubic(self, offset: Expr, k: int) -> Expr:
        a = self.op.cubic_coeff
        d = bind(tirx.abs(offset - _number(k)))
        if k in (0, 1):
            return (_number(a + 2) * d - _number(a + 3)) * d * d + _number(1)
        return ((_number(a) * d - _number(5 * a)) * d + _number(8 * a)) * d - _number(4 * a)
