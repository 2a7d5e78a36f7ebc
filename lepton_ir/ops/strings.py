"""Operators on strings; the host evaluates them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import sym
from lepton_ir.ir.opdef import InferenceError, Operation, attribute, operand, optional_attribute, result
from lepton_ir.ir.types import DType, TensorType, Type
from lepton_ir.ops.elementwise import Binary
from lepton_ir.ops.re2 import RegexError, compiled
from lepton_ir.ops.sequence import Reading
from lepton_ir.ops.support import Array, require_rank

CASES = ("none", "lower", "upper")


class Concat(Binary):
    """The strings of b appended to those of a, with broadcasting."""

    name = "str.concat"
    is_host = True
    accepts = "any"

    def verify(self) -> None:
        for value in self.present_operands:
            require_strings(self.name, value)

    def compute(self, a: Array, b: Array) -> Array:
        return a + b


class Split(Reading):
    """The pieces of strings that a delimiter separates, and how many each string has.

    The pieces lie along a new last axis, as long as the most pieces of a string; where a string has fewer, it is filled
    up with empty strings. The empty delimiter stands for any run of white space, and then no piece is empty.
    """

    name = "str.split"
    x: Value = operand("strings")
    delimiter = attribute(str, default="")
    max_splits = optional_attribute(int, doc="the most cuts for each string; what follows them is the last piece")
    pieces: OpResult = result()
    counts: OpResult = result("i64")

    def infer(self) -> Sequence[Type]:
        x = self.x.tensor
        return [x.with_shape([*x.shape, sym("pieces")]), x.with_dtype(DType.I64)]

    def verify(self) -> None:
        require_strings(self.name, self.x)

    def evaluate(self, x: Array) -> tuple[Array, Array]:
        limit = -1 if self.max_splits is None else self.max_splits
        lists = [s.split(self.delimiter, limit) if self.delimiter else s.strip().split(None, limit) for s in x.flat]
        counts = np.array([len(pieces) for pieces in lists], np.int64)
        table = np.full((len(lists), counts.max(initial=0)), "", object)
        for row, pieces in zip(table, lists, strict=True):
            row[: len(pieces)] = pieces
        return table.reshape(*x.shape, table.shape[1]), counts.reshape(x.shape)


class Normalize(Reading):
    """The strings that are no stop words, in the case asked for; the empty string where none is left.

    The result has the rank of x; all that differs is the size of its last dimension.
    """

    name = "str.normalize"
    x: Value = operand("strings, [C] or [1, C]")
    case = attribute(str, default="none", doc="none, lower or upper")
    stop_words = attribute(tuple[str, ...], default=())
    case_sensitive = attribute(bool, default=False, doc="whether stop words must be spelled as in x")
    y: OpResult = result()

    def infer(self) -> Type:
        x = self.x.tensor
        require_rank(f"x of {self.name}", x, 1, 2)
        return x.with_shape([*x.shape[:-1], sym("kept")])

    def verify(self) -> None:
        require_strings(self.name, self.x)
        if self.case not in CASES:
            raise InferenceError(f"{self.name} knows the cases {', '.join(CASES)}, got {self.case}")

    def evaluate(self, x: Array) -> Array:
        if x.ndim == 2 and len(x) != 1:
            raise ValueError(f"it takes one row of strings, got {len(x)}")

        def compared(s: str) -> str:
            return s if self.case_sensitive else s.lower()

        stops = {compared(s) for s in self.stop_words}
        kept = [_in_case(s, self.case) for s in x.reshape(-1) if compared(s) not in stops] or [""]
        found = np.empty(len(kept), object)
        found[:] = kept
        return found.reshape([1] * (x.ndim - 1) + [len(kept)])


class RegexFullMatch(Operation):
    """Whether a regular expression, in the syntax of RE2, matches the whole of each string."""

    name = "str.regex_full_match"
    is_host = True
    x: Value = operand("strings")
    pattern = attribute(str)
    y: OpResult = result("bool")

    def infer(self) -> Type:
        return self.x.tensor.with_dtype(DType.BOOL)

    def verify(self) -> None:
        require_strings(self.name, self.x)
        try:
            compiled(self.pattern)
        except RegexError as error:
            raise InferenceError(str(error)) from None

    def evaluate(self, x: Array) -> Array:
        match = compiled(self.pattern).fullmatch
        return np.array([match(s) is not None for s in x.reshape(-1)], np.bool_).reshape(x.shape)


class Find(Operation):
    """Where each string stands in a list of different terms; -1 where it is none of them."""

    name = "str.find"
    is_host = True
    x: Value = operand("strings")
    terms = attribute(tuple[str, ...])
    y: OpResult = result("i64")

    def infer(self) -> Type:
        return self.x.tensor.with_dtype(DType.I64)

    def verify(self) -> None:
        require_strings(self.name, self.x)
        if len(set(self.terms)) != len(self.terms):
            raise InferenceError(f"the terms of {self.name} must be different")

    def evaluate(self, x: Array) -> Array:
        places = {term: i for i, term in enumerate(self.terms)}
        return np.array([places.get(s, -1) for s in x.reshape(-1)], np.int64).reshape(x.shape)


def require_strings(what: str, value: Value) -> None:
    """Check that a value is a tensor of strings.

    Raises:
        InferenceError: it is not.
    """
    if not isinstance(value.type, TensorType) or value.type.dtype is not DType.STR:
        raise InferenceError(f"{what} needs strings, got {value.type}")


def _in_case(text: str, case: str) -> str:
    return text.lower() if case == "lower" else text.upper() if case == "upper" else text
