"""Running modules operation by operation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lepton_ir.diagnostics import LeptonError
from lepton_ir.interp.binding import BindingError, Env, bind_operation, bind_value
from lepton_ir.interp.structure import RULES
from lepton_ir.ir.core import Block, Operation, Region, Value
from lepton_ir.ir.module import Function, Module
from lepton_ir.ops.checks import DataError

Observer = Callable[[Operation, tuple[Any, ...]], None]


def run(
    module: Module,
    inputs: Sequence[Any] | Mapping[str, Any],
    *,
    observe: Observer | None = None,
    function: str = "main",
    deadline: float | None = None,
) -> list[np.ndarray]:
    """Return the outputs of a module for some inputs.

    Args:
        module: a valid module.
        inputs: arrays in the order of the arguments, or by name (unnamed arguments are ``input0``, ``input1``, ...).
        observe: called after every operation, those inside regions included, with it and its results.
        function: what to run.
        deadline: when to give up, by ``time.monotonic()``.

    Raises:
        TimeoutError: the deadline is over.
        LeptonError: the inputs do not fit, or an operation fails; the message names it and its location.
    """
    return list(Interpreter(module, observe, deadline).run(inputs, function))


class Interpreter:
    """Runs the functions of one module.

    Args:
        module: a valid module.
        observe: called after every operation with it and its results.
        deadline: when to give up, by ``time.monotonic()``; asked before every operation and every trip of a loop.
    """

    def __init__(self, module: Module, observe: Observer | None = None, deadline: float | None = None) -> None:
        self.module = module
        self.observe = observe
        self.deadline = deadline
        self._dying: dict[Block, dict[Operation, list[Value]]] = {}

    def run(self, inputs: Sequence[Any] | Mapping[str, Any], function: str = "main") -> Sequence[Any]:
        """Return the outputs of ``function``."""
        callee = self._function(function)
        return self.call(function, _arrange(callee, inputs))

    def call(self, name: str, arguments: Sequence[Any]) -> Sequence[Any]:
        """Return the results of a function for the values of its arguments, in order."""
        function = self._function(name)
        frame = Frame(self)
        for i, (argument, value) in enumerate(zip(function.arguments, arguments, strict=True)):
            try:
                bind_value(argument.type, value, frame.env)
            except BindingError as e:
                raise LeptonError(f"the input {argument.name or f'input{i}'} does not fit", why=str(e)) from e
        with np.errstate(all="ignore"):
            return frame.region(function.region, arguments)

    def check_time(self) -> None:
        """Raise TimeoutError once the deadline is over."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise TimeoutError

    def _function(self, name: str) -> Function:
        function = self.module.functions.get(name)
        if function is None:
            known = ", ".join(f"@{n}" for n in self.module.functions) or "none"
            raise LeptonError(f"the module has no function @{name}", help=f"it has: {known}")
        return function

    def last_uses(self, block: Block) -> dict[Operation, list[Value]]:
        """Return, for each operation of a block, the block's values that nothing after it reads."""
        known = self._dying.get(block)
        if known is None:
            known = self._dying[block] = _last_uses(block)
        return known


def _last_uses(block: Block) -> dict[Operation, list[Value]]:
    dying: dict[Operation, list[Value]] = {}
    seen: set[Value] = set()
    op = block.last
    while op is not None:
        used = [v for inner in op.walk() for v in inner.present_operands] if op.regions else op.present_operands
        fresh = [v for v in dict.fromkeys((*used, *op.results)) if v not in seen and _defined_in(v, block)]
        seen.update(fresh)
        dying[op] = fresh
        op = op.prev_op
    return dying


def _defined_in(value: Value, block: Block) -> bool:
    op = value.op
    return op.parent is block if op is not None else value.owner is block


def _arrange(function: Function, inputs: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
    """Return the inputs as arrays in the order of the arguments."""
    names = [a.name or f"input{i}" for i, a in enumerate(function.arguments)]
    given = list(inputs) if isinstance(inputs, Mapping) else names[: len(inputs)]
    unknown = [n for n in given if n not in names]
    missing = [n for n in names if n not in given]
    if unknown or missing or len(inputs) > len(names):
        lists = (("unknown", unknown), ("missing", missing))
        problems = [f"{what}: {', '.join(which)}" for what, which in lists if which]
        raise LeptonError(
            f"@{function.name} takes {len(names)} inputs, got {len(inputs)}",
            why="; ".join(problems),
            help=f"its inputs: {', '.join(names) or 'none'}",
        )
    values = [inputs[n] for n in names] if isinstance(inputs, Mapping) else list(inputs)
    return [v if isinstance(v, (list, dict)) or v is None else np.asarray(v) for v in values]


class Frame:
    """One running function: the values and the dimensions known so far."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self.env: Env = {}
        self._values: dict[Value, Any] = {}

    def region(self, region: Region, arguments: Sequence[Any] = ()) -> Sequence[Any]:
        """Run a region on the values of its arguments and return what its terminator gives."""
        self.interpreter.check_time()
        block, values, outer = region.block, self._values, self.env
        self.env = dict(outer)  # A dimension that the region's data decides may differ the next time.
        for argument, value in zip(block.arguments, arguments, strict=True):
            values[argument] = value
            bind_value(argument.type, value, self.env)
        dying = self.interpreter.last_uses(block)
        operands: list[Any] = []
        for op in block.ops:
            operands = [None if v is None else values[v] for v in op.operands]
            if op is not block.last:
                values.update(zip(op.results, self._execute(op, operands), strict=True))
            for dead in dying[op]:
                del values[dead]
        self.env = outer
        return operands

    def _execute(self, op: Operation, operands: Sequence[Any]) -> Sequence[Any]:
        self.interpreter.check_time()
        try:
            results = self._results(op, operands)
        except (LeptonError, TimeoutError):
            raise
        except DataError as e:
            raise LeptonError(str(e), op.location, why=f"{op.name} has no meaning for it") from e
        except Exception as e:
            raise LeptonError(
                f"{op.name} failed in the interpreter",
                op.location,
                why=f"{type(e).__name__}: {e}",
                notes=_notes(operands),
            ) from e
        if self.interpreter.observe is not None:
            self.interpreter.observe(op, tuple(results))
        return results

    def _results(self, op: Operation, operands: Sequence[Any]) -> Sequence[Any]:
        special = RULES.get(op.name)
        if special is not None:
            results = list(special(self, op, operands))
        else:
            value = bind_operation(op, operands, self.env).evaluate(*operands)
            results = [_array(v) for v in (value if isinstance(value, tuple) else (value,))]
        if len(results) != len(op.results):
            raise BindingError(f"{len(results)} values for {len(op.results)} results")
        for result, value in zip(op.results, results, strict=True):
            bind_value(result.type, value, self.env)
        return results


def _array(value: Any) -> Any:
    return value if isinstance(value, (list, dict)) or value is None else np.asarray(value)


def _notes(operands: Sequence[Any]) -> list[str]:
    described = [f"{v.dtype}{list(v.shape)}" if isinstance(v, np.ndarray) else repr(v)[:40] for v in operands]
    return [f"its operands: {', '.join(described)}"] if described else []
