"""Kernel regions for GPUs: each becomes one function that launches one or more device kernels.

A region is cut into segments. A segment computes one operation that has a tensor expression (a matrix product, a
convolution, a reduction) together with what can be computed element by element before and after it; the rest of the
region is segments of such elements only. Every segment is scheduled by itself, and their bodies stand in one function
one after another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, te, tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import rules
from lepton_backends.tvm.emit.index_maps import reshape_groups
from lepton_backends.tvm.emit.kernel import KernelView
from lepton_backends.tvm.schedules.gpu_default import schedule_function
from lepton_backends.tvm.schedules.gpu_target import gpu_target
from lepton_backends.tvm.schedules.gpu_te.core import Tensor, compute, index, shape_of
from lepton_backends.tvm.schedules.gpu_te.intrinsics import NATIVE_RULES
from lepton_backends.tvm.schedules.gpu_te.table import TENSOR_RULES, load_tensor_rules
from lepton_ir.diagnostics import Diagnostic
from lepton_ir.ir import Builder, Module, Value
from lepton_ir.ir.core import Operation
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.opdef import runs_on_host
from lepton_ir.target import Target

STRUCTURE = frozenset({"yield", "const"})
SMOOTH = frozenset({"add", "sub", "mul", "div", "neg", "cast", "sqrt", "rsqrt", "reciprocal", "square", "abs"})
"""Operators whose rule selects nothing."""
MAX_SELECTING = 3
"""Operations in a row whose rules select, after which a segment ends."""


def lower_kernel_gpu(kernel: Operation, target: Target, symbol: str) -> tirx.PrimFunc:
    """Return the function of a kernel, bound to GPU threads.

    Args:
        kernel: a ``kernel`` operation.
        target: a GPU target.
        symbol: the function's name.

    Returns:
        A function of the operands, the results, then the symbolic dimensions as int64 scalars.

    Raises:
        LeptonError: an operation has no tensor expression, or no schedule gives something that can be launched.
    """
    load_tensor_rules()
    plain = decomposed(kernel)
    return _Lowering(plain, gpu_target(target.kind, target.arch), symbol).function()


def unsupported(module: Module) -> list[Diagnostic]:
    """Return a finding for every operation that GPUs have no lowering for."""
    load_tensor_rules()
    found = [_needs_host(op) for op in module.walk() if runs_on_host(op)]
    for kernel in module.walk():
        if kernel.name != "kernel":
            continue
        for op in decomposed(kernel).regions[0].block.ops:
            if op.name not in STRUCTURE and op.name not in TENSOR_RULES and not rules.is_injective(op):
                found.append(
                    Diagnostic(
                        f"{op.name} has no GPU kernel",
                        where=op.location,
                        why="it has neither a tensor expression nor a rule for single elements",
                        help="compile for the cpu, or decompose it with a pass",
                    )
                )
    return found


def _needs_host(op: Operation) -> Diagnostic:
    return Diagnostic(
        f"{op.name} has no GPU kernel",
        where=op.location,
        why="it works on strings, sequences, optionals, maps, image files or complex numbers, which the host evaluates",
        help="compile for the cpu",
    )


def decomposed(kernel: Operation) -> Operation:
    """Return a copy of ``kernel`` in which operators without a lowering are replaced by what they are made of."""
    load_tensor_rules()
    copy = kernel.clone()
    work = list(copy.regions[0].block.ops)
    while work:
        op: Any = work.pop()
        if op.name in STRUCTURE or op.name in TENSOR_RULES or rules.is_injective(op) or not hasattr(op, "decompose"):
            continue
        before = set(copy.regions[0].block.ops)
        op.replace_with(list(op.decompose(Builder.before_op(op))))
        work += [new for new in copy.regions[0].block.ops if new not in before]
    return copy


class _StageView(KernelView):
    """A kernel whose values in memory are stages of tensor expressions instead of buffers."""

    def __init__(self, kernel: Operation) -> None:
        super().__init__(kernel)
        self.stages: dict[Value, Tensor] = {}
        self._index_vars: set[Any] = set()

    def read(self, buffer: Any, indices: Sequence[Any]) -> Any:
        dtype = str(buffer.dtype)
        for i in indices:
            self._index_vars |= _variables(i)
        loaded = buffer(*[tir.index(i) for i in indices])
        return tir.cast(loaded, "float32") if dtype.startswith(("float16", "bfloat", "float8")) else loaded

    def load(self, value: Value, indices: Sequence[Any]) -> Any:
        exprs = [tir.index(i) for i in indices]
        if self._memo is not None:
            return self._element(value, exprs)
        self._memo, self._index_vars = {}, set()
        try:
            with tir.bindings() as bound:
                element = self._element(value, exprs)
        finally:
            self._memo = None
        return _let_outside_indices(bound, element, self._index_vars)

    def _compute(self, value: Value, indices: Sequence[Any]) -> Any:
        op = value.op
        if op is None or op.name not in NATIVE_RULES or not value.tensor.dtype.is_float:
            return super()._compute(value, indices)
        operands = [self._element(v, self.broadcast_index(v, indices)) for v in op.present_operands]
        return NATIVE_RULES[op.name](op, operands)

    def tensor(self, value: Value) -> Tensor:
        """Return a value as a stage, in its element type in memory."""
        if value not in self.stages:
            dtype = rules.storage_dtype(value.tensor.dtype)
            self.stages[value] = compute(
                self.shape(value), lambda *i: tir.cast(self.load(value, i), dtype), f"v{len(self.stages)}"
            )
        return self.stages[value]

    def begin(self, in_memory: Iterable[Value]) -> dict[Value, Tensor]:
        """Start a segment that may read the values in memory; return its placeholders."""
        inputs = {
            value: te.placeholder(
                [index(e) for e in self.shape(value)], rules.storage_dtype(value.tensor.dtype), name=f"in{i}"
            )
            for i, value in enumerate(in_memory)
        }
        self.stages, self.buffers = dict(inputs), dict(inputs)
        return inputs

    def define(self, values: Iterable[Value], stages: Iterable[Tensor]) -> None:
        """Let the stages be the values in the rest of the segment."""
        for value, stage in zip(values, stages, strict=True):
            self.stages[value] = self.buffers[value] = stage

    @property
    def result_buffers(self) -> list[tuple[Value, Any]]:
        """The values that the kernel returns, with the buffers of its function."""
        return list(self._results)

    @property
    def params(self) -> list[Any]:
        """The parameters of the kernel's function: buffers, then scalars."""
        return [*self._params, *self.scalars]

    @property
    def scalars(self) -> list[Any]:
        """The symbolic dimensions."""
        return [self._vars[name] for name in self.symbol_names]

    def scratch(self, value: Value, number: int) -> Any:
        """Return a new buffer for a value that a later segment reads."""
        return self._declare(value, f"tmp{number}", "global")


