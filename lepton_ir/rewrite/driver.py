"""The greedy driver: applies patterns from a worklist until nothing changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lepton_ir.ir.core import Block, Operation
from lepton_ir.ir.location import Location, fuse_locations
from lepton_ir.ir.module import Function, Module
from lepton_ir.ir.opdef import Operation as DeclaredOperation
from lepton_ir.rewrite.pattern import Failure, Pattern
from lepton_ir.rewrite.rewriter import PatternRewriter

MAX_SWEEPS = 32


@dataclass
class RewriteControl:
    """Limits and records rewriting; one object is shared by all passes of a run.

    Attributes:
        limit: no rewrite beyond this many is done, for bisecting a miscompilation; None for no limit.
        explain: record why patterns did not apply.
        counts: rewrites done, by name.
        failures: (pattern, failure) in order, where ``explain`` is set.
        last: the name and place of the last rewrite that was permitted.
    """

    limit: int | None = None
    explain: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, Failure]] = field(default_factory=list)
    done: int = 0
    last: tuple[str, Location] | None = None

    def permit(self, name: str, op: Operation) -> bool:
        """Count one rewrite and say whether it may be done."""
        if self.limit is not None and self.done >= self.limit:
            return False
        self.done += 1
        self.counts[name] += 1
        self.last = (name, op.location)
        return True

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Let everything inside this context rewrite without limit, and without counting against it."""
        limit, done, self.limit = self.limit, self.done, None
        try:
            yield
        finally:
            self.limit, self.done = limit, done

    @property
    def exhausted(self) -> bool:
        return self.limit is not None and self.done >= self.limit


class Worklist:
    """A stack of operations without duplicates."""

    def __init__(self, ops: Iterable[Operation]) -> None:
        self._stack = list(ops)
        self._stack.reverse()
        self._members = set(self._stack)

    def push(self, op: Operation) -> None:
        if op not in self._members:
            self._members.add(op)
            self._stack.append(op)

    def pop(self) -> Operation | None:
        while self._stack:
            op = self._stack.pop()
            if op in self._members:
                self._members.discard(op)
                return op
        return None

    def remove(self, op: Operation) -> None:
        self._members.discard(op)


class PatternIndex:
    """Patterns by the operator that they are rooted at, in the order given."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = patterns
        self._by_root: dict[str, tuple[Pattern, ...]] = {}

    def at(self, op: Operation) -> tuple[Pattern, ...]:
        found = self._by_root.get(op.name)
        if found is None:
            found = tuple(p for p in self._patterns if not p.roots or op.name in p.roots)
            self._by_root[op.name] = found
        return found


class _Driver:
    def __init__(self, patterns: PatternIndex, control: RewriteControl) -> None:
        self.patterns = patterns
        self.control = control
        self.worklist = Worklist(())
        self.changed = False

    def on_insert(self, op: Operation) -> None:
        self.changed = True
        self.worklist.push(op)

    def on_modify(self, op: Operation) -> None:
        self.changed = True
        self.worklist.push(op)

    def on_erase(self, op: Operation) -> None:
        self.changed = True
        for inner in op.walk():
            self.worklist.remove(inner)
            for value in inner.present_operands:
                producer = value.op
                # A value that loses a reader may be dead now, or be free to be fused into the last one.
                if producer is not None and producer is not op:
                    self.worklist.push(producer)

    def run(self, ops: Iterable[Operation]) -> None:
        self.worklist = Worklist(ops)
        while (op := self.worklist.pop()) is not None:
            if op.parent is None:
                continue
            if is_trivially_dead(op):
                self.on_erase(op)
                op.erase()
                continue
            self.visit(op)

    def visit(self, op: Operation) -> None:
        for pattern in self.patterns.at(op):
            match = pattern.match(op)
            if isinstance(match, Failure):
                if self.control.explain:
                    self.control.failures.append((pattern.name, match))
                continue
            if not self.control.permit(pattern.name, op):
                return
            location = fuse_locations(m.location for m in match.ops)
            pattern.rewrite(op, match, PatternRewriter(op, self, location))
            self.changed = True
            if op.parent is not None:
                self.worklist.push(op)
            return


def is_trivially_dead(op: Operation) -> bool:
    """Whether ``op`` has no effect: pure and unused."""
    if not isinstance(op, DeclaredOperation) or op.is_terminator or not op.results:
        return False
    if any(r.is_used for r in op.results):
        return False
    return not any(isinstance(inner, DeclaredOperation) and inner.has_side_effects for inner in op.walk())


def apply_greedily(
    root: Module | Function | Block, patterns: Sequence[Pattern], control: RewriteControl | None = None
) -> bool:
    """Apply ``patterns`` everywhere in ``root`` until none applies, removing dead operations on the way.

    Args:
        root: where to look, nested regions included.
        patterns: earlier ones are tried first.
        control: the limit and the record; a fresh one by default.

    Returns:
        Whether anything changed.
    """
    control = control if control is not None else RewriteControl()
    driver = _Driver(PatternIndex(patterns), control)
    changed = False
    for _ in range(MAX_SWEEPS):
        driver.changed = False
        driver.run(list(root.walk()))
        changed |= driver.changed
        if not driver.changed or control.exhausted:
            break
    return changed


def remove_dead_ops(root: Module | Function | Block) -> bool:
    """Erase operations without effect or reader, and return whether there were any."""
    doomed = [op for op in reversed(list(root.walk())) if is_trivially_dead(op)]
    changed = bool(doomed)
    while doomed:
        op = doomed.pop()
        if op.parent is None or not is_trivially_dead(op):
            continue
        producers = [v.op for inner in op.walk() for v in inner.present_operands]
        op.erase()
        doomed.extend(p for p in dict.fromkeys(producers) if p is not None and is_trivially_dead(p))
    return changed
