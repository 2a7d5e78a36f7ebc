"""Checking that a module is well formed: structure, scopes, types, attributes, use lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lepton_ir.diagnostics import Diagnostic, LeptonError
from lepton_ir.ir.core import Block, Region, Value
from lepton_ir.ir.core import Operation as CoreOperation
from lepton_ir.ir.dim import Dim, symbols
from lepton_ir.ir.kinds import describe_kind, kind_check
from lepton_ir.ir.location import Location
from lepton_ir.ir.module import Function, Module
from lepton_ir.ir.opdef import InferenceError, Operation, OpSpec
from lepton_ir.ir.types import OptionalType, SequenceType, TensorType, Type, UnrankedType


def verify(module: Module) -> None:
    """Check the whole module.

    Raises:
        LeptonError: something does not hold; all findings are reported at once, each with operator and location.
    """
    found: list[Diagnostic] = []
    for name, function in module.functions.items():
        found += _Verifier(module, function, name).run()
    if found:
        raise LeptonError.of(found)


def is_compatible(stated: Type, inferred: Type) -> bool:
    """Return whether a value of type ``inferred`` may be said to be of type ``stated``.

    Dimensions may differ in how much is known about them, not in what is known.
    """
    if isinstance(stated, TensorType) and isinstance(inferred, TensorType):
        return (
            stated.dtype is inferred.dtype
            and len(stated.shape) == len(inferred.shape)
            and not any(map(_differ, stated.shape, inferred.shape))
        )
    if isinstance(stated, UnrankedType) or isinstance(inferred, UnrankedType):
        return (
            isinstance(stated, (TensorType, UnrankedType))
            and isinstance(inferred, (TensorType, UnrankedType))
            and (stated.dtype is inferred.dtype)
        )
    for container in (SequenceType, OptionalType):
        if isinstance(stated, container) and isinstance(inferred, container):
            return is_compatible(stated.element, inferred.element)
    return False


def _differ(a: Dim, b: Dim) -> bool:
    """Return whether two dimensions are known to be different numbers."""
    if a == b:
        return False
    difference = a - b
    return isinstance(difference, int)


class _Verifier:
    """Checks one function and gathers what is wrong."""

    def __init__(self, module: Module, function: Function, name: str) -> None:
        self.module = module
        self.function = function
        self.name = name
        self.found: list[Diagnostic] = []
        self.visible: set[Value] = set()

    def run(self) -> list[Diagnostic]:
        function = self.function
        if function.name != self.name:
            self._add(f"the module knows the function @{function.name} as @{self.name}", function.location)
        for argument in function.arguments:
            self._check_symbols(argument.type)
        self._block(function.body, "return")
        names, results = function.result_names, self._returned()
        if names and results is not None and len(names) != len(results):
            self._add(f"@{self.name} has {len(names)} result names and {len(results)} results", function.location)
        return self.found

    def _returned(self) -> tuple[Value, ...] | None:
        last = self.function.body.last
        return None if last is None else last.present_operands

    def _add(self, message: str, where: Location, why: str = "") -> None:
        self.found.append(Diagnostic(message, where, why, notes=(f"in the function @{self.name}",)))

    def _check_symbols(self, type: Type) -> None:
        while not isinstance(type, TensorType):
            if not isinstance(type, (SequenceType, OptionalType)):
                return
            type = type.element
        for dim in type.shape:
            bad = [] if isinstance(dim, int) else [s for s in symbols(dim) if not s.isidentifier()]
            if bad:
                self._add(f"the dimension name {bad[0]!r} of {type} is no identifier", self.function.location)
            if isinstance(dim, int) and dim < 0:
                self._add(f"the dimension {dim} of {type} is negative", self.function.location)

    # ---- structure

    def _block(self, block: Block, ending: str) -> None:
        added: list[Value] = list(block.arguments)
        self.visible.update(added)
        previous: CoreOperation | None = None
        for argument in block.arguments:
            self._check_uses(argument)
        for op in block.ops:
            if op.parent is not block or op.prev_op is not previous:
                self._add(f"{op.name}: the operation is not linked into its block", op.location)
            previous = op
            self._operation(op, ending)
            self.visible.update(op.results)
            added += op.results
        self._check_ending(block, ending)
        self.visible.difference_update(added)

    def _check_ending(self, block: Block, ending: str) -> None:
        last = block.last
        if last is not None and last.name == ending:
            return
        where = last.location if last is not None else self._owner_location(block)
        what = "an empty block" if last is None else f"a block that ends in {last.name}"
        self._add(f"{what} must end in {ending}", where)

    def _owner_location(self, block: Block) -> Location:
        owner = block.parent.parent if block.parent is not None else None
        return owner.location if owner is not None else self.function.location

    def _operation(self, op: CoreOperation, ending: str) -> None:
        before = len(self.found)
        self._check_operands(op)
        for result in op.results:
            if result.op is not op or op.results[result.index] is not result:
                self._add(f"{op.name}: a result does not belong to the operation", op.location)
            if result._uses:
                self._check_uses(result)
        if not isinstance(op, Operation):
            self._add(f"{op.name or type(op).__name__} is not a defined operator", op.location)
            return
        if op.is_terminator and (op.next_op is not None or op.name != ending):
            self._add(f"{op.name} stands where it may not", op.location, f"a block here ends in one {ending}")
        for message in _count_problems(op):
            self._add(f"{op.name}: {message}", op.location)
        if op.attributes or op.spec.attributes:
            for message in _attribute_problems(op.spec, op.attributes):
                self._add(f"{op.name}: {message}", op.location)
        for region in op.regions:
            self._region(region, op)
        if len(self.found) == before:
            self._check_types(op)

    def _region(self, region: Region, op: Operation) -> None:
        if region.parent is not op:
            self._add(f"{op.name}: a region does not belong to the operation", op.location)
        outer = self.visible
        if op.is_isolated:
            self.visible = set()
        self._block(region.block, "yield")
        self.visible = outer

    # ---- values

    def _check_operands(self, op: CoreOperation) -> None:
        visible = self.visible
        for i, value in enumerate(op._operands):
            if value is None:
                continue
            if value not in visible:
                self._add(f"{op.name}: operand {i} is not defined before its use", op.location, _absence(value))
            if (op, i) not in value._uses:
                self._add(f"{op.name}: operand {i} does not know of this use", op.location)

    def _check_uses(self, value: Value) -> None:
        for user, index in value._uses:
            if index >= len(user._operands) or user._operands[index] is not value:
                self._add(f"{user.name}: a value lists a use as operand {index} that is none", user.location)
            elif user.parent is None:
                self._add(f"{user.name}: an operation outside of the module uses a value", user.location)

    # ---- types

    def _check_types(self, op: Operation) -> None:
        try:
            inferred = op.infer()
            op.verify()
        except InferenceError as e:
            self._add(f"{op.name}: operands and attributes do not fit", op.location, str(e))
            return
        except Exception as e:  # A broken inference of one operator must not hide the other findings.
            self._add(f"{op.name}: its types cannot be inferred", op.location, f"{type(e).__name__}: {e}")
            return
        single = isinstance(inferred, Type)
        types: Sequence[Any] = [inferred] if single else inferred  # type: ignore[assignment]
        if len(types) != len(op.results):
            self._add(f"{op.name}: has {len(op.results)} results, {len(types)} are inferred", op.location)
            return
        for result, t in zip(op.results, types, strict=True):
            if result.type is not t and result.type != t and not is_compatible(result.type, t):
                self._add(f"{op.name}: result {result.index} is said to be {result.type}, inferred is {t}", op.location)
        if "callee" in op.spec.attributes:
            self._check_call(op)

    def _check_call(self, op: Operation) -> None:
        callee = self.module.functions.get(op.attributes["callee"])
        if callee is None:
            self._add(f"{op.name}: there is no function @{op.attributes['callee']}", op.location)
            return
        if callee.body.last is None:
            return
        pairs = (
            ("operands", [v.type for v in op.present_operands], [a.type for a in callee.arguments]),
            ("results", [r.type for r in op.results], list(callee.result_types)),
        )
        for what, have, want in pairs:
            if len(have) != len(want) or not all(map(_may_be_bound, have, want)):
                self._add(
                    f"{op.name}: the {what} do not fit @{callee.name}",
                    op.location,
                    f"they are ({', '.join(map(str, have))}), the function has ({', '.join(map(str, want))})",
                )


def _may_be_bound(have: Type, want: Type) -> bool:
    """Return whether a call may pass ``have`` for ``want``, whose symbols are the function's own."""
    if not isinstance(have, TensorType) or not isinstance(want, TensorType):
        return is_compatible(have, want)
    if have.dtype is not want.dtype or have.rank != want.rank:
        return False
    pairs = zip(have.shape, want.shape, strict=True)
    return not any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)