class _Lowering:
    """The lowering of one kernel; ``memory`` maps each value that lies in memory to its buffer."""

    def __init__(self, kernel: Operation, target: tvm.target.Target, symbol: str) -> None:
        self.target, self.symbol = target, symbol
        self.view = _StageView(kernel)
        self.memory: dict[Value, Any] = dict(self.view.buffers)
        self.cuts = _cuts(kernel)
        self.allocated: list[Any] = []
        self.parts: list[Any] = []
        self.attrs: Any = None

    def function(self) -> tirx.PrimFunc:
        """Lower all segments and join them."""
        for op in list(self.view.block.ops):
            if op.name in TENSOR_RULES:
                self._anchored(op)
            elif op.results and op.results[0] in self.cuts and op.results[0] not in self.memory:
                self._store(op.results[0], None)
        for value, buffer in self.view.result_buffers:
            if self.memory.get(value) is not buffer:
                self._segment(value, buffer, None)
        body = tirx.SeqStmt(self.parts) if len(self.parts) > 1 else self.parts[0]
        root = s_tir.SBlock([], [], [], "root", body, None, self.allocated)
        joined = tirx.PrimFunc(self.view.params, s_tir.SBlockRealize([], True, root), attrs=self.attrs)
        return joined.with_attr("global_symbol", self.symbol)

    def _anchored(self, anchor: Operation) -> None:
        """Lower an operation that has a tensor expression, with the element-wise operations that follow it."""
        self._store(_last_of_epilogue(anchor, list(self.view.block.ops), self.cuts), anchor)

    def _store(self, value: Value, anchor: Operation | None) -> None:
        """Lower the segment that ends in ``value``, which is in memory from then on."""
        buffer = next((b for v, b in self.view.result_buffers if v is value), None)
        if buffer is None:
            buffer = self.view.scratch(value, len(self.allocated))
            self.allocated.append(buffer)
        self._segment(value, buffer, anchor)
        self.memory[value] = buffer

    def _segment(self, value: Value, buffer: Any, anchor: Any) -> None:
        """Add the loops that compute ``value`` into ``buffer``."""
        sources = _read_from_memory(value, self.memory)
        inputs = self.view.begin(sources)
        if anchor is not None:
            self.view.define(anchor.results, TENSOR_RULES[anchor.name](self.view, anchor))
        output = self.view.tensor(value)
        if value in inputs:
            output = compute(shape_of(output), lambda *i: output(*i), "copy")
        scalars = self.view.scalars
        function = te.create_prim_func([*inputs.values(), output, *scalars]).with_attr("global_symbol", self.symbol)
        scheduled = schedule_function(function, self.target)
        own = list(scheduled.params)[: len(sources) + 1]
        outer = [*(self.memory[v] for v in sources), buffer]
        body = _substitute(scheduled.body, dict(zip(own, outer, strict=True)))
        self.parts.append(body.block.body)
        self.allocated += list(body.block.alloc_buffers)
        self.attrs = scheduled.attrs


