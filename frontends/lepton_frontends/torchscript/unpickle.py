"""Pickles as TorchScript writes them, read by a machine that knows what TorchScript needs and nothing else.

Python's pickle calls what the file names. Here a global name is looked up in a short list, each entry of which makes
plain data; any other name, and any opcode that TorchScript does not write, is an error.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.types import DType

_MOST_STEPS = 1 << 24
_MOST_ITEMS = 1 << 20
_DEEPEST = 200
_STORAGES = {
    "ByteStorage": DType.U8, "CharStorage": DType.I8, "ShortStorage": DType.I16, "IntStorage": DType.I32,
    "LongStorage": DType.I64, "HalfStorage": DType.F16, "FloatStorage": DType.F32, "DoubleStorage": DType.F64,
    "BoolStorage": DType.BOOL, "BFloat16Storage": DType.BF16, "ComplexFloatStorage": DType.C64,
    "ComplexDoubleStorage": DType.C128, "QInt8Storage": DType.I8, "QUInt8Storage": DType.U8, "QInt32Storage": DType.I32,
}  # fmt: skip


@dataclass(eq=False)
class ScriptObject:
    """An object of a TorchScript class.

    Attributes:
        type: the class's qualified name.
        attributes: its attributes by name.
        state: what its ``__setstate__`` takes, where the class has one.
    """

    type: str
    attributes: dict[str, Any] = field(default_factory=dict)
    state: Any = None


@dataclass(frozen=True)
class Storage:
    """Memory that tensors share: a record of the archive.

    Attributes:
        dtype: the element type.
        key: the record's name.
        count: how many elements it has.
    """

    dtype: DType
    key: str
    count: int


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor as the archive describes it.

    Attributes:
        storage: its memory.
        offset: of its first element.
        shape: its sizes.
        strides: in elements.
        quantizer: for a quantized tensor: what PyTorch calls its quantizer's parameters.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    quantizer: Any = None

    def of(self, memory: np.ndarray) -> np.ndarray:
        """Return the array, a view of the storage's bytes.

        Raises:
            ValueError: it reaches beyond the storage.
        """
        elements = memory[: len(memory) // self.storage.dtype.numpy.itemsize * self.storage.dtype.numpy.itemsize].view(
            self.storage.dtype.numpy
        )
        if len(self.shape) != len(self.strides) or len(self.shape) > 64:
            raise ValueError("a tensor has as many strides as axes, and at most 64")
        if min((self.offset, *self.shape, *self.strides), default=0) < 0:
            raise ValueError("a tensor has a negative size, stride or offset")
        if 0 in self.shape:
            return np.zeros(self.shape, elements.dtype)
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if last >= len(elements):
            raise ValueError(f"a tensor reaches element {last} of a storage of {len(elements)}")
        size = elements.dtype.itemsize
        return np.lib.stride_tricks.as_strided(
            elements[self.offset :], self.shape, [s * size for s in self.strides], writeable=False
        )


@dataclass(frozen=True)
class _Global:
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _Mark:
    pass


class _Machine:
    """The stack machine of pickles, protocol 2 and what TorchScript takes from later ones."""

    def __init__(self, where: str, persistent: Callable[[Any], Any]) -> None:
        self.where = where
        self.persistent = persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def error(self, why: str) -> LeptonError:
        return LeptonError(
            "the pickle holds what no TorchScript archive needs", self.where, why,
            "only archives that torch.jit.save wrote are read; do not trust this file",
        )  # fmt: skip

    def run(self, data: bytes) -> Any:
        try:
            for step, (op, argument, _) in enumerate(pickletools.genops(data)):
                if step > _MOST_STEPS:
                    raise self.error("it has too many steps")
                if op.name == "STOP":
                    (result,) = self.stack
                    return result
                method = getattr(self, f"_{op.name.lower()}", None)
                if method is None:
                    raise self.error(f"the opcode {op.name}")
                method(argument)
        except LeptonError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise LeptonError(
                "the pickle is damaged", self.where, f"{type(error).__name__}: {error}"[:200], "save the model again"
            ) from None
        raise LeptonError("the pickle is damaged", self.where, "it has no end", "save the model again")

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    _binint = _binint1 = _binint2 = _long1 = _binfloat = _binunicode = _short_binunicode = _binunicode8 = _push

    def _proto(self, version: int) -> None:
        if version > 5:
            raise self.error(f"protocol {version}")

    def _frame(self, length: int) -> None:
        """Frames only say how far to read ahead."""

    def _none(self, _: object) -> None:
        self._push(None)

    def _newtrue(self, _: object) -> None:
        self._push(True)

    def _newfalse(self, _: object) -> None:
        self._push(False)

    def _empty_dict(self, _: object) -> None:
        self._push({})

    def _empty_list(self, _: object) -> None:
        self._push([])

    def _empty_tuple(self, _: object) -> None:
        self._push(())

    def _mark(self, _: object) -> None:
        self._push(_Mark)

    def _pop_mark(self) -> list[Any]:
        at = len(self.stack) - 1 - self.stack[::-1].index(_Mark)
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def _binput(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    _long_binput = _binput

    def _memoize(self, _: object) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _binget(self, index: int) -> None:
        self._push(self.memo[index])

    _long_binget = _binget

    def _tuple(self, _: object) -> None:
        self._push(tuple(self._pop_mark()))

    def _tuples(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self._push(items)

    def _tuple1(self, _: object) -> None:
        self._tuples(1)

    def _tuple2(self, _: object) -> None:
        self._tuples(2)

    def _tuple3(self, _: object) -> None:
        self._tuples(3)

    def _append(self, _: object) -> None:
        item = self.stack.pop()
        self._list(self.stack[-1]).append(item)

    def _appends(self, _: object) -> None:
        items = self._pop_mark()
        self._list(self.stack[-1]).extend(items)

    def _list(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.error("it appends to what is no list")
        return value

    def _setitem(self, _: object) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def _setitems(self, _: object) -> None:
        self._fill(self._pop_mark())

    def _fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise self.error("it sets an item of what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, (str, int, float, bool, StoredTensor)):
                raise self.error(f"a dictionary with a key of type {type(key).__name__}")
            target[key] = value

    def _global(self, name: str) -> None:
        module, _, last = name.rpartition(" ")
        self._push(_Global(module, last))

    def _stack_global(self, _: object) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._push(_Global(str(module), str(name)))

    def _binpersid(self, _: object) -> None:
        self._push(self.persistent(self.stack.pop()))

    def _newobj(self, _: object) -> None:
        arguments, cls = self.stack.pop(), self.stack.pop()
        if arguments != () or not isinstance(cls, _Global) or not cls.module.startswith("__torch__"):
            raise self.error(f"a new object of {cls}")
        self._push(ScriptObject(str(cls)))

    def _build(self, _: object) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, ScriptObject):
            raise self.error("it gives a state to what is no object")
        target.state = state
        if isinstance(state, dict):
            target.attributes.update(state)

    def _reduce(self, _: object) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise self.error("a call of what is no function")
        known = _FUNCTIONS.get(str(function))
        if known is None and function.module.startswith("__torch__"):
            self._push(ScriptObject(str(function), state=arguments))
            return
        if known is None:
            raise self.error(f"a call of {str(function)[:80]}")
        self._push(known(*arguments))


def _dense(storage: Any, offset: int, shape: Iterable[int], strides: Iterable[int], *_: Any) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without a storage")
    return StoredTensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _quantized(
    storage: Any, offset: int, shape: Iterable[int], strides: Iterable[int], quantizer: Any, *_: Any
) -> StoredTensor:
    plain = _dense(storage, offset, shape, strides)
    return StoredTensor(plain.storage, plain.offset, plain.shape, plain.strides, quantizer)


def _same(value: Any, *_: Any) -> Any:
    return value


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda *items: dict(*items),
    "torch._utils._rebuild_tensor_v2": _dense,
    "torch._utils._rebuild_qtensor": _quantized,
    "torch._utils._rebuild_parameter": _same,
    "torch.device": lambda kind, *_: f"device:{kind}",
    "torch.jit._pickle.build_intlist": list,
    "torch.jit._pickle.build_tensorlist": list,
    "torch.jit._pickle.build_doublelist": list,
    "torch.jit._pickle.build_boollist": list,
    "torch.jit._pickle.build_tensor_from_id": _same,
    "torch.jit._pickle.restore_type_tag": _same,
}


def unpickle(data: bytes, where: str) -> Any:
    """Return what a pickle holds: numbers, strings, lists, tuples, dictionaries, stored tensors and script objects.

    Args:
        data: the pickle.
        where: its place, to name in errors.

    Raises:
        LeptonError: it is damaged, or holds anything else.
    """

    def storage(key: Any) -> Storage:
        if not isinstance(key, tuple) or len(key) != 5 or key[0] != "storage" or not isinstance(key[1], _Global):
            raise TypeError("a persistent object that is no storage")
        dtype = _STORAGES.get(key[1].name) if key[1].module == "torch" else None
        if dtype is None:
            raise TypeError(f"a storage of the type {key[1]}")
        return Storage(dtype, str(key[2]), int(key[4]))

    result = _Machine(where, storage).run(data)
    _check_depth(result, where)
    return result


def _check_depth(value: Any, where: str) -> None:
    """Check that nothing is nested so deeply, or in itself, that walking it would not end."""
    level: list[Any] = [value]
    seen: set[int] = set()
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, ScriptObject):
                if id(item) in seen:
                    continue
                seen.add(id(item))
            inner += _parts(item)
        if not inner:
            return
        if len(inner) > _MOST_ITEMS:
            break
        level = inner
    raise LeptonError("the pickle is nested too deeply, or holds itself", where, help="do not trust this file")


def _parts(value: Any) -> list[Any]:
    if isinstance(value, ScriptObject):
        return [*value.attributes.values(), value.state]
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []
