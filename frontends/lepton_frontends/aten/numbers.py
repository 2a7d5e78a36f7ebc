"""Arithmetic on PyTorch's numbers: Python's, symbolic sizes, and those that only the running program knows."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.call import Tensor, call
from lepton_frontends.aten.rules import Scalar
from lepton_frontends.aten.types import category, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.runtime_dims import partial_dims
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, Expr, bounds, dmax, dmin
from lepton_ir.ir.types import DType

_INT64 = 1 << 63
_LONGEST = 1 << 20


def _remainder(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    rest = math.fmod(a, b)
    return rest + b if rest * b < 0 else rest


def _power(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int) and (abs(a) > 1 and b > 64):
        raise UnsupportedError(f"{a} to the power of {b} is beyond 64 bits")
    return a**b


def _truncated(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


_PYTHON: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
    "floordiv": operator.floordiv, "floor_divide": operator.floordiv, "remainder": _remainder, "fmod": math.fmod,
    "neg": operator.neg, "pow": _power, "abs": abs, "eq": operator.eq, "ne": operator.ne, "lt": operator.lt,
    "le": operator.le, "gt": operator.gt, "ge": operator.ge, "__and__": operator.and_, "__or__": operator.or_,
    "__xor__": operator.xor, "__lshift__": operator.lshift, "__rshift__": operator.rshift, "prim.min": min,
    "prim.max": max, "prim.abs": abs, "floor": math.floor, "ceil": math.ceil, "sqrt": math.sqrt, "exp": math.exp,
    "log": math.log, "log2": math.log2, "log10": math.log10, "log1p": math.log1p, "sin": math.sin, "cos": math.cos,
    "tan": math.tan, "asin": math.asin, "acos": math.acos, "atan": math.atan, "atan2": math.atan2, "tanh": math.tanh,
    "isnan": math.isnan, "isinf": math.isinf, "isfinite": math.isfinite, "gcd": math.gcd,
    "bitwise_not": operator.invert,
    "copysign": math.copysign, "degrees": math.degrees, "radians": math.radians, "factorial": math.factorial,
    "round": round, "trunc": math.trunc,
}  # fmt: skip
_COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
_DIMS: dict[str, Callable[..., Dim]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "floordiv": operator.floordiv,
    "floor_divide": operator.floordiv, "remainder": operator.mod, "neg": operator.neg, "prim.min": dmin,
    "prim.max": dmax,
}  # fmt: skip
_ATEN = {"floordiv": "floor_divide", "prim.min": "minimum", "prim.max": "maximum", "prim.abs": "abs"}

NAMES = frozenset(_PYTHON)


def is_number(value: Any) -> bool:
    """Return whether a value is one of TorchScript's numbers."""
    return isinstance(value, (int, float, complex, Expr, Scalar))


def compute(b: AtenBuilder, name: str, *given: Any) -> Any:
    """Return the result of a function of numbers.

    Raises:
        UnsupportedError: it has none (division by zero, beyond 64 bits, ...).
    """
    if any(isinstance(g, Scalar) for g in given):
        return _at_run_time(b, name, given)
    if any(isinstance(g, Expr) for g in given):
        return _of_dims(b, name, given)
    try:
        found = _PYTHON[name](*given)
    except (ArithmeticError, ValueError, TypeError) as error:
        raise UnsupportedError(f"{name} of {', '.join(map(str, given))}: {error}") from None
    if isinstance(found, int) and not -_INT64 <= found < 2 * _INT64:
        raise UnsupportedError(f"{name} of {', '.join(map(str, given))} is beyond 64 bits")
    return found


def _of_dims(b: AtenBuilder, name: str, given: tuple[Any, ...]) -> Any:
    whole = all(isinstance(g, (int, Expr)) for g in given)
    if whole and name in _DIMS:
        return _DIMS[name](*given)
    if whole and name in _COMPARISONS:
        decided = _compared(name, given[0] - given[1])
        if decided is not None:
            return decided
    return _at_run_time(b, name, given)