def _absence(value: Value) -> str:
    op = value.op
    if op is None:
        return "it is an argument of a block that does not enclose the use"
    return f"it is a result of {op.name} at {op.location}"


def _count_problems(op: Operation) -> Iterator[str]:
    """Yield what is wrong with the numbers of operands, results and regions."""
    spec, operands = op.spec, op._operands
    fields = spec.operands
    if len(operands) > len(fields) and not spec.has_variadic_operand:
        yield f"takes at most {len(fields)} operands, has {len(operands)}"
    for i, f in enumerate(fields):
        if f.variadic:
            if None in operands[i:]:
                yield f"an operand of {f.name} is absent"
        elif not f.optional and (i >= len(operands) or operands[i] is None):
            yield f"the operand {f.name} is missing"
    results = spec.results
    variadic = bool(results) and results[-1].variadic
    fixed = len(results) - variadic
    if len(op.results) < fixed or (len(op.results) > fixed and not variadic):
        yield f"has {len(op.results)} results, {fixed} are declared"
    if len(op.regions) != len(spec.regions):
        yield f"has {len(op.regions)} regions, {len(spec.regions)} are declared"


def _attribute_problems(spec: OpSpec, attributes: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the attributes."""
    for name, value in attributes.items():
        field = spec.attributes.get(name)
        if field is None:
            yield f"has no attribute {name}"
        elif not kind_check(field.kind)(value) and not (value is None and not field.required):
            yield f"the attribute {name} must be {describe_kind(field.kind)}, got {value!r}"
    for name, field in spec.attributes.items():
        if field.required and name not in attributes:
            yield f"the attribute {name} is missing"
