"""The k first elements in order: insertion into a short list for small k, else a heap of k and a merge sort."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cost import NS_PER_FUNCTION, work_ns
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.cpu.order import before
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt
from lepton_ir.target import Target

_INSERTION_LIMIT = 32


@template("tensor.topk", epilogue=False)
def topk(view: KernelView, target: Target) -> Stmt:
    """Rows along the axis, shared by the threads."""
    op: Any = view.anchor
    emit = _TopK(view)
    extents = view.shape(op.x)
    outer = [e for a, e in enumerate(extents) if a != emit.axis]
    work = work_ns(view) + 20 * view.size_guess(op.x) * NS_PER_FUNCTION
    return tir.parallel_nest(outer, work, lambda *at: emit.row(list(at)), target.num_threads)


class _TopK:
    def __init__(self, view: KernelView) -> None:
        self.view = view
        self.op: Any = view.anchor
        self.axis = self.op.axis % self.op.x.rank
        self.n = view.dim(self.op.x.shape[self.axis])
        self.k = view.dim(self.op.k)
        self.dtype = view.dtype(self.op.x)

    def row(self, outer: list[Expr]) -> Stmt:
        """Return the statements for one row."""
        small = tir.static(self.k)
        if small is not None and small <= _INSERTION_LIMIT:
            length: Index = max(1, small)
            return tir.alloc(
                [length], self.dtype, lambda v: tir.alloc([length], tir.INDEX, lambda i: self._insert(outer, v, i))
            )
        doubled = self.k * 2

        def sorted_row(v: Buffer) -> Stmt:
            return tir.alloc([doubled], tir.INDEX, lambda i: self._sort(outer, v, i), "places")

        return tir.alloc([doubled], self.dtype, sorted_row, "values")

    def _before(self, value: Expr, at: Expr, other: Expr, other_at: Expr) -> Expr:
        if self.op.largest or not self.dtype.startswith("float"):
            return before(value, at, other, other_at, largest=self.op.largest)
        # Ascending, NaN comes last: with the roles exchanged it is "not (other before value)".
        wins = tir.either(value < other, tir.both(tir.is_nan(other), tir.negated(tir.is_nan(value))))
        ties = tir.either(tir.equal(value, other), tir.both(tir.is_nan(other), tir.is_nan(value)))
        return tir.either(wins, tir.both(ties, at < other_at))

    def _load(self, outer: list[Expr], i: Expr) -> Expr:
        return self.view.load(self.op.x, [*outer[: self.axis], i, *outer[self.axis :]])

    def _write(self, outer: list[Expr], i: Expr, value: Expr, place: Expr) -> Stmt:
        at = [*outer[: self.axis], i, *outer[self.axis :]]
        pairs = ((self.op.values, value), (self.op.indices, place))
        return tir.seq(*(self.view.write(self.view.targets[r], at, e) for r, e in pairs if r in self.view.targets))

    def _insert(self, outer: list[Expr], values: Buffer, places: Buffer) -> Stmt:
        """Keep the best k in order: each element moves past those that it comes before."""
        count = rows.register("count", 1, tir.INDEX)
        origin = tir.index(0)
        k = tir.index(self.k)

        def element(i: Expr) -> Stmt:
            def make() -> Stmt:
                value = tir.bind(self._load(outer, i), "value")
                position = rows.register("position", 1, tir.INDEX)
                at = position[origin]
                previous = tirx.max(at - 1, origin)
                goes_on = tirx.if_then_else(
                    at > 0, self._before(value, i, values[previous], places[previous]), tir.const(False, "bool")
                )
                move = tir.seq(
                    tir.if_then(
                        at < k,
                        tir.seq(tir.store(values, [at], values[previous]), tir.store(places, [at], places[previous])),
                    ),
                    tir.store(position, [origin], at - 1),
                )
                keep = tir.seq(tir.store(values, [at], value), tir.store(places, [at], i))
                grow = tir.if_then(count[origin] < k, tir.store(count, [origin], count[origin] + 1))
                return tir.seq(
                    tirx.AllocBuffer(position),
                    tir.store(position, [origin], count[origin]),
                    tirx.While(goes_on, move),
                    tir.if_then(at < k, keep),
                    grow,
                )

            return tir.scoped(make)

        return tir.seq(
            tirx.AllocBuffer(count),
            tir.store(count, [origin], tir.index(0)),
            tir.serial(self.n, element),
            tir.serial(self.k, lambda i: self._write(outer, i, values[i], places[i])),
        )

    def _keep(self, outer: list[Expr], values: Buffer, places: Buffer) -> Stmt:
        """Fill the first half of the scratch buffers with the best k, in any order.

        They are a heap with the worst on top, which all but few of the elements fail against.
        """
        n, k, origin = tir.index(self.n), tir.index(self.k), tir.index(0)

        def put(at: Expr, i: Expr) -> Stmt:
            return tir.seq(tir.store(values, [at], self._load(outer, i)), tir.store(places, [at], i))

        def rest(i: Expr) -> Stmt:
            value = tir.bind(self._load(outer, k + i), "value")
            wins = self._before(value, k + i, values[origin], places[origin])
            replace = tir.seq(tir.store(values, [origin], value), tir.store(places, [origin], k + i))
            return tir.if_then(wins, tir.seq(replace, self._sift(values, places, origin)))

        half = tirx.floordiv(k, 2)
        heap = tir.seq(
            tir.serial(half, lambda i: self._sift(values, places, half - 1 - i)),
            tir.serial(n - k, lambda i: tir.scoped(lambda: rest(i))),
        )
        fill = tir.serial(self.k, lambda i: tir.scoped(lambda: put(i, i)))
        return tir.seq(fill, tir.if_then(tir.both(k > 0, k < n), heap))

    def _sift(self, values: Buffer, places: Buffer, start: Expr) -> Stmt:
        """Let the element at ``start`` sink below those that come after it."""
        k, origin = tir.index(self.k), tir.index(0)
        at, child = rows.register("at", 1, tir.INDEX), rows.register("child", 1, tir.INDEX)
        value, place = rows.register("sinking", 1, self.dtype), rows.register("its_place", 1, tir.INDEX)
        here, below = at[origin], child[origin]
        beside = tirx.min(below + 1, k - 1)

        def before_other(i: Expr, j: Expr) -> Expr:
            return self._before(values[i], places[i], values[j], places[j])

        rise = tir.seq(
            tir.store(values, [here], values[below]),
            tir.store(places, [here], places[below]),
            tir.store(at, [origin], below),
        )
        sinks = self._before(value[origin], place[origin], values[below], places[below])
        keep = tir.seq(tir.store(values, [here], value[origin]), tir.store(places, [here], place[origin]))
        step = tir.seq(
            tir.store(child, [origin], here * 2 + 1),
            tir.if_then(before_other(below, beside), tir.store(child, [origin], beside)),
            # An element without a place to sink to ends the loop where it is.
            tir.if_then(sinks, rise, tir.seq(keep, tir.store(at, [origin], k))),
        )
        return tir.seq(
            *(tirx.AllocBuffer(b) for b in (at, child, value, place)),
            tir.store(at, [origin], start),
            tir.store(value, [origin], values[start]),
            tir.store(place, [origin], places[start]),
            tirx.While(here * 2 + 1 < k, step),
            tir.if_then(here < k, keep),
        )

    def _sort(self, outer: list[Expr], values: Buffer, places: Buffer) -> Stmt:
        """Keep the best k, and merge runs of doubling length, from one half of the scratch buffers to the other."""
        n, origin = tir.index(self.k), tir.index(0)
        width, source = rows.register("width", 1, tir.INDEX), rows.register("source", 1, tir.INDEX)
        left, right = rows.register("left", 1, tir.INDEX), rows.register("right", 1, tir.INDEX)

        def merge(run: Expr) -> Stmt:
            start = run * (width[origin] * 2)
            middle = tirx.min(start + width[origin], n)
            end = tirx.min(start + width[origin] * 2, n)

            def step(o: Expr) -> Stmt:
                i, j = source[origin] + left[origin], source[origin] + right[origin]
                i, j = tirx.min(i, source[origin] + n - 1), tirx.min(j, source[origin] + n - 1)
                second = tir.either(
                    left[origin] >= middle,
                    tir.both(right[origin] < end, self._before(values[j], places[j], values[i], places[i])),
                )
                to = n - source[origin] + start + o

                def take(at: Expr, side: Buffer) -> Stmt:
                    return tir.seq(
                        tir.store(values, [to], values[at]),
                        tir.store(places, [to], places[at]),
                        tir.store(side, [origin], side[origin] + 1),
                    )

                return tir.if_then(second, take(j, right), take(i, left))

            return tir.seq(
                tir.store(left, [origin], start),
                tir.store(right, [origin], middle),
                tir.serial(end - start, step),
            )

        rounds = tir.seq(
            tir.serial(tirx.floordiv(n + width[origin] * 2 - 1, width[origin] * 2), merge),
            tir.store(source, [origin], n - source[origin]),
            tir.store(width, [origin], width[origin] * 2),
        )
        write = tir.serial(
            self.k, lambda i: self._write(outer, i, values[source[origin] + i], places[source[origin] + i])
        )
        return tir.seq(
            *(tirx.AllocBuffer(b) for b in (width, source, left, right)),
            self._keep(outer, values, places),
            tir.store(width, [origin], tir.index(1)),
            tir.store(source, [origin], tir.index(0)),
            tirx.While(width[origin] < n, rounds),
            write,
        )
