"""Branches and loops that only the running program decides, as regions of the IR.

Both ways of a branch are run while the model is imported, each from the same state. What they leave different - local
variables, attributes, tensors written in place, lists - is what the branch yields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lepton_frontends.aten import numbers
from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.call import Tensor
from lepton_frontends.aten.reach import reachable
from lepton_frontends.aten.rules import Scalar
from lepton_frontends.aten.types import category, joined, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.runtime_dims import fresh_dims
from lepton_frontends.torchscript.signals import JumpedError, ModelRaisesError, ReturnedError
from lepton_frontends.torchscript.state import MISSING, Journal, Place, Unknown
from lepton_frontends.torchscript.syntax import For, If, While
from lepton_frontends.torchscript.unpickle import ScriptObject
from lepton_ir.ir.core import Block, Region, Value
from lepton_ir.ir.dim import Dim, Expr, symbols
from lepton_ir.ir.types import DType, TensorType
from lepton_ir.ops.control import If as IfOperation
from lepton_ir.ops.control import Loop

if TYPE_CHECKING:
    from lepton_frontends.torchscript.interpreter import Interpreter

_MOST_SHAPES = 4
"""How often a loop's body is tried with sizes that change, until their types are settled."""


@dataclass(frozen=True)
class _Local:
    """A local variable of the call at hand, as a place."""

    name: str


@dataclass
class _Way:
    """One way of a branch, or the body of a loop, run on trial.

    Attributes:
        block: its operations.
        b: the builder at its end.
        values: what is in each place at its end, tensors as SSA values.
        error: what the model raises there, None where it does not.
    """

    block: Block
    b: AtenBuilder
    values: dict[Any, Any] = field(default_factory=dict)
    error: str | None = None


def run_if(i: Interpreter, condition: Value, s: If) -> None:
    """Run both ways of a branch, and join what they leave."""
    outside = frozenset(i.importer.symbols)
    outer = i.b
    ways = [_tried(i, lambda: i.run(s.then)), _tried(i, lambda: i.run(s.other))]
    if any(way.error is not None for way in ways):
        _run_what_is_left(i, condition, s, ways)
        return
    places = list(dict.fromkeys([*ways[0].values, *ways[1].values]))
    before = {place: _frozen(outer, _current(i, place)) for place in places}
    joins = _Joins(i, ways, outside)
    merged = {p: joins.join(*(way.values.get(p, before[p]) for way in ways)) for p in places}
    results = joins.finish(condition)
    for place, value in merged.items():
        _put(i, place, _thawed(value, results))


def _run_what_is_left(i: Interpreter, condition: Value, s: If, ways: Sequence[_Way]) -> None:
    """Where one way raises an error: require that it is not taken, and run the other."""
    for way in ways:
        way.block.erase_all()
    errors = [way.error for way in ways]
    if None not in errors:
        raise ModelRaisesError(str(errors[0]))
    then_raises = errors[0] is not None
    holds = i.b.not_(condition) if then_raises else condition
    i.b.control_require(holds, message=str(errors[0] if then_raises else errors[1]) or "the model raises an error")
    i.run(s.other if then_raises else s.then)


def _tried(i: Interpreter, work: Callable[[], None], block: Block | None = None) -> _Way:
    """Run something in a block of its own, note what it leaves, and take it back."""
    block = Block() if block is None else block
    outer, names = i.b, dict(i.frame.names)
    inner = outer.inner(block)
    inner.is_inner, inner.before_write, inner.op = True, outer.before_write, outer.op
    way, journal, outside = _Way(block, inner), Journal(), reachable(i.roots())
    i.b = inner
    i.journals.append(journal)
    try:
        work()
        way.values = _left(i, names, journal, outside)
    except ModelRaisesError as error:
        way.error = error.message
    except (ReturnedError, JumpedError):
        raise UnsupportedError(
            "a return, break or continue depends on data", "write the model so that only the end of a function returns"
        ) from None
    finally:
        i.journals.pop()
        journal.undo()
        i.frame.names = names
        i.b = outer
    return way


