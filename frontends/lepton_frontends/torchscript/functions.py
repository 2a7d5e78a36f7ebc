"""TorchScript's functions on what is no tensor: lists, dictionaries, strings, optionals."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lepton_frontends.aten import numbers
from lepton_frontends.aten.call import Tensor
from lepton_frontends.aten.rules import Scalar
from lepton_frontends.aten.types import SCALAR_TYPES, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.torchscript.unpickle import ScriptObject
from lepton_ir.ir.dim import Expr

if TYPE_CHECKING:
    from lepton_frontends.torchscript.expressions import Evaluator

Function = Callable[..., Any]

PLAIN: dict[str, Function] = {}
"""Functions by name that take what is no tensor; those on lists also take lists of tensors."""
_LONGEST = 1 << 20


def plain(*names: str) -> Callable[[Function], Function]:
    """Register a function of the interpreter and its arguments."""

    def register(function: Function) -> Function:
        PLAIN.update(dict.fromkeys(names, function))
        return function

    return register


@plain("len")
def length(i: Evaluator, x: Any) -> Any:
    return len(x)


@plain("append")
def append(i: Evaluator, items: list[Any], item: Any) -> list[Any]:
    i.note(items)
    items.append(item)
    return items


@plain("extend")
def extend(i: Evaluator, items: list[Any], more: list[Any]) -> list[Any]:
    if len(items) + len(more) > _LONGEST:
        raise UnsupportedError("a list becomes too long")
    i.note(items)
    items.extend(more)
    return items


@plain("insert")
def insert(i: Evaluator, items: list[Any], at: int, item: Any) -> None:
    i.note(items)
    items.insert(at, item)


@plain("pop")
def pop(i: Evaluator, items: Any, *at: Any) -> Any:
    i.note(items)
    return items.pop(*at)


@plain("clear")
def clear(i: Evaluator, items: Any) -> None:
    i.note(items)
    items.clear()


@plain("reverse")
def reverse(i: Evaluator, items: list[Any]) -> None:
    i.note(items)
    items.reverse()


@plain("sort")
def sort(i: Evaluator, items: list[Any], reverse: bool = False) -> None:
    i.note(items)
    _require_known(items)
    items.sort(reverse=reverse)


@plain("sorted")
def sorted_(i: Evaluator, items: list[Any]) -> list[Any]:
    _require_known(items)
    return sorted(items)


@plain("remove")
def remove(i: Evaluator, items: list[Any], item: Any) -> None:
    i.note(items)
    items.remove(item)


@plain("Delete", "__delitem__")
def delete(i: Evaluator, items: Any, key: Any) -> None:
    i.note(items)
    del items[key]


@plain("_set_item")
def set_item(i: Evaluator, items: Any, key: Any, value: Any) -> Any:
    i.note(items)
    items[key] = value
    return items


@plain("update")
def update(i: Evaluator, items: dict[Any, Any], more: dict[Any, Any]) -> None:
    i.note(items)
    items.update(more)


@plain("setdefault")
def setdefault(i: Evaluator, items: dict[Any, Any], key: Any, value: Any) -> Any:
    i.note(items)
    return items.setdefault(key, value)


@plain("copy", "list")
def copy(i: Evaluator, items: Any) -> Any:
    return list(items) if isinstance(items, (str, tuple)) else items.copy()


@plain("dict")
def dictionary(i: Evaluator, items: Any = ()) -> dict[Any, Any]:
    return dict(items)


@plain("__getitem__")
def get_item(i: Evaluator, items: Any, key: Any) -> Any:
    _require_known([key])
    try:
        return items[key]
    except (IndexError, KeyError):
        raise UnsupportedError(f"there is no item {key!r} among {len(items)}") from None


@plain("get")
def get(i: Evaluator, items: dict[Any, Any], key: Any, default: Any = None) -> Any:
    return items.get(key, default)


@plain("keys")
def keys(i: Evaluator, items: dict[Any, Any]) -> list[Any]:
    return list(items)


@plain("values")
def values(i: Evaluator, items: dict[Any, Any]) -> list[Any]:
    return list(items.values())


@plain("items")
def items(i: Evaluator, items: dict[Any, Any]) -> list[Any]:
    return list(items.items())


@plain("__contains__", "__contains__.str")
def contains(i: Evaluator, items: Any, item: Any) -> Any:
    if isinstance(items, (str, dict)):
        return item in items
    found: Any = False
    for other in items:
        same = equal(i, other, item)
        if same is True:
            return True
        if isinstance(same, Scalar):
            found = same if found is False else numbers.compute(i.b, "__or__", found, same)
    return found


@plain("slice")
def cut(i: Evaluator, items: Any, start: Any = None, end: Any = None, step: Any = 1) -> Any:
    _require_known([start, end, step])
    return items[slice(start, end, step)]


@plain("index")
def index(i: Evaluator, items: list[Any], item: Any) -> int:
    _require_known([*items, item])
    if item not in items:
        raise UnsupportedError(f"{item!r} is not in the list")
    return items.index(item)


@plain("count")
def count(i: Evaluator, items: Any, item: Any) -> int:
    return int(items.count(item))


@plain("__is__")
def same(i: Evaluator, a: Any, b: Any) -> bool:
    return a is b if a is None or b is None or isinstance(a, (Tensor, ScriptObject)) else bool(a == b)


@plain("__isnot__")
def not_same(i: Evaluator, a: Any, b: Any) -> bool:
    return not same(i, a, b)


@plain("__not__")
def negated(i: Evaluator, x: Any) -> Any:
    value = numbers.truth(i.b, x)
    return Scalar(i.b.not_(value.value)) if isinstance(value, Scalar) else not value


@plain("__range_length")
def range_length(i: Evaluator, start: Any, stop: Any, step: Any) -> Any:
    if all(isinstance(v, int) for v in (start, stop, step)):
        return len(range(start, stop, step))
    b = i.b
    distance = numbers.compute(b, "sub", stop, start)
    steps = numbers.compute(b, "floordiv", numbers.compute(b, "add", distance, step - 1), step)
    return numbers.compute(b, "prim.max", steps, 0)


@plain("__derive_index")
def derive_index(i: Evaluator, index: Any, start: Any, step: Any) -> Any:
    return numbers.compute(i.b, "add", start, numbers.compute(i.b, "mul", index, step))


@plain("format")
def formatted(i: Evaluator, text: str, *given: Any) -> str:
    parts = text.split("{}")
    shown = [*map(_shown, given), *[""] * len(parts)]
    return "".join(f"{part}{value}" for part, value in zip(parts[:-1], shown, strict=False)) + parts[-1]


@plain("str")
def text(i: Evaluator, x: Any) -> str:
    return _shown(x)


@plain("percentFormat")
def percent_formatted(i: Evaluator, text: str, *given: Any) -> str:
    return text + " " + ", ".join(map(_shown, given))


_STRINGS = (
    "lower", "upper", "strip", "lstrip", "rstrip", "startswith", "endswith", "split", "replace", "join", "find",
    "isdigit", "isalpha", "capitalize", "title", "splitlines", "rfind", "isupper", "islower",
)  # fmt: skip


def _string_function(name: str) -> Function:
    def function(i: Evaluator, text: str, *args: Any) -> Any:
        if not isinstance(text, str):
            raise UnsupportedError(f"{name} of what is no string")
        return getattr(text, name)(*args)

    return function


PLAIN.update({name: _string_function(name) for name in _STRINGS})


@plain("eq")
def equal(i: Evaluator, a: Any, b: Any) -> Any:
    if numbers.is_number(a) and numbers.is_number(b):
        return numbers.compute(i.b, "eq", a, b)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        if len(a) != len(b):
            return False
        found = [equal(i, x, y) for x, y in zip(a, b, strict=True)]
        runtime = [f for f in found if isinstance(f, Scalar)]
        if False in found or not runtime:
            return False not in found
        whole = runtime[0]
        for other in runtime[1:]:
            whole = numbers.compute(i.b, "__and__", whole, other)
        return whole
    return a is b if isinstance(a, (Tensor, ScriptObject)) else a == b


@plain("ne")
def unequal(i: Evaluator, a: Any, b: Any) -> Any:
    return negated(i, equal(i, a, b))


@plain("add", "add_")
def add(i: Evaluator, a: Any, b: Any) -> Any:
    if numbers.is_number(a):
        return numbers.compute(i.b, "add", a, b)
    if i.function.endswith("add_") and isinstance(a, list):
        return extend(i, a, b)
    if len(a) + len(b) > _LONGEST:
        raise UnsupportedError("a string or list becomes too long")
    return a + b


@plain("mul")
def multiply(i: Evaluator, a: Any, b: Any) -> Any:
    if numbers.is_number(a) and numbers.is_number(b):
        return numbers.compute(i.b, "mul", a, b)
    items, times = (a, b) if isinstance(a, (list, str)) else (b, a)
    return "".join(numbers.repeated(list(items), times)) if isinstance(items, str) else numbers.repeated(items, times)


@plain("prim.min", "prim.max")
def extreme(i: Evaluator, *given: Any) -> Any:
    many = given[0] if len(given) == 1 and isinstance(given[0], list) else given
    found = many[0]
    for other in many[1:]:
        found = numbers.compute(i.b, i.function, found, other)
    return found


@plain("sum")
def total(i: Evaluator, items: list[Any]) -> Any:
    found: Any = 0
    for item in items:
        found = numbers.compute(i.b, "add", found, item)
    return found


@plain("all", "any")
def every(i: Evaluator, items: list[Any]) -> Any:
    found = [numbers.truth(i.b, item) for item in items]
    _require_known(found)
    return all(found) if i.function == "all" else any(found)


@plain("prim.NumToTensor")
def number_as_tensor(i: Evaluator, x: Any) -> Tensor:
    return Tensor(tensor_of(i.b, x))


@plain("prim.dtype")
def dtype(i: Evaluator, x: Any) -> int:
    return next(code for code, known in SCALAR_TYPES.items() if known is x.type.dtype)


@plain("prim.device", "device", "prim.layout")
def device(i: Evaluator, *_: Any) -> str:
    return "device:cpu"


@plain("prim.data", "prim.unchecked_unwrap_optional", "_unwrap_optional", "prim.unchecked_cast")
def data(i: Evaluator, x: Any) -> Any:
    if x is None:
        raise UnsupportedError("it takes the value of an optional that holds nothing")
    return x


@plain("prim.type")
def device_type(i: Evaluator, x: Any) -> str:
    return "cpu"


@plain("prim.is_cuda", "prim.is_nested", "prim.is_quantized", "prim.is_sparse", "prim.requires_grad", "prim.is_meta",
       "prim.is_mkldnn",
       "is_grad_enabled", "is_autocast_enabled", "is_autocast_cpu_enabled")  # fmt: skip
def never(i: Evaluator, *_: Any) -> bool:
    return False


@plain("is_scripting")
def always(i: Evaluator, *_: Any) -> bool:
    return True


@plain("prim.TupleIndex")
def tuple_index(i: Evaluator, items: Any, at: int) -> Any:
    return items[at]


@plain("set_grad_enabled", "_set_grad_enabled", "warn", "print", "prim.Print", "manual_seed", "grad")
def nothing(i: Evaluator, *_: Any, **__: Any) -> None:
    return None


def _require_known(given: Any) -> None:
    unknown = [g for g in given if isinstance(g, (Scalar, Expr))]
    if unknown:
        raise UnsupportedError(
            "it decides by a number that only the running program knows", "give the dimension a size, or fix the input"
        )


def _shown(value: Any) -> str:
    return str(value)[:1000] if isinstance(value, (int, float, str, list, tuple, Expr)) else f"<{type(value).__name__}>"
