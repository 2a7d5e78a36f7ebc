"""Ending a kernel with an error whose message holds numbers.

TVM's code generation turns ``tvm_throw_last_error`` into a return of -1, at which every caller up to the runtime
passes on the error that was set before. In the body of a parallel loop the code runs in another function, whose result
nobody reads, so failures stand outside of parallel loops.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from tvm import tirx
from tvm.ir import StringImm

from lepton_backends.tvm import tir
from lepton_backends.tvm.tir import Buffer, Expr, Stmt
from lepton_ir.runtime.failure import KIND, compose

_DIGITS = 20
"""Of the longest int64, its sign included."""


def fail_if(
    condition: Expr, messages: Sequence[str], numbers: Sequence[Expr], places: Sequence[str], site: Expr
) -> Stmt:
    """Return the statement that ends the kernel with an error where the condition holds.

    Args:
        condition: a scalar.
        messages: what is wrong, with ``{}`` in the place of every number, at each of the sites that share the kernel.
        numbers: int64 scalars.
        places: the place in the user's model, at each of the sites.
        site: the number of the site.
    """
    # Numbers known now become text now.
    known = [tir.static(n) for n in numbers]
    messages = [m.format(*("{}" if n is None else n for n in known)) for m in messages]
    numbers = [n for n, k in zip(numbers, known, strict=True) if k is None]
    whole = [compose(m, where).replace("\0", "").split("{}") for m, where in zip(messages, places, strict=True)]
    texts = list(zip(*whole, strict=True))
    size = sum(max(len(t.encode()) for t in text) for text in texts) + _DIGITS * len(numbers) + 1
    line = tirx.decl_buffer([tir.index(size)], "uint8", "message", scope="global")
    digits = tirx.decl_buffer([tir.index(_DIGITS + 1)], "uint8", "digits", scope="global")
    steps = [tirx.AllocBuffer(line), tirx.AllocBuffer(digits), _append(line, texts[0], site, "strcpy")]
    for number, text in zip(numbers, texts[1:], strict=True):
        steps += [_append_number(line, digits, number), _append(line, text, site)]
    raised = tirx.call_extern("int32", "TVMFFIErrorSetRaisedFromCStr", StringImm(KIND), tirx.buffer_data(line))
    steps += [tirx.Evaluate(raised), tirx.Evaluate(tirx.tvm_throw_last_error())]
    return tirx.IfThenElse(condition, tir.seq(*steps), None)


def _append(line: Buffer, texts: Sequence[str], site: Expr, function: str = "strcat") -> Stmt:
    """Write the text of the site that calls."""
    numbers: dict[str, list[int]] = {}
    for number, text in enumerate(texts):
        numbers.setdefault(text, []).append(number)
    *others, (last, _) = numbers.items()
    found = _written(line, last, function)
    for text, own in others:
        here = functools.reduce(tir.either, (site.equal(tir.index(n)) for n in own))
        found = tirx.IfThenElse(here, _written(line, text, function), found)
    return found


def _written(line: Buffer, text: str, function: str) -> Stmt:
    return tirx.Evaluate(tirx.call_extern("handle", function, tirx.buffer_data(line), StringImm(text)))


def _append_number(line: Buffer, digits: Buffer, number: Expr) -> Stmt:
    """Write the decimal digits from the last to the first, so that the text ends where the buffer does."""
    rest = tirx.decl_buffer([tir.index(1)], "uint64", "reg_rest", scope="global")
    at = tirx.decl_buffer([tir.index(1)], tir.INDEX, "reg_at", scope="global")
    origin, ten = tir.index(0), tir.const(10, "uint64")
    given = tirx.decl_buffer([tir.index(1)], tir.INDEX, "reg_number", scope="global")
    bits = tir.bitcast(given[origin], "uint64")
    negative = given[origin] < 0
    # Two's complement: the absolute value of the lowest number too.
    size = tir.select(negative, tirx.bitwise_not(bits) + tir.const(1, "uint64"), bits)

    def put(character: Expr) -> Stmt:
        back = tir.store(at, [origin], at[origin] - 1)
        return tir.seq(back, tir.store(digits, [at[origin]], tir.cast(character, "uint8")))

    digit = tir.seq(
        put(tirx.truncmod(rest[origin], ten) + tir.const(ord("0"), "uint64")),
        tir.store(rest, [origin], tirx.truncdiv(rest[origin], ten)),
    )
    end = tir.index(_DIGITS)
    return tir.seq(
        tirx.AllocBuffer(given),
        tir.store(given, [origin], number),
        tirx.AllocBuffer(rest),
        tirx.AllocBuffer(at),
        tir.store(at, [origin], end),
        tir.store(digits, [end], tir.const(0, "uint8")),
        tir.store(rest, [origin], size),
        digit,
        tirx.While(rest[origin] > tir.const(0, "uint64"), digit),
        tirx.IfThenElse(negative, put(tir.const(ord("-"), "uint8")), None),
        tirx.Evaluate(
            tirx.call_extern("handle", "strcat", tirx.buffer_data(line), tirx.address_of(digits[at[origin]]))
        ),
    )
