"""A kernel region as tensor expressions: what templates read from and write to.

A template owns the loops. It asks the view for elements of the anchor's operands (:meth:`KernelView.load`, which
expands the operations fused before the anchor) and hands it the anchor's results (:meth:`KernelView.store`, which
applies those fused after it).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tvm import tirx

from lepton_backends.tvm import tir
from lepton_backends.tvm.emit import float8, rules
from lepton_backends.tvm.emit.rules import compute_dtype, storage_dtype
from lepton_backends.tvm.sites import Sites, locations, shared_by
from lepton_backends.tvm.tir import Buffer, Expr, Index, Stmt
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import Block, Value
from lepton_ir.ir import dim as dims
from lepton_ir.ir.core import Operation
from lepton_ir.ir.dim import Dim
from lepton_ir.ops.control import Kernel
from lepton_ir.rewrite import constant_array

SYMBOL_GUESS = 16
"""What a symbolic dimension is taken for where only the size of the work is estimated."""


class KernelView:
    """A kernel, or one stage of one, as seen by a template.

    Attributes:
        op: the kernel operation.
        block: its body.
        symbol_names: the names of the trailing scalar parameters that are dimensions.
        sites: who calls the function; where these are several, one more scalar says which.
        locations: where each operation that may fail stands in the user's model, at each of the sites.
        buffers: the values that lie in memory and may be read.
        targets: where the outputs go.
        anchor: the operation that the template is chosen by; None where there are only element-wise computable ones.
        outputs: the values that this stage stores.
    """

    def __init__(
        self,
        kernel: Operation,
        constants: Mapping[Value, np.ndarray] | None = None,
        sites: Sites | None = None,
    ) -> None:
        rules.load_rules()
        assert isinstance(kernel, Kernel)
        self._constants = constants or {}
        self.sites = sites or shared_by([kernel])
        self.locations = locations(kernel, self.sites)
        self.op = kernel
        self.block: Block = kernel.regions[0].block
        self.symbol_names = kernel.symbol_names
        self._vars = {name: tir.var(name) for name in self.symbol_names}
        self._flat: dict[Buffer, Buffer] = {}
        self._prologue: list[Stmt] = []
        self._override: dict[Value, Expr] = {}
        self._memo: dict[tuple[Value, str], Expr] | None = None
        arguments, results = self.block.arguments, self.block.terminator.present_operands
        self.buffers: dict[Value, Buffer] = {v: self._declare(v, f"in{i}") for i, v in enumerate(arguments)}
        self._results = [(v, self._declare(v, f"out{i}")) for i, v in enumerate(results)]
        self._params = [*self.buffers.values(), *(buffer for _, buffer in self._results)]
        self.targets: dict[Value, Buffer] = {}
        for value, buffer in self._results:
            if value not in self.buffers:
                self.targets.setdefault(value, buffer)
        self.outputs: tuple[Value, ...] = tuple(self.targets)
        complex_ops = [op for op in self.block.ops if op.results and not rules.is_injective(op)]
        self.anchor: Any = complex_ops[-1] if complex_ops else None

    def _declare(self, value: Value, name: str, scope: str = "") -> Buffer:
        shape = [tir.index(e) for e in self.shape(value)]
        return tirx.decl_buffer(shape, storage_dtype(value.tensor.dtype), name, scope=scope)

    @property
    def copies(self) -> list[tuple[Value, Buffer]]:
        """The results that only repeat an argument or another result, with their buffers."""
        return [(v, b) for v, b in self._results if self.targets.get(v) is not b]

    def temporary(self, value: Value) -> Buffer:
        """Return a new buffer, alive for the whole kernel, for a value that a later stage reads."""
        buffer = self._declare(value, f"tmp{len(self._prologue)}", "global")
        self._prologue.append(tirx.AllocBuffer(buffer))
        return buffer

    def constant(self, value: Value) -> np.ndarray | None:
        """Return what a value is known to hold, None elsewhere; of an argument, what any of the calls gives it."""
        return self._constants.get(value, constant_array(value))

    def computable(self, value: Value) -> bool:
        """Return whether elements of a value can be had at this stage."""
        if value in self.buffers:
            return True
        op = value.op
        return op is not None and rules.is_injective(op) and all(map(self.computable, op.present_operands))

    # Shapes ---------------------------------------------------------------------------------------------------------

    def dim(self, dim: Dim) -> Index:
        """Return a dimension as an int or as an expression over the symbolic parameters."""
        if isinstance(dim, int):
            return dim
        total: Index = 0
        for monomial, coefficient in dim.terms:
            term: Index = coefficient
            for atom, power in monomial:
                factor = self._vars[atom.name] if isinstance(atom, dims.Sym) else self._function(atom)
                for _ in range(power):
                    term = factor if tir.static(term) == 1 else factor * term
            total = term if tir.static(total) == 0 else total + term
        return total

    def _function(self, atom: dims.Func) -> Expr:
        a, b = tir.index(self.dim(atom.lhs)), tir.index(self.dim(atom.rhs))
        if atom.fn == "ceildiv":
            return tirx.floordiv(a + b - 1, b)
        table = {"floordiv": tirx.floordiv, "mod": tirx.floormod, "min": tirx.min, "max": tirx.max}
        return table[atom.fn](a, b)

    def shape(self, value: Value) -> list[Index]:
        """Return the extents of a value."""
        return [self.dim(d) for d in value.shape]

    def size_guess(self, value: Value) -> int:
        """Return the number of elements, taking symbolic dimensions for small numbers."""
        return self.guess(value.tensor.size)

    def guess(self, dim: Dim) -> int:
        """Return a dimension, taking symbols for small numbers."""
        return dims.evaluate(dim, dict.fromkeys(dims.symbols(dim), SYMBOL_GUESS))

    # Memory ---------------------------------------------------------------------------------------------------------

    def buffer_of(self, value: Value) -> Buffer | None:
        """Return the buffer of a value that lies in memory, None where it has to be computed."""
        return self.buffers.get(value)

    def flat(self, buffer: Buffer) -> Buffer:
        """Return a one-dimensional view of a buffer."""
        if buffer not in self._flat:
            shape = list(buffer.ty.shape)
            view, declaration = tir.alias(buffer, [tir.product(shape)], f"{buffer.name}_flat")
            self._flat[buffer] = view
            self._prologue.append(declaration)
        return self._flat[buffer]

    def read(self, buffer: Buffer, indices: Sequence[Index]) -> Expr:
        """Load from a buffer in the type that it is computed in; any index may be a vector."""
        exprs = [tir.index(i) for i in indices]
        if any(tir.lanes_of(i) > 1 for i in exprs[:-1]):
            loaded = self.flat(buffer)[tir.flat_index(exprs, list(buffer.ty.shape))]
        else:
            loaded = tirx.BufferLoad(buffer, exprs)
        dtype = str(buffer.ty.dtype)
        small = dtype.startswith(("float16", "bfloat", "float8"))
        return tir.cast(float8.widen(loaded), "float32") if small else loaded

    def write(self, buffer: Buffer, indices: Sequence[Index], value: Expr) -> Stmt:
        """Store to a buffer, converting to its element type; any index may be a vector."""
        exprs = [tir.index(i) for i in indices]
        dtype = str(buffer.ty.dtype)
        value = float8.narrow(value, dtype) if dtype.startswith("float8") else tir.cast(value, dtype)
        if any(tir.lanes_of(i) > 1 for i in exprs[:-1]):
            return tir.store(self.flat(buffer), [tir.flat_index(exprs, list(buffer.ty.shape))], value)
        return tir.store(buffer, exprs, value)

    # Elements -------------------------------------------------------------------------------------------------------

    def dtype(self, value: Value) -> str:
        """Return TVM's name of the type that a value's elements are computed in."""
        return compute_dtype(value.tensor.dtype)

    def load(self, value: Value, indices: Sequence[Index]) -> Expr:
        """Return the element of ``value`` at ``indices``, a vector where the indices are vectors.

        Values in memory are loaded; others are computed from those by the operations fused into the kernel.
        """
        exprs = [tir.index(i) for i in indices]
        if self._memo is not None:
            return self._whole(self._element(value, exprs), exprs)
        self._memo = {}
        try:
            return tir.bound_expr(lambda: self._whole(self._element(value, exprs), exprs))
        finally:
            self._memo = None

    def _whole(self, element: Expr, indices: Sequence[Expr]) -> Expr:
        """Return the element as a vector, where an index is one but all its lanes read the same (an expansion)."""
        lanes = max((tir.lanes_of(i) for i in indices), default=1)
        return tir.broadcast(element, lanes) if tir.lanes_of(element) < lanes else element

    def guarded(self, condition: Expr, value: Value, indices: Sequence[Index], other: Expr) -> Expr:
        """Return the element where the (scalar) condition holds, else ``other``; the load is not done otherwise."""
        memo, self._memo = self._memo, None
        try:
            return tirx.if_then_else(condition, self.load(value, indices), other)
        finally:
            self._memo = memo

    def broadcast_index(self, value: Value, indices: Sequence[Expr], result: Value | None = None) -> list[Expr]:
        """Return the index into an operand that broadcasts against a result, from the result's index.

        Args:
            value: the operand.
            indices: where in the result.
            result: the result; dimensions that differ from its own may turn out to be 1.
        """
        own = list(indices)[len(indices) - value.rank :]
        wanted = value.shape if result is None else result.shape[result.rank - value.rank :]
        return [self._place(d, e, i) for d, e, i in zip(value.shape, wanted, own, strict=True)]

    def _place(self, have: Dim, want: Dim, i: Expr) -> Expr:
        if have == 1:
            return tir.index(0)
        if have == want:
            return i
        return tir.select(tir.index(self.dim(have)).equal(1), tir.broadcast(tir.index(0), tir.lanes_of(i)), i)

    def _element(self, value: Value, indices: Sequence[Expr]) -> Expr:
        if value in self._override:
            return self._override[value]
        if value in self.buffers:
            return self.read(self.buffers[value], indices)
        assert self._memo is not None
        key = (value, ",".join(map(str, indices)))
        if key not in self._memo:
            computed = self._compute(value, indices)
            self._memo[key] = tir.bind(computed) if len(value.uses) > 1 else computed
        return self._memo[key]

    def _compute(self, value: Value, indices: Sequence[Expr]) -> Expr:
        op = value.op
        if op is None:
            raise LeptonError(f"{value.name or 'a value'} is not in memory", where=self.op.location)
        if op.name == "const":
            return self._literal(op, indices)
        if op.name in rules.SCALARS:
            operands = [
                v if v is None else self._element(v, self.broadcast_index(v, indices, value)) for v in op.operands
            ]
            return rules.SCALARS[op.name](op, operands)
        if op.name in rules.INDEX_MAPS:
            source = op.present_operands[0]
            return self._element(source, rules.INDEX_MAPS[op.name](self, op, indices))
        if op.name in rules.ELEMENTS:
            return rules.ELEMENTS[op.name](self, op, indices)
        raise no_rule(op)

    def _literal(self, op: Operation, indices: Sequence[Expr]) -> Expr:
        array = op.attributes["value"].array
        array = array.view(np.uint64) if array.dtype == np.complex64 else array
        dtype = self.dtype(op.result)
        flat = array.reshape(-1)
        if (flat.size and (flat == flat[0]).all()) or flat.size == 1:
            return tir.const(flat[0].item(), dtype)
        if flat.size == 0 or flat.size > 64:
            raise LeptonError(f"a kernel holds a constant of {flat.size} elements", where=op.location)
        at = tir.flat_index(indices, list(array.shape))
        chosen = tir.const(flat[-1].item(), dtype)
        for position in range(flat.size - 2, -1, -1):
            chosen = tir.select(at.equal(position), tir.const(flat[position].item(), dtype), chosen)
        return chosen

    # Results --------------------------------------------------------------------------------------------------------

    def store(
        self, indices: Sequence[Index], acc: Expr | Sequence[Expr], values: Sequence[Value] | None = None
    ) -> Stmt:
        """Return the statement that stores all outputs, given elements of the anchor's results.

        Args:
            indices: where in the anchor's result; the last (or any) index may be a ramp.
            acc: the element (or vector) there, one for each of ``values``.
            values: the anchor's results that ``acc`` holds; by default the first.
        """
        if values is None:
            assert self.anchor is not None
            values = [self.anchor.results[0]]
        elements = acc if isinstance(acc, (list, tuple)) else [acc]

        def stores() -> Stmt:
            at = [tir.index(i) for i in indices]
            found = {
                v: (tir.bind(tir.cast(a, self.dtype(v)), "acc"), at) for v, a in zip(values, elements, strict=True)
            }
            self._memo = {}
            try:
                self._propagate(found)
            finally:
                self._memo = None
                self._override = {}
            stored = (v for v in self.outputs if v in found)
            return tir.seq(*(self.write(self.targets[v], found[v][1], found[v][0]) for v in stored))

        return tir.scoped(stores)

    def _propagate(self, found: dict[Value, tuple[Expr, list[Expr]]]) -> None:
        """Add the elements of all values that depend on ``found``, in order."""
        needed = self._ancestors(self.outputs)
        for op in self.block.ops:
            sources = [v for v in op.present_operands if v in found]
            if not sources or not op.results or op.results[0] in found or op.results[0] not in needed:
                continue
            expr, at = found[sources[0]]
            if op.name in rules.FORWARD_MAPS:
                found[op.results[0]] = (expr, rules.FORWARD_MAPS[op.name](self, op, at))
                continue
            at = [tir.index(0)] * (op.results[0].rank - len(at)) + at
            self._override = {v: e for v, (e, _) in found.items()}
            found[op.results[0]] = (tir.bind(self._compute(op.results[0], at)), at)

    def _ancestors(self, values: Sequence[Value]) -> set[Value]:
        """Return the values and all that they are computed from."""
        found: set[Value] = set()
        work = list(values)
        while work:
            value = work.pop()
            if value in found:
                continue
            found.add(value)
            if value.op is not None:
                work.extend(value.op.present_operands)
        return found

    def depends_on(self, value: Value, ops: Sequence[Operation]) -> bool:
        """Return whether a value is computed from results of ``ops``."""
        wanted = {r for op in ops for r in op.results}
        return bool(wanted & self._ancestors([value]))

    def epilogue_fits(self) -> bool:
        """Return whether :meth:`store` can compute all outputs from single elements of the anchor's results."""
        assert self.anchor is not None
        needed = self._ancestors(self.outputs)
        places: dict[Value, object] = dict.fromkeys(self.anchor.results, self.anchor)
        for op in self.block.ops:
            sources = [v for v in op.present_operands if v in places]
            if not sources or not op.results or op.results[0] not in needed or op is self.anchor:
                continue
            result = op.results[0]
            if op.name in rules.FORWARD_MAPS:
                places[result] = op
                continue
            shape = tuple(d for d in result.shape)
            same = all(places[v] is places[sources[0]] and _same_place(v.shape, shape) for v in sources)
            if op.name not in rules.SCALARS or not same or len(sources[0].shape) > len(shape):
                return False
            if op.name in rules.GUARDS and rules.GUARDS[op.name].operand(op) in places and op.may_fail():  # type: ignore[attr-defined]
                # What is checked before the loops must be known before them.
                return False
            places[result] = places[sources[0]]
        return all(v in places for v in self.outputs)

    def store_direct(self, values: Sequence[Value], indices: Sequence[Index]) -> Stmt:
        """Return the statements that compute the elements of outputs of one shape, and store them."""

        def stored() -> Stmt:
            self._memo = {}
            try:
                at = [tir.index(i) for i in indices]
                elements = [(v, self._element(v, at)) for v in values]
            finally:
                self._memo = None
            return tir.seq(*(self.write(self.targets[v], indices, e) for v, e in elements))

        return tir.scoped(stored)

    # Function -------------------------------------------------------------------------------------------------------

    def stage(self, anchor: Operation | None, outputs: Mapping[Value, Buffer]) -> KernelView:
        """Return a view of the part of this kernel that computes ``outputs`` with ``anchor``."""
        part = copy.copy(self)
        part.anchor, part.outputs = anchor, tuple(outputs)
        part.targets, part.buffers = dict(outputs), dict(self.buffers)
        return part

    def prim_func(self, body: Stmt, symbol: str = "main") -> tir.PrimFunc:
        """Return the function: operand buffers, result buffers, then the symbols as int64 scalars, then the site."""
        params = [*self._params, *(self._vars[name] for name in self.symbol_names), *self.sites.scalars]
        function = tirx.PrimFunc(params, tir.seq(*self._prologue, body))
        return function.with_attr("global_symbol", symbol).with_attr("tirx.noalias", True)


def _same_place(shape: Sequence[Dim], result: Sequence[Dim]) -> bool:
    """Return whether an operand of this shape has its elements at the result's places (more leading 1s are free)."""
    extra = len(result) - len(shape)
    return extra >= 0 and tuple(result[extra:]) == tuple(shape) and all(d == 1 for d in result[:extra])


def no_rule(op: Operation) -> LeptonError:
    """Return the error that an operator cannot be compiled."""
    return LeptonError(
        f"the CPU backend has no rule for {op.name}",
        where=op.location,
        why="it has no scalar rule, index map or template",
        help="decompose it with a pass, or register a rule with lepton_backends.tvm.emit.rules",
    )
