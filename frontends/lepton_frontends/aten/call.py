"""Calls of aten operators: tensors as PyTorch has them, which change in place and share memory, made functional.

A :class:`Tensor` is a cell that holds the SSA value of the moment. An in-place operator computes a new value and puts
it into the cell. A view remembers the cell that it looks at and how: writing to it computes the whole anew, reading
it after the whole has changed computes the view anew (the functionalization of PyTorch, https://pytorch.org/functorch).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from itertools import count
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.quantized import TAKES_QUANTIZED, call_quantized, quantized_in
from lepton_frontends.aten.rules import Rule, find_rule
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import TensorType

Forward = Callable[[AtenBuilder, Value], Value]
Backward = Callable[[AtenBuilder, Value, Value], Value]
ViewFunction = Callable[..., Value]

VIEWS: dict[str, ViewFunction | None] = {}


def view_op(*names: str) -> Callable[[ViewFunction], ViewFunction]:
    """Register how a write through a view changes the whole: ``write(b, whole, new, *args, **kwargs)``.

    It gets the whole, the view's new value, and the arguments of the view operator after the tensor.
    """

    def register(write: ViewFunction) -> ViewFunction:
        VIEWS.update(dict.fromkeys(names, write))
        return write

    return register


class Tensor:
    """A cell that holds a tensor; see the module's documentation.

    Attributes:
        base: the cell that this one is a view of, None for one with memory of its own.
    """

    _writes = count(1)

    def __init__(
        self, value: Value, base: Tensor | None = None, forward: Forward | None = None, backward: Backward | None = None
    ) -> None:
        self._value = value
        self.base = base
        self._forward = forward
        self._backward = backward
        self._version = base.version if base is not None else 0

    @property
    def version(self) -> int:
        """A number that changes whenever the memory is written to."""
        return self.base.version if self.base is not None else self._version

    @property
    def root(self) -> Tensor:
        """The cell whose memory this one shares."""
        return self if self.base is None else self.base.root

    @property
    def is_dense(self) -> bool:
        """Whether its elements lie in memory in their order: it is no view, or one of another shape only."""
        if self.base is None:
            return True
        op = self._value.op
        only_reshapes = self._value is self.base._value or (op is not None and op.name == "tensor.reshape")
        return only_reshapes and self._value.tensor.size == self.base.type.size and self.base.is_dense

    @property
    def type(self) -> TensorType:
        """The type of the tensor."""
        return self._value.tensor

    def read(self, b: AtenBuilder) -> Value:
        """Return the value of the moment."""
        if self.base is None or self._version == self.base.version:
            return self._value
        assert self._forward is not None
        value = self._forward(b, self.base.read(b))
        if not b.is_inner:
            # What is computed inside of a branch cannot be read after it.
            self._value, self._version = value, self.base.version
        return value

    def write(self, b: AtenBuilder, value: Value) -> None:
        """Put another value into the cell, and into what it is a view of."""
        if self.base is None:
            b.before_write(self)
            self._value, self._version = value, next(self._writes)
            return
        assert self._backward is not None
        self.base.write(b, self._backward(b, self.base.read(b), value))

    def state(self) -> tuple[Value, int]:
        """Return what :meth:`restore` puts back."""
        return self._value, self._version

    def restore(self, state: tuple[Value, int]) -> None:
        """Undo the writes since :meth:`state`."""
        self._value, self._version = state


def call(b: AtenBuilder, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Lower one call of an operator; tensors are cells, in the arguments and in the result.

    Raises:
        UnsupportedError: there is no such operator, or its rule refuses the arguments.
    """
    rule, in_place = rule_of(name)
    if rule is None:
        raise UnsupportedError(
            f"Lepton has no lowering for {name if '::' in name else 'aten::' + name}",
            "replace it in the model, or give it a lowering with @aten_op in a plugin",
        )
    if rule.name.startswith("as_strided") and isinstance(args[0], Tensor) and not args[0].is_dense:
        raise UnsupportedError("it reads the memory behind a view", "call .contiguous() before as_strided")
    out = kwargs.get("out")
    plain = {k: _read(b, v) for k, v in kwargs.items() if k != "out"}
    b.op = rule.name
    given = [_read(b, a) for a in args]
    if any(map(quantized_in, given)) and "::" not in rule.name and rule.name not in TAKES_QUANTIZED:
        return call_quantized(b, rule, in_place, given, plain)
    result = rule.call(b, given, plain)
    if in_place or isinstance(out, Tensor):
        cell = args[0] if in_place else out
        if not isinstance(cell, Tensor) or not isinstance(result, Value):
            raise UnsupportedError(f"{name} writes to what is no tensor")
        if in_place and rule.name in VIEWS:
            return _turned(b, cell, rule, args, kwargs, result)
        whole = cell.read(b)
        value = b.convert(result, whole.tensor.dtype)
        if in_place and tuple(value.shape) != tuple(whole.shape):
            value = b.tensor_expand(value, shape=tuple(whole.shape))
        cell.write(b, value)
        return cell
    if args and isinstance(args[0], Tensor) and rule.name in VIEWS:
        return _views(b, rule, args, kwargs, result)
    return _wrapped(result)


def rule_of(name: str) -> tuple[Rule | None, bool]:
    """Return the rule of an operator, and whether the name means its in-place form."""
    in_place = name.endswith("_") and not name.endswith("__")
    rule = find_rule(name)
    # A few in-place forms take other arguments, and have a rule of their own.
    if rule is None and in_place:
        rule = find_rule(name[:-1])
    return rule, in_place


def _turned(
    b: AtenBuilder, cell: Tensor, rule: Rule, args: Sequence[Any], kwargs: Mapping[str, Any], result: Value
) -> Tensor:
    """Let a cell see the same memory in another way, as squeeze_ and transpose_ do."""
    if cell.base is None:
        cell.write(b, result)
        return cell
    view = _views(b, rule, [copy(cell), *args[1:]], kwargs, result)
    vars(cell).update(vars(view))
    return cell


def _views(b: AtenBuilder, rule: Rule, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> Any:
    """Return the results of a view operator, tied to the tensor that they are views of."""
    base, rest = args[0], [_read(b, a) for a in args[1:]]
    plain = {k: _read(b, v) for k, v in kwargs.items()}
    write = VIEWS[rule.name]
    assert write is not None

    def view(value: Value, index: int | None) -> Tensor:
        def forward(inner: AtenBuilder, whole: Value) -> Value:
            inner.op = rule.name
            again = rule.call(inner, [whole, *rest], plain)
            return again if index is None else again[index]

        def backward(inner: AtenBuilder, whole: Value, new: Value) -> Value:
            place = {} if index is None else {"index": index}
            return write(inner, whole, new, *rest, **plain, **place)

        return Tensor(value, base, forward, backward)

    if isinstance(result, Value):
        return view(result, None)
    return [view(value, i) for i, value in enumerate(result)]


def _read(b: AtenBuilder, given: Any) -> Any:
    if isinstance(given, Tensor):
        return given.read(b)
    if isinstance(given, list):
        return [_read(b, g) for g in given]
    if isinstance(given, tuple):
        return tuple(_read(b, g) for g in given)
    return given


def _wrapped(result: Any) -> Any:
    if isinstance(result, Value):
        return Tensor(result)
    if isinstance(result, (list, tuple)):
        return type(result)(map(_wrapped, result))
    return result