def _let_outside_indices(bound: Sequence[tuple[Any, Any]], element: Any, in_indices: set[Any]) -> Any:
    """Return ``element`` with the bindings around it, except those that an index is made of.

    Indices of loads become the regions that a schedule reasons about, outside of any binding, so whatever they use
    is put in its place.
    """
    inlined = set(in_indices)
    for var, value in reversed(bound):
        if var in inlined:
            inlined |= _variables(value)
    table: dict[Any, Any] = {}
    kept = []
    for var, value in bound:
        whole = _substitute(value, table)
        if var in inlined:
            table[var] = whole
        else:
            kept.append((var, whole))
    return tir.let(kept, _substitute(element, table))


def _variables(expr: Any) -> set[Any]:
    found: set[Any] = set()
    tvm_ffi.structural_walk(expr, [(tvm.ir.Var, found.add)])
    return found


def _cuts(kernel: Operation) -> set[Value]:
    """Return the values after which a long chain of element-wise operations is cut into segments.

    TVM's simplifier takes exponential time over nested selects, which most rules for single elements are made of.
    """
    depth: dict[Value, int] = {}
    found: set[Value] = set()
    for op in kernel.regions[0].block.ops:
        if op.name not in rules.SCALARS:
            depth.update(dict.fromkeys(op.results, max((depth.get(v, 0) for v in op.present_operands), default=0)))
            continue
        before = max((depth.get(v, 0) for v in op.present_operands), default=0)
        depth[op.results[0]] = before + (op.name not in SMOOTH and op.name not in NATIVE_RULES)
        if depth[op.results[0]] == MAX_SELECTING:
            found.add(op.results[0])
            depth[op.results[0]] = 0
    return found


def _last_of_epilogue(anchor: Operation, ops: Sequence[Operation], cuts: set[Value]) -> Value:
    """Return the value that the segment of ``anchor`` stores: the last one that only the segment needs to compute."""
    inside = [anchor]
    found: set[Value] = set(anchor.results)
    for op in ops:
        if op is not anchor and _keeps_places(op, found, anchor) and cuts.isdisjoint(found & set(op.present_operands)):
            inside.append(op)
            found |= set(op.results)
    while True:
        escaping = [r for op in inside for r in op.results if any(user not in inside for user in r.users)]
        if len(escaping) <= 1:
            return escaping[0] if escaping else anchor.results[0]
        first = escaping[0].op
        needed = _producers(escaping[0])
        inside = [op for op in inside if op is first or op in needed or op is anchor]


def _keeps_places(op: Operation, found: set[Value], anchor: Operation) -> bool:
    """Return whether ``op`` computes elements of values in ``found`` at their own places.

    Only those join the segment of an anchor: schedules pad the anchor's loops, and TVM loses the bounds of padded
    loops where a consumer joins two axes into one.
    """
    uses = [v for v in op.present_operands if v in found]
    if not uses or not rules.is_injective(op):
        return False
    others = [v for v in op.present_operands if v not in found]
    if any(anchor in _producers(v) or _unavailable(v, anchor) for v in others):
        return False
    if op.name == "tensor.transpose":
        return True
    if op.name == "tensor.reshape":
        return _only_splits(uses[0].shape, op.results[0].shape)
    return op.name in rules.SCALARS and all(tuple(v.shape) == tuple(op.results[0].shape) for v in uses)


def _only_splits(source: Sequence[Dim], target: Sequence[Dim]) -> bool:
    """Return whether a reshape cuts axes apart but joins none (axes of extent 1 do not count)."""
    groups = reshape_groups(source, target)
    return all(sum(source[axis] != 1 for axis in from_axes) <= 1 for from_axes, _ in groups)


def _unavailable(value: Value, anchor: Operation) -> bool:
    """Return whether ``value`` needs an operation with a tensor expression that is lowered after ``anchor``."""
    return any(op.name in TENSOR_RULES and anchor.is_before(op) for op in _producers(value))


def _producers(value: Value) -> set[Operation]:
    """Return every operation that ``value`` is computed from."""
    found: set[Operation] = set()
    work = [value]
    while work:
        op = work.pop().op
        if op is not None and op not in found:
            found.add(op)
            work += op.present_operands
    return found


def _read_from_memory(value: Value, memory: Mapping[Value, Any]) -> list[Value]:
    """Return the values in memory that the segment computing ``value`` reads."""
    found: dict[Value, None] = {}
    seen: set[Value] = set()
    work = [value]
    while work:
        current = work.pop()
        if current in seen:
            continue
        seen.add(current)
        if current in memory:
            found[current] = None
        elif current.op is not None:
            work += current.op.present_operands
    return list(found)


def _substitute(stmt: Any, table: Mapping[Any, Any]) -> Any:
    """Return ``stmt`` with buffers replaced."""

    if not table:
        return stmt

    def replace(var: Any) -> Any:
        return next((new for old, new in table.items() if var.same_as(old)), var)

    return tvm_ffi.structural_map(stmt, (tvm.ir.Var, replace))