def _left(i: Interpreter, names: dict[str, Any], journal: Journal, outside: Mapping[int, Any]) -> dict[Any, Any]:
    """Return what has changed, by place; what was made meanwhile is nobody's business ``outside``."""
    changed: dict[Any, Any] = {
        _Local(n): _frozen(i.b, v) for n, v in i.frame.names.items() if names.get(n, MISSING) is not v
    }
    for place in journal.before:
        if id(place.owner) not in outside:
            continue
        changed[place] = _frozen(i.b, _current(i, place))
    return changed


def _current(i: Interpreter, place: Any) -> Any:
    if isinstance(place, _Local):
        return i.frame.names.get(place.name, MISSING)
    assert isinstance(place, Place)
    return place.owner if isinstance(place.owner, Tensor) else place.get()


def _put(i: Interpreter, place: Any, value: Any) -> None:
    if isinstance(place, _Local):
        i.frame.names[place.name] = value
        return
    if isinstance(place.owner, Tensor):
        if isinstance(value, Tensor):
            place.owner.write(i.b, value.read(i.b))
        return
    if isinstance(place.owner, ScriptObject):
        i.set_attribute(place.owner, place.name, value)
        return
    if isinstance(value, Unknown):
        raise UnsupportedError(f"a list or dictionary that {value.why}")
    i.note(place.owner)
    place.set(value)


@dataclass(frozen=True)
class _Frozen:
    """A tensor or number of the run in one way of a branch.

    Attributes:
        value: the SSA value.
        is_tensor: whether it is a tensor, or a number.
    """

    value: Value
    is_tensor: bool


@dataclass(frozen=True)
class _Result:
    """The result of a branch or loop with this number.

    Attributes:
        index: which one.
        is_tensor: whether it is a tensor, or a number.
    """

    index: int
    is_tensor: bool


def _frozen(b: AtenBuilder, value: Any) -> Any:
    """Return a value with its tensors read, so that later writes do not change it."""
    if isinstance(value, Tensor):
        return _Frozen(value.read(b), True)
    if isinstance(value, Scalar):
        return _Frozen(value.value, False)
    if isinstance(value, (list, tuple)) and not isinstance(value, str):
        items = [_frozen(b, v) for v in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict):
        return {k: _frozen(b, v) for k, v in value.items()}
    return value


def _thawed(value: Any, results: Sequence[Value]) -> Any:
    """Return a value with the results in the place of their numbers, and tensors as cells again."""
    if isinstance(value, (_Result, _Frozen)):
        found = results[value.index] if isinstance(value, _Result) else value.value
        return Tensor(found) if value.is_tensor else Scalar(found)
    if isinstance(value, (list, tuple)):
        items = [_thawed(v, results) for v in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict):
        return {k: _thawed(v, results) for k, v in value.items()}
    return value


