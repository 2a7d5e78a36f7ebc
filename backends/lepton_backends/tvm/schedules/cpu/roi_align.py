"""Pooling of regions: a loop over the points of each bin, whose number depends on the region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.elements import clamp, wrapped
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.emit.scalars import maximum
from lepton_backends.tvm.schedules.cost import NS_PER_FUNCTION, work_ns
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Expr, Index, Stmt, bind, select
from lepton_ir.target import Target


@template("nn.roi_align")
def roi_align(view: KernelView, target: Target) -> Stmt:
    """The bins of all regions and channels are shared by the threads."""
    emit = _RoiAlign(view)
    work = work_ns(view) + 16 * view.size_guess(view.anchor.y) * NS_PER_FUNCTION
    return tir.parallel_nest(
        view.shape(view.anchor.y), work, lambda *at: tir.scoped(lambda: emit.bin(at)), target.num_threads
    )


@dataclass
class _Axis:
    """The points of one bin along one axis of x.

    Attributes:
        start: where the bin begins.
        each: its length.
        count: the number of points along it.
        extent: the size of x along the axis.
    """

    start: Expr
    each: Expr
    count: Expr
    extent: Index


class _RoiAlign:
    def __init__(self, view: KernelView) -> None:
        self.view, self.op = view, view.anchor
        self.dtype = view.dtype(self.op.x)

    def _number(self, value: float) -> Expr:
        return tir.const(float(value), self.dtype)

    def _real(self, value: Index) -> Expr:
        return self._number(value) if isinstance(value, int) else tir.real_of_index(value, self.dtype)

    def bin(self, at: tuple[Expr, ...]) -> Stmt:
        """Return the statements that compute and store one bin."""
        op: Any = self.op
        region, channel, *places = at
        image = wrapped(self.view, op.batch_indices, [region], self.view.dim(op.x.shape[0]))
        rows_, columns = (self._axis(region, k, places[k]) for k in (0, 1))
        is_max, zero = op.mode == "max", tir.index(0)
        total = rows.register("total", 1, self.dtype)

        def point(iy: Expr, ix: Expr) -> Stmt:
            terms = self._terms([image, channel], (rows_, iy), (columns, ix))
            value = total[zero]
            for term in terms:
                value = maximum(value, term) if is_max else value + term
            return tir.store(total, [zero], value)

        loops = tir.serial(
            rows_.count,
            lambda iy: tir.serial(columns.count, lambda ix: tir.scoped(lambda: point(iy, ix)), "ix"),
            "iy",
        )
        points = bind(rows_.count * columns.count, "points")
        mean = total[zero] / self._real(tirx.max(points, tir.index(1)))
        start = tirx.min_value(self.dtype) if is_max else self._number(0)
        found = select(points > 0, total[zero], self._number(0)) if is_max else mean
        return tir.seq(
            tirx.AllocBuffer(total),
            tir.store(total, [zero], start),
            loops,
            tir.scoped(lambda: self.view.store(list(at), found)),
        )

    def _axis(self, region: Expr, k: int, place: Expr) -> _Axis:
        """Return the points of a bin along the rows (0) or columns (1) of x."""
        op: Any = self.op
        scale, shift = self._number(op.spatial_scale), self._number(0.5 if op.half_pixel else 0)
        start, end = (
            bind(self.view.load(op.rois, [region, tir.index(i)]) * scale - shift, "rim") for i in (1 - k, 3 - k)
        )
        length = end - start if op.half_pixel else tirx.max(end - start, self._number(1))
        each = bind(length / self._real(self.view.dim(op.sizes[k])), "each")
        if op.sampling_ratio:
            count = tir.index(op.sampling_ratio)
        else:
            count = bind(tirx.max(tir.cast(tirx.ceil(each), tir.INDEX), tir.index(0)), "count")
        extent = self.view.dim(op.x.shape[2 + k])
        return _Axis(bind(start + self._real(place) * each, "start"), each, count, extent)

    def _terms(self, leading: list[Expr], row: tuple[_Axis, Expr], column: tuple[_Axis, Expr]) -> list[Expr]:
        """Return the four elements around a point, weighted."""
        return [
            self.view.load(self.op.x, [*leading, y, x]) * (row_weight * weight)
            for y, row_weight in self._neighbours(*row)
            for x, weight in self._neighbours(*column)
        ]

    def _neighbours(self, axis: _Axis, i: Expr) -> list[tuple[Expr, Expr]]:
        """Return the two elements around a point along an axis, with their weights: 0 outside of the image."""
        zero, one, last = self._number(0), self._number(1), self._real(axis.extent - 1)
        step = (self._real(i) + self._number(0.5)) * axis.each / self._real(axis.count)
        at = bind(axis.start + step, "at")
        outside = tir.either(at < self._number(-1), at > self._real(axis.extent))
        at = bind(tirx.max(tirx.min(at, last), zero), "at")
        low = bind(clamp(tir.cast(at, tir.INDEX), axis.extent), "low")
        share = bind(at - self._real(low), "share")
        high = bind(clamp(low + 1, axis.extent), "high")
        inside = bind(select(outside, zero, one), "inside")
        return [(low, bind((one - share) * inside)), (high, bind(share * inside))]
