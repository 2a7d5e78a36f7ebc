"""Decision trees: every row walks from the root of each tree to a leaf, whose votes it collects.

A task has a block of rows and their scores; trees are the outer loop and rows the inner one, so that the nodes of
one tree stay in the cache for the whole block.
"""

from __future__ import annotations

from typing import Any

from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import scalars
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.cpu import rows
from lepton_backends.tvm.schedules.registry import template
from lepton_backends.tvm.tir import Buffer, Expr, Stmt
from lepton_ir.ir import Value
from lepton_ir.target import Target

_BLOCK = 32
_ABREAST = 8
_NS_PER_STEP = 4.0

_COMPARE = (scalars.le, scalars.lt, scalars.ge, scalars.gt, scalars.eq, scalars.ne)
"""In the order of :data:`lepton_ir.ops.trees.COMPARISONS`."""


@template("ml.tree_ensemble")
def tree_ensemble(view: KernelView, target: Target) -> Stmt:
    """Blocks of rows, shared by the threads."""
    return _Trees(view, target).emit()


class _Trees:
    def __init__(self, view: KernelView, target: Target) -> None:
        self.view, self.target = view, target
        self.op: Any = view.anchor
        self.dtype = view.dtype(self.op.x)
        self.count = view.dim(self.op.x.shape[0])
        self.trees = view.dim(self.op.roots.shape[0])

    def emit(self) -> Stmt:
        steps = self.view.guess(self.op.x.shape[0]) * self.view.guess(self.op.roots.shape[0]) * (self.op.depth + 1)
        blocks = tir.ceildiv(self.count, _BLOCK)
        return tir.parallel_nest([blocks], steps * _NS_PER_STEP, self._block, self.target.num_threads)

    def _block(self, block: Expr) -> Stmt:
        first = block * _BLOCK
        size = tir.minimum(tir.index(_BLOCK), tir.index(self.count) - first)
        groups = tir.floordiv(size + (_ABREAST - 1), _ABREAST)

        def body(scores: Buffer) -> Stmt:
            return tir.seq(
                tir.serial(_BLOCK * self.op.targets, lambda i: tir.store(scores, [i], self._start)),
                tir.serial(
                    self.trees,
                    lambda t: tir.serial(groups, lambda g: self._walk(scores, t, first, g * _ABREAST, size), "g"),
                    "t",
                ),
                tir.serial(size, lambda r: self._finish(scores, first + r, r), "r"),
            )

        return tir.alloc([_BLOCK * self.op.targets], self.dtype, body, "scores")

    @property
    def _start(self) -> Expr:
        start = {"min": float("inf"), "max": float("-inf")}
        return tir.const(start.get(self.op.aggregate, 0.0), self.dtype)

    def _place(self, value: Value, *at: Expr) -> Expr:
        return tir.cast(self.view.load(value, at), tir.INDEX)

    def _walk(self, scores: Buffer, tree: Expr, first: Expr, own: Expr, size: Expr) -> Stmt:
        """Walk some rows down one tree side by side, so that their loads do not wait for each other."""
        places = [rows.register(f"place{i}", 1, tir.INDEX) for i in range(_ABREAST)]
        steps, left = rows.register("steps", 1, tir.INDEX), rows.register("left", 1, tir.INDEX)
        origin = tir.index(0)

        def begin() -> Stmt:
            root = tir.bind(self._place(self.op.roots, tree), "root")
            return tir.seq(*(tir.store(p, [origin], root) for p in places), tir.store(left, [origin], root))

        # Where there are no more rows, the last one is walked again.
        numbers = [tir.minimum(own + i, size - 1) for i in range(_ABREAST)]
        farthest = places[0][origin]
        for place in places[1:]:
            farthest = tirx.max(farthest, place[origin])
        level = [self._step(place, first + number) for place, number in zip(places, numbers, strict=True)]
        again = tir.seq(*level, tir.store(left, [origin], farthest), tir.store(steps, [origin], steps[origin] + 1))
        votes = [
            tir.if_then(own + i < size, self._votes(scores, -1 - place[origin], own + i))
            for i, place in enumerate(places)
        ]
        return tir.seq(
            *(tirx.AllocBuffer(b) for b in (*places, steps, left)),
            tir.scoped(begin),
            tir.store(steps, [origin], origin),
            tirx.While(tir.both(left[origin] >= 0, steps[origin] < self.op.depth), again),
            *votes,
        )

    def _step(self, place: Buffer, row: Expr) -> Stmt:
        """Go to the child that the comparison of this node leads to; from a leaf, nowhere."""
        origin = tir.index(0)

        def make() -> Stmt:
            node = tir.bind(tirx.max(place[origin], origin), "node")
            value = tir.bind(self.view.load(self.op.x, [row, self._place(self.op.features, node)]), "value")
            holds = self._holds(node, value)
            if self.op.missing is not None:
                passes = tir.equal(self.view.load(self.op.missing, [node]), tir.const(1, "uint8"))
                holds = tir.either(holds, tir.both(passes, tir.is_nan(value)))
            below = self._place(self.op.children, node, tir.cast(holds, tir.INDEX))
            return tir.store(place, [origin], tir.select(place[origin] < 0, place[origin], below))

        return tir.scoped(make)

    def _holds(self, node: Expr, value: Expr) -> Expr:
        split = tir.bind(self.view.load(self.op.splits, [node]), "split")
        if self.op.modes is None:
            return value <= split
        mode = tir.bind(self.view.load(self.op.modes, [node]), "mode")
        last = _COMPARE[-1](value, split)
        for i in reversed(range(len(_COMPARE) - 1)):
            last = tir.select(tir.equal(mode, tir.const(i, "uint8")), _COMPARE[i](value, split), last)
        return last

    def _votes(self, scores: Buffer, leaf: Expr, own: Expr) -> Stmt:
        def make() -> Stmt:
            first = tir.bind(self._place(self.op.leaves, leaf), "first")
            end = tir.bind(self._place(self.op.leaves, leaf + 1), "end")
            return tir.serial(end - first, lambda k: self._vote(scores, first + k, own), "k")

        return tir.scoped(make)

    def _vote(self, scores: Buffer, vote: Expr, own: Expr) -> Stmt:
        combine = {"min": tirx.min, "max": tirx.max}.get(self.op.aggregate, lambda a, b: a + b)

        def make() -> Stmt:
            at = tir.bind(own * self.op.targets + self._place(self.op.vote_targets, vote), "at")
            return tir.store(scores, [at], combine(scores[at], self.view.load(self.op.vote_weights, [vote])))

        return tir.scoped(make)

    def _finish(self, scores: Buffer, row: Expr, own: Expr) -> Stmt:
        def column(k: Expr) -> Stmt:
            value = scores[own * self.op.targets + k]
            if self.op.aggregate == "average":
                value = value / tir.cast(tir.index(self.trees), self.dtype)
            elif self.op.aggregate != "sum":
                value = tir.select(tir.equal(value, self._start), tir.const(0, self.dtype), value)
            return self.view.store([row, k], value)

        return tir.serial(self.op.targets, column, "k")