class _Joins:
    """Finds what a branch yields, and makes the branch."""

    def __init__(self, i: Interpreter, ways: Sequence[_Way], outside: frozenset[str]) -> None:
        self.i = i
        self.ways = ways
        self.outside = outside
        self.yields: list[tuple[Value, Value]] = []
        self.types: list[TensorType] = []

    def join(self, a: Any, c: Any) -> Any:
        """Return what stands for two values, of which the running program has one."""
        if a is c or (isinstance(a, _Frozen) and isinstance(c, _Frozen) and a.value is c.value):
            return a
        if _is_runtime(a) and _is_runtime(c):
            return self._results(a, c)
        if type(a) is type(c) and isinstance(a, (list, tuple)) and len(a) == len(c):
            items = [self.join(x, y) for x, y in zip(a, c, strict=True)]
            return items if isinstance(a, list) else tuple(items)
        if isinstance(a, dict) and isinstance(c, dict) and a.keys() == c.keys():
            return {k: self.join(a[k], c[k]) for k in a}
        if type(a) is type(c) and isinstance(a, (bool, int, float, str)) and a == c:
            return a
        if MISSING in (a, c):
            return Unknown("is set on one side of a branch only")
        return Unknown("differs in kind on the two sides of a branch that depends on data")

    def _results(self, a: Any, c: Any) -> Any:
        is_tensor = isinstance(a, _Frozen) and a.is_tensor
        if is_tensor != (isinstance(c, _Frozen) and c.is_tensor):
            return Unknown("is a tensor on one side of a branch and a number on the other")
        values = [_value(way.b, x) for way, x in zip(self.ways, (a, c), strict=True)]
        one, two = (v.tensor for v in values)
        if one.rank != two.rank or (is_tensor and one.dtype is not two.dtype):
            return Unknown(f"is {one} on one side of a branch that depends on data, and {two} on the other")
        if one.dtype is not two.dtype:
            dtype = DType.F64 if DType.F64 in (one.dtype, two.dtype) else DType.I64
            values = [way.b.convert(v, dtype) for way, v in zip(self.ways, values, strict=True)]
        self.yields.append((values[0], values[1]))
        shape = [self._size(d, e) for d, e in zip(values[0].shape, values[1].shape, strict=True)]
        self.types.append(TensorType(tuple(shape), values[0].tensor.dtype))
        return _Result(len(self.yields) - 1, is_tensor)

    def _size(self, d: Dim, e: Dim) -> Dim:
        return d if d == e and symbols(d) <= self.outside else fresh_dims(self.i.b, 1)[0]

    def finish(self, condition: Value) -> Sequence[Value]:
        """Make the branch, and return its results."""
        for number, way in enumerate(self.ways):
            way.b.yield_([pair[number] for pair in self.yields])
        b = self.i.b
        op = IfOperation.build(
            condition, result_types=self.types, regions=[Region(w.block) for w in self.ways], location=b.location
        )
        b.insert(op)
        return op.results


def _is_runtime(value: Any) -> bool:
    return isinstance(value, (_Frozen, Expr, int, float)) and value is not MISSING


def _value(b: AtenBuilder, value: Any) -> Value:
    if isinstance(value, _Frozen):
        return value.value
    return tensor_of(b, value, DType.F64 if isinstance(value, float) else None)


def run_loop(i: Interpreter, s: For | While, trips: Any) -> None:
    """Make a loop of the IR: what its body changes is carried from trip to trip."""
    start = {}
    kinds: dict[Any, TensorType] = {}
    for _ in range(_MOST_SHAPES):
        way, arguments = _body(i, s, kinds)
        start = {p: _frozen(i.b, _current(i, p)) for p in way.values if _current(i, p) is not MISSING}
        changed = [p for p in start if _is_carried(p, start[p], way.values[p])]
        lost = [p for p, v in start.items() if p not in changed and not isinstance(v, Unknown)]
        lost = [p for p in lost if not _is_same(start[p], way.values[p])]
        if lost:
            # The body may set such a variable before it reads it; where it does not, reading says what is wrong.
            way.block.erase_all()
            for place in lost:
                _put(i, place, Unknown("changes in a loop whose end depends on data, and is no tensor or number"))
            kinds = {}
            continue
        wanted = {p: _carried_type(i, p, start[p], way.values[p], kinds.get(p)) for p in changed}
        if wanted == kinds:
            _finish_loop(i, s, trips, way, start, arguments)
            return
        way.block.erase_all()
        kinds = wanted
    raise UnsupportedError("a loop changes the shape of a tensor in every trip")


def _is_carried(place: Any, start: Any, end: Any) -> bool:
    """Return whether a place goes from trip to trip; a local variable that is no tensor or number does not."""
    if _is_same(start, end):
        return False
    return not isinstance(place, _Local) or (_is_runtime(start) and _is_runtime(end))


def _is_same(start: Any, end: Any) -> bool:
    """Return whether a value is plain, and the same before and after."""
    plain = (bool, int, float, str, type(None))
    if isinstance(start, (list, tuple)) and type(start) is type(end) and len(start) == len(end):
        return all(map(_is_same, start, end))
    return (isinstance(start, plain) and type(start) is type(end) and start == end) or (
        isinstance(start, Unknown) and isinstance(end, Unknown)
    )