def _compared(name: str, difference: Dim) -> bool | None:
    """Return whether a comparison with 0 holds, None where that depends on the dimensions."""
    if isinstance(difference, int):
        return bool(_PYTHON[name](difference, 0))
    low, high = bounds(difference)
    never_zero = (low is not None and low > 0) or (high is not None and high < 0)
    if name in ("eq", "ne"):
        return name == "ne" if never_zero else None
    results = {_PYTHON[name](v, 0) for v in (low, high) if v is not None}
    return results.pop() if len(results) == 1 and low is not None and high is not None else _half_open(name, low, high)


def _half_open(name: str, low: int | None, high: int | None) -> bool | None:
    if low is not None and ((name == "gt" and low > 0) or (name == "ge" and low >= 0)):
        return True
    if low is not None and ((name == "lt" and low >= 0) or (name == "le" and low > 0)):
        return False
    if high is not None and ((name == "lt" and high < 0) or (name == "le" and high <= 0)):
        return True
    if high is not None and ((name == "gt" and high <= 0) or (name == "ge" and high < 0)):
        return False
    return None


def _at_run_time(b: AtenBuilder, name: str, given: tuple[Any, ...]) -> Scalar:
    floating = name == "div" or any(
        isinstance(g, float) or (isinstance(g, Scalar) and g.value.tensor.dtype.is_float) for g in given
    )
    dtype = DType.F64 if floating else DType.I64
    values = [Tensor(tensor_of(b, g, dtype)) for g in given]
    result = call(b, _ATEN.get(name, name), values, {})
    assert isinstance(result, Tensor)
    value = result.read(b)
    return Scalar(value if value.tensor.dtype is DType.BOOL else b.convert(value, dtype))


def truth(b: AtenBuilder, value: Any) -> bool | Scalar:
    """Return whether a value counts as true."""
    if isinstance(value, Tensor):
        value = scalar_of(b, value.read(b))
    if isinstance(value, Scalar):
        return value if value.value.tensor.dtype is DType.BOOL else Scalar(b.convert(value.value, DType.BOOL))
    if isinstance(value, Expr):
        found = compute(b, "ne", value, 0)
        return found if isinstance(found, (bool, Scalar)) else bool(found)
    return bool(value)


def scalar_of(b: AtenBuilder, value: Value) -> Any:
    """Return a tensor with one element as a number: Python's where it is known, a size, or one of the run.

    Raises:
        UnsupportedError: it has more elements.
    """
    if any(d != 1 for d in value.shape):
        raise UnsupportedError(f"a tensor of shape {list(value.shape)} is no number")
    array = b.array(value)
    if array is not None:
        return array.reshape(()).item()
    dtype = value.tensor.dtype
    if dtype.is_integer:
        (dim,) = partial_dims(b, value)
        if dim is not None:
            return dim
    kind = {0: DType.BOOL, 1: DType.I64}.get(category(dtype), DType.F64)
    return Scalar(b.convert(b.reshaped(value, ()), kind))


def converted(b: AtenBuilder, value: Any, kind: str) -> Any:
    """Return a value as an int, a float or a bool, as the functions of these names do."""
    if isinstance(value, Tensor):
        value = scalar_of(b, value.read(b))
    if kind == "bool":
        return truth(b, value)
    if isinstance(value, Scalar):
        return Scalar(b.convert(value.value, DType.I64 if kind == "int" else DType.F64))
    if isinstance(value, Expr):
        return value if kind == "int" else Scalar(tensor_of(b, value, DType.F64))
    try:
        return int(value) if kind == "int" else float(value)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise UnsupportedError(f"{kind} of {str(value)[:40]!r}: {error}") from None


def repeated(items: list[Any], times: Any) -> list[Any]:
    """Return a list repeated.

    Raises:
        UnsupportedError: it would be too long, or how often is not known.
    """
    if not isinstance(times, int) or len(items) * max(times, 0) > _LONGEST:
        raise UnsupportedError(f"a list of {len(items)} repeated {times} times")
    return items * times