def _body(i: Interpreter, s: For | While, kinds: dict[Any, TensorType]) -> tuple[_Way, dict[Any, Any]]:
    """Run the body once, with the carried values as arguments of its block."""
    block = Block()
    number = block.add_argument(TensorType((), DType.I64), "trip")
    arguments = {p: block.add_argument(t) for p, t in kinds.items()}

    def work() -> None:
        for place, argument in arguments.items():
            tensor = isinstance(_frozen(i.b, _current(i, place)), _Frozen) and not isinstance(
                _current(i, place), Scalar
            )
            _put(i, place, Tensor(argument) if tensor else Scalar(argument))
        if isinstance(s, For):
            i.frame.names[s.target] = Scalar(number)
        i.run(s.body)
        if isinstance(s, While):
            i.frame.names[_CONDITION] = numbers.truth(i.b, i.evaluate(s.condition))

    return _tried(i, work, block), arguments


_CONDITION = "<condition>"


def _carried_type(i: Interpreter, place: Any, start: Any, end: Any, known: TensorType | None) -> TensorType:
    if not _is_runtime(start) or not _is_runtime(end) or isinstance(start, bool) != isinstance(end, bool):
        what = place.name if isinstance(place, _Local) else "a list or an attribute"
        raise UnsupportedError(
            f"a loop whose end depends on data changes {what}, which is no tensor or number",
            "give the dimension that the loop runs over a size",
        )
    types = [_runtime_type(v) for v in (start, end)] + ([known] if known is not None else [])
    if len({t.rank for t in types}) > 1:
        raise UnsupportedError("a loop whose end depends on data changes the rank of a tensor")
    dtype = types[0].dtype
    for t in types[1:]:
        dtype = joined(dtype, t.dtype) if category(dtype) != category(t.dtype) else dtype
    old = known.shape if known is not None else types[0].shape
    shape = [
        d if all(t.shape[n] == d for t in types[1:2]) or (not isinstance(d, int) and known is not None) else
        fresh_dims(i.b, 1)[0]
        for n, d in enumerate(old)
    ]  # fmt: skip
    return TensorType(tuple(shape), dtype)


def _runtime_type(value: Any) -> TensorType:
    if isinstance(value, _Frozen):
        return value.value.tensor
    kind = DType.BOOL if isinstance(value, bool) else DType.F64 if isinstance(value, float) else DType.I64
    return TensorType((), kind)


def _finish_loop(
    i: Interpreter, s: For | While, trips: Any, way: _Way, start: dict[Any, Any], arguments: dict[Any, Any]
) -> None:
    b = i.b
    if isinstance(s, For):
        goes_on: Any = way.b.const(True, dtype=DType.BOOL)
        most, begins = tensor_of(b, trips, DType.I64), None
    else:
        goes_on = _value(way.b, way.values.pop(_Local(_CONDITION)))
        most, begins = None, _value(b, _frozen(b, numbers.truth(b, i.evaluate(s.condition))))
    order = list(arguments)
    ends = [way.b.convert(_value(way.b, way.values[p]), arguments[p].tensor.dtype) for p in order]
    way.b.yield_([goes_on, *ends])
    initial = [b.convert(_value(b, start[p]), arguments[p].tensor.dtype) for p in order]
    types = [_result_type(i, arguments[p].tensor, v.tensor) for p, v in zip(order, initial, strict=True)]
    op = Loop.build(most, begins, initial, result_types=types, regions=[Region(way.block)], location=b.location)
    b.insert(op)
    for place, result in zip(order, op.results, strict=True):
        is_tensor = isinstance(start[place], _Frozen) and start[place].is_tensor
        _put(i, place, Tensor(result) if is_tensor else Scalar(result))


def _result_type(i: Interpreter, carried: TensorType, start: TensorType) -> TensorType:
    """Return the type of a loop's result: sizes that change from trip to trip have another name there."""
    shape = [d if d == e else fresh_dims(i.b, 1)[0] for d, e in zip(carried.shape, start.shape, strict=True)]
    return TensorType(tuple(shape), carried.dtype)
